"""What kinds of tasks were accepted: types, first words, lengths; and an alarm when they become all alike."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from factory.text.overlap import rouge_l
from factory.text.words import is_unspaced, words

from .tally import cell

LENGTHS = (5, 20, 60)  # words of an output: up to 5, up to 20, up to 60, more
COMMON = 5  # first words named for each type
WINDOW = 50  # accepted tasks that are looked at for collapse
FEWEST = 30  # of them, before anything is said
OPENING = 3  # words
NEAR = 0.5  # ROUGE-L F at which two tasks are near one another; the novelty bound is .7


def verb_of(instruction: str) -> str:
    """The first word of an instruction, which most often is its verb; two characters in unspaced scripts."""
    return opening(instruction, 1)


def opening(instruction: str, size: int = OPENING) -> str:
    """The first `size` words of an instruction; twice as many characters in unspaced scripts."""
    tokens = words(instruction)
    if is_unspaced(instruction):
        return "".join(tokens[: 2 * size])
    return " ".join(tokens[:size])


class Coverage:
    """Accepted tasks by type, first word and length of the output."""

    def __init__(self) -> None:
        self.verbs: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.lengths: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def add(self, record: Any) -> None:
        """Count a record that self-instruct made."""
        name = str(record["meta"].get("type") or "")
        size = record["meta"]["output_words"]
        self.verbs[name][verb_of(record["meta"]["instruction"])] += 1
        self.lengths[name][sum(size > bound for bound in LENGTHS)] += 1

    def table(self, wanted: Mapping[str, int] | None = None) -> str:
        """Type × first word × length, in Markdown; `wanted` are the quotas."""
        names = list(wanted) if wanted else []
        names += sorted(set(self.verbs) - set(names))
        spans = [f"≤ {LENGTHS[0]}", *(f"{low + 1}–{high}" for low, high in pairwise(LENGTHS))]
        head = ["type", *(["wanted"] if wanted else []), "accepted", *spans, f"> {LENGTHS[-1]}", "begin with"]
        rows = [head, ["---"] * len(head)]
        for name in names:
            total = self.verbs[name].total()
            common = ", ".join(f"{cell(verb)} {n}" for verb, n in _most_common(self.verbs[name], COMMON))
            others = len(self.verbs[name]) - COMMON
            common += f" and {others} others" if others > 0 else ""
            quota = [str(wanted.get(name, 0))] if wanted else []
            sizes = [str(self.lengths[name][place]) for place in range(len(LENGTHS) + 1)]
            rows.append([cell(name) or "any", *quota, str(total), *sizes, common])
        said = "What was accepted, by type, by words of the output, and by the first word of the instruction:"
        return "\n".join([said, "", *(f"| {' | '.join(row)} |" for row in rows)])


class Collapse:
    """Whether the latest accepted tasks begin alike, or are near one another.

    bound  share of the latest WINDOW tasks that may begin with one word; half of it for the first three words, and
           for tasks that are near another one
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.latest: deque[tuple[Any, str, str, list[str], bool]] = deque(maxlen=WINDOW)
        self.said: set[str] = set()
        self.now: list[str] = []  # what holds at the moment, for a note of progress

    def add(self, record: Any) -> list[tuple[str, list[Any]]]:
        """(what is the matter, examples) for each way in which tasks became too alike with this one."""
        if not self.bound:
            return []
        instruction = record["meta"]["instruction"]
        tokens = words(instruction)
        near = any(rouge_l(tokens, other) > NEAR for _, _, _, other, _ in self.latest)
        self.latest.append((record, verb_of(instruction), opening(instruction), tokens, near))
        self.now = []
        if len(self.latest) < FEWEST:
            return []
        found = [*self._alike(1, self.bound), *self._alike(2, self.bound / 2), *self._near()]
        new = []
        for key, says, examples in found:
            self.now.append(says)
            if key not in self.said:
                self.said.add(key)
                new.append((says, examples))
        return new

    def _alike(self, field: int, bound: float) -> Iterable[tuple[str, str, list[Any]]]:
        counts = Counter(str(entry[field]) for entry in self.latest)
        beginning, count = _most_common(counts, 1)[0]
        if beginning and count > bound * len(self.latest):
            examples = [entry[0] for entry in self.latest if entry[field] == beginning]
            says = f"{count} of the latest {len(self.latest)} tasks begin with “{beginning}”"
            yield f"{field} {beginning}", says, examples[-3:]

    def _near(self) -> Iterable[tuple[str, str, list[Any]]]:
        count = sum(entry[4] for entry in self.latest)
        if count > self.bound / 2 * len(self.latest):
            says = f"{count} of the latest {len(self.latest)} tasks are near another one (ROUGE-L above {NEAR:g})"
            yield "near", says, [entry[0] for entry in self.latest if entry[4]][-3:]


def _most_common(counts: Counter[str], size: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:size]
