"""Answers that decline to answer."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

import factory
from factory import Drop, Record

from .turns import turns

# An apology alone is none ("I'm sorry to hear that your parcel was late"), nor is "I cannot recommend it enough": what
# is declined must be one of the things that models decline.
_DONE = (
    "answer|assist|help|provide|fulfil|comply|do (?:that|this|it|so)|generate|create|produce|give (?:you|any|a|an)|"
    "offer|access|browse|open|see (?:the|any|an|images)|view|hear|watch|complete|discuss|engage|support|share|process|"
    "determine|verify|write (?:that|this|about|a|an)|tell (?:you|jokes)|continue|participate|"
    "recommend (?:a|any|specific)|accurately|directly|really (?:help|answer|say)|be of|make (?:that|this)|say|perform|"
    "predict|advise|summarize|translate|understand|fully|in good conscience|condone|promote|encourage|display|show|"
    "read|look|identify|respond"
)
_UNABLE = rf"""(?:
    (?:can(?:no|'|\ no)t|can't|could\ ?n[o']t|will\ not|won't|am\ unable\ to|'m\ unable\ to|am\ not\ able\ to|
    'm\ not\ able\ to)\ (?:currently\ |actually\ |personally\ )?(?:{_DONE.replace(" ", chr(92) + " ")})\b
  | (?:can(?:no|\ no)t|can't|will\ not|won't)\s*(?:[.!,;"]|$)
  | (?:must|have\ to|need\ to|will\ have\ to|'ll\ have\ to)\ (?:respectfully\ |politely\ )?(?:decline|refuse)
  | (?:respectfully\ |politely\ )?decline\ to
  | (?:do\ not|don't)\ (?:fully\ )?(?:understand|feel\ comfortable)
  | (?:am|'m)\ not\ (?:comfortable|programmed|designed|allowed|permitted|authorized|capable|qualified\ to)
  | (?:do\ not|don't)\ have\ (?:the\ (?:ability|capability|capacity|information|necessary)|access|
      (?:enough|sufficient|any)\ (?:information|context|data)|real-time|personal|feelings|opinions|a\ (?:body|physical))
  | (?:would|'d)\ need\ (?:more|additional|further)\ (?:information|context|details)
)"""
_APOLOGY = (
    r"(?:(?:i'm|i\ am|we're|we\ are)\ (?:very\ |so\ |really\ |truly\ )?(?:sorry|afraid)|sorry|(?:my\ )?apologies|"
    r"i\ apologi[sz]e|unfortunately|regrettably|thank\ you\ for\ [^.!?\n]{1,60}|no)"
)
_ENGLISH = re.compile(
    rf"""(?:well|oh|hmm|hi|hello|hey|ok|okay)?[\s,.!]*
    (?:{_APOLOGY}[^.!?\n]{{0,40}}?[\s,.;:!—-]+(?:but\s+|however,?\s+|that\s+|because\s+|as\s+[^.,\n]{{1,60}},\s*)?)*
    (?:as\ [^.,\n]{{1,60}},\s*)?
    (?:i(?:\ |(?='))|we(?:\ |(?='))){_UNABLE}
    | {_APOLOGY},?\ but\ (?:i|this|that|the|there|it|we|you)\b
    | it\ (?:is|would\ be|'s)\ (?:not\ (?:possible|appropriate|ethical)\ for\ me|inappropriate|unethical)
    """,
    re.VERBOSE,
)
_OTHER = re.compile(
    r"""
      (?:很|非常|十分)?(?:抱歉|对不起|對不起|遗憾|遺憾)[，,。！!\s]*
      (?:但|但是|不过|由于|因为|作为|作為|我|这|這|您|无法|無法|不能|目前)
    | 我(?:很|非常)?(?:抱歉|遗憾)
    | (?:我|本模型|我们)?(?:目前|暂时|现在|恐怕)?(?:无法|無法|不能|没办法|沒辦法|没有能力|不便|不会)
      (?:为您|為您|给您|向您|直接|准确)?
      (?:回答|提供|完成|帮助|幫助|协助|满足|生成|访问|打开|查看|执行|获取|讨论|处理|确定|判断|给出|继续|看到|听|预测|翻译|这样做|做到)
    | 申し訳(?:ございません|ありません) | すみませんが | お答え(?:でき|いたしかね) | 回答(?:でき|いたしかね)ません
    | 죄송(?:합니다|하지만) | 도와드릴\ 수\ 없
    | (?:es\ tut\ mir\ (?:sehr\ )?leid|entschuldigung|leider),?
      \ (?:aber\ |dass?\ )?(?:ich\ )?(?:kann|kann\ ich|ich\ kann|habe\ ich\ kein)
    | ich\ kann\ (?:ihnen|dir|diese|das|darauf|dabei)?\s?(?:leider\ )?(?:nicht|keine)
    | (?:je\ suis\ (?:vraiment\ )?désolée?|désolée?|je\ regrette|malheureusement),?
      \ (?:mais\ )?je
    | je\ ne\ (?:peux|suis)\ (?:malheureusement\ )?pas\ (?:répondre|vous\ aider|fournir|en\ mesure)
    | (?:lo\ siento|lo\ lamento|disculpa|perdón|desafortunadamente),?\ (?:mucho,\ )?(?:pero\ )?(?:no\ puedo|como|pero)
    | no\ puedo\ (?:ayudar|responder|proporcionar|cumplir)
    | (?:mi\ dispiace|spiacente),?\ (?:ma\ )?(?:non\ posso|come)
    | (?:desculpe|sinto\ muito|lamento|infelizmente),?\ (?:mas\ )?(?:não\ posso|eu\ não|como)
    | (?:извините|простите|к\ сожалению|прошу\ прощения),?\ (?:но\ )?(?:я\ )?(?:не\ могу|не\ в\ состоянии|как)
    | я\ не\ могу\ (?:ответить|помочь|предоставить|выполнить)
    """,
    re.VERBOSE,
)
SELF_NAMES = re.compile(
    r"\b(?:as|i am|i'm|being) (?:just |only |merely |simply )?an? (?:\w+ ){0,2}?"
    r"(?:ai|artificial intelligence|language model|chat ?bot)\b"
    r"|\bai language model\b|(?:作为|作為|我是|身为)(?:一个|一個|一款|一种|一名)?(?:大型|大|由\w{1,12}的|先进的)?"
    r"(?:人工智能|人工智慧|ai|语言模型|語言模型)|言語モデルとして|aiとして"
    r"|(?:ai|인공지능)\s?(?:언어 ?모델)?(?:로서|이기 때문)"
    r"|\bals (?:ein(?:e)? )?(?:ki|künstliche intelligenz|sprachmodell)\b"
    r"|\ben tant qu(?:'|e )(?:ia|intelligence artificielle|modèle)"
    r"|\bcomo (?:(?:una? |um(?:a)? )?(?:modelo de (?:lenguaje|linguagem)|ia\b|"
    r"inteligencia artificial|inteligência artificial))"
    r"|\bкак (?:ии\b|искусственный интеллект|языковая модель)"
)


@factory.step
def refusals(record: Record, chars: Annotated[int, Field(ge=20)] = 300) -> bool:
    """Drop records with an answer that declines to answer, in English, Chinese and eight other languages.

    What counts stands at an answer's beginning: "I'm sorry, but …", "I cannot help with …", 抱歉，我无法…, or "as an
    AI" within its first characters. "I'm sorry to hear that" is no refusal. Every answer of a conversation is read.

    chars  how far from its beginning an answer may call itself a model
    """
    for _, answer in turns(record):
        if phrase := refusal(answer, chars):
            raise Drop("refusal", phrase=phrase)
    return True


def refusal(text: str, chars: int = 300) -> str | None:
    """The words by which a text declines to answer: at its beginning, or naming itself a model near it."""
    start = text.lstrip(" \t\n\"'“”‘’「『*_#>-")[:chars].casefold().replace("’", "'").replace("\n", " ")
    found = _ENGLISH.match(start) or _OTHER.match(start) or SELF_NAMES.search(start)
    return " ".join(found[0].split()) if found else None
