"""Two tokenizers on the same lines: tokens, unknown characters and bytes by script, uses of tokens, lines that grew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .gates import not_restored
from .pieces import Pieces, batches, pieces_of, unbounded
from .scripts import SCRIPTS, script_of_each

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

PORTION = 1 << 19  # characters encoded at once; with offsets 150 bytes a token, 30 MB
EXAMPLES = 5


def _zeros() -> NDArray[np.int64]:
    return np.zeros(len(SCRIPTS), np.int64)


@dataclass
class Tally:
    """What one tokenizer made of the lines. Arrays are by script, [len(SCRIPTS)], but `uses`."""

    tokens: NDArray[np.int64] = field(default_factory=_zeros)
    partial: NDArray[np.int64] = field(default_factory=_zeros)  # tokens that are bytes of a character, not characters
    unknown: NDArray[np.int64] = field(default_factory=_zeros)  # characters under an unknown token
    uses: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # [ids]
    broken: int = 0  # lines that do not come back


@dataclass
class Comparison:
    """Counts of the lines, by script where they are arrays, and what each tokenizer made of them."""

    before: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    characters: NDArray[np.int64] = field(default_factory=_zeros)
    bytes: NDArray[np.int64] = field(default_factory=_zeros)  # UTF-8
    words: NDArray[np.int64] = field(default_factory=_zeros)  # between blanks
    lines: int = 0
    longer: int = 0  # lines that have more tokens than before
    grown: list[tuple[str, int, int]] = field(default_factory=list)  # a few of them, tokens before and after
    newly_broken: int = 0  # lines that came back before and do not now
    lost: list[str] = field(default_factory=list)  # a few of these


class Reader:
    """A tokenizer made ready to be counted: which ids are partial characters, which the unknown one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.pieces = unbounded(tokenizer), pieces_of(tokenizer)
        self.size = max(self.pieces.names, default=-1) + 1
        self.partial = np.zeros(self.size, bool)
        self.partial[[token for token in self.pieces.names if is_partial(self.pieces, token)]] = True

    def read(self, lines: list[str], scripts: NDArray[np.uint8], starts: NDArray[np.int64], tally: Tally) -> Any:
        """Add the lines to the tally; (tokens of each line, ids of each line). A token counts to its last character."""
        found: list[Encoding] = self.tokenizer.encode_batch(lines, add_special_tokens=False)
        ids = [one.ids for one in found]
        sizes = np.fromiter(map(len, ids), np.int64, len(ids))
        total = int(sizes.sum())
        flat = np.fromiter(chain.from_iterable(ids), np.int64, total)
        spans = np.fromiter(
            chain.from_iterable(chain.from_iterable(one.offsets for one in found)), np.int64, 2 * total
        ).reshape(total, 2)
        script = scripts[np.repeat(starts[:-1], sizes) + np.maximum(spans[:, 1] - 1, 0)]
        tally.tokens += np.bincount(script, minlength=len(SCRIPTS))
        tally.partial += np.bincount(script[self.partial[flat]], minlength=len(SCRIPTS))
        if not len(tally.uses):
            tally.uses = np.zeros(self.size, np.int64)
        tally.uses += np.bincount(flat, minlength=self.size)
        if self.pieces.unknown is not None:
            lost = flat == self.pieces.unknown
            weights = spans[lost, 1] - spans[lost, 0]
            tally.unknown += np.bincount(script[lost], weights, len(SCRIPTS)).astype(np.int64)
        return sizes, ids


def is_partial(pieces: Pieces, token: int) -> bool:
    """Whether a token stands for bytes rather than characters: `<0x41>`, and pieces that are no whole characters."""
    fallback = pieces.byte_fallback and len(pieces.names[token]) == 6 and pieces.names[token].startswith("<0x")
    return fallback or pieces.text_of(token) is None


def compare(before: Tokenizer, after: Tokenizer, lines: Iterable[str]) -> Comparison:
    """Both tokenizers on the lines, in bounded memory: 1.6 s of CPU a MB, mostly in encoding, on all cores.

    Empty lines are passed over. A line is encoded by itself, so what a tokenizer does across newlines is not seen.
    """
    found, old, new = Comparison(), Reader(before), Reader(after)
    for batch in batches((line for line in lines if line), PORTION):
        starts = np.concatenate([[0], np.cumsum(np.fromiter(map(len, batch), np.int64, len(batch)))])
        codes = np.frombuffer("".join(batch).encode("utf-32-le", "replace"), np.uint32)
        scripts = script_of_each(codes, starts)
        found.characters += np.bincount(scripts, minlength=len(SCRIPTS))
        size = 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF) + (codes > 0xFFFF)
        found.bytes += np.bincount(scripts, size, len(SCRIPTS)).astype(np.int64)
        found.words += np.bincount(scripts[_word_starts(codes, starts)], minlength=len(SCRIPTS))
        old_sizes, old_ids = old.read(batch, scripts, starts, found.before)
        new_sizes, new_ids = new.read(batch, scripts, starts, found.after)
        found.lines += len(batch)
        longer = np.flatnonzero(new_sizes > old_sizes)
        found.longer += len(longer)
        room = EXAMPLES - len(found.grown)
        found.grown += [(batch[at], int(old_sizes[at]), int(new_sizes[at])) for at in longer[:room]]
        lost_before = set(not_restored(old.tokenizer, old.pieces, batch, old_ids))
        lost_after = not_restored(new.tokenizer, new.pieces, batch, new_ids)
        found.before.broken += len(lost_before)
        found.after.broken += len(lost_after)
        newly = [batch[at] for at in lost_after if at not in lost_before]
        found.newly_broken += len(newly)
        found.lost += newly[: EXAMPLES - len(found.lost)]
    return found


def _word_starts(codes: NDArray[np.uint32], starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a run of characters between blanks begins."""
    blank = np.isin(codes, (0x20, 0x09, 0x0D, 0x0B, 0x0C, 0xA0, 0x3000))
    first = np.ones(len(codes), bool)
    first[1:] = blank[:-1]
    first[starts[:-1]] = True
    return first & ~blank
