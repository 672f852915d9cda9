"""How measure_vocabulary's findings look on the build's page: tables in Markdown, a histogram as SVG."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .findings import Found, growth
from .pieces import encoded
from .scripts import SCRIPTS, UNSPACED
from .using import Use, best, worst

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LISTED = 50  # of the best and of the worst pieces
WIDTH, ROW, LEFT, RIGHT = 480.0, 22.0, 120.0, 70.0


def markdown(found: Found) -> str:
    parts = [_by_script(found), _overall(found), _new_tokens(found), _lines(found), _pieces(found.uses)]
    return "\n\n".join(part for part in parts if part)


def _by_script(found: Found) -> str:
    whole = found.comparison
    rows = [
        "| script | characters | tokens per character | change | tokens per word | tokens per byte |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    places = sorted(np.flatnonzero(whole.characters), key=lambda place: -int(whole.characters[place]))
    for name, at in [*((SCRIPTS[place], [int(place)]) for place in places), ("**all**", list(range(len(SCRIPTS))))]:
        old, new = (int(tally.tokens[at].sum()) for tally in (whole.before, whole.after))
        chars, size, words = (int(count[at].sum()) for count in (whole.characters, whole.bytes, whole.words))
        cells = [name, f"{chars:,}", _arrow(old, new, chars), f"{_change(old, new)}"]
        cells += ["–" if name in UNSPACED else _arrow(old, new, words), _arrow(old, new, size)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _arrow(old: int, new: int, count: int) -> str:
    return f"{old / count:.3f} → {new / count:.3f}" if count else "–"


def _change(old: int, new: int) -> str:
    return f"{100 * (new / old - 1):+.1f} %".replace("-", "−") if old else "–"


def _overall(found: Found) -> str:
    whole = found.comparison
    chars = int(whole.characters.sum())
    pair = (whole.before, whole.after)
    tokens = [int(tally.tokens.sum()) for tally in pair]
    rows = [
        ("pieces", [f"{size:,}" for size in found.vocabulary]),
        ("tokens", [f"{count:,}" for count in tokens]),
        ("characters that are covered", [_percent(1 - int(tally.unknown.sum()) / chars) for tally in pair]),
        ("tokens that are bytes of a character", [_percent(int(tally.partial.sum()) / max(1, count))
                                                  for tally, count in zip(pair, tokens, strict=True)]),
        ("lines that come back", [_percent(1 - tally.broken / whole.lines) for tally in pair]),
    ]  # fmt: skip
    fitting = [f"{size.context * chars / max(1, count):,.0f}" if size else "–"
               for size, count in zip(found.sizes, tokens, strict=True)]  # fmt: skip
    if any(found.sizes):
        rows.append(("characters in the model's context", fitting))
    table = [f"| {name} | {old} | {new} |" for name, (old, new) in rows]
    return "\n".join(["| | before | after |", "|---|---:|---:|", *table])


def _percent(share: float) -> str:
    """With as many decimals as tell it from all and none."""
    said = ""
    for digits in (1, 2, 3, 4, 6, 9):
        said = f"{100 * share:.{digits}f}"
        if share in (0, 1) or float(said) not in (0, 100):
            break
    return f"{said} %"


def _new_tokens(found: Found) -> str:
    old, new = (int(tally.tokens.sum()) for tally in (found.comparison.before, found.comparison.after))
    unused = sum(not one.uses for one in found.uses)
    says = [
        f"{len(found.new):,} tokens are new: {len(found.uses):,} of whole characters, of which {unused:,} are not used "
        f"here and {len(found.dead):,} are dead, and {len(found.halves):,} parts of characters. At an equal rate of "
        f"tokens text comes {old / max(1, new):.2f} times as fast, and as much more of it fits into a context."
    ]
    if (grown := growth(found)) is not None:
        says.append(f"The new rows are {grown[0]:,} parameters, {grown[1] / 1e6:,.1f} MB.")
    if found.leak is not None:
        says.append(f"In lines without a new token, new tokens together have a probability of {_percent(found.leak)}.")
    return " ".join(says)


def _lines(found: Found) -> str:
    whole = found.comparison
    says = []
    if found.protected is not None:
        says.append(f"Of {found.protected:,} protected lines {found.changed:,} have other tokens than before.")
    says.append(f"Of {whole.lines:,} lines {whole.longer:,} have more tokens than before{':' if whole.grown else '.'}")
    examples = [f"- {old} → {new}: {code(line[:100])}" for line, old, new in whole.grown]
    return "\n".join([" ".join(says), *(["", *examples] if examples else [])])


def _pieces(uses: Sequence[Use]) -> str:
    if not uses:
        return ""
    rows = ["| best | used | tokens saved | worst | used | tokens saved |", "|---|---:|---:|---|---:|---:|"]
    for pair in zip_longest(best(uses, LISTED), worst(uses, LISTED)):
        cells = [cell for one in pair for cell in _use(one)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _use(one: Use | None) -> list[str]:
    return [code(one.text), f"{one.uses:,}", f"{one.saved:,}"] if one else ["", "", ""]


def code(text: str) -> str:
    """Text as inline code, blanks as U+2423 and what cannot be printed as escapes, fit for a table's cell."""
    plain = "".join(
        "␣" if letter == " " else letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )
    if "`" not in plain:
        return f"`{plain}`".replace("|", "\\|")
    fence = "`" * (max(map(len, re.findall("`+", plain))) + 1)
    return f"{fence} {plain} {fence}".replace("|", "\\|")


