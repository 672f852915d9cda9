"""RefinedWeb's line rules: lines of which little is text are cut, and texts of which much is cut are dropped.

Penedo et al. 2023, "The RefinedWeb Dataset for Falcon LLM", as DCLM (Li et al. 2024) published them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Batch, Drop, Text

from .limits import Limit, Numbers, drop_outside, share, within

if TYPE_CHECKING:
    from factory.text.column import TextColumn

Reading = Literal["dclm", "datamap"]
Share = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
NEVER = 2**31


@factory.step
def refinedweb_lines(
    batch: Batch[Text],
    reading: Reading = "dclm",
    max_uppercase: Share | None = 0.5,
    max_digits: Share | None = 0.999999,
    counters: bool = True,
    min_words: Count = 2,
    max_words: Count | None = None,
    max_word_length: Count | None = None,
    phrases: bool = True,
    max_removed: Share | None = 0.05,
) -> Batch[Text]:
    """Cut lines that are no text; drop texts that lose too much by it. null turns a rule off. Empty lines stay.

    max_uppercase, max_digits  share of a line's characters
    counters         lines such as `12.3K likes` are cut
    min_words, max_words  of a line that stays
    max_word_length  characters of the longest word of a line that stays
    phrases          in lines of at most ten words, `sign-in` before, `Read more...` behind and `items in cart` anywhere
                     are taken out; what is then blank is cut
    max_removed      the share of a text's Unicode words that may go with its lines
    reading          whose counting:
      dclm     the recommended one. Words of a line are what blanks part; shares are of characters, digits those of
               any script; what is left is stripped of blanks
      datamap  Words of a line are Unicode words; shares are of bytes, digits 0 to 9; what is left stays as it is
    """
    options: dict[str, Any] = {
        "reading": reading,
        "max_uppercase": 2.0 if max_uppercase is None else max_uppercase,
        "max_digits": 2.0 if max_digits is None else max_digits,
        "counters": counters,
        "min_words": min_words,
        "max_words": NEVER if max_words is None else max_words,
        "max_word_length": NEVER if max_word_length is None else max_word_length,
        "phrases": phrases,
    }
    limits = [
        Limit("nothing left", "filled", least=1),
        Limit("too many words in lines that were cut", "removed", most=max_removed),
    ]
    numbers, texts = without(batch["text"], **options)
    kept = within(numbers, limits)
    return drop_outside(batch, numbers, limits).set("text", texts.filter(kept))


def without(column: Any, **options: Any) -> tuple[Numbers, Any]:
    """(the share of words in lines that are cut, and the characters left, blanks aside; the texts that are left)."""
    import pyarrow as pa

    from factory.text.column import TextColumn

    found = _cut(TextColumn(column), **options)
    left = pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(found.offsets), pa.py_buffer(found.data))
    numbers = {"filled": found.filled, "removed": share(found.before - found.after, found.before, 0)}
    return numbers, left.cast(column.type)


def _cut(texts: TextColumn, reading: Reading, **options: Any) -> Any:
    from factory.text.line_cuts import cut_lines
    from factory.text.splits import split

    counted = texts.words if reading == "datamap" else texts.blank_words
    how = {"in_bytes": reading == "datamap", "stripped": reading == "dclm"}
    return cut_lines(texts.texts, split(texts.texts), texts.words, counted, **how, **options)


@factory.step
def words_removed(record: Text, before: str, max_removed: Share = 0.05) -> bool:
    """Keep texts that lost few words since they were counted, as DCLM does behind several rules that cut lines.

    before       the field of `meta` that holds the count
    max_removed  the share of these words that may be gone; words are Unicode words, in Chinese characters
    """
    from factory.text.words import words

    counted = record.get("meta", {}).get(before)
    if not isinstance(counted, int | float) or counted <= 0:
        raise Drop("no word count from before", field=before)
    removed = (counted - len(words(record["text"]))) / counted
    if removed > max_removed:
        raise Drop("too many words removed", found=round(removed, 4), most=max_removed)
    return True
