"""Rules in plain Python, straight from what their authors published: what the kernels must agree with. Slow."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

from factory.text.words import MARKS, UNSPACED, is_unspaced, words

Tokens = Callable[[str], list[str]]
NAN = float("nan")
GOPHER_BULLETS = ("•", "‣", "▪", "●", "◦", "-", "*")
NEMO_BULLETS = ("•", "‣", "⁃", "⁌", "⁍", "∙", "○", "●", "◘", "◦", "⦾", "⦿")
NEMO_ELLIPSES = ("...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more")
DATATROVE_MARKS = set(string.punctuation + "–—…„“”’´«»►━∶、，．：；！？％～（）【】「」《》〈〉１")


def ratio(part: float, whole: float, empty: float = NAN) -> float:
    return part / whole if whole else empty


def is_terminal(character: str) -> bool:
    from factory.corpus.rules.terminals import TERMINALS

    return character in TERMINALS


def alphabetic(parts: list[str]) -> int:
    return sum(any(map(str.isalpha, part)) for part in parts)


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def stop_counts(parts: list[str], wanted: list[str]) -> dict[str, int]:
    met = [part for part in parts if part in set(wanted)]
    return {"stop_words": len(met), "distinct_stop_words": len(set(met))}


def gopher(text: str, stop: list[str]) -> dict[str, Any]:
    parts, lines = text.split(), lines_of(text)
    return {
        "words": len(parts),
        "mean_length": ratio(sum(map(len, parts)), len(parts)),
        "hash_signs": ratio(text.count("#"), len(parts)),
        "ellipses": ratio(text.count("...") + text.count("…"), len(parts)),
        "bullets": ratio(sum(line.startswith(GOPHER_BULLETS) for line in lines), len(lines), 0),
        "ellipsis_lines": ratio(sum(line.endswith(("...", "…")) for line in lines), len(lines), 0),
        "alphabetic": ratio(alphabetic(parts), len(parts)),
        **stop_counts(words(text), stop),
    }


def datatrove(text: str, stop: list[str], tokens: Tokens) -> dict[str, Any]:
    parts = tokens(text)
    letters = [word for word in stop if len(word) == 1 and is_unspaced(word)]
    worded = [part for part in parts if any(c not in DATATROVE_MARKS and not is_terminal(c) for c in part)]
    lines = text.split("\n")[: -1 if not text or text.endswith("\n") else None]
    return {
        "words": len(worded),
        "mean_length": ratio(sum(map(len, worded)), len(worded)),
        "hash_signs": ratio(text.count("#"), len(parts)),
        "ellipses": ratio(text.count("...") + text.count("…"), len(parts)),
        "bullets": ratio(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines), 0),
        "ellipsis_lines": ratio(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines), 0),
        "alphabetic": ratio(alphabetic(parts), len(parts)),
        **stop_counts([part for part in parts if part not in letters] + [w for w in words(text) if w in letters], stop),
    }


def dolma(text: str, stop: list[str]) -> dict[str, Any]:
    parts, lines = text.split(), text.split("\n")
    return {
        "words": len(parts),
        "mean_length": float(median(map(len, parts))) if parts else 0.0,
        "symbols": ratio(sum("#" in part or "…" in part for part in parts), len(parts), 0),
        "bullets": ratio(sum(line.startswith(("*", "-")) for line in lines), len(lines), 0),
        "ellipsis_lines": ratio(sum(line.endswith("…") for line in lines), len(lines), 0),
        "alphabetic": ratio(alphabetic(parts), len(parts), 0),
        **stop_counts(parts, stop),
    }


def dclm(text: str, stop: list[str]) -> dict[str, Any]:
    parts, lines = text.split(), lines_of(text)
    symbols = sum(text.count(sign) for sign in ("#", "...", ". . .", "…"))
    return {
        "words": len(parts),
        "mean_length": ratio(sum(map(len, parts)), len(parts)),
        "symbols": ratio(symbols, len(parts)),
        "bullets": ratio(sum(line.startswith(("●", "•", "*", "-")) for line in lines), len(lines), 0),
        "ellipsis_lines": ratio(sum(line.endswith(("...", ". . .", "…")) for line in lines), len(lines), 0),
        "alphabetic": ratio(alphabetic(parts), len(parts)),
        **stop_counts([part.casefold() for part in parts], stop),
    }


def datamap(text: str, stop: list[str]) -> dict[str, Any]:
    parts = text.split()
    every, filled = text.split("\n"), [line for line in text.split("\n") if line]
    symbols = sum(text.count(sign) for sign in ("#", "...", ". . .", "…"))
    bullets = sum(line.startswith(("●", "•", "*", "-")) for line in every)
    return {
        "words": len(parts),
        "mean_length": ratio(sum(len(part.encode()) for part in parts), len(parts)),
        "symbols": symbols / max(1, len(parts) - 2 * text.count(". . .")),
        "bullets": ratio(bullets, len(every), 0),
        "ellipsis_lines": ratio(sum(line.endswith(("...", ". . .", "…")) for line in filled), len(filled), 0),
        "alphabetic": ratio(alphabetic(parts), len(parts)) if len(parts) != 1 else NAN,
        **stop_counts([part.casefold() for part in parts], stop),
    }


def nemo(text: str, stop: list[str]) -> dict[str, Any]:
    parts, lines = text.split(), lines_of(text)
    symbols = sum(part in NEMO_ELLIPSES or len(re.findall("#+", part)) / len(part) > 0.5 for part in parts)
    closing = tuple(NEMO_ELLIPSES)
    return {
        "words": len(parts),
        "mean_length": ratio(sum(map(len, parts)), len(parts), 0),
        "symbols": ratio(symbols, len(parts), 1),
        "bullets": ratio(sum(line.startswith(NEMO_BULLETS) for line in lines), len(lines), 1),
        "ellipsis_lines": ratio(sum(line.lower().endswith(closing) for line in lines), len(lines), 1),
        "alphabetic": ratio(alphabetic(parts), len(parts), 0),
        **stop_counts(parts, stop),
    }


def fineweb(text: str, reading: str, short: int, tokens: Tokens) -> dict[str, Any]:
    lines, quotes, found = text.split("\n"), "\"'”’»›」』)]）】…", tokens(text)
    if reading == "fineweb":
        lines = lines_of(text)
        alone = sum(bool(re.match(f"[{UNSPACED}]", c)) and not re.match(f"[{MARKS}]", c) for c in text)
        size, count = sum(map(len, lines)), len(text.split()) + alone
    else:
        size, count = len(text.replace("\n", "")), len(found)
        if reading == "datatrove":
            lines = [line for line in lines if line.strip()]
    ends = {
        "fineweb": lambda c: is_terminal(c) or c in quotes,
        "datatrove": is_terminal,
        "datatrove_first": ".'\"!?".__contains__,
    }
    seen: Counter[str] = Counter()
    again = 0
    for line in lines:
        again += len(line) * (seen[line] > 0)
        seen[line] += 1
    return {
        "lines": len(lines) if any(lines) else 0,
        "ended_lines": ratio(sum(bool(line) and ends[reading](line[-1]) for line in lines), len(lines), 0),
        "short_lines": ratio(sum(len(line) <= short for line in lines), len(lines), 0),
        "repeated_chars": ratio(again, size, 0),
        "newlines": ratio(text.count("\n"), count),
    }


CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
TITLES = {
    "mr",
    "mrs",
    "ms",
    "dr",
    "prof",
    "st",
    "sr",
    "jr",
    "gen",
    "rep",
    "sen",
    "col",
    "lt",
    "capt",
    "rev",
    "hon",
    "vs",
    "no",
    "fig",
    "eq",
    "al",
    "vol",
    "pp",
    "ed",
}
CLOSING = "\"')\\]”’»）」』】"


def sentences(line: str) -> int:
    """One, and one more for each . ? ! or wide mark behind which another begins."""
    count = 1
    for found in re.finditer(rf"[.?!。！？｡](?=[{CLOSING}]*(\s*)(\S))", line):
        blank, following = found[1], found[2]
        if following in ".?!。！？｡" and not blank:
            continue
        if found[0] in ".?!":
            small = following.isalpha() and not following.isupper()
            small = small and (ord(following) < 0x250 or 0x370 <= ord(following) < 0x530)
            before = re.search(r"(?<![^\W\d_])[a-zA-Z]+$", line[: found.start()]) if found[0] == "." else None
            if not blank or small or (before and (len(before[0]) == 1 or before[0].lower() in TITLES)):
                continue
        count += 1
    return count


def lower(text: str) -> str:
    """ASCII letters in small."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def c4(text: str, reading: str = "tfds", least: int | None = None, ends: str | None = None) -> dict[str, Any]:
    """Sentences and lines that stay, what drops the text, and the text that is left."""
    least = {"tfds": 5, "datatrove": 3}[reading] if least is None else least
    ends = {"tfds": '.?!"', "datatrove": ".?!\"'"}[reading] if ends is None else ends
    kept, count = [], 0
    for line in lines_of(text):
        before = line.split()
        if any(len(word) > 1000 for word in before):
            continue
        line = CITATION.sub("", line)
        if ends and (not line.endswith(tuple(ends)) or line.endswith("...")):
            continue
        if len(before if reading == "datatrove" else line.split()) < least:
            continue
        if "lorem ipsum" in lower(line):
            return {"sentences": count, "lines": len(kept), "banned": "lorem ipsum", "text": None}
        if "javascript" in lower(line):
            continue
        if "{" in line:
            return {"sentences": count, "lines": len(kept), "banned": "curly bracket", "text": None}
        if any(phrase in lower(line) for phrase in POLICIES):
            continue
        count += sentences(line)
        kept.append(line)
    return {"sentences": count, "lines": len(kept), "banned": None, "text": "\n".join(kept).strip()}


def same(found: Any, expected: Any) -> bool:
    return bool(found == expected or (math.isnan(expected) and math.isnan(found)) or abs(found - expected) < 1e-12)
