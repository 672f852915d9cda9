"""Pieces that may be added to a vocabulary: what each is made of, and what goes when one of them goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple


class Candidate(NamedTuple):
    """A new piece. `parts` are the ids that it stands for: of the base's tokens, or of earlier candidates, which are
    numbered from the first free id on.
    """

    piece: str
    parts: tuple[int, ...]
    saved: int  # tokens that it saves on the corpus when those before it are there
    uses: int  # times that the corpus has it when all are there
    score: float = 0.0  # Unigram: its log-probability


def needed(candidates: Sequence[Candidate], first: int) -> set[int]:
    """The candidates that others are made of, by place."""
    return {part - first for one in candidates for part in one.parts if part >= first}


def without(candidates: Sequence[Candidate], dropped: Collection[int], first: int) -> list[Candidate]:
    """The candidates that stay when some, by place, are dropped: those that are made of these go, too."""
    gone = set(dropped)
    renumbered: dict[int, int] = {}
    kept: list[Candidate] = []
    for place, one in enumerate(candidates):
        if place in gone or any(part - first in gone for part in one.parts):
            gone.add(place)
            continue
        renumbered[first + place] = first + len(kept)
        kept.append(one._replace(parts=tuple(renumbered.get(part, part) for part in one.parts)))
    return kept


def pruned(candidates: Sequence[Candidate], min_uses: int, first: int) -> list[Candidate]:
    """The candidates without those that the corpus uses less than `min_uses` times and no other needs, in turn."""
    found = list(candidates)
    while True:
        held = needed(found, first)
        rare = {place for place, one in enumerate(found) if one.uses < min_uses and place not in held}
        if not rare:
            return found
        # what a piece that goes had taken up falls to its parts again
        for place in rare:
            for part in found[place].parts:
                if part >= first:
                    held_by = found[part - first]
                    found[part - first] = held_by._replace(uses=held_by.uses + found[place].uses)
        found = without(found, rare, first)


def base_parts(candidates: Iterable[Candidate], first: int) -> list[tuple[int, ...]]:
    """For each candidate the base's tokens that it replaces, in order."""
    found: list[tuple[int, ...]] = []
    for one in candidates:
        found.append(tuple(base for part in one.parts for base in (found[part - first] if part >= first else (part,))))
    return found


def roots(candidates: Sequence[Candidate], first: int) -> list[frozenset[int]]:
    """For each candidate the places of those it goes back to that are made of the base's tokens alone: when they are
    gone, so is it.
    """
    found: list[frozenset[int]] = []
    for place, one in enumerate(candidates):
        inner = [found[part - first] for part in one.parts if part >= first]
        found.append(frozenset().union(*inner) if inner else frozenset([place]))
    return found
