"""C4's rules: lines that are no sentences are cut, and pages of which too little is left are dropped.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 2.2,
and the code that made the data set (TensorFlow Datasets, text/c4_utils.py).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Batch, Text

from .limits import Limit, Numbers, drop_outside, within

Reading = Literal["tfds", "datatrove"]
Count = Annotated[int, Field(ge=0)]

END_MARKS = {"tfds": '.?!"', "datatrove": ".?!\"'"}
MIN_WORDS = {"tfds": 5, "datatrove": 3}
MIN_SENTENCES = {"tfds": 3, "datatrove": 5}


@factory.step
def c4(
    batch: Batch[Text],
    reading: Reading = "tfds",
    end_marks: list[str] | None = None,
    min_words: Count | None = None,
    max_word_length: Count = 1000,
    min_sentences: Count | None = None,
    citations: bool = True,
    javascript: bool = True,
    policy: bool = True,
    lorem_ipsum: bool = True,
    curly_bracket: bool = True,
) -> Batch[Text]:
    """Cut the lines that C4 cuts, and drop texts with too few sentences left. Made for English.

    Lines are parted at newlines, stripped, and join the text again with one newline between. ASCII letters count in
    either case. Sentences are parted at . ? ! and a blank with no small letter behind it, not behind one letter or an
    abbreviation such as Dr., and at 。！？; NLTK's trained model, which others ask, knows more abbreviations.

    end_marks        characters a line must end in, and not in `...`; [] for any, null for the reading's
    min_words        words, parted by blanks, of a line that stays; 0 for any, null for the reading's
    max_word_length  characters; a line with a longer word is cut; 0 for any
    min_sentences    of a text that stays; 0 for any, null for the reading's
    citations        [1], [edit] and [citation needed] are taken out of lines
    javascript       lines that name it are cut
    policy           lines with terms of use, privacy policy, cookie policy, uses/use of/use cookies are cut
    lorem_ipsum, curly_bracket  texts with these in a line that would stay are dropped
    reading          whose numbers:
      tfds       the recommended one, which made C4. . ? ! \" end lines; 5 words a line, citations aside; 3 sentences
      datatrove  also ' ends lines; 3 words a line, citations counted; 5 sentences
    """
    marks = END_MARKS[reading] if end_marks is None else "".join(end_marks)
    least = MIN_SENTENCES[reading] if min_sentences is None else min_sentences
    flags = {"javascript": javascript, "policy": policy, "lorem_ipsum": lorem_ipsum, "curly_bracket": curly_bracket}
    cut = sorted(name for name, wanted in flags.items() if wanted)
    numbers, texts = cleaned(
        batch["text"],
        marks,
        MIN_WORDS[reading] if min_words is None else min_words,
        max_word_length,
        cut,
        citations,
        words_before_citations=reading == "datatrove",
    )
    limits = [
        Limit("lorem ipsum", "lorem", most=0),
        Limit("curly bracket", "curly", most=0),
        Limit("too few sentences", "sentences", least=least),
        Limit("no lines left", "lines", least=1),
    ]
    # The numbers come with the text, for as much: kept apart for the next build they would spare nothing.
    kept = within(numbers, limits)
    return drop_outside(batch, numbers, limits).set("text", texts.filter(kept))


def cleaned(
    column: Any, end_marks: str, min_words: int, max_word_length: int, cut: list[str], citations: bool,
    words_before_citations: bool,
) -> tuple[Numbers, Any]:  # fmt: skip
    """(sentences and lines that stay, and whether lorem ipsum or a curly bracket is met; the texts that are left)."""
    import pyarrow as pa

    from factory.text.c4_lines import BRACE, CITATIONS, JAVASCRIPT, LOREM_IPSUM, POLICY, WORDS_BEFORE_CITATIONS, clean
    from factory.text.column import TextColumn
    from factory.text.passes import lines_of

    flags = {"javascript": JAVASCRIPT, "policy": POLICY, "lorem_ipsum": LOREM_IPSUM, "curly_bracket": BRACE}
    taken = CITATIONS * citations + WORDS_BEFORE_CITATIONS * words_before_citations
    texts = TextColumn(column)
    bits = sum(flags[name] for name in cut)
    found = clean(texts.texts, lines_of(texts), end_marks, min_words, max_word_length, bits, taken)
    left = pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(found.offsets), pa.py_buffer(found.data))
    numbers = {"sentences": found.sentences, "lines": found.lines}
    met = {"lorem": found.banned == LOREM_IPSUM, "curly": found.banned == BRACE}
    return {**numbers, **met}, left.cast(column.type)
