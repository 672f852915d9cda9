"""Which new pieces have to go so that a protected text is cut as before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from . import gates
from .candidates import Candidate, roots, without
from .pieces import encoded, unbounded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Build = Callable[[Sequence[Candidate]], "Tokenizer"]


def within_drift(
    before: Tokenizer, build: Build, candidates: Sequence[Candidate], first: int, lines: Sequence[str], most: float
) -> list[Candidate]:
    """The candidates without those that change more than `most` (a share) of the lines.

    In a line that changed, new pieces come from some that are made of the base's tokens alone; without these the line
    is as before. Those that change most lines go first. What they had hidden may show then, so it is looked at again.
    """
    kept = list(candidates)
    while len(changed := gates.drifted(before, build(kept), lines)) > most * len(lines):
        found = roots(kept, first)
        cut = encoded(unbounded(build(kept)), [lines[at] for at in changed])
        guilty = [{root for one in ids if one >= first for root in found[one - first]} for ids in cut]
        if not all(guilty):  # a cut that changed without a new token in it is none of a piece's doing
            guilty = [some for some in guilty if some]
        if not guilty:
            return kept
        kept = without(kept, _greediest(guilty, len(guilty) - int(most * len(lines))), first)
    return kept


def _greediest(guilty: list[set[int]], lines: int) -> set[int]:
    """Places of pieces without which at least so many lines are free of all that change them."""
    gone: set[int] = set()
    while lines > 0:
        worst, _ = min(Counter(root for some in guilty for root in some).items(), key=lambda item: (-item[1], item[0]))
        gone.add(worst)
        for some in guilty:
            some.discard(worst)
        free = sum(not some for some in guilty)
        guilty, lines = [some for some in guilty if some], lines - free
    return gone
