"""What a passage can be asked for: questions, summaries, extracted fields; how each is asked for, read and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from factory import Answer, Drop, Message, assistant, user
from factory.models.framing import defused, framed
from factory.text.overlap import support
from factory.text.words import is_unspaced, words

# The passage stands last: small models hold on to what they read last.
ASK_QUESTION = (
    "Write one question that the text below answers. Name the thing it is about, so that the question can be "
    "understood by somebody who does not have the text in front of them.\n\n{passage}"
)
ASK_ANSWER = (
    "Question: {question}\n\nAnswer it in one to three sentences, with what the text below says and nothing else."
    "\n\n{passage}"
)
ASK_FACTS = (
    "Find three to six facts in the text below that could stand in a table: names, dates, amounts, places. Write one "
    "a line, as `name: value`. Copy each value from the text word for word.\n\n{passage}"
)
ASK_FIELDS = (
    "Find these in the text below: {fields}. Write one a line, as `name: value`. Copy each value from the text word "
    "for word; where the text does not say it, the value is `none`.\n\n{passage}"
)
ASK_SUPPORT = (
    "{passage}\n\nSomebody who had only this text was asked:\n{question}\n\nThey said:\n{answer}\n\n"
    "Does the text support everything they said? Begin with `yes` or `no`."
)
SUMMARIES = (
    "Summarize the text below in one sentence.",
    "Summarize the text below in two or three sentences.",
    "List the main points of the text below, one a line.",
    "Write a headline for the text below.",
)
EXTRACT = "Extract from the text below, as JSON: {names}."
ANSWER_BEGINS = "According to the text,"  # holds small models to it; taken off again where an answer repeats it
QUESTION_MARKS = "?？؟՞\u037e"
POINTERS = (
    "the text", "this text", "the passage", "this passage", "the paragraph", "the article", "the document",
    "the author", "original text", "given text", "text above", "above text", "text below", "文中", "本文", "上文",
)  # fmt: skip
UNKNOWN = (
    "text does not", "passage does not", "text doesn't", "passage doesn't", "not mentioned", "没有提到", "未提及",
)  # fmt: skip
SHORTER = 0.6  # of the passage's words: a longer summary is none
FIELDS = 2  # facts that must be left of those a model chose itself

_LABELS = "question|q|answer|a|summary|headline|title|main points|问题|问|答案|答|摘要|标题"
_LABEL = re.compile(rf"^[\s*_#>\-]*(?:\(?\d{{1,2}}[.)]\s*)?(?:[*_]*(?:{_LABELS})\s?\d*[*_]*\s?[:：][*_\s]*)?", re.I)
_SAID_LABEL = re.compile(rf"^(?:\*\*)?(?:(?:here (?:is|are)|sure)[^\n:]{{0,60}}|{_LABELS})\s?[:：](?:\*\*)?\s*", re.I)
_ACCORDING = re.compile(
    r"^(?:according to|based on|as stated in|in) (?:the|this) (?:text|passage|paragraph|document|article)"
    r"(?: above)?,? ",
    re.I,
)
_FIELD = re.compile(
    r"^[\s*_#>`\-•]*(?:\(?\d{1,2}[.)]\s*)?[*_`\"]*(?P<name>[^:：\n]{1,60}?)[*_`\"]*\s*[:：]\s*(?P<value>.*)$"
)
_ITEM = re.compile(r"^\s*\(?\d{1,2}[.)]\s", re.M)
_WORD = re.compile(r"[^\W\d_]+(?:[\s,]|$)")  # doctest.run() and read_file keep their small letter
_NONE = re.compile(r"(?:none|null|n/a|unknown|not (?:said|given|mentioned|stated|specified))\.?|", re.I)
_VERDICT = re.compile(r"\W*(?:(?P<yes>yes|supported|是|支持)|(?P<no>no|not|unsupported|不|否))(?![^\W_])", re.I)


def question_request(passage: str) -> list[Message]:
    return user(ASK_QUESTION.format(passage=framed(passage))) + assistant("Question:")


def answer_request(passage: str, question: str) -> list[Message]:
    return user(ASK_ANSWER.format(passage=framed(passage), question=defused(question))) + assistant(ANSWER_BEGINS)


def summary_request(passage: str, form: str) -> list[Message]:
    return user(f"{form}\n\n{framed(passage)}")


def extraction_request(passage: str, fields: Sequence[str]) -> list[Message]:
    ask = ASK_FIELDS.format(fields=defused(", ".join(fields)), passage=framed(passage)) if fields else None
    return user(ask or ASK_FACTS.format(passage=framed(passage)))


def support_request(passage: str, question: str, answer: str) -> list[Message]:
    shown = {"passage": framed(passage), "question": framed(question, "question"), "answer": framed(answer, "answer")}
    return user(ASK_SUPPORT.format(**shown))


def extraction_schema(fields: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of an extraction: the fields that are wanted, or a list of those the model finds."""
    if fields:
        properties: dict[str, Any] = {name: {"type": ["string", "null"]} for name in fields}
    else:
        pair = {"name": {"type": "string"}, "value": {"type": "string"}}
        items = {"type": "object", "properties": pair, "required": list(pair), "additionalProperties": False}
        properties = {"fields": {"type": "array", "items": items}}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def question_in(text: str) -> str:
    """The question on the first line that says something, without label and quotes; empty when there is none."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = _LABEL.sub("", line).strip().strip('"“”*_ ')
    end = max((line.rfind(mark) for mark in QUESTION_MARKS), default=-1)
    return line[: end + 1]


def said_in(text: str) -> str:
    """An answer or a summary without the label or the words about the text that it begins with."""
    said = _ACCORDING.sub("", _SAID_LABEL.sub("", text.strip(), count=1)).strip()
    return said[:1].upper() + said[1:] if _WORD.match(said) else said


def fields_in(answer: Answer, wanted: Sequence[str]) -> dict[str, str | None]:
    """The fields an answer gives, by name: from its JSON where a schema was asked for, else from its lines."""
    if answer.request is not None and answer.request.schema is not None:
        data = answer.data or {}
        pairs = list(data.items()) if wanted else [(one["name"], one["value"]) for one in data.get("fields", [])]
    else:
        found = (_FIELD.match(line) for line in answer.text.splitlines())
        pairs = [(line["name"], line["value"]) for line in found if line]
    known = {" ".join(words(name)): name for name in wanted}
    fields: dict[str, tuple[str, str | None]] = {}  # by the name's words, so that Name and name are one
    for name, value in pairs:
        key = " ".join(words(str(name)))
        if key in fields or not key or (wanted and key not in known):
            continue
        said = " ".join(str(value or "").split()).strip("*_`\"' ")
        fields[key] = known.get(key, " ".join(str(name).split())), None if _NONE.fullmatch(said) else said
    return dict(fields.values())


def strange_number(said: str, *sources: str) -> str | None:
    """A number in what was said that none of the sources has. Numbers of a list's items do not count."""
    known = {token for source in sources for token in words(source)}
    tokens = words(_ITEM.sub("", said))
    return next((token for token in tokens if token.isdecimal() and token not in known), None)


