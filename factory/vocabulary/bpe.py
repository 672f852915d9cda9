"""New pieces for BPE tokenizers: merges that go on where the base's end.

Byte-level: the base cuts the corpus, and its tokens are merged on. So every piece can be reached, and what the base
does comes first as before; merges of a freshly trained tokenizer would leave hundreds of pieces out of reach.

With byte fallback (SentencePiece): characters that the base lacks become pieces first, the commonest, until the given
share of all is covered; merges of pieces follow. SentencePiece joins any two neighbours that make a piece, the best
piece first, so a piece is written with a merge for each way to part it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidate
from .families import LETTERS, Family, byte_tokens, symbols_of
from .merging import OTHER, WHOLE, Symbols, learn
from .pieces import Pieces
from .runs import Runs, read_runs, with_unknown

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UTF8 = [byte for byte in range(0xF5) if byte not in (0xC0, 0xC1)]  # the bytes that occur in it
KEPT = 1 << 40  # uses of a piece that is there for its own sake


def propose(
    pieces: Pieces, family: Family, symbols: Symbols, runs: Runs, count: int, min_frequency: int, max_chars: int,
    coverage: float, first: int,
) -> list[Candidate]:  # fmt: skip
    """At most `count` pieces, the most useful first.

    runs       the corpus in the base's tokens, which are these symbols
    coverage   share of the characters without a piece that get one (byte fallback)
    first      the id of the first new piece
    """
    names = pieces.names
    candidates: list[Candidate] = []
    number: dict[int, int] = {}  # symbol -> id
    if family == "byte_level":
        candidates += missing_bytes(pieces)[:count]
    else:
        bytes_of = byte_tokens(pieces)
        for character, times in covering(runs.unknown_characters(), coverage)[:count]:
            parts = tuple(bytes_of[byte] for byte in character.encode())
            number[runs.unknown + ord(character)] = first + len(candidates)
            candidates.append(Candidate(character, parts, times * (len(parts) - 1), times))
        symbols = with_unknown(symbols, [one.piece for one in candidates], runs.unknown)
    merges = learn(runs.sequences(), symbols, count - len(candidates), min_frequency, max_chars)
    made = len(symbols.kind)
    for at, (left, right, saved, uses) in enumerate(zip(*(one.tolist() for one in merges), strict=True)):
        parts = tuple(number.get(symbol, symbol) for symbol in (left, right))
        piece = "".join(candidates[part - first].piece if part >= first else names[part] for part in parts)
        number[made + at] = first + len(candidates)
        candidates.append(Candidate(piece, parts, saved, uses))
    return candidates


def read(
    tokenizer: Tokenizer, pieces: Pieces, family: Family, texts: Iterable[str], allowed: NDArray[np.bool_]
) -> tuple[Symbols, Runs]:
    """A corpus in a tokenizer's tokens, as far as it is of allowed code points; and what the tokens are made of."""
    symbols = symbols_of(pieces, family)
    for at in np.flatnonzero(symbols.kind == WHOLE).tolist():
        text = pieces.bytes_of(at).decode().removeprefix(" ")
        if not allowed[[ord(character) for character in text]].all():  # a normaliser may make it of allowed ones
            symbols.kind[at] = OTHER
    return symbols, read_runs(tokenizer, pieces, family, symbols, texts, allowed)


def missing_bytes(pieces: Pieces) -> list[Candidate]:
    """The bytes of UTF-8 that a byte-level tokenizer has no token for: characters with one in them were lost.

    SmolLM2 lacks eight. Such a token replaces none, so its row begins as that of the nearest byte that has one.
    """
    found = {byte: pieces.vocabulary.get(LETTERS[byte]) for byte in UTF8}
    held = {byte: at for byte, at in found.items() if at is not None}
    nearest = {byte: min(held, key=lambda one: (abs(one - byte), one)) for byte in found if byte not in held}
    return [Candidate(LETTERS[byte], (held[other],), 0, KEPT) for byte, other in nearest.items()]


def covering(counts: Mapping[str, int], share: float) -> list[tuple[str, int]]:
    """The commonest characters that make up `share` of all, the commonest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    sums = np.cumsum([times for _, times in ordered])
    most = int(np.searchsorted(sums, share * sums[-1])) + 1 if len(sums) else 0
    return ordered[:most]


def write(spec: dict[str, Any], family: Family, candidates: Sequence[Candidate], first: int) -> None:
    """Add the candidates to tokenizer.json's `spec`, with the ids from `first` on."""
    vocab, merges = spec["model"]["vocab"], spec["model"]["merges"]
    together = bool(merges) and isinstance(merges[0], str)  # older files write a pair as one string
    names = {at: piece for piece, at in vocab.items()}
    for at, one in enumerate(candidates, first):
        vocab[one.piece] = at
        names[at] = one.piece
        pairs = splits(one.piece, vocab)
        if family == "byte_level" and pairs:  # one way is enough: the one that it was learned by
            pairs = [(names[one.parts[0]], names[one.parts[1]])]
        merges += [" ".join(pair) if together else list(pair) for pair in pairs]


def splits(piece: str, vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, in the order of their ids, as SentencePiece's models are converted."""
    pairs = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
    known = [pair for pair in pairs if pair[0] in vocab and pair[1] in vocab]
    return sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
