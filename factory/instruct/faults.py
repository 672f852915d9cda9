"""Why a task, a question or an answer that a model wrote is not kept; every reason can be counted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from factory import Drop
from factory.text.overlap import rouge_l
from factory.text.words import words

from .gates.refusals import refusal
from .gates.repeated_text import repetition

# What a model without eyes, ears and network cannot do. "file", "map" and "draw", which Alpaca's list holds, are not
# here: half of all tasks about programming would go.
BEYOND_TEXT = (
    "attached", "attachment", "audio", "diagram", "flowchart", "gif", "hyperlink", "image", "images", "photo", "photos",
    "photograph", "picture", "pictures", "screenshot", "video", "videos", "website below", "link below", "图片", "视频",
)  # fmt: skip
OPENERS = "\"'“‘«「『《`([{¿¡"
ECHO = 0.75  # ROUGE-L F above which an answer is its question again; "The capital of France is Paris" has .67

_PLACEHOLDER = re.compile(
    r"(?<![\w)\]])\[(?:your|insert|enter|add)\b[^\]\n]{0,40}\]|<(?:insert|your|enter)\b[^>\n]{0,40}>|\blorem ipsum\b"
    r"|[\[【<（(](?:你的|您的|请?输入|请?插入|请?填写|此处|在此)[^\]】>）)\n]{0,20}[\]】>）)]",
    re.IGNORECASE,
)
_THINGS = "code|function|sentence|text|paragraph|passage|snippet|list|string|expression|loop|script|line|value|words"
_POINTS_AT_INPUT = re.compile(
    rf"\b(?:the following|given below|(?:the|this) given|the passage|the paragraph|(?:provided|this) (?:{_THINGS})"
    rf"|(?:{_THINGS}) below)\b|\bbelow(?=\s*(?:[.,:;?!]|$))"
    r"|(?:(?:以下|下面|下列|如下|上述|给定的|所给)的?[这那]?[一几两三]?(?:个|段|句|篇|组|条|些|首)?|这(?:段|句|篇|组|首))"
    r"(?:文本|文章|段落|句子|文字|代码|函数|单词|词语|数字|数列|列表|对话|短文|诗|评论|新闻|程序|数据|话)"
    r"|次の(?:文章?|テキスト|コード|リスト)|以下の(?:文章?|テキスト|コード|リスト)",
    re.IGNORECASE,
)
_EDGES = " \t\n\r.,;:!-–—_*`'\"“”()[]<>{}。，：；！、（）【】「」《》〈〉／/"
_NO_INPUT = re.compile(
    r"(?:inputs?: ?|输入[:：] ?)?(?:there (?:is|was) )?"
    r"(?:no|none|not|without|nil|null|empty|blank|nothing|n ?[/.]? ?a)?"
    r"(?: an?y?| additional| specific| further| other| extra)*"
    r"(?: ?inputs?)?(?: (?:is|was|data|text|context|field|here))*"
    r"(?: ?(?:needed|required|provided|given|necessary|available|applicable|specified))?"
    r"(?: (?:for|in) this (?:task|instruction|one))?"
    r"|(?:this|the) (?:task|instruction) (?:does not|doesn't|do not|don't) (?:require|need|have)"
    r"(?: an?y?)?(?: additional| specific)? inputs?"
    r"|inputs? (?:is )?(?:not|none|n/a|empty)(?: (?:needed|required|provided|given|necessary|applicable))?"
    r"|(?:此|该|这个|本)?(?:任务|指令)?(?:无|没有|沒有|无需|不需要|無|無需|不需|未|空|暂无|不用|不必)"
    r"(?:额外|任何|其他|具体|提供)*的?(?:输入|輸入|内容)?(?:数据|内容|文本)?(?:提供|给出)?"
    r"|(?:输入|輸入)(?:为空|为无|无|不适用|：?无)|不适用"
    r"|なし|無し|入力(?:は)?(?:なし|無し|不要|ありません)|없음|입력 ?없음|keine?(?: eingabe)?|aucune?(?: entrée)?"
    r"|ninguna?(?: entrada)?|нет(?: ввода| входных данных)?|без ввода",
)


def fault_in_instruction(
    instruction: str, given: str, least: int, most: int, blacklist: Sequence[str] = BEYOND_TEXT
) -> Drop | None:
    """Why the instruction (with its input `given`) is none to keep; `least` and `most` are in words.

    The rules are those of self-instruct (Wang et al. 2023, section 2.2) and Alpaca, and two of ours: an input that is
    spoken of must be there, and so must what a bracket stands for.
    """
    tokens = words(instruction)
    if len(tokens) < least:
        return Drop("instruction too short", words=len(tokens))
    if len(tokens) > most:
        return Drop("instruction too long", words=len(tokens))
    first = instruction.lstrip()[0]
    if first not in OPENERS and unicodedata.category(first)[0] in "PS":
        return Drop("instruction starts with punctuation", character=first)
    if phrase := first_of(blacklist, instruction):
        return Drop("beyond text", phrase=phrase)
    if found := _PLACEHOLDER.search(f"{instruction}\n{given}"):
        return Drop("placeholder", found=found[0])
    pointing = _POINTS_AT_INPUT.search(instruction)
    if pointing and not given and not re.search(r"[:：]\s*\S|[`\n\"“'(\[「『《]", instruction[pointing.end() :]):
        return Drop("input is missing", phrase=pointing[0])
    return None


def fault_in_output(output: str, instruction: str, given: str = "", shown: Iterable[str] = ()) -> Drop | None:
    """Why the output is none to keep; `shown` are the outputs of the examples a model had before it."""
    tokens = words(output)
    if not tokens and not any(unicodedata.category(c)[0] == "S" for c in output):  # "+" may be a whole answer
        return Drop("empty output")
    if phrase := refusal(output):
        return Drop("refusal", phrase=phrase)
    if len(tokens) > 3 and output.rstrip("*_ ").endswith((":", ",", "：", "，", "、", "،")):
        return Drop("unfinished")
    if found := _PLACEHOLDER.search(output):
        return Drop("placeholder", found=found[0])
    if share := repetition(output):
        return Drop("repeats itself", share=round(share, 3))
    same = output.split() in (instruction.split(), given.split())  # a changed input may be right: type hints added, say
    if same or (len(tokens) > 3 and rouge_l(tokens, words(instruction)) > ECHO):
        return Drop("echoes its question")
    if len(tokens) > 3 and any(words(other) == tokens for other in shown):
        return Drop("copies an example")
    return None


def is_no_input(text: str) -> bool:
    """Whether a model said, in one of its many ways, that a task has no input; also when it said nothing.

    "N/A", "<noinput>", "No input is required for this task.", "(none)", 无需输入, 没有任何输入 and their like.
    """
    plain = " ".join(text.strip(_EDGES).lower().replace("’", "'").replace("_", " ").split())
    return len(plain) < 80 and _NO_INPUT.fullmatch(plain) is not None


def first_of(phrases: Sequence[str], text: str) -> str | None:
    """The first of the phrases that stands in the text in whole words."""
    spaced = f" {' '.join(words(text))} "
    return next((phrase for phrase in phrases if f" {' '.join(words(phrase))} " in spaced), None)
