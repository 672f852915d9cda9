"""One form for text that looks the same: composed characters, plain line ends, no stray blanks."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import factory
from factory import Batch, Record

from ..reshape import rewrite_batch

# Vertical tab, form feed, next line, line and paragraph separator all end a line.
LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# C0 and C1 controls but tab and line feed, the byte order mark, halves of surrogate pairs. Joiners stay: Persian,
# Hindi and emoji are written with them.
CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ud800-\udfff]+")
REMOVED = re.compile(f"{LINE_ENDS.pattern}|{CONTROLS.pattern}")
BLANK_LINES = re.compile("\n{4,}")


@factory.step(judges=False)
def normalize(batch: Batch[Record], form: Literal["NFC", "NFKC"] = "NFC") -> Batch[Record]:
    """Bring all text of a record into one Unicode form, without taking away meaning.

    Line ends become `\\n`, control characters and byte order marks go, then the form is applied, blanks at line
    ends go, and more than two blank lines become two. Letters, digits, case and punctuation stay.

    form  NFC composes accents; NFKC also folds full-width forms, ligatures and superscripts into plain characters.
    """
    from factory.text.segments import buffers

    from .suspects import unnormal

    return rewrite_batch(
        batch, lambda text, _: normalized(text, form), lambda column: unnormal(buffers(column), form, REMOVED)
    )


def normalized(text: str, form: Literal["NFC", "NFKC"] = "NFC") -> str:
    text = CONTROLS.sub("", LINE_ENDS.sub("\n", text))
    if not unicodedata.is_normalized(form, text):
        text = unicodedata.normalize(form, text)
    # By line: a regex for blanks before a line end takes quadratic time on a long run of blanks.
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return BLANK_LINES.sub("\n\n\n", text).strip("\n")
