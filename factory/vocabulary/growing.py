"""From a tokenizer and a corpus to a larger tokenizer: pieces proposed, chosen, and written into its definition."""

from __future__ import annotations

import copy
import json
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from factory import InputError, StepError

from . import bpe, gates, merged, unigram, wordpiece
from .candidates import Candidate, pruned, without
from .families import Family, family_of
from .pieces import Pieces, pieces_of, unbounded
from .protect import within_drift
from .runs import Runs, measure

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ENOUGH = 100_000  # pieces that are looked at where only tokens per character are asked for


class Wanted(NamedTuple):
    """What `extend_vocabulary` was asked for; its docstring says what each means."""

    pieces: int | None
    tokens_per_character: float | None
    allowed: NDArray[np.bool_]
    min_frequency: int = 2
    min_uses: int = 0
    max_chars: int = 16
    coverage: float = 0.9995
    max_drift: float = 0.0


@dataclass(frozen=True)
class Grown:
    """A tokenizer with new pieces, which have the ids from `first` on."""

    tokenizer: Tokenizer
    definition: dict[str, Any]  # as tokenizer.json
    family: Family
    first: int
    added: list[Candidate]
    before: Runs  # the corpus, as far as it is of the allowed scripts, in the old tokens
    after: Runs  # and in the new ones


def grow(
    tokenizer: Tokenizer, name: str, texts: Iterable[str], wanted: Wanted, second: Tokenizer | None = None,
    protected: Sequence[str] = (),
) -> Grown:  # fmt: skip
    """A tokenizer with new pieces, learned from the texts or taken from a `second` tokenizer.

    protected  lines of which at most the share `wanted.max_drift` may be cut otherwise than before
    Raises ModelError, naming `name`, for a kind of tokenizer that has no way to grow, and StepError when there are
    fewer pieces than asked for.
    """
    tokenizer = unbounded(tokenizer)
    pieces = pieces_of(tokenizer)
    family = family_of(pieces, name)
    first = 1 + max(pieces.names)
    propose, counts = _proposer(tokenizer, pieces, family, texts, wanted, second, first)

    def build(some: Sequence[Candidate]) -> Tokenizer:
        return _built(definition_with(pieces, family, some, first))

    def cut(some: Sequence[Candidate]) -> Runs:
        """The corpus in the tokens that there are with some of the candidates."""
        if isinstance(counts, Runs):
            return replace(counts, tokens=counts.tokens - sum(one.saved for one in some))
        return measure(build(some), counts, pieces.unknown)

    def chosen(candidates: list[Candidate]) -> list[Candidate]:
        if wanted.min_uses:
            candidates = pruned(candidates, wanted.min_uses, first)
        if family != "byte_level" or second is not None:
            candidates = _reachable(build, candidates, first)
        if protected:
            candidates = within_drift(tokenizer, build, candidates, first, protected, wanted.max_drift)
        return candidates

    count = wanted.pieces or (ENOUGH if second is None else sys.maxsize)
    proposed = propose(count)
    candidates = chosen(proposed)
    while len(candidates) < (wanted.pieces or 0) and len(proposed) == count:  # some had to go, and there are more
        count *= 2
        proposed = propose(count)
        candidates = chosen(proposed)
    candidates = candidates[: _enough(candidates, wanted, cut)]
    if not candidates or (second is None and wanted.pieces is not None and len(candidates) < wanted.pieces):
        raise StepError(_too_few(len(candidates), len(proposed), wanted, second is not None, cut([]).characters))
    definition = definition_with(pieces, family, candidates, first)
    return Grown(_built(definition), definition, family, first, candidates, cut([]), cut(candidates))


def definition_with(pieces: Pieces, family: Family, candidates: Sequence[Candidate], first: int) -> dict[str, Any]:
    """A tokenizer's definition, as tokenizer.json has it, with the candidates added."""
    found = copy.deepcopy(pieces.definition)
    if isinstance(vocab := found["model"]["vocab"], dict):
        # an added token's id is where it stands in the model's vocabulary, else it moves behind the new pieces
        vocab.update({token["content"]: token["id"] for token in found["added_tokens"]})
    if family == "unigram":
        unigram.write(found, candidates, first)
    elif family == "wordpiece":
        wordpiece.write(found, candidates, first)
    else:
        bpe.write(found, family, candidates, first)
    return found


