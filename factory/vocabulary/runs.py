"""Texts as runs of a tokenizer's tokens within which pieces may be joined: one word, allowed scripts only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .alphabets import beginnings_shared, blanks
from .families import Family, byte_tokens
from .merging import BEGUN, BLANK, INSIDE, OTHER, WHOLE, Sequences, Symbols
from .pieces import MARKER, Pieces, batches

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class Runs:
    """What texts hold of the allowed scripts, in tokens. A character that the tokenizer spells in fallback bytes is one
    symbol here, with the id `unknown` + its code point.
    """

    unknown: int
    weights: Counter[bytes] = field(default_factory=Counter)  # run of int32 -> how often it stood
    characters: int = 0  # of allowed scripts
    tokens: int = 0  # that they are cut into
    lost: int = 0  # characters in words of which the tokenizer says no more than that it does not know them

    def sequences(self) -> Sequences:
        """The runs of two tokens and more. Sorted, so that the order of texts does not matter."""
        chosen = sorted(run for run in self.weights if len(run) > 4)
        lengths = np.array([len(run) // 4 for run in chosen], np.int64)
        return Sequences(
            np.frombuffer(b"".join(chosen), np.int32),
            np.concatenate([[0], np.cumsum(lengths)]),
            np.array([self.weights[run] for run in chosen], np.int64),
        )

    def unknown_characters(self) -> Counter[str]:
        """How often each character stood that the tokenizer has no piece for."""
        found: Counter[str] = Counter()
        for run, weight in self.weights.items():
            for code in np.frombuffer(run, np.int32) - self.unknown:
                if code >= 0:
                    found[chr(code)] += weight
        return found


def read_runs(
    tokenizer: Tokenizer, pieces: Pieces, family: Family, symbols: Symbols, texts: Iterable[str],
    allowed: NDArray[np.bool_],
) -> Runs:  # fmt: skip
    """All runs of some texts. About 1 s for a million tokens, nearly all of it the tokenizer's."""
    cutter = Cutter(pieces, family, symbols, allowed)
    runs = Runs(len(symbols.kind))
    texts = iter(texts)
    if family == "byte_level" and tokenizer.normalizer is not None:  # what is written is what the pieces are made of
        texts = map(tokenizer.normalizer.normalize_str, texts)
    for portion in batches(texts):
        for text, encoding in zip(portion, tokenizer.encode_batch(portion, add_special_tokens=False), strict=True):
            cutter.add(text, encoding, runs)
    return runs


class Cutter:
    """Finds the runs of one text after the other."""

    def __init__(self, pieces: Pieces, family: Family, symbols: Symbols, allowed: NDArray[np.bool_]) -> None:
        size = len(symbols.kind)
        self.kind = symbols.kind
        self.fallback, self.parts_words = np.zeros(size, bool), np.zeros(size, bool)
        if family == "byte_fallback":  # its words are told by the pieces alone: a text may be one pre-token
            self.fallback[list(byte_tokens(pieces).values())] = True
            self.parts_words[[at for at, name in pieces.names.items() if name.startswith(MARKER)]] = True
        self.counts, self.blank, self.shared = allowed, blanks(), beginnings_shared(allowed)

    def add(self, text: str, encoding: Any, runs: Runs) -> None:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        counted = self.counts[codes] & ~self.blank[codes]
        runs.characters += int(counted.sum())
        if not len(codes) or not len(encoding):
            return
        outside = np.concatenate([[0], np.cumsum(~(counted | self.blank[codes]))])
        ids = np.array(encoding.ids, np.int32)
        offsets = np.array(encoding.offsets, np.int64)
        words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
        start, end = offsets[:, 0], offsets[:, 1]
        fallback, kind = self.fallback[ids], self.kind[ids]
        inside = (end > start) & (outside[end] == outside[start])
        first = fallback & ~_same_as_before(start, fallback)  # of the bytes that spell one character
        first &= counted[np.minimum(start, len(codes) - 1)]
        good = inside & ((kind != BLANK) & (kind != OTHER) | first) & ~self._kept_apart(codes, end, kind)
        begins = np.concatenate([[True], words[1:] != words[:-1]]) | self.parts_words[ids]
        # a blank alone may be joined to what follows it in its word
        lonely = np.flatnonzero(kind == BLANK)
        lonely = lonely[lonely + 1 < len(ids)]
        good[lonely] = good[lonely + 1] & (kind[lonely + 1] != BLANK) & ~begins[lonely + 1]
        symbols = np.where(first, runs.unknown + codes[np.minimum(start, len(codes) - 1)].astype(np.int64), ids)
        self._collect(symbols.astype(np.int32), good, begins, fallback & _same_as_before(start, fallback), runs)
        held = np.concatenate([[0], np.cumsum(counted)])
        runs.tokens += int((inside & (held[end] > held[start])).sum()) + int(good[lonely].sum())

    def _kept_apart(self, codes: NDArray[Any], end: NDArray[Any], kind: NDArray[Any]) -> NDArray[Any]:
        """Parts of blanks, and of characters that have a half which is also one of a character outside."""
        part = (kind == BEGUN) | (kind == INSIDE)
        last = np.maximum(end - 1, 0)
        several = np.bincount(last[part], minlength=len(codes)) > 2
        return part & (self.blank[codes] | (several & self.shared[codes]))[last]  # type: ignore[no-any-return]

    def _collect(
        self, symbols: NDArray[Any], good: NDArray[Any], begins: NDArray[Any], silent: NDArray[Any], runs: Runs
    ) -> None:
        """Add each run: good tokens in a row, of which none but the first begins a word."""
        kept = ~silent
        symbols, good, begins = symbols[kept], good[kept], begins[kept]
        cut = begins | ~good | np.concatenate([[True], ~good[:-1]])
        at = np.flatnonzero(cut)
        whole = symbols.tobytes()
        ends = np.append(at[1:], len(symbols))
        for here, stop in zip(at[good[at]].tolist(), ends[good[at]].tolist(), strict=True):
            runs.weights[whole[4 * here : 4 * stop]] += 1


def _same_as_before(start: NDArray[Any], fallback: NDArray[Any]) -> NDArray[Any]:
    same = (start[1:] == start[:-1]) & fallback[:-1]
    return np.concatenate([[False], same])


def measure(tokenizer: Tokenizer, counts: Mapping[str, int], unknown: int | None) -> Runs:
    """The tokens of some words, given how often each stands."""
    runs = Runs(0)
    for word, times in counts.items():
        cut = [token.id for token in tokenizer.model.tokenize(word)]
        bare = len(word.removeprefix(MARKER))
        runs.characters += times * bare
        runs.tokens += times * len(cut)
        runs.lost += times * bare * (unknown in cut)
    return runs


def with_unknown(symbols: Symbols, characters: Iterable[str], unknown: int) -> Symbols:
    """The symbols of a tokenizer, and behind them one for each code point, of which the given characters are WHOLE."""
    kind = np.full(0x110000, OTHER, np.int8)
    kind[[ord(one) for one in characters]] = WHOLE
    grown = Symbols(kind, np.zeros(0x110000, np.int8), (kind == WHOLE).astype(np.int16))
    return Symbols(*(np.concatenate([a, b]) for a, b in zip(symbols, grown, strict=True)))
