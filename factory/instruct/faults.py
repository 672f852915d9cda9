"""Why a task, a question or an answer that a model wrote is not kept; every reason can be counted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from factory import Drop
from factory.text.overlap import rouge_l
from factory.text.words import is_unspaced, ngrams, words

# What a model without eyes, ears and network cannot do. "file", "map" and "draw", which Alpaca's list holds, are not
# here: half of all tasks about programming would go.
BEYOND_TEXT = (
    "attached", "attachment", "audio", "diagram", "flowchart", "gif", "hyperlink", "image", "images", "photo", "photos",
    "photograph", "picture", "pictures", "screenshot", "video", "videos", "website below", "link below", "图片", "视频",
)  # fmt: skip
REFUSALS = (
    "i'm sorry", "i am sorry", "sorry, but", "i cannot", "i can't", "i can not", "i'm unable", "i am unable",
    "i'm not able", "i am not able", "i don't have access", "i do not have access", "unfortunately, i",
    "抱歉", "对不起", "我无法",
)  # fmt: skip
SELF_NAMES = (
    "as an ai",
    "as a language model",
    "as a large language model",
    "ai language model",
    "作为一个人工智能",
    "作为ai",
)
OPENERS = "\"'“‘«「『《`([{¿¡"
ECHO = 0.75  # ROUGE-L F above which an answer is its question again; "The capital of France is Paris" has .67
REPEATED = 0.4  # share of n-grams that were there before, above which a text goes round in circles

_PLACEHOLDER = re.compile(
    r"(?<![\w)\]])\[(?:your|insert|enter|add)\b[^\]\n]{0,40}\]|<(?:insert|your|enter)\b[^>\n]{0,40}>|\blorem ipsum\b",
    re.IGNORECASE,
)
_THINGS = "code|function|sentence|text|paragraph|passage|snippet|list|string|expression|loop|script|line|value|words"
_POINTS_AT_INPUT = re.compile(
    rf"\b(?:the following|given below|(?:the|this) given|the passage|the paragraph|(?:provided|this) (?:{_THINGS})"
    rf"|(?:{_THINGS}) below)\b|\bbelow(?=\s*(?:[.,:;?!]|$))",
    re.IGNORECASE,
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
    if pointing and not given and not re.search(r":\s*\S|[`\n\"“'(\[]", instruction[pointing.end() :]):
        return Drop("input is missing", phrase=pointing[0])
    return None


def fault_in_output(output: str, instruction: str, given: str = "", shown: Iterable[str] = ()) -> Drop | None:
    """Why the output is none to keep; `shown` are the outputs of the examples a model had before it."""
    tokens = words(output)
    if not tokens and not any(unicodedata.category(c)[0] == "S" for c in output):  # "+" may be a whole answer
        return Drop("empty output")
    if phrase := refusal(output):
        return Drop("refusal", phrase=phrase)
    if len(tokens) > 3 and output.rstrip("*_ ").endswith((":", ",", "：", "，")):
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


def first_of(phrases: Sequence[str], text: str) -> str | None:
    """The first of the phrases that stands in the text in whole words."""
    spaced = f" {' '.join(words(text))} "
    return next((phrase for phrase in phrases if f" {' '.join(words(phrase))} " in spaced), None)


def refusal(text: str) -> str | None:
    """The words by which a text declines to answer: at its beginning, or naming itself a model in its first lines."""
    start = text[:300].casefold().replace("’", "'")
    opening = start.lstrip(" \"'“*_").removeprefix("well, ").removeprefix("oh, ")
    return next((p for p in REFUSALS if opening.startswith(p)), next((p for p in SELF_NAMES if p in start), None))


def repetition(text: str) -> float:
    """The share of repeated word 4-grams (character 8-grams where unspaced) if it is too high, else 0."""
    size = 8 if is_unspaced(text) else 4
    grams = ngrams(words(text), size)
    if len(grams) < 2 * size:
        return 0.0
    share = 1 - len(set(grams)) / len(grams)
    return share if share > REPEATED else 0.0
