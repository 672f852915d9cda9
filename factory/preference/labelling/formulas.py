"""LaTeX formulas as MathML, element by element from a list; None for what cannot be read, to be shown as its source."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LONGEST = 2_000  # characters of one formula
DEEPEST = 60  # elements inside one another; browsers cut at 512, and reading is recursive
_ELEMENTS = (
    "math menclose mfrac mi mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle msub msubsup msup mtable mtd "
    "mtext mtr munder munderover"
)
_ATTRIBUTES = (
    "accent accentunder columnalign columnlines columnspacing depth display displaystyle fence form height largeop "
    "linebreak linethickness lspace mathvariant maxsize minsize movablelimits notation rowlines rowspacing rspace "
    "scriptlevel separator stretchy symmetric voffset width"
)
ELEMENTS, ATTRIBUTES = frozenset(_ELEMENTS.split()), frozenset(_ATTRIBUTES.split())
# With fewer children than these a formula lacks an argument.
ARGUMENTS = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "mover": 2, "munder": 2, "munderover": 3}
VALUE = re.compile(r"[\w .%#-]{0,60}")
# Names of environments that differ from a known one in nothing that is seen here.
ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|alignedat|split|gathered|eqnarray\*?|align|gather\*?|multline\*?)\}")


class Broken(Exception):
    """A formula that was not understood to its end."""


def math_of(latex: str, block: bool) -> str | None:
    """A formula as a `<math>` element, or None where it is too long or broken."""
    from latex2mathml.converter import convert_to_element

    latex = ALIGNED.sub(r"\\\1{align*}", latex.strip())
    if not latex or len(latex) > LONGEST:
        return None
    try:
        return _drawn(convert_to_element(latex, display="block" if block else "inline"))
    except Exception:  # its own errors, and RecursionError, IndexError, KeyError of what it did not expect
        return None


def _drawn(element: Element, depth: int = 0) -> str:
    """An element with its children. The converter's own text form leaves `<` as it is, so it cannot be used."""
    tag = element.tag
    if tag not in ELEMENTS or depth > DEEPEST or len(element) < ARGUMENTS.get(tag, 0):
        raise Broken
    text = unescape(element.text or "")
    if text.startswith("\\") and tag != "mtext":
        raise Broken  # a command it does not know
    attributes = "".join(
        f' {name}="{escape(str(value))}"'
        for name, value in element.attrib.items()
        if name in ATTRIBUTES and VALUE.fullmatch(str(value))
    )
    inside = "".join(_drawn(child, depth + 1) for child in element)
    return f"<{tag}{attributes}>{escape(text)}{inside}</{tag}>"
