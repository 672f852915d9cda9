"""The main text of a web page and its title."""

from __future__ import annotations

import codecs
import re
from typing import Literal, cast

import factory
from factory import Drop, Text

DECLARED = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
# An XML declaration names an encoding that text, being decoded already, no longer has; lxml refuses such text.
DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
NESTING = re.compile(r"<(/?)(?:div|span|section|article|ul|ol|table|blockquote|font|center)\b", re.IGNORECASE)
DEEPEST = 1000
Engine = Literal["trafilatura", "resiliparse"]


@factory.step
def extract_html(record: Text, engine: Engine = "trafilatura") -> Text:
    """Make of a text that is an HTML page its main text; the page's title goes to meta.title.

    Where an engine finds no main text, all visible text of the page is taken. Dropped are pages with `no text` and
    `malformed html`, which the parser gives up on.

    engine  trafilatura: finds the article best, keeps headings, lists and emphasis as Markdown (Barbaresi 2021, ACL
            demo); resiliparse: rules on the page's structure, plain text with bullets, no comments (Bevendorff et al.
            2018, ECIR). On 263 pages of documentation, 37 kB on the average, one core of two busy ones did 12 pages a
            second with trafilatura (.46 MB) and 171 with resiliparse (6.4 MB)
    """
    text, title = extracted(record["text"], engine)
    meta = {**record.get("meta", {}), **({"title": title} if title else {})}
    return cast(Text, {**record, "text": text, "meta": meta})


def main_text(data: bytes, engine: Engine = "trafilatura") -> tuple[str, str]:
    """(text, title) of an HTML page's bytes: in UTF-8, else in the encoding that the page declares of itself.

    Raises Drop `broken utf-8`, `nul byte`, and as `extracted` does.
    """
    return extracted(_decode(data), engine)


def extracted(page: str, engine: Engine = "trafilatura") -> tuple[str, str]:
    """(text, title) of an HTML page: what the engine takes for the main text, else all of its text.

    Raises Drop `no text`, or `malformed html` when the parser gives up.
    """
    page = DECLARATION.sub("", page)
    text, title = (_by_trafilatura if engine == "trafilatura" else _by_resiliparse)(page)
    if not text or not text.strip():
        raise Drop("no text")
    return text, " ".join(title.split())


def _by_trafilatura(page: str) -> tuple[str, str]:
    import trafilatura
    from lxml import etree  # type: ignore[import-untyped]

    try:
        text = trafilatura.extract(page, output_format="markdown", include_comments=False, include_formatting=True)
        text = text or trafilatura.html2txt(page)
        tree = trafilatura.load_html(page)
        return text or "", (tree.findtext(".//title") or "") if tree is not None else ""
    except (etree.LxmlError, ValueError, RecursionError) as error:
        raise Drop("malformed html", error=str(error).split("\n")[0]) from None


def _by_resiliparse(page: str) -> tuple[str, str]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    try:
        tree = HTMLTree.parse(page)
        text = "" if _is_deep(page) else extract_plain_text(tree, main_content=True, alt_texts=False)
        return text if text.strip() else extract_plain_text(tree, alt_texts=False), tree.title or ""
    except (ValueError, RuntimeError) as error:
        raise Drop("malformed html", error=str(error).split("\n")[0]) from None


def _is_deep(page: str) -> bool:
    """Whether a page is nested so deep that looking for its main content, quadratic in the depth, takes seconds."""
    depth = 0
    for match in NESTING.finditer(page):
        depth += -1 if match[1] else 1
        if depth > DEEPEST:
            return True
    return False


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
            encoding = codecs.lookup(declared[1].decode()).name
            if encoding.startswith(("utf-16", "utf-32")):  # in these the declaration could not have been read
                raise fault
            return data.decode(encoding)
        except (LookupError, UnicodeError):
            raise fault from None
