"""Text that was decoded with the wrong encoding, repaired with ftfy."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import lru_cache
from typing import Any

import factory
from factory import Batch, Record

from ..reshape import add_meta, rewrite_batch

# What ftfy calls its steps, in our words. Everything else it does is one of the means to these.
NAMES = {"unescape_html": "entities", "remove_terminal_escapes": "terminal escapes", "fix_surrogates": "surrogates"}

# ftfy's heuristic runs at 1 to 4 MB/s. It finds nothing in a line without one of these (version 6.3; a test compares):
# a control of the C1 block, an escape, half a surrogate pair, one of Â Ã Œ œ, or two neighbours out of the letters and
# signs of Western code pages, not both Greek or both Russian.
_SIGNS = "\u2000-\u2fff\uf8ff\ufb01\ufb02\ufffd"
_PAGES = f"\x80-\u0530{_SIGNS}"
_WESTERN = f"\x80-\u0385\u03cf-\u0400\u0402-\u040f\u0450\u0452-\u0530{_SIGNS}"
_ALONE = "\x1b\x80-\x9fÂÃŒœ\ud800-\udfff"
CLASSES = tuple(re.compile(f"[{kind}]") for kind in (_ALONE, _WESTERN, _PAGES))
SUSPECT = re.compile(f"[{_ALONE}]|[{_WESTERN}][{_PAGES}]|[{_PAGES}][{_WESTERN}]")


@factory.step(judges=False)
def fix_text(batch: Batch[Record], entities: bool = False) -> Batch[Record]:
    """Repair mojibake in all text of a record: `schÃ¶n` becomes `schön`, `â€™` becomes `’`, `æ–‡å­—` becomes `文字`.

    ftfy (Speer 2019, doi:10.5281/zenodo.2591652) undoes one or more wrong decodings, line by line, where the result
    looks less like noise by its heuristic than what was there; halves of surrogate pairs are joined and terminal
    escapes go. Nothing else is touched: full-width letters and punctuation, curly quotes, ligatures, line ends and the
    Unicode form stay, unlike under ftfy's defaults (`normalize` is for those). How many lines were repaired, and by
    what, is in meta.fixed: `{mojibake: 3}`, say. ASCII costs
    next to nothing; other text runs at 8 to 15 MB/s a core, and at 1 to 4 where there is much to look at.

    entities  also replace HTML entities (`&eacute;`) in lines without `<`; leave it off for texts about HTML
    """
    import numpy as np

    from factory.text.segments import buffers

    from .suspects import misread

    found: defaultdict[int, Counter[str]] = defaultdict(Counter)  # by row
    made = rewrite_batch(
        batch,
        lambda text, row: fixed(text, found[row], entities),
        lambda column: np.ones(len(column), bool) if entities else misread(buffers(column), CLASSES),
    )
    return add_meta(
        made, [{"fixed": dict(sorted(found[row].items()))} if found.get(row) else {} for row in range(len(batch))]
    )


def fixed(text: str, found: Counter[str], entities: bool = False) -> str:
    """The text repaired; `found` counts lines by kind of repair."""
    if text.isascii() and "\x1b" not in text and not (entities and "&" in text):
        return text  # what is left to repair in ASCII needs one of these two
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if SUSPECT.search(line) or (entities and "&" in line):
            lines[at] = _fixed_line(line, found, entities)
    return "\n".join(lines)


def _fixed_line(line: str, found: Counter[str], entities: bool) -> str:
    import ftfy

    made, steps = ftfy.fix_and_explain(line, _options(entities))
    if made != line:
        kinds = {NAMES.get(step.parameter, "mojibake") for step in steps or ()}
        found.update(kinds - {"mojibake"} or kinds)
        if "mojibake" in kinds and len(kinds) > 1:
            found["mojibake"] += 1
    return str(made)


@lru_cache(maxsize=2)
def _options(entities: bool) -> Any:
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html="auto" if entities else False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
    )
