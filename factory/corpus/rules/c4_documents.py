"""C4's line rules as rules for whole texts, as NeMo Curator reads them, and mC4's rule on long paragraphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import factory
from factory import Batch, Text

from .limits import Limit, Numbers, drop_outside, share

if TYPE_CHECKING:
    from factory.text.column import TextColumn

Share = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]

END_MARKS = ".?!\"'"
POLICIES = (
    "terms of use|privacy policy|cookie policy|uses cookies|privacy overview|use of cookies|use cookies|"
    "privacy (?:&|and) cookies policy"
)


@factory.step
def c4_documents(
    batch: Batch[Text],
    max_unended: Share | None = 0.85,
    max_boilerplate: Share | None = 0.4,
    max_word_length: Count | None = 1000,
    min_paragraphs: Count | None = None,
    paragraph_chars: Count = 200,
) -> Batch[Text]:
    """Keep texts most lines of which are sentences and few paragraphs of which are policies. Made for English.

    max_unended      share of lines (not blank, stripped) that do not end in . ? ! \" '; 1 for no lines
    max_boilerplate  share of paragraphs, parted by two newlines, that name terms of use, a privacy policy or cookies in
                     one of nine phrases (NeMo looks for six whole notices, too); 1 for a text with lorem ipsum
    max_word_length  characters of the longest word between blanks; a text without words is dropped
    min_paragraphs   how many lines must have at least `paragraph_chars` characters: mC4's rule, with 3
    """
    numbers = batch.measure(shape, paragraph_chars=paragraph_chars)
    words = 1 if max_word_length is not None else None
    return drop_outside(
        batch,
        numbers,
        [
            Limit("too many lines end in no mark", "unended", most=max_unended),
            Limit("too much boilerplate", "boilerplate", most=max_boilerplate),
            Limit("a word too long", "longest", words, max_word_length),
            Limit("too few long paragraphs", "paragraphs", least=min_paragraphs),
        ],
    )


def shape(texts: TextColumn, paragraph_chars: int) -> Numbers:
    """What the rules look at: [texts] each; paragraphs are lines of at least `paragraph_chars` characters."""
    import numpy as np

    from factory.text.counts import longest, sums
    from factory.text.parts import ending_in
    from factory.text.splits import split

    lines, raw = texts.lines, split(texts.texts)
    many = np.diff(lines.rows)
    return {
        "unended": share(many - ending_in(texts.texts, lines, END_MARKS), many, 1),
        "boilerplate": _boilerplate(texts),
        "longest": longest(texts.blank_words.rows, texts.blank_words.chars),
        "paragraphs": sums(raw.rows, raw.chars >= paragraph_chars),
    }


def _boilerplate(texts: TextColumn) -> Any:
    """The share of paragraphs with a phrase of policies."""
    import numpy as np
    import pyarrow.compute as pc

    from factory.text.counts import sums

    parts = pc.split_pattern(texts.column, "\n\n")
    rows = np.concatenate([[0], np.cumsum(pc.list_value_length(parts).to_numpy(zero_copy_only=False))]).astype(np.int64)
    named = pc.match_substring_regex(parts.flatten(), POLICIES, ignore_case=True).to_numpy(zero_copy_only=False)
    filler = pc.match_substring(texts.column, "lorem ipsum", ignore_case=True).to_numpy(zero_copy_only=False)
    return np.where(filler, 1.0, share(sums(rows, named), np.diff(rows), 0))
