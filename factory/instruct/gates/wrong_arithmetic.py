"""Equations in answers that are wrong, where both sides are numbers that can be worked out exactly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import factory
from factory import Drop, Record

from .turns import fenced, turns

BITS = 4000  # of the largest number that is worked out
LONGEST = 200  # characters of an expression

_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([\d.,]+)\}\s*\{([\d.,]+)\}"), r"(\1/\2)"),
    (re.compile(r"\\(?:times|cdot)(?![a-z])"), "×"),
    (re.compile(r"\\div(?![a-z])"), "÷"),
    (re.compile(r"\\(?:left|right|,|;|!|quad)(?![a-z])"), ""),
    (re.compile(r"\\approx(?![a-z])"), "≈"),
    (re.compile(r"\\[()\[\]]"), " "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\text(?:bf|rm)?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\boxed\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\^\{(\d+)\}"), r"^\1"),
)
_SAME = str.maketrans(
    {
        "＝": "=", "＋": "+", "－": "-", "−": "-", "–": "-", "·": "×", "⋅": "×", "∙": "×", "✕": "×", "＊": "*",
        "／": "/", "（": "(", "）": ")", "％": "%", "，": ", ", "。": ". ", "：": ": ",
        "；": "; ", "²": "^2", "³": "^3",
        "$": "", "€": "", "£": "", "¥": "", "￥": "", "*": "×", "\u00a0": " ", "\u202f": " ",
    }
)  # fmt: skip
_BOLD = re.compile(r"\*\*(?=\S)|(?<=\S)\*\*(?=[\s.,;:!?)]|$)|__")
_INLINE = re.compile(r"`[^`\n]*`")
_LIST = re.compile(r"^\s*(?:[-•–>]|\(?\d{1,3}[.)])\s+")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?")
_FULL_NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,15})?"
# A line that says one of these means another arithmetic, an estimate, or a mistake it speaks of.
_NOT_PLAIN = re.compile(
    r"\bmod(?:ulo|ulus)?\b|\bremainder\b|\br\.?\s?\d|\bbinary\b|\bhex|\boctal\b|\bbase[\s-]?\d|\bxor\b|\bbitwise\b|\bapprox|"
    r"\babout\b|\broughly\b|\baround\b|\bnearly\b|\balmost\b|\bround(?:s|ed|ing)?\b|\bestimat|\bwrong|\bincorrect|"
    r"\bmistake|\berror|\bfalse\b|\binstead\b|\bnot\b|n't\b|\bif\b|\bsuppose\b|\bassum|\bo'clock\b|\b[ap]\.?m\b|"
    r"\bconcat|[≈≠≡≤≥~∼⌊⌈√∑∫!|]|[=!<>:]=|=>|->|→|\\[a-z]|//|余|约|大约|近似|四舍五入|错|误|不|进制|取模|如果|假设",
    re.IGNORECASE,
)
# After such words a number is an argument, or part of an operation written in words.
_WORDED = re.compile(
    r"(?:\b(?:sin|cos|tan|log|ln|exp|sqrt|root|of|over|by|times|plus|minus|and|per|than|squared|cubed|power|from|to|less|"
    r"more|choose|chapter|version|page|in|factorial|mean|average|sum|abs|max|min|gcd|lcm|f|g|h)|[的和乘加减除以个与])\s*\(?\s*$",
    re.IGNORECASE,
)
_SCALE = re.compile(
    r"^\s*(?:hundred|thousand|million|billion|trillion|percent|per\s?cent|[kmb]\b|squared|cubed|times|plus|minus|over|"
    r"divided|multiplied|and a|dozen|/|[百千万亿倍余])",
    re.IGNORECASE,
)
_PERCENT_OF = re.compile(
    rf"(?<![\w.,/+\-×÷^])({_FULL_NUMBER})\s?(?:%|percent\b|per cent\b)\s+of\s+({_FULL_NUMBER})\s*(?:=|is|equals)\s*"
    rf"({_FULL_NUMBER})(?![\w%/^×÷+\-]|[.,]\d|\s*[/×÷+^*(-])",
    re.IGNORECASE,
)


class Value(NamedTuple):
    """What an expression may mean: the value, and by how much it may be off since its numbers may have been rounded."""

    exact: Fraction
    slack: Fraction = Fraction(0)


class Side(NamedTuple):
    """One side of an equation."""

    text: str
    readings: tuple[Value, ...]
    plain: bool  # a number alone
    decimals: int  # of a number alone
    divides: bool
    percent: bool


@factory.step
def wrong_arithmetic(record: Record) -> bool:
    """Drop records with an answer that has a wrong equation in it, such as `12 × 7 = 83` or "15% of 80 is 11".

    Only what is certain counts: both sides must be numbers with + - × ÷ / ^, brackets and percent signs, whole, and
    worked out exactly in fractions. A number with decimals is right when the exact one rounds to it (2 / 3 = 0.67),
    after a division also one without; factors with decimals may have been rounded before. All else is left alone:
    variables, units between numbers, code, equations that stand in the prompt, and lines that speak of estimates,
    remainders, other bases or mistakes.
    """
    for prompt, answer in turns(record):
        if found := wrong_equation(answer, prompt):
            raise Drop("wrong arithmetic", equation=found)
    return True


def wrong_equation(text: str, prompt: str = "") -> str | None:
    """The first equation of the text that is wrong, as it was read."""
    asked = _squeezed(_normal(prompt)) if prompt else ""
    for line in _normal(fenced(text)[1]).split("\n"):
        if "=" not in line and "%" not in line and "percent" not in line.lower():
            continue
        if _NOT_PLAIN.search(line):
            continue
        for said in _wrong(line):
            if _squeezed(said) not in asked:
                return said
    return None


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _normal(text: str) -> str:
    """Signs of one meaning as one sign, without emphasis, inline code and LaTeX's commands for operators."""
    text = _INLINE.sub(" ` ", text)
    for pattern, by in _LATEX:
        text = pattern.sub(by, text)
    text = re.sub(r"(?<=\d)\s?\*\*\s?(?=\d)", "^", text)
    return _BOLD.sub("", text).translate(_SAME)