def _proposer(
    tokenizer: Tokenizer, pieces: Pieces, family: Family, texts: Iterable[str], wanted: Wanted,
    second: Tokenizer | None, first: int,
) -> tuple[Callable[[int], list[Candidate]], Runs | Counter[str]]:  # fmt: skip
    """What gives so many candidates at most, and the corpus: as runs of tokens, or as words with how often each stands.

    The corpus is read once.
    """
    allowed = wanted.allowed
    bounds = wanted.min_frequency, wanted.max_chars, wanted.coverage
    if second is not None:
        given = pieces_of(second)
        return lambda count: merged.propose(
            tokenizer, pieces, family, given, allowed, count, wanted.min_uses, first
        ), Counter()  # fmt: skip
    if family == "wordpiece":
        words = wordpiece.words(tokenizer, texts, allowed)
        return lambda count: wordpiece.propose(tokenizer, pieces, words, count, *bounds), words
    if family == "unigram":
        segments = unigram.segments(tokenizer, texts, allowed)
        return lambda count: unigram.propose(
            tokenizer, pieces, segments, count, wanted.pieces or count, *bounds
        ), segments
    whole, known = tokenizer, pieces
    if family == "byte_level" and (lacking := bpe.missing_bytes(pieces)):  # what is lost is not counted, nor joined
        known = Pieces(definition_with(pieces, family, lacking, first))
        whole = _built(known.definition)
    symbols, runs = bpe.read(whole, known, family, texts, allowed)
    return lambda count: bpe.propose(pieces, family, symbols, runs, count, *bounds, first), runs


def _built(definition: dict[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(definition))


def _reachable(build: Any, candidates: list[Candidate], first: int) -> list[Candidate]:
    """Without the pieces that no text can come to: a longer or likelier one, or an earlier merge, is always taken."""
    while dead := gates.unreachable(build(candidates), range(first, first + len(candidates))):
        candidates = without(candidates, {at - first for at in dead}, first)
    return candidates


def _enough(candidates: Sequence[Candidate], wanted: Wanted, cut: Callable[[Sequence[Candidate]], Runs]) -> int:
    """How many of the candidates are taken. Raises InputError where a number of tokens cannot be reached."""
    if wanted.tokens_per_character is None:
        return wanted.pieces or len(candidates)

    def rate(number: int) -> float:
        """Tokens per character. One token for a whole word that is unknown would be no gain."""
        runs = cut(candidates[:number])
        return (runs.tokens + runs.lost) / max(1, runs.characters)

    enough = bisect_left(range(len(candidates) + 1), -wanted.tokens_per_character, key=lambda number: -rate(number))
    if enough > len(candidates):
        raise InputError(
            f"extend_vocabulary: tokens_per_character {wanted.tokens_per_character:g} is not reached; with all "
            f"{len(candidates):,} pieces that the corpus gives there are {rate(len(candidates)):.3f}"
        )
    if not enough and candidates:
        raise InputError(
            f"extend_vocabulary: tokens_per_character {wanted.tokens_per_character:g} is reached without a new piece; "
            f"the base cuts this corpus into {rate(0):.3f}"
        )
    return enough


def _too_few(found: int, proposed: int, wanted: Wanted, merging: bool, characters: int) -> str:
    if merging:
        return (
            "extend_vocabulary: the tokenizer to merge has no piece of these scripts that the base lacks and can reach"
        )
    if not characters:
        return (
            "extend_vocabulary: the corpus has no character of these scripts. Bring other text, or name other scripts"
        )
    said = f"extend_vocabulary: the corpus gives {proposed:,} pieces that stand {wanted.min_frequency} times or more"
    if found < proposed:
        said += f"; {found:,} of them can be reached, are no rarer than min_uses and leave protected text as it is"
    asked = f"; {wanted.pieces:,} were asked for" if wanted.pieces else ""
    return f"{said}{asked}. Ask for fewer, bring more text, or name other scripts"
