"""A column of texts and what was found in it: words, lines, paragraphs, each found once however many ask."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .segments import Segments, Texts


class TextColumn:
    """Texts of some records. What kernels find in them is kept, so rules that look at the same words share them.

    Kernels and their compiler are loaded when the first is used.
    """

    def __init__(self, column: pa.Array | pa.ChunkedArray) -> None:
        self.column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

    def __len__(self) -> int:
        return len(self.column)

    @cached_property
    def texts(self) -> Texts:
        """The UTF-8 buffer and its offsets."""
        from .segments import buffers

        return buffers(self.column)

    @cached_property
    def words(self) -> Segments:
        """Unicode words; single characters where a script has no spaces."""
        from .segments import words

        return words(self.texts)

    @cached_property
    def blank_words(self) -> Segments:
        """What stands between blanks, punctuation included."""
        from .segments import blank_words

        return blank_words(self.texts)

    @cached_property
    def lines(self) -> Segments:
        """Lines that are not blank, stripped."""
        from .segments import lines

        return lines(self.texts)

    @cached_property
    def paragraphs(self) -> Segments:
        """Runs of lines without a blank line between them."""
        from .segments import paragraphs

        return paragraphs(self.texts, self.lines)

    @cached_property
    def chars(self) -> NDArray[np.int64]:
        """Code points of each text."""
        import pyarrow.compute as pc

        found: NDArray[np.int64] = pc.utf8_length(self.column).to_numpy(zero_copy_only=False).astype("int64")
        return found

    @cached_property
    def identities(self) -> NDArray[np.uint64]:
        """A 64-bit hash of each text's bytes."""
        from .identity import identities

        return identities(self.texts)
