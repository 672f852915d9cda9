"""The text of a PDF, without what belongs to its pages: line-end hyphens, running heads and feet, page numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from factory import Drop

EDGE = 3  # lines at the top and at the bottom of a page among which heads and feet are sought
REPEATED = 0.4  # share of the pages; left and right pages may have heads of their own, each on half of them
FEWEST = 3  # pages
# PDFium writes U+FFFE for a hyphen at a line's end and joins the lines; other producers leave a soft or a hard one.
HYPHEN = re.compile(r"(?:(?<=\w)\ufffe|(?<=\w)[\xad-]\n)(?=\w)")
WORDS = re.compile(r"\w+(?:-\w+)*")
LEFT, RIGHT = re.compile(r"\w+$"), re.compile(r"\w+")
LONGEST_WORD = 40
ROMAN = re.compile(r"[ivxlc]{1,8}", re.IGNORECASE)
PASSWORD = 4  # FPDF_ERR_PASSWORD


def pdf_text(data: bytes) -> tuple[str, str, int]:
    """(text, title, pages) of a PDF; pages are parted by blank lines, the title is the file's own or "".

    A word cut by a hyphen at a line's end is joined; the hyphen stays before a capital or a digit, and where the
    document elsewhere writes this word, or one that begins like it, with a hyphen. Of the outermost three lines of a
    page, those go that stand at the same edge of at least 40 % of the pages (three or more) when numbers are not looked
    at. Text comes in the order of the file, which in tables and columns may not be that of reading. One core reads 150
    to 200 pages a second.

    Raises Drop `encrypted` (a password is needed), `malformed pdf`, or `no text` (scanned pages, say).
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == PASSWORD:
            raise Drop("encrypted") from None
        raise Drop("malformed pdf", error=str(error)) from None
    pages: list[str] = []
    try:
        title = " ".join(document.get_metadata_value("Title").split())
        for number in range(len(document)):
            page = document[number]
            words = page.get_textpage()
            pages.append(words.get_text_range())
            words.close()
            page.close()  # a page holds its fonts and images until then
    except pypdfium2.PdfiumError as error:
        raise Drop("malformed pdf", error=str(error), page=len(pages) + 1) from None
    finally:
        document.close()
    lines = [[line.strip() for line in re.split("[\r\n]+", page.replace("\0", ""))] for page in pages]
    text = "\n\n".join(filter(None, ("\n".join(page).strip() for page in without_edges(lines))))
    if not text:
        raise Drop("no text", pages=len(pages))
    return joined(text), title, len(pages)


def joined(text: str) -> str:
    """The text with words that were cut at line ends in one piece."""
    known = set(WORDS.findall(text.casefold()))
    prefixes = {word.partition("-")[0] for word in known if "-" in word}

    def join(match: re.Match[str]) -> str:
        at, end = match.span()
        left = LEFT.search(text[max(0, at - LONGEST_WORD) : at])
        right = RIGHT.match(text, end, end + LONGEST_WORD)
        assert left is not None
        assert right is not None
        first, second = left[0].casefold(), right[0].casefold()
        if f"{first}-{second}" in known or right[0][0].isupper() or right[0][0].isdigit():
            return "-"
        return "-" if first in prefixes and first + second not in known else ""

    return HYPHEN.sub(join, text).replace("\ufffe", "-").replace("\xad", "")


def without_edges(pages: Sequence[Sequence[str]]) -> list[list[str]]:
    """The lines of each page without running heads and feet."""
    kept = [[line for line in page if line] for page in pages]
    if len(kept) < FEWEST:
        return kept
    for side in (0, -1):
        forms: Counter[str] = Counter()
        for page in kept:
            edge = page[:EDGE] if side == 0 else page[-EDGE:]
            forms.update({_form(line) for line in edge})
        least = max(FEWEST, REPEATED * len(kept))
        for page in kept:
            for _ in range(EDGE):
                if page and forms[_form(page[side])] >= least:
                    del page[side]
    return kept


def _form(line: str) -> str:
    """A line as heads are compared: every number is 0, and so is a Roman one alone."""
    return "0" if ROMAN.fullmatch(line) else re.sub(r"\d+", "0", line)