def said_drift(old: Tokenizer, new: Tokenizer, line: str) -> str:
    """A line with the place where two tokenizers part: the pieces each makes of what follows."""
    ids = [encoded(tokenizer, [line])[0] for tokenizer in (old, new)]
    part = next((at for at, (one, other) in enumerate(zip(*ids, strict=False)) if one != other), min(map(len, ids)))
    names = [
        [_shown(tokenizer, token) for token in cut[part : part + 4]]
        for tokenizer, cut in zip((old, new), ids, strict=True)
    ]
    return f"{line[:80]!r}: {' '.join(names[0])} → {' '.join(names[1])}"


def _shown(tokenizer: Tokenizer, token: int) -> str:
    """A token as text with its blanks visible, or as its piece where it is part of a character."""
    text = tokenizer.decode([token], skip_special_tokens=False)
    return str(tokenizer.id_to_token(token)) if "\ufffd" in text or not text.strip() else text.replace(" ", "␣")


def histogram(uses: Sequence[Use]) -> str:
    """How many tokens are used never, once, 2 to 3, 4 to 7 … times: SVG."""
    counts = np.array([one.uses for one in uses])
    bins = np.bincount(np.where(counts, np.floor(np.log2(np.maximum(counts, 1))).astype(int) + 1, 0))
    return bars("New tokens by how often they are used", [_bin(at) for at in range(len(bins))], bins)


def _bin(at: int) -> str:
    if at < 2:
        return ("never", "once")[at]
    return f"{2 ** (at - 1):,} to {2**at - 1:,}"


def bars(title: str, names: Sequence[str], values: NDArray[Any]) -> str:
    """Horizontal bars with their values behind them, in currentColor and without styles."""
    most = max(1, int(values.max()))
    art = [f"<title>{html.escape(title)}</title>", f'<text x="0" y="14" class="title">{html.escape(title)}</text>']
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        y, length = 30 + ROW * row, int(value) / most * (WIDTH - LEFT - RIGHT)
        at = f'x="{LEFT - 8:.0f}" y="{y + 12:.0f}" text-anchor="end"'
        art.append(f'<text {at} class="tick">{html.escape(name)}</text>')
        bar = f'x="{LEFT:.0f}" y="{y:.0f}" width="{length:.1f}" height="{ROW - 6:.0f}"'
        art.append(f'<rect {bar} fill="currentColor" fill-opacity="0.45"/>')
        art.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 12:.0f}" class="number">{int(value):,}</text>')
    height = 30 + ROW * len(names)
    size = f'viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}" height="{height:.0f}"'
    return f'<svg {size} role="img" class="curve" xmlns="http://www.w3.org/2000/svg">{"".join(art)}</svg>'
