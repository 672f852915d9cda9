"""What a sender wrote: quoted replies, signatures and list footers taken off by rules simple enough to state.

1. Lines that begin with `>` are quotes. So is the line that introduces them: the paragraph right above a quote, of at
   most three lines, that ends in a colon and holds a year, a time of day or an address (`On 3 May 2024 Ann wrote:`).
2. Below `-----Original Message-----` everything is a quote, and so it is from a block of headers on: a line
   `From: …` followed within five lines by `Sent:` or `Date:` and by `Subject:` (in German, French and Spanish too).
3. Below a line `-- ` is a signature (RFC 3676, section 4.3); `--` counts when at most ten lines follow.
4. A line of twenty or more underscores with `mailing list` in the next line begins a list's footer.
"""

from __future__ import annotations

import re

INTRODUCES = re.compile(r"\b(19|20)\d\d\b|\d{1,2}:\d\d|\S@\S", re.DOTALL)
ORIGINAL = re.compile(
    r"-{2,}\s*(Original Message|Ursprüngliche Nachricht|Message d'origine|Mensaje original)\s*-{2,}\s*$", re.IGNORECASE
)
FROM = re.compile(r"\**(From|Von|De)\s?:\**\s")
SENT = re.compile(r"\**(Sent|Date|Gesendet|Datum|Envoyé|Enviado|Fecha)\s?:\**\s")
SUBJECT = re.compile(r"\**(Subject|Betreff|Objet|Asunto)\s?:\**(\s|$)")
SIGNATURE_LINES = 10


def own_words(text: str) -> str:
    """The text without quotes, signature and footer; empty when nothing else was there."""
    lines = text.split("\n")
    lines = lines[: _end(lines)]
    kept: list[str] = []
    quoting = False
    for line in lines:
        quote = line.startswith(">")
        if quote and not quoting:
            _drop_introduction(kept)
        if not quote:
            kept.append(line.rstrip())
        quoting = quote or (quoting and not line.strip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _end(lines: list[str]) -> int:
    """The number of the first line that begins a signature, a footer or a whole quoted message."""
    for at, line in enumerate(lines):
        if line == "-- " or (line.rstrip() == "--" and len(lines) - at - 1 <= SIGNATURE_LINES):
            return at
        if ORIGINAL.match(line.strip()):
            return at
        if line.startswith("_" * 20) and at + 1 < len(lines) and "mailing list" in lines[at + 1].lower():
            return at
        below = lines[at + 1 : at + 6]
        if FROM.match(line) and any(map(SENT.match, below)) and any(map(SUBJECT.match, below)):
            return at
    return len(lines)


def _drop_introduction(kept: list[str]) -> None:
    """Take the line that introduces a quote off the end of what was kept."""
    at = len(kept)
    while at and not kept[at - 1]:
        at -= 1
    if not at or not kept[at - 1].endswith(":"):
        return
    start = at - 1
    while start and kept[start - 1] and at - start <= 3:
        start -= 1
    if at - start <= 3 and INTRODUCES.search("\n".join(kept[start:at])):
        del kept[start:]