def _wrong(line: str) -> Iterator[str]:
    for found in _PERCENT_OF.finditer(line):
        share, whole, said = (_fraction(found[at]) for at in (1, 2, 3))
        if not _is_scaled(line[found.end() :]) and abs(share * whole / 100 - said) > _half(found[3], True):
            yield found[0]
    sides = _LIST.sub("", line).split("=")
    for at in range(len(sides) - 1):
        left = _tail(sides[at], at > 0)
        right = _head(sides[at + 1], at + 2 < len(sides))
        if left and right and not (left.plain and right.plain) and not _agree(left, right):
            yield f"{left.text} = {right.text}"


def _agree(left: Side, right: Side) -> bool:
    """Whether some reading of one side is some reading of the other, within what the stated digits say."""
    for one in left.readings:
        for other in right.readings:
            room = one.slack + other.slack
            for side, against in ((left, right), (right, left)):
                if side.plain and (side.decimals or against.divides):
                    room += Fraction(1, 2 * 10**side.decimals)
            pairs = [(one.exact, other.exact)]
            if left.percent != right.percent:  # 3 / 20 × 100 = 15%
                pairs += [(one.exact, other.exact * 100)] if right.percent else [(one.exact * 100, other.exact)]
                room *= 100
            if any(abs(a - b) <= room for a, b in pairs):
                return True
    return False


_OPERATORS = "+-×÷/^"
_TOKEN = re.compile(rf"\s*(?:({_NUMBER.pattern})(%(?!\s*[\d(]))?|([+\-×÷/^()])|(x)(?=\s*[\d(]))")


