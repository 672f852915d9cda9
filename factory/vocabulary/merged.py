"""The pieces of a second tokenizer that a base lacks, as candidates for it: what Chinese-LLaMA did by hand.

Appending a fresh tokenizer's merges to a byte-level base leaves hundreds of its pieces out of reach, because the base's
merges come first and lead elsewhere. Here each piece is cut as the base, with the pieces added so far, cuts it, and
what that gives is joined: a character's bytes first, then character by character.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import unigram
from .alphabets import beginnings_shared
from .candidates import Candidate
from .families import LETTERS, Family, lacking
from .pieces import MARKER, Pieces
from .scripts import COMMON, LAST, OTHER, SCRIPTS, UNSPACED, table

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def propose(
    tokenizer: Tokenizer, pieces: Pieces, family: Family, second: Pieces, allowed: NDArray[np.bool_], count: int,
    uses: int, first: int,
) -> list[Candidate]:  # fmt: skip
    """At most `count` candidates: the second tokenizer's pieces that the base has not, in the order of their ids."""
    if family == "byte_level":
        folded = Folded(tokenizer, pieces, uses, first, beginnings_shared(allowed))
        for text, _ in texts_of(second, allowed):
            folded.add(text, count)
        return folded.candidates
    scores: dict[str, float] = {}
    if family == "unigram":
        known = dict(pieces.model["vocab"])
        given = dict(second.model["vocab"]) if second.kind == "Unigram" else dict.fromkeys(second.vocabulary, -math.inf)
        scores = unigram.aligned(given, known)
    found: dict[str, Candidate] = {}
    for text, at in texts_of(second, allowed):
        written = _written(text, pieces, second.names[at] if second.kind == "WordPiece" else None)
        if family == "byte_fallback":  # a piece is joined from its characters
            written = [*text.removeprefix(" "), *written]
        for piece in written:
            if len(found) < count and piece not in pieces.vocabulary and piece not in found:
                parts = tuple(token.id for token in tokenizer.model.tokenize(piece.removeprefix("##")))
                found[piece] = Candidate(piece, parts, 0, uses, scores.get(second.names[at], 0.0))
    return list(found.values())


def texts_of(second: Pieces, allowed: NDArray[np.bool_]) -> Iterator[tuple[str, int]]:
    """(text, id) of the second tokenizer's pieces that are whole allowed characters, with a blank in front at the most.

    WordPiece has no blanks: what begins a word has one here, where its script is written with blanks.
    """
    for at in sorted(second.names):
        text = second.text_of(at)
        if at in second.added or not text:
            continue
        bare = text.removeprefix(" ")
        if not bare or any(one.isspace() or not allowed[ord(one)] for one in bare):
            continue
        if second.kind == "WordPiece" and second.names[at] == text and _spaced(text[0]):
            text = f" {text}"
        yield text, at


def _spaced(character: str) -> bool:
    """Whether a character is of a script that is written with blanks between words."""
    place = table()[ord(character)] if ord(character) < LAST else OTHER
    return place == COMMON or SCRIPTS[place] not in UNSPACED


def _written(text: str, pieces: Pieces, name: str | None) -> list[str]:
    """A text as the base may have it as a piece; for WordPiece at the begin of a word or inside, unless `name` says."""
    if pieces.kind == "WordPiece":
        if name is not None:
            return [name]
        return [text[1:]] if text.startswith(" ") else [f"##{text}", text]
    return [text.replace(" ", MARKER) if pieces.marked else text]


class Folded:
    """Byte-level pieces, each as merges behind the base's and those of the pieces before it."""

    def __init__(self, tokenizer: Tokenizer, pieces: Pieces, uses: int, first: int, shared: NDArray[np.bool_]) -> None:
        self.tokenizer, self.pieces, self.uses, self.first, self.shared = tokenizer, pieces, uses, first, shared
        self.candidates: list[Candidate] = []
        self.made: dict[tuple[int, int], int] = {}  # pair -> id, in the order of the merges
        self.ids = dict(pieces.vocabulary)

    def add(self, text: str, most: int) -> None:
        """Add one piece with what it takes to get to it, unless that is more than there may be."""
        piece = "".join(LETTERS[byte] for byte in text.encode())
        if piece in self.ids or any(self.shared[ord(one)] and self._halved(one) for one in text):
            return
        tokens = self._cut(piece)
        if len(self.candidates) + len(tokens) - 1 > most:
            return
        while len(tokens) > 1:
            at = self._next(tokens)
            joined = self._join(tokens[at], tokens[at + 1])
            if joined is None:
                return
            tokens[at : at + 2] = [joined]

    def _halved(self, character: str) -> bool:
        """Whether it takes a half of the character to get to it."""
        return len(self._cut("".join(LETTERS[byte] for byte in character.encode()))) > 2

    def _cut(self, piece: str) -> list[int]:
        tokens = [token.id for token in self.tokenizer.model.tokenize(piece)]
        while pairs := [pair for pair in pairwise(tokens) if pair in self.made]:
            left, right = min(pairs, key=lambda pair: self.made[pair])
            at = 0
            while at + 1 < len(tokens):
                if (tokens[at], tokens[at + 1]) == (left, right):
                    tokens[at : at + 2] = [self.made[left, right]]
                at += 1
        return tokens

    def _next(self, tokens: list[int]) -> int:
        """Where to join: at the first character that is in pieces, else at the begin."""
        data = b""
        for at, token in enumerate(tokens[:-1]):
            data += self._bytes(token)
            if lacking(data):
                return at
        return 0

    def _bytes(self, token: int) -> bytes:
        name = self.candidates[token - self.first].piece if token >= self.first else self.pieces.names[token]
        return bytes(BYTES[letter] for letter in name)

    def _join(self, left: int, right: int) -> int | None:
        """The token of a pair; None where the base has it already, but comes to it in another way."""
        names = [
            self.candidates[one - self.first].piece if one >= self.first else self.pieces.names[one]
            for one in (left, right)
        ]
        piece = "".join(names)
        if piece in self.ids:
            return None
        made = self.first + len(self.candidates)
        self.candidates.append(Candidate(piece, (left, right), 0, self.uses))
        self.made[left, right] = self.ids[piece] = made
        return made


BYTES = {letter: byte for byte, letter in LETTERS.items()}
