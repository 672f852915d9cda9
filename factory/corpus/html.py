"""The main text of a web page, as Markdown, and its title."""

from __future__ import annotations

import re

from factory import Drop

DECLARED = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)


def main_text(data: bytes) -> tuple[str, str]:
    """(text, title) of an HTML page: what trafilatura takes for the main text, else all of its text.

    Raises Drop `broken utf-8`, `nul byte`, `no text`, or `malformed html` when the parser gives up.
    """
    page = _decode(data)
    import trafilatura
    from lxml import etree  # type: ignore[import-untyped]

    try:
        text = trafilatura.extract(page, output_format="markdown", include_comments=False, include_formatting=True)
        text = text or trafilatura.html2txt(page)
        tree = trafilatura.load_html(page)
        title = " ".join((tree.findtext(".//title") or "").split()) if tree is not None else ""
    except (etree.LxmlError, ValueError, RecursionError) as error:
        raise Drop("malformed html", error=str(error).split("\n")[0]) from None
    if not text or not text.strip():
        raise Drop("no text")
    return text, title


def _decode(data: bytes) -> str:
    """UTF-8, else the encoding that the page declares of itself."""
    from .reading import decode

    try:
        return decode(data)
    except Drop as fault:
        declared = DECLARED.search(data[:4096])
        if fault.reason != "broken utf-8" or declared is None:
            raise
        try:
            return data.decode(declared[1].decode())
        except (LookupError, UnicodeDecodeError):
            raise fault from None