def stands_in(value: str, passage: str) -> bool:
    """Whether the words of a value follow one another in a passage."""
    tokens = words(value)
    return bool(tokens) and f" {' '.join(tokens)} " in f" {' '.join(words(passage))} "


def extracted(fields: dict[str, str | None], passage: str, wanted: Sequence[str]) -> tuple[str, str, Drop | None]:
    """(instruction, JSON, why it is none to keep) of the fields an answer gave.

    Of facts that a model chose itself, those the passage does not hold word for word are left out; where the fields
    were given, one such value spoils the answer.
    """
    held = {name: value for name, value in fields.items() if value is not None and stands_in(value, passage)}
    strange = sorted(name for name, value in fields.items() if value is not None and name not in held)
    if not wanted:  # one value under several names is one fact
        firsts = {value: name for name, value in reversed(held.items())}
        held = {name: value for name, value in held.items() if firsts[value] == name}
    kept: dict[str, str | None] = dict(held)
    if wanted:
        kept = {name: fields.get(name) for name in wanted}
    instruction = EXTRACT.format(names=", ".join(kept))
    said = json.dumps(kept, ensure_ascii=False, indent=2)
    if not fields:
        return instruction, said, Drop("no fields found")
    if (wanted and strange) or len(held) < (1 if wanted else FIELDS):
        return instruction, said, Drop("not supported by its passage", fields=", ".join(strange))
    return instruction, said, None


def fault_in_summary(said: str, passage: str) -> Drop | None:
    """Why a summary is none: as long as its passage, or a piece of it."""
    tokens, whole = words(said), words(passage)
    if len(tokens) > SHORTER * len(whole):
        return Drop("not shorter than its passage", words=len(tokens))
    if len(tokens) > 8 and stands_in(said, passage):
        return Drop("copies its passage")
    return None


def is_question(question: str) -> bool:
    return len(words(question)) >= (4 if is_unspaced(question) else 3)


def overlaps(question: str, passage: str) -> bool:
    """Whether a question shares a content word with its passage."""
    return support(question, passage) > 0


def verdict(text: str) -> bool | None:
    """What a judge begins with: True for yes, False for no, None for neither."""
    found = _VERDICT.match(text)
    return None if found is None else found["yes"] is not None
