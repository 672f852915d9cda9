"""What each new token of a vocabulary is good for: how often texts use it, and how many tokens that saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .pieces import Pieces, batches, encoded, unbounded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BEGIN = "\n"  # what a piece's text stands behind when its cost before is looked up


class Use(NamedTuple):
    """A new token: its piece as text, how often it was used, and the tokens saved by that."""

    token: int
    text: str
    uses: int
    saved: int


def uses_of(before: Tokenizer, after: Pieces, new: Sequence[int], uses: NDArray[np.int64]) -> list[Use]:
    """A `Use` for each of `new` that is whole characters, in their order.

    uses  [ids of `after`]: how often each was used

    A token's text costs in `before` what it adds to a line at the begin of which it stands. Real neighbours may share
    a token with it, so the savings of all together are not exactly the tokens of a text.
    """
    texts = {token: text for token in new if (text := after.text_of(token))}
    before = unbounded(before)
    begin = len(encoded(before, [BEGIN])[0])
    cut = (ids for batch in batches(BEGIN + text for text in texts.values()) for ids in encoded(before, batch))
    found = []
    for (token, text), ids in zip(texts.items(), cut, strict=True):
        used = int(uses[token]) if token < len(uses) else 0
        shown = after.names[token] if after.names[token].startswith("##") else text
        found.append(Use(token, shown, used, used * (max(1, len(ids) - begin) - 1)))
    return found


def best(found: Sequence[Use], count: int) -> list[Use]:
    """Those that saved most, most first; unused ones are none."""
    return sorted((one for one in found if one.saved), key=lambda one: (-one.saved, one.token))[:count]


def worst(found: Sequence[Use], count: int) -> list[Use]:
    """Those that saved least, least first; the longest text first among equals, for it has no excuse."""
    return sorted(found, key=lambda one: (one.saved, one.uses, -len(one.text), one.token))[:count]
