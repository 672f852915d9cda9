"""Documents in blocks of equal length with next to no padding, none cut short, none seen by another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from factory.text.compiled import njit

from .batches import IGNORED, Example

if TYPE_CHECKING:
    import torch

    from .tokens import Tokens

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Pieces of documents behind one another: their ids, and how many each has."""

    ids: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.ids)


class Blocks(Sequence[Block]):
    """All documents of a file of tokens in blocks of at most `seq_len`; a block is read when it is asked for.

    overlap  tokens that a piece repeats of the one before it: 0 to learn from, 1 to measure, since the first token of
             a piece is never predicted

    Memory is 24 bytes a piece. The order of the blocks says nothing; whoever trains on them shuffles.
    """

    def __init__(self, tokens: Tokens, seq_len: int, overlap: int = 0) -> None:
        self.tokens = tokens
        starts, sizes = cut(tokens.offsets, seq_len, overlap)
        order, self.bounds = pack(sizes, seq_len)
        self.starts, self.sizes = starts[order], sizes[order]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, at: int) -> Block: ...
    @overload
    def __getitem__(self, at: slice) -> list[Block]: ...
    def __getitem__(self, at: int | slice) -> Block | list[Block]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        first, last = self.bounds[at], self.bounds[at + 1]
        spans = zip(self.starts[first:last], self.sizes[first:last], strict=True)
        ids = [np.asarray(self.tokens.ids[start : start + size], np.int64) for start, size in spans]
        return Block(np.concatenate(ids), self.sizes[first:last])

    @property
    def lengths(self) -> Ints:
        """Tokens in each block: [blocks]."""
        ends = np.concatenate([[0], np.cumsum(self.sizes)])
        return np.diff(ends[self.bounds])

    def padding(self, seq_len: int) -> float:
        """Share of the positions of all blocks that holds no token."""
        return 1 - float(self.sizes.sum()) / max(1, len(self) * seq_len)


def cut(offsets: Ints, seq_len: int, overlap: int = 0) -> tuple[Ints, Ints]:
    """(starts, sizes) of pieces of at most `seq_len` tokens, in order: [pieces] each.

    offsets  where each document begins, and the end of the last: [documents + 1]; none is empty
    overlap  how many tokens of the piece before a piece of the same document begins with
    """
    lengths, stride = np.diff(offsets), seq_len - overlap
    counts = np.maximum(1, -((overlap - lengths) // stride))  # ceil((length - overlap) / stride)
    document = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = offsets[:-1][document] + number * stride
    sizes = np.minimum(seq_len, offsets[1:][document] - starts)
    if overlap == 0 and seq_len > 2:
        alone = np.flatnonzero((sizes == 1) & (number > 0))  # nothing in it could be predicted, so it takes one along
        starts[alone] -= 1
        sizes[alone] += 1
        sizes[alone - 1] -= 1
    return starts, sizes


def pack(sizes: Ints, capacity: int) -> tuple[Ints, Ints]:
    """(order, bounds): block k holds the pieces `order[bounds[k]:bounds[k + 1]]`, in the order they had.

    Best-fit decreasing, as in Ding et al. 2024, "Fewer Truncations Improve Language Modeling", section 3: the longest
    piece that is left goes where the least room remains that it fits in. n log(capacity) operations; on real text
    nearly all room is used, since short pieces fill what the long ones left.
    """
    block = _best_fit(sizes, np.argsort(-sizes, kind="stable"), capacity)
    blocks = int(block.max()) + 1 if len(block) else 0
    bounds = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=blocks))])
    return np.argsort(block, kind="stable"), bounds.astype(np.int64)


def packed_rows(examples: Sequence[Example], capacity: int) -> list[list[Example]]:
    """The examples in rows of at most `capacity` tokens, each whole."""
    order, bounds = pack(np.array([len(example) for example in examples], np.int64), capacity)
    return [[examples[at] for at in order[first:last]] for first, last in pairwise(bounds)]


@njit(cache=True, nogil=True)
def _best_fit(sizes: Any, order: Any, capacity: Any) -> Any:
    """The block of each piece. Blocks with equal room are a linked list; a tree over the rooms says which are there."""
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    there = np.zeros(2 * leaves, np.bool_)
    head = np.full(capacity + 1, -1, np.int64)
    after = np.full(len(sizes), -1, np.int64)
    block = np.empty(len(sizes), np.int64)
    opened = 0
    for piece in order:
        size = sizes[piece]
        node = leaves + size  # the least room from `size` on: up while this is a dead end, then down on the left
        while node > 1 and not there[node]:
            while node > 1 and node & 1:
                node >>= 1
            node = node + 1 if node > 1 else 1
        if node > 1:
            while node < leaves:
                node = 2 * node if there[2 * node] else 2 * node + 1
            room = node - leaves
            found = head[room]
            head[room] = after[found]
            while head[room] < 0 and node > 0 and (node >= leaves or not (there[2 * node] or there[2 * node + 1])):
                there[node] = False
                node >>= 1
        else:
            room, found = capacity, opened
            opened += 1
        block[piece] = found
        left = room - size
        after[found] = head[left]
        head[left] = found
        node = leaves + left
        while node > 0 and not there[node]:
            there[node] = True
            node >>= 1
    return block


def collate_blocks(blocks: Sequence[Block], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids, position_ids and labels, each (blocks, longest), padded on the right.

    That positions begin at 0 again with each piece is what keeps the pieces apart: transformers then lets no token see
    another piece, if it is given neither an attention mask nor a cache. The first token of a piece has no label, nor
    has the padding, which stands as a piece of its own.
    """
    import torch

    shape = (len(blocks), max(len(block) for block in blocks))
    ids = np.full(shape, pad_id, np.int64)
    positions = np.zeros(shape, np.int64)
    labels = np.full(shape, IGNORED, np.int64)
    for row, block in enumerate(blocks):
        used, begins = len(block), np.cumsum(block.sizes) - block.sizes
        ids[row, :used] = labels[row, :used] = block.ids
        labels[row, begins] = IGNORED
        positions[row, :used] = np.arange(used) - np.repeat(begins, block.sizes)
        positions[row, used:] = np.arange(shape[1] - used)
    batch = {"input_ids": ids, "position_ids": positions, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in batch.items()}
