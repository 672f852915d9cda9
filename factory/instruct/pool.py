"""The tasks a growing list is drawn from: seeds, what was accepted since, and what is too like either."""

from __future__ import annotations

import heapq
import random
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Protocol

from factory import Drop, digest, text_of
from factory.text.overlap import RougeIndex
from factory.text.words import words

from .bm25 import Bm25Index

CLASSIFICATION = "classification"
_NUMBERED = re.compile(r"(?P<type>[^\W\d]\w*?)[-_. ]?\d+\Z")


class Novelty(Protocol):
    """What is known, and whether a text is too like it."""

    def add(self, key: str, text: str) -> None: ...
    def fault(self, text: str) -> Drop | None: ...
    def grow(self, key: str, text: str) -> None: ...


class ByRouge:
    """Too like is a ROUGE-L F above `threshold` (Wang et al. 2023, section 2.2)."""

    def __init__(self, threshold: float, tokens: Callable[[str], list[str]] = words) -> None:
        self.threshold, self.tokens = threshold, tokens
        self.index = RougeIndex()

    def add(self, key: str, text: str) -> None:
        self.index.add(key, self.tokens(text))

    grow = add

    def fault(self, text: str) -> Drop | None:
        near = self.index.nearest(self.tokens(text), self.threshold)
        return Drop("not novel", of=near[0], rouge_l=round(near[1], 4)) if near else None


class ByBm25:
    """Too like is a BM25 score above `threshold`; BELLE's index holds the seeds alone and never grows."""

    def __init__(self, threshold: float, grows: bool = True) -> None:
        self.threshold, self.grows = threshold, grows
        self.index = Bm25Index()

    def add(self, key: str, text: str) -> None:
        self.index.add(key, words(text))

    def grow(self, key: str, text: str) -> None:
        if self.grows:
            self.add(key, text)

    def fault(self, text: str) -> Drop | None:
        near = self.index.best(words(text))
        return Drop("not novel", of=near[0], bm25=round(near[1], 2)) if near and near[1] > self.threshold else None


def latin_words(text: str) -> list[str]:
    """Words as rouge_score cuts them: runs of a-z and 0-9. Other scripts have none, and are never too like anything."""
    return re.findall(r"[a-z0-9]+", text.lower())


class Pool:
    """The tasks that are known: seeds, and what was accepted, with the draw it came from, each among its kind."""

    def __init__(self, seeds: list[Any], novelty: Novelty, kind_of: Callable[[Any], str] = lambda record: "") -> None:
        self.seeds = seeds
        self.novelty = novelty
        self.kind_of = kind_of
        self.groups: defaultdict[str, list[Any]] = defaultdict(list)
        self.accepted: defaultdict[str, list[Any]] = defaultdict(list)
        self.draws: defaultdict[str, list[int]] = defaultdict(list)
        self._marks = {id(seed): _mark(seed) for seed in seeds}
        for seed in seeds:
            novelty.add(seed["id"], fields_of(seed)[0])
            self.groups[kind_of(seed)].append(seed)

    def too_near(self, instruction: str) -> Drop | None:
        return self.novelty.fault(instruction)

    def accept(self, candidate: Any, draw: int) -> None:
        kind = self.kind_of(candidate)
        self.novelty.grow(candidate["id"], candidate["meta"]["instruction"])
        self.accepted[kind].append(candidate)
        self.draws[kind].append(draw)

    def sample(self, size: int, key: list[Any], kind: str | None = None) -> list[Any]:
        """Seeds of a kind, or of all, drawn by rendezvous hashing (Thaler and Ravishankar 1998): the lowest are taken.

        One seed more changes only the samples it gets into: `size` in n + 1 of them. A seed's number depends on its
        content, not its id: a line put in at the head of a file gives all others new ids.
        """
        salt = bytes.fromhex(digest(key))
        seeds = self.seeds if kind is None else self.groups[kind]
        return heapq.nsmallest(
            size, seeds, key=lambda seed: blake2b(salt + self._marks[id(seed)], digest_size=8).digest()
        )

    def made(self, size: int, draw: int, rng: random.Random, kind: str) -> list[Any]:
        """Some of what was accepted of a kind in draws up to this one."""
        known = bisect_right(self.draws[kind], draw)
        return [self.accepted[kind][at] for at in sorted(rng.sample(range(known), min(size, known)))]


def lowest(records: list[Any], size: int, key: list[Any]) -> list[Any]:
    """A sample of records, drawn as `Pool.sample` draws."""
    salt = bytes.fromhex(digest(key))
    return heapq.nsmallest(size, records, key=lambda one: blake2b(salt + _mark(one), digest_size=8).digest())


def _mark(record: Any) -> bytes:
    return bytes.fromhex(digest(fields_of(record)))


def fields_of(record: Any) -> tuple[str, str, str]:
    """(instruction, input, output) of a record, as its source told them apart, else by the first blank line."""
    prompt, output = text_of(record["prompt"]).strip(), text_of(record["completion"]).strip()
    instruction, given = record["meta"].get("instruction"), record["meta"].get("input")
    if not isinstance(instruction, str) or not prompt.startswith(instruction.strip()):
        instruction, _, given = prompt.partition("\n\n")
    return instruction.strip(), (given if isinstance(given, str) else "").strip(), output


def type_of(record: Any) -> str:
    """A task's type: `type` in its meta, else what stands before the number in its own id (`code-07`), else none."""
    meta = record["meta"]
    if isinstance(meta.get("type"), str):
        return str(meta["type"])
    if found := _NUMBERED.match(str(meta.get("id", ""))):
        return found["type"]
    return CLASSIFICATION if meta.get("is_classification") is True else ""


def is_classification(record: Any) -> bool:
    """Whether a task's outputs are labels, as its source says."""
    return record["meta"].get("is_classification") is True or type_of(record) == CLASSIFICATION
