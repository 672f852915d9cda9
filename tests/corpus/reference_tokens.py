"""Tokens in plain Python, by the rules that `factory.text.tokens` tells. Slow."""

from __future__ import annotations

import re
import unicodedata

from factory.text.words import MARKS as COMBINING
from factory.text.words import UNSPACED

QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪—–" + QUOTES
PAIR = re.compile(f"[{UNSPACED}][{COMBINING}]*(?:[{UNSPACED}](?<![{COMBINING}])[{COMBINING}]*)?")


def kind(character: str) -> str:
    return unicodedata.category(character) if ord(character) < 0x20000 else ""


def is_decimal(character: str) -> bool:
    return kind(character) == "Nd"


def head(chunk: str) -> int:
    """Characters in the mark that a chunk begins with."""
    if chunk[0] == ".":
        run = len(chunk) - len(chunk.lstrip("."))
        return run if run > 1 else 0
    if chunk[0] == "+" and chunk[1:2] in [*"0123456789"]:
        return 0
    return int(chunk[0] in MARKS + "§%=+" or kind(chunk[0]) in ("So", "Sc"))


def tail(chunk: str) -> int:
    """Characters in the mark that a chunk ends with."""
    last, before = chunk[-1], chunk[-2:-1]
    if last == ".":
        run = len(chunk) - len(chunk.rstrip("."))
        if run > 1:
            return run
        small = before.isalpha() and not before.isupper()
        capitals = before.isupper() and chunk[-3:-2].isupper()
        closing = before != "" and before in MARKS + "%+-"
        return int(bool(small or (before and is_decimal(before)) or capitals or closing))
    if (kind(last) == "Sc" or last == "%") and before and is_decimal(before):
        return 1
    if last in "sS" and before and before in "'’":
        return 2
    return int(last in MARKS or kind(last) == "So")


def contraction(chunk: str) -> int:
    found = re.search(r"(?:(?<=.)[nN]['’][tT]|(?<=.)['’](?:[rRvV][eE]|[lL][lL]|[dDmM]))$", chunk)
    return len(found[0]) if found and len(chunk.encode()) > 2 else 0


def cut(middle: str, at: int, first: int) -> int:
    """Characters in the mark at `at` that cuts what begins at `first`."""
    one, before = middle[at], middle[at - 1] if at > first else ""
    if pair := PAIR.match(middle, at):
        return len(pair[0])
    if kind(one) == "So" or one == "…":
        return 1
    run = re.match(re.escape(one) + "+", middle[at:])
    assert run is not None
    if one == "." and len(run[0]) > 1:
        return len(run[0])
    if not before:
        return 0
    size = len(run[0]) if one in "-–—~" and before.isalpha() else 1
    after = middle[at + size : at + size + 1]
    if not after:
        return 0
    if one in "+-*^" and is_decimal(before) and (is_decimal(after) or after == "-"):
        return 1
    if one == ".":
        return int(before.isalpha() and not before.isupper() and after.isupper())
    if one in ":<>=/":
        return int((before.isalpha() or is_decimal(before)) and after.isalpha())
    return size if one in "-–—~," and before.isalpha() and after.isalpha() else 0


def tokens(text: str) -> list[str]:
    """The tokens of a text."""
    return [token for chunk in text.split() for token in take_apart(chunk)]


def take_apart(chunk: str) -> list[str]:
    found, behind = [], []
    while chunk and (size := head(chunk)):
        found.append(chunk[:size])
        chunk = chunk[size:]
    while chunk and (size := tail(chunk)):
        behind.append(chunk[-size:])
        chunk = chunk[:-size]
    if "://" in chunk[1:] or (len(chunk.encode()) > 4 and re.match(r"ww..", chunk, re.S) and chunk[3] == "."):
        found.append(chunk)
    elif chunk:
        size = contraction(chunk)
        middle, rest = chunk[: len(chunk) - size], chunk[len(chunk) - size :]
        at = first = 0
        while at < len(middle):
            if size := cut(middle, at, first):
                found += [middle[first:at], middle[at : at + size]]
                at = first = at + size
            else:
                at += 1
        found += [middle[first:], rest]
    return [token for token in [*found, *reversed(behind)] if token]
