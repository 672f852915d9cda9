"""Answers in another language than their prompt."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

import factory
from factory import Drop, Record
from factory.text.languages import identify
from factory.text.words import words

from .turns import fenced, turns

CHARS = 1000  # of an answer that are read
# Codes of lid.176 that it takes for each other in short texts.
ALIKE = (
    "zh yue wuu", "ms id min jv su", "no nn da sv", "sr hr bs sh sl mk bg", "cs sk", "es gl ca pt ast oc", "ru uk be",
    "hi mr ne sa bh mai", "ar arz fa ur ps pnb", "de nds als lb bar nl", "tr az tk", "it scn lmo vec nap pms",
    "fr wa oc",
)  # fmt: skip
_GROUPS = [frozenset(group.split()) for group in ALIKE]
# Whoever names a language may want it: names in English, in the language itself and in Chinese.
_NAMES = re.compile(
    r"\b(?:translat\w*|languages?|bilingual|multilingual|english|french|german|spanish|italian|portuguese|russian|chinese|"
    r"mandarin|cantonese|japanese|korean|arabic|hindi|bengali|urdu|turkish|dutch|swedish|norwegian|danish|finnish|polish|"
    r"czech|greek|hebrew|thai|vietnamese|indonesian|malay|latin|ukrainian|persian|swahili|romanian|hungarian|catalan|"
    r"français|anglais|deutsch|englisch|übersetz\w*|tradui\w*|traduc\w*|traduz\w*|tradur\w*|español|inglés|inglês|inglese|"
    r"italiano|português|перевед\w*|английск\w*|русск\w*|по-\w+ски|pinyin|romaji|ترجم\w*|अनुवाद)\b"
    r"|翻译|翻譯|译成|译为|译文|英文|英语|英語|中文|汉语|漢語|日语|日文|日本語|法语|德语|俄语|韩语|西班牙语|语言|拼音|外语|訳|번역|영어|한국어",
    re.IGNORECASE,
)
_INLINE = re.compile(r"`[^`\n]*`|https?://\S+|<[^<>\n]{1,80}>|\$[^$\n]*\$")


@factory.step
def answer_language(
    record: Record,
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.6,
    min_words: Annotated[int, Field(ge=1)] = 8,
) -> bool:
    """Drop records with an answer in another language than its prompt.

    Code, markup, links and formulas are passed over. An answer may be in the language of any paragraph of its prompt,
    so an English instruction about a Chinese text may have either; and it may be in any language when its prompt names
    one or speaks of translation. Languages that are often taken for each other count as one.

    min_score  lid.176's probability from which a language counts as known, of the prompt and of the answer; where
               either is not, the record stays
    min_words  of an answer that is judged (characters where a script has no spaces); single names look like anything
    """
    for prompt, answer in turns(record):
        if found := strange(prompt, answer, min_score, min_words):
            raise Drop("answer in another language", answer=found[0], prompt=found[1])
    return True


def strange(prompt: str, answer: str, min_score: float, min_words: int) -> tuple[str, str] | None:
    """(the answer's language, the prompt's) when they differ without a reason."""
    said = _prose(answer)
    if not prompt.strip() or len(words(said)) < min_words or _NAMES.search(prompt):
        return None
    spoken, score = identify(said, CHARS)
    if score < min_score:
        return None
    asked = _prose(prompt)
    known: dict[str, None] = {}
    for part in (asked, *re.split(r"\n+|(?<=[:：])\s", asked)):
        code, score = identify(part, CHARS)
        if _alike(code, spoken):
            return None
        if score >= min_score and part is asked:
            known[code] = None
    return (spoken, next(iter(known))) if known else None


def _alike(one: str, other: str) -> bool:
    return one == other or any(one in group and other in group for group in _GROUPS)


def _prose(text: str) -> str:
    return _INLINE.sub(" ", fenced(text)[1])
