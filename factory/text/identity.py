"""A hash of each text of a column, by which texts that were seen before are known again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import njit
from .segments import Texts
from .utf8 import bytes_hash


def identities(texts: Texts) -> NDArray[np.uint64]:
    """A hash of each text's bytes: [texts]. 2 GB/s; of n different texts two agree with probability n² / 2^65."""
    found: NDArray[np.uint64] = _identities(texts.data, texts.offsets)
    return found


@njit(cache=True, nogil=True)
def _identities(data: Any, offsets: Any) -> Any:
    found = np.empty(len(offsets) - 1, np.uint64)
    for text in range(len(found)):
        found[text] = bytes_hash(data, offsets[text], offsets[text + 1])
    return found