def _tokens(text: str, at: int = 0) -> tuple[list[str], list[int], int]:
    """Tokens from a place on, where each begins, and where they end: before the first character that is none."""
    found: list[str] = []
    places: list[int] = []
    while match := _TOKEN.match(text, at):
        number, percent, operator, times = match.groups()
        if times and not (found and (found[-1][0].isdigit() or found[-1] == ")")):
            break
        found.append(f"{number}{percent or ''}" if number else operator or "×")
        places.append(match.end() - len(match[0].lstrip()))
        at = match.end()
    return found, places, at


def _head(text: str, between: bool) -> Side | None:
    """The expression that a right side begins with, if what follows leaves it whole."""
    tokens, places, end = _tokens(text)
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        if depth < 0:  # the bracket was opened before the equation
            tokens, end = tokens[:at], places[at]
            break
    after = text[end:]
    if not between or after.strip():
        if re.match(r"[\w%°'\"^\\]|[.,]\d", after) or re.match(r"\s*[(\[{*]|\s+x\b", after) or _is_scaled(after):
            return None
        if re.match(r"\s*[a-zA-Z]\b", after) and not re.match(r"\s*[aI]\b", after):  # a variable
            return None
    return _side(tokens, text[:end])


def _is_scaled(after: str) -> bool:
    return _SCALE.match(after) is not None


def _tail(text: str, between: bool) -> Side | None:
    """The expression that a left side ends with, if what stands before leaves it whole."""
    for start in _starts(text):
        tokens, places, end = _tokens(text, start)
        if end < len(text.rstrip()) or not tokens:
            continue
        depth, first = 0, 0
        for at in range(len(tokens) - 1, -1, -1):
            depth += (tokens[at] == ")") - (tokens[at] == "(")
            if depth < 0:  # a bracket around the equation
                first = at + 1
                break
        if first == len(tokens):
            return None
        begin = places[first]
        before = text[:begin]
        if tokens[first] in "+×÷/^)" or re.search(
            r"[\w%.,)\]}/\\°'\"]$|[+\-×÷/^<>|&:][ \t]*$", before.replace(": ", "; ")
        ):
            return None
        if tokens[first] == "-" and before.strip() and not re.search(r"[;,.(]\s*$", before.replace(":", ";")):
            return None
        word = before.rstrip()
        if _WORDED.search(before) or re.search(r"(?:^|[^\w])[b-zA-HJ-Z]$", word) or re.search(r"\d$", word):
            return None
        if between and not before.strip() and not first:
            return _side(tokens, text[begin:])
        return _side(tokens[first:], text[begin:]) if len(tokens[first:]) > 1 or not before.strip() else None
    return None


def _starts(text: str) -> Iterator[int]:
    """Where an expression may begin that runs to the text's end: after the last character that can be in none."""
    begin = len(text)
    while begin and len(text) - begin <= LONGEST:
        before = text[begin - 1]
        times = before == "x" and re.match(r"\s*[\d(]", text[begin:]) and re.search(r"[\d)]\s*$", text[: begin - 1])
        if not (times or before.isspace() or before in "0123456789+-×÷/^().,%"):
            break
        begin -= 1
    yield begin
    for match in re.finditer(r"[,.;]\s+|[,.]$", text[begin:]):  # "In 2020, 3 + 4 = 7"
        yield begin + match.end()


