"""Gopher's repetition rules in plain Python, straight from what each system published. Slow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from factory.text.words import _WORDS, words

Shares = dict[str, float]
NAN = float("nan")


def ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty


def ngrams(parts: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(parts[at : at + n]) for at in range(len(parts) - n + 1)]


def later(parts: Sequence[str]) -> list[str]:
    """Second and later occurrences."""
    seen: set[str] = set()
    found = []
    for part in parts:
        if part in seen:
            found.append(part)
        seen.add(part)
    return found


def every(parts: Sequence[str]) -> list[str]:
    """All occurrences of what occurs twice."""
    counts = Counter(parts)
    return [part for part in parts if counts[part] > 1]


def chars(parts: Sequence[str]) -> int:
    return sum(map(len, parts))


def spelt(text: str) -> list[str]:
    """Unicode words as they are written."""
    found = _WORDS.finditer(text.replace("’", "'"))
    return [text[match.start() : match.end()] for match in found]


def covered(parts: Sequence[str], starts: Sequence[int], n: int, size: Callable[[str], int] = len) -> int:
    return sum(size(parts[at]) for at in {at for start in starts for at in range(start, start + n)})


def gopher(text: str, top: list[int], repeated: list[int]) -> Shares:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    joined = [
        "\n".join(inner)
        for part in re.split(r"\n\s*\n", text)
        if (inner := [line.strip() for line in part.split("\n") if line.strip()])
    ]
    parts, seen = words(text), spelt(text)
    found = {
        "words": len(parts),
        "lines": ratio(len(later(lines)), len(lines)),
        "paragraphs": ratio(len(later(joined)), len(joined)),
        "line_chars": ratio(chars(later(lines)), chars(lines)),
        "paragraph_chars": ratio(sum(len(p.replace("\n", "")) for p in later(joined)), chars(lines)),
    }
    for n in top:
        grams = ngrams(parts, n)
        counts = Counter(grams)
        sizes: dict[tuple[str, ...], int] = {}
        for at, gram in enumerate(grams):
            sizes.setdefault(gram, chars(seen[at : at + n]))
        best = max(counts, key=lambda gram: (counts[gram], sizes[gram]), default=())
        starts = [at for at, gram in enumerate(grams) if gram == best and counts[best] > 1]
        found[f"top_{n}"] = ratio(covered(seen, starts, n), chars(seen))
    for n in repeated:
        grams = ngrams(parts, n)
        starts = [at for at, gram in enumerate(grams) if gram in grams[:at]]
        found[f"repeated_{n}"] = ratio(covered(seen, starts, n), chars(seen))
    return found


def datatrove(text: str, top: list[int], repeated: list[int], tokens: Callable[[str], list[str]]) -> Shares:
    lines, paragraphs = re.split(r"\n+", text), re.split(r"\n{2,}", text.strip())
    parts, size = tokens(text), len(text)
    found = {
        "words": len(parts),
        "lines": ratio(len(later(lines)), len(lines)) if text else NAN,
        "paragraphs": ratio(len(later(paragraphs)), len(paragraphs)) if text else NAN,
        "line_chars": ratio(chars(later(lines)), size, NAN),
        "paragraph_chars": ratio(chars(later(paragraphs)), size, NAN),
    }
    for n in top:
        grams = [" ".join(gram) for gram in ngrams(parts, n)]
        gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
        found[f"top_{n}"] = ratio(len(gram) * count, size)
    for n in repeated:
        seen: set[tuple[str, ...]] = set()
        at = again = 0
        while at < len(parts) - n + 1:
            one = tuple(parts[at : at + n])
            if one in seen:
                again += chars(one)
                at += n
            else:
                seen.add(one)
                at += 1
        found[f"repeated_{n}"] = ratio(again, size)
    return found


def dolma(text: str, top: list[int], repeated: list[int]) -> Shares:
    lines, parts = text.split("\n"), text.split()
    found = {
        "words": len(parts),
        "lines": ratio(len(every(lines)), len(lines)),
        "paragraphs": 0,
        "line_chars": chars(every(lines)) / max(1, chars(parts)),
        "paragraph_chars": 0,
    }
    for n in top:
        gram, count = Counter(ngrams(parts, n)).most_common(1)[0] if len(parts) >= n else ((), 0)
        found[f"top_{n}"] = ratio(count * chars(gram), chars(parts))
    for n in repeated:
        counts = Counter(ngrams(parts, n))
        total = sum(count * chars(gram) for gram, count in counts.items())
        found[f"repeated_{n}"] = ratio(sum(c * chars(gram) for gram, c in counts.items() if c > 1), total)
    return found


def _whole(parts: list[str], in_bytes: bool) -> tuple[float, float]:
    if len(parts) == 1:
        return 0.0, 0.0

    def size(some: list[str]) -> int:
        return sum(len(part.encode()) if in_bytes else len(part) for part in some)

    return ratio(len(every(parts)), len(parts), NAN), ratio(size(every(parts)), size(parts), NAN)


def dclm(text: str, top: list[int], repeated: list[int]) -> Shares:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    parts = spelt(text)
    found: dict[str, float] = {"words": len(parts)}
    found["lines"], found["line_chars"] = _whole(lines, False)
    found["paragraphs"], found["paragraph_chars"] = _whole(paragraphs, False)
    for n in top:
        counts = Counter(ngrams(parts, n))
        most = max(counts.values(), default=0)
        size = max((chars(gram) for gram, count in counts.items() if count == most), default=0)
        found[f"top_{n}"] = ratio(most * size, chars(parts)) if most > 1 else 0.0
    for n in repeated:
        counts = Counter(ngrams(parts, n))
        starts = [at for at, gram in enumerate(ngrams(parts, n)) if counts[gram] > 1]
        found[f"repeated_{n}"] = ratio(covered(parts, starts, n), chars(parts))
    return found if text else {**dict.fromkeys(found, NAN), "words": 0}


def datamap(text: str, top: list[int], repeated: list[int]) -> Shares:
    def size(part: str) -> int:
        return len(part.encode())

    parts = spelt(text)
    total = sum(map(size, parts))
    found: dict[str, float] = {"words": len(parts)}
    found["lines"], found["line_chars"] = _whole([part for part in text.split("\n") if part], True)
    found["paragraphs"], found["paragraph_chars"] = _whole([part for part in text.split("\n\n") if part], True)
    for n in [*top, *repeated]:
        grams = ngrams(parts, n)
        counts = Counter(grams)
        starts = [at for at, gram in enumerate(grams) if counts[gram] > 1]
        if n in repeated:
            found[f"repeated_{n}"] = ratio(covered(parts, starts, n, size), total)
        if n in top:
            best = max(counts, key=lambda gram: (counts[gram], sum(map(size, gram))), default=None)
            mine = [at for at in starts if grams[at] == best]
            found[f"top_{n}"] = ratio(covered(parts, mine, n, size), total)
    return found


def nemo(text: str, top: list[int], repeated: list[int]) -> Shares:
    lines, paragraphs = [line for line in text.split("\n") if line.strip()], text.split("\n\n")
    parts, size = text.split(), len(text)
    found: dict[str, Any] = {
        "words": len(parts),
        "lines": ratio(len(later(lines)), len(lines)) if parts else 1.0,
        "paragraphs": ratio(len(later(paragraphs)), len(paragraphs)),
        "line_chars": ratio(chars(later(lines)), chars(lines)),
        "paragraph_chars": ratio(chars(later(paragraphs)), chars(paragraphs)),
    }
    for n in top:
        if len(parts) < n:
            found[f"top_{n}"] = 1.0
            continue
        gram = Counter(ngrams(parts, n)).most_common(1)[0][0]
        found[f"top_{n}"] = (size - len(text.replace(" ".join(gram), ""))) / size
    for n in repeated:
        counts: Counter[tuple[str, ...]] = Counter()
        again = overlap = 0
        for gram in ngrams(parts, n):
            counts[gram] += 1
            if counts[gram] > 1:
                again += chars(gram[overlap:]) + min(n - overlap, n - 1)
                overlap = n
            overlap = max(overlap - 1, 0)
        found[f"repeated_{n}"] = again / size if len(parts) >= n else 1.0
    return found
