"""The grade in a judge's answer, a number on a known scale. What cannot be read is None, never a guess.

Numbers become marks first, each with what it is worth: a number is read whole, so "10" is never 1, and one that is off
the scale, of another scale ("80/100") or one of several ("3-4", "4 or 5") is worth nothing. As with verdicts the
plainest statement decides, and of several the last: in brackets or JSON, behind a label, alone on a line, as so many
out of the highest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .verdicts import plain_text

_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10,
    "零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10,
}  # fmt: skip
_ENGLISH = rf"\b(?:{'|'.join(word for word in _WORDS if word.isascii())})\b"
_NUMERAL = "[零一二两三四五六七八九十]"
_CHINESE = rf"(?<![一-鿿]){_NUMERAL}(?=分|星|$|[\s.,。!！])|(?<=[分为是:打给]){_NUMERAL}(?=分|星)"
_DIGITS = r"(?<![A-Za-z0-9_.,/-])\d{1,6}(?:\.\d{1,6})?(?![A-Za-z]|[\d_]|[.,]\d)"
_RANGE = r"(?:-|–|—|~|～|\bto\b|\bor\b|\band\b|,|\||、|至|到|或)"
_MENTION = re.compile(
    rf"(?P<several>{_DIGITS}(?:\s*{_RANGE}\s*(?:or\s+|and\s+)?\d+(?:\.\d+)?(?!\w))+"
    rf"|\d+(?:\s*[/:]\s*\d+){{2,}}|{_DIGITS}\s*%)"
    rf"|(?P<number>{_DIGITS}|(?i:{_ENGLISH})|{_CHINESE})"
    rf"(?:\s*(?:/|(?i:out\s+of)\b|(?i:of)\b(?=\s*\d))\s*(?P<of>\d{{1,6}}(?:\.0+)?(?![\w%/])|(?i:{_ENGLISH})))?"
    r"(?P<unit>\s*(?:(?i:points?|stars?|pts)\b|分(?![钟之析别为子数级成])|星))?"
)
_STARS = re.compile(r"(?P<full>[★⭐🌟]+)(?P<empty>[☆✩]*)")
# "on a scale of 1 to 5" is no grade, and is taken out before any is looked for.
_SCALE = re.compile(
    r"(?:\b(?:on|using|in)\s+)?(?:\b(?:a|the)\s+)?\bscale\s*(?:of|from|is|:)?\s*(?:from\s*)?\(?\d+\s*(?:-|–|—|to|through)\s*\d+\)?"
    r"|\(\s*\d+\s*(?:-|–|—|to)\s*\d+\s*\)|\b(?:from\s+\d+\s+to|between\s+\d+\s+and)\s+\d+\b"
    r"|(?:从|在)\s*\d+\s*(?:-|–|—|~|～|到|至)\s*\d+\s*分?",
    re.I,
)
FIRST_MARK, LAST_MARK = 0xE200, 0xE7FF
MARK = f"[{chr(FIRST_MARK)}-{chr(LAST_MARK)}]"
_NAME = (
    r"(?:(?i:\b(?:(?:final|overall|total)\s+)?(?:ratings?|scores?|grades?|marks?|verdict|overall|evaluation|judge?ment|"
    r"result))|评分|得分|分数|总分|打分|评级|等级|給分|给分|評価|点数)"
)
_OPEN = r"[\s\"'“‘「(\[{<]*"
_SOME = (
    r"(?:(?i:it|this|the|that|answer|response|assistant|an?|as|at|with|score|rating|grade|of|solid|strong|is|be)\s+)*"
)
_STOP = r"(?=\s*(?:$|[.。!！,;:)\n\"'(—–-]|(?i:because|since|as|for|on|overall|here|due)\b))"
_KINDS = tuple(
    re.compile(pattern, re.M)
    for pattern in (
        rf"\[\[\s*(?P<a>{MARK})\s*\]\]|\\boxed\{{\s*(?P<b>{MARK})\s*\}}",
        rf"[\"']{_NAME}[\"']\s*:\s*[\"']?\s*(?P<a>{MARK})\s*(?=[\"'}},\n]|$)|<{_NAME}>\s*(?P<b>{MARK})\s*</",
        rf"{_NAME}[\"')\]]*(?:\s*(?:[:=]|——?|->|→)|\s+[–-]\s|\s+(?i:is|of|would be|as|to be)\b|\s*(?:是|为))\s*"
        rf"(?:(?i:about|an?|therefore|a solid)\s+)?{_OPEN}(?P<a>{MARK})"
        rf"|\b(?i:rate|give|giving|score|grade|assign|award|deserves?|gets?|earns?|receives?|it'?s)\s+{_SOME}(?P<b>{MARK}){_STOP}"
        rf"|(?:打|给|给出|评为|获得|评|得)(?:了|出)?\s*(?P<c>{MARK})",
    )
)
_ALONE = re.compile(rf"^{_OPEN}({MARK})[\s\"'”’」)\]}}>.。!！,;]*$", re.M)
_BEGUN = re.compile(rf"\A{_OPEN}({MARK})[\"'”)\]]*(?:\s*[:;—–-]\s|,\s|\s*\(|\s*[.。]\s)")
_NAMED = re.compile(rf"^{_OPEN}[^\W\d][\w ]{{0,30}}\s*:\s*({MARK})[\s\"'”’」)\]}}>.。!！,;]*$", re.M)


@dataclass
class _Numbers:
    """The numbers of one text, by their marks."""

    lowest: float
    highest: float
    worth: list[float | None] = field(default_factory=list)
    out_of: list[bool] = field(default_factory=list)  # whether it says of how many, or has a unit

    def mark(self, worth: float | None, out_of: bool) -> str:
        if FIRST_MARK + len(self.worth) > LAST_MARK:
            return "#"
        fits = worth is not None and self.lowest <= worth <= self.highest
        self.worth.append(worth if fits else None)
        self.out_of.append(out_of)
        return chr(FIRST_MARK + len(self.worth) - 1)

    def mention(self, found: re.Match[str]) -> str:
        if found["several"]:
            return self.mark(None, False)
        plain = found["number"][0].isdigit()
        worth, of = _value(found["number"]), found["of"] and _value(found["of"])
        # "one star is missing" and "one of them" are no grades, so a word counts only where a grade is expected.
        return self.mark(worth if of in (None, self.highest) else None, bool(of or (found["unit"] and plain)))

    def stars(self, found: re.Match[str]) -> str:
        full, empty = len(found["full"]), len(found["empty"])
        if full == 1 and not empty:  # a mark for emphasis, or the unit behind a number
            return found[0]
        return self.mark(full if not empty or full + empty == self.highest else None, True)

    def of(self, mark: str) -> float | None:
        return self.worth[ord(mark) - FIRST_MARK]


def grade_in(text: str, lowest: float, highest: float) -> float | None:
    """The grade on the scale from `lowest` to `highest`, ends included; None: unreadable."""
    numbers = _Numbers(lowest, highest)
    plain = re.sub(MARK, "", plain_text(text))
    bare = _SCALE.sub(" ", plain)
    marked = _MENTION.sub(numbers.mention, _STARS.sub(numbers.stars, bare))
    for kind in _KINDS:
        if found := list(kind.finditer(marked)):
            return numbers.of(next(mark for mark in reversed(found[-1].groups()) if mark))
    if begun := _BEGUN.match(marked):
        # "1." begins a list of reasons as well as it says 1
        listed = numbers.of(begun[1]) == 1 and begun[0].rstrip().endswith((".", "。"))
        return None if listed else numbers.of(begun[1])
    for lines in (_ALONE, _NAMED):
        if alone := lines.findall(marked):
            return numbers.of(alone[-1]) if len({numbers.of(mark) for mark in alone}) == 1 else None
    scaled = [worth for worth, out_of in zip(numbers.worth, numbers.out_of, strict=True) if out_of]
    if scaled:
        return scaled[-1]
    return numbers.worth[0] if bare != plain and len(numbers.worth) == 1 else None


def _value(said: str) -> float:
    return float(_WORDS[said.lower()]) if said.lower() in _WORDS else float(said)