def _side(tokens: list[str], text: str) -> Side | None:
    if not tokens or len(text) > LONGEST or tokens[-1] in "+-×÷/^(":
        return None
    numbers = [token for token in tokens if token[0].isdigit()]
    if any(re.match(r"0\d", number) for number in numbers):  # dates, codes
        return None
    percents = sum(number.endswith("%") for number in numbers)
    if percents and len(numbers) > percents and {"+", "-"} & set(tokens):  # 80 + 10 %
        return None
    readings = []
    for tight in (False, True):
        try:
            value = _Reader(tokens, text if tight else "").read()
        except (ValueError, ZeroDivisionError):
            continue
        readings.append(value)
    if not readings:
        return None
    if "^" in tokens and len(numbers) == 2 and all(number.isdigit() for number in numbers):  # in code ^ is xor
        readings.append(Value(Fraction(int(numbers[0]) ^ int(numbers[1]))))
    plain = len(numbers) == 1
    decimals = len(numbers[0].rstrip("%").partition(".")[2]) if plain else 0
    divides = bool({"÷", "/"} & set(tokens))
    return Side(text.strip(), tuple(readings), plain, decimals, divides, percents > 0)


def _fraction(number: str) -> Fraction:
    return Fraction(number.rstrip("%").replace(",", "")) / (100 if number.endswith("%") else 1)


def _half(number: str, divides: bool) -> Fraction:
    decimals = len(number.partition(".")[2])
    return Fraction(1, 2 * 10**decimals) if decimals or divides else Fraction(0)


class _Reader:
    """Recursive descent over tokens: + and - below × and ÷ below ^, as usual.

    With `text`, fractions written without blanks bind tighter: 1/2 ÷ 1/4 is 2.
    """

    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens, self.at = tokens, 0
        self.tight = bool(text) and re.search(r"\d/\d", text) is not None and ("÷" in tokens or " / " in text)
        self.scaled = bool({"×", "÷", "/", "^"} & set(tokens))

    def read(self) -> Value:
        value = self._sum()
        if self.at < len(self.tokens):
            raise ValueError("more than one expression")
        return value

    def _next(self, *wanted: str) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at] in wanted:
            self.at += 1
            return self.tokens[self.at - 1]
        return ""

    def _sum(self) -> Value:
        value = self._product()
        while sign := self._next("+", "-"):
            other = self._product()
            exact = value.exact + other.exact if sign == "+" else value.exact - other.exact
            value = Value(exact, value.slack + other.slack)
        return value

    def _product(self) -> Value:
        value = self._signed()
        while sign := self._next("×", "÷", "/"):
            other = self._signed()
            if self.tight and sign == "÷":
                while self._next("/"):
                    other = _divided(other, self._signed())
            value = _times(value, other) if sign == "×" else _divided(value, other)
        return value

    def _signed(self) -> Value:
        if self._next("-"):
            value = self._signed()
            return Value(-value.exact, value.slack)
        base = self._atom()
        if self._next("^"):
            power = self._signed()
            size = max(base.exact.numerator.bit_length(), base.exact.denominator.bit_length())
            if power.exact.denominator != 1 or abs(power.exact) * size > BITS:
                raise ValueError("not worked out")
            found = base.exact ** int(power.exact)
            return Value(
                Fraction(found), abs(base.slack * power.exact * found / base.exact) if base.exact else Fraction(0)
            )
        return base

    def _atom(self) -> Value:
        if self._next("("):
            value = self._sum()
            if not self._next(")"):
                raise ValueError("a bracket is open")
            return value
        if self.at >= len(self.tokens) or not self.tokens[self.at][0].isdigit():
            raise ValueError("a number is due")
        number = self.tokens[self.at]
        self.at += 1
        decimals = len(number.rstrip("%").partition(".")[2])
        slack = Fraction(1, 2 * 10**decimals) if decimals and self.scaled else Fraction(0)
        return Value(_fraction(number), slack / (100 if number.endswith("%") else 1))


def _times(one: Value, other: Value) -> Value:
    return Value(one.exact * other.exact, abs(one.exact) * other.slack + abs(other.exact) * one.slack)


def _divided(one: Value, other: Value) -> Value:
    if abs(other.exact) <= other.slack:
        raise ZeroDivisionError
    found = one.exact / other.exact
    return Value(found, (one.slack + abs(found) * other.slack) / (abs(other.exact) - other.slack))
