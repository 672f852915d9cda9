"""Text of Debian documentation packages: HTML pages, manual pages and plain files, cut into documents.

A document is one section of a page or several: joined up to a size that is drawn for the page, long ones cut at
paragraphs, .3 to 8 kB. Every fortieth page is one document however long it is, for a corpus without long documents
would flatter whoever is slow on them.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

LEAST, MOST = 300, 8000  # bytes
JOINED = (300, 600, 1200, 2400, 4800)  # sections are joined up to one of these, so that lengths spread as on the web
LONG_PAGE = 40  # one in so many stays whole


class Document(NamedTuple):
    """A piece of text, where it is from (package:path#number), its language and its package."""

    id: str
    text: str
    language: str
    source: str


# Indexes, searches, the sources of pages that are there as HTML too, and books whose chapters are there one by one.
SKIPPED = re.compile(
    r"/(?:_sources|_static|class-use)/|-big-page\.|/(?:genindex|search|noscript|index-|allclasses|allpackages"
    r"|deprecated-list|constant-values|overview-tree|package-tree|package-use|serialized-form)[^/]*\.html$"
)
# A package's last letters tell the language of its pages, except where several share it and a folder tells.
_LANGUAGE_OF_FOLDER = re.compile(r"/(?:translations|html)/([a-z]{2})[_-][A-Z]{2}/")
_LANGUAGE_OF_PACKAGE = re.compile(r"-([a-z]{2})(?:-(?:br|cn|dev|tw|us))?$")
OTHER_SCRIPTS = {"ar", "el", "fa", "ja", "ko", "ru", "uk", "zh"}
_LATIN = re.compile("[A-Za-z]")
_OTHER = re.compile(r"[^\W\d_A-Za-z]")


def language_of(path: str, source: str, text: str) -> str:
    """The language that a folder or package declares; English for a page in Latin letters where others are due.

    Such pages wait for their translator. Between languages written in Latin letters that cannot be seen: these keep
    what is declared.
    """
    found = _LANGUAGE_OF_FOLDER.search(f"/{path}") or _LANGUAGE_OF_PACKAGE.search(source)
    declared = found[1] if found else "en"
    if declared in OTHER_SCRIPTS and 9 * len(_OTHER.findall(text)) < len(_LATIN.findall(text)):
        return "en"
    return declared


def reader_of(path: str) -> Callable[[bytes], list[str]] | None:
    """What reads a file of this name into sections, or None for one that holds no text."""
    name = path.removesuffix(".gz")
    if SKIPPED.search(f"/{name}"):
        return None
    if name.endswith((".html", ".htm", ".xhtml")):
        return html_sections
    if re.search(r"^man/(?:[^/]+/)?man\d\w*/[^/]+\.\d\w*$", name):
        return man_sections
    if name.startswith("doc/") and name.endswith(".txt"):
        return plain_sections
    return None


def documents_of(root: Path, path: Path, source: str) -> list[Document]:
    """The documents of one file of an unpacked package; none for a file without text."""
    place = path.relative_to(root).as_posix().removeprefix("usr/share/")
    if not (reader := reader_of(place)):
        return []
    content = path.read_bytes()
    sections = reader(gzip.decompress(content) if path.suffix == ".gz" else content)
    number = zlib.crc32(place.encode())
    texts = cut(sections, JOINED[number % len(JOINED)]) if number % LONG_PAGE else ["\n\n".join(sections)]
    return [
        Document(f"{source}:{place}#{part}", text, language_of(place, source, text), source)
        for part, text in enumerate(texts)
        if size(text) >= LEAST
    ]


def size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


# --- cutting -------------------------------------------------------------------------------------------------------


def cut(sections: Iterable[str], least: int) -> Iterator[str]:
    """Sections as documents: joined while they are under `least` bytes, cut at paragraphs over MOST, nothing lost."""
    waiting = ""
    for section in sections:
        waiting = f"{waiting}\n\n{section}".strip()
        if size(waiting) >= least:
            *full, waiting = _parts(waiting)
            yield from full
            if size(waiting) >= least:
                yield waiting
                waiting = ""
    if waiting:
        yield waiting


def _parts(text: str) -> list[str]:
    """A text in parts of at most MOST bytes, by paragraphs or, in longer ones, lines; a longer line stays whole."""
    if size(text) <= MOST:
        return [text]
    parts, room = [""], 0
    for paragraph in text.split("\n\n"):
        for glue, piece in _pieces(paragraph):
            need = size(piece) + len(glue)
            if need > room:
                parts.append(piece)
                room = MOST - need
            else:
                parts[-1] += glue + piece
                room -= need
    return parts[1:]


def _pieces(paragraph: str) -> list[tuple[str, str]]:
    if size(paragraph) <= MOST:
        return [("\n\n", paragraph)]
    return [("\n" if number else "\n\n", line) for number, line in enumerate(paragraph.split("\n"))]


_CJK = "\u3000-\u303f\u3040-\u30ff\u3400-\u9fff\uff00-\uffef"
_BREAK_IN_CJK = re.compile(rf"(?<=[{_CJK}])\s*\n\s*(?=[{_CJK}])")
_SPACE = re.compile(r"\s+")


def fill(text: str) -> str:
    """Every run of whitespace as one blank, and none where a line was broken between two CJK characters."""
    return _SPACE.sub(" ", _BREAK_IN_CJK.sub("", text) if "\n" in text else text)


def tidy(text: str) -> str:
    """No blanks at the ends of lines, and no two empty lines in a row."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t\r]+\n", "\n", text)).strip()


def plain_sections(content: bytes) -> list[str]:
    """A plain file: one section."""
    text = tidy(content.decode("utf-8", "replace").expandtabs())
    return [text] if text else []


# --- HTML ----------------------------------------------------------------------------------------------------------

PARAGRAPHS = {
    *("address", "article", "blockquote", "div", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "main", "ol"),
    *("p", "pre", "section", "table", "ul"),
}
CELLS = {"td", "th"}
LINES = {"br", "caption", "dd", "dt", "hr", "li", "tr"}
UNWANTED = {"aside", "button", "footer", "form", "header", "nav", "noscript", "script", "select", "style", "svg"}
UNWANTED_CLASSES = {
    *("docnav", "footer", "headerlink", "menu-wrapper", "mobile-nav", "navfooter", "navheader", "related"),
    *("rst-footer-buttons", "sphinxsidebar", "toc", "wy-breadcrumbs", "wy-nav-side", "wy-nav-top"),
}
UNWANTED_IDS = {"banner", "footer", "title"}


def html_sections(content: bytes) -> list[str]:
    """The text of a page from heading to heading (h1 to h3), without navigation; lines stay as they are in `pre`."""
    from lxml import etree, html

    if not content.strip():
        return []
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        body = html.document_fromstring(content, parser=parser).find("body")
    except etree.ParserError:  # nothing but comments
        return []
    if body is None:
        return []
    sections: list[list[str]] = [[]]
    verbatim = None  # the outermost `pre` that is open

    def say(text: str | None) -> None:
        if text and verbatim is None:
            text = fill(text)
            if not sections[-1] or sections[-1][-1].endswith((" ", "\n")):
                text = text.lstrip(" ")
        if text:
            sections[-1].append(text)

    def leave(gap: str) -> None:
        before = sections[-1][-1] if sections[-1] else "\n\n"
        if not before.endswith(("\n", gap) if gap == " " else gap):
            sections[-1].append(gap.removeprefix("\n") if before.endswith("\n") else gap)

    walk = etree.iterwalk(body, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        gap = _gap(tag, element)
        if event == "start":
            if _unwanted(element.get("class"), element.get("id"), tag):
                walk.skip_subtree()
                continue
            if tag in ("h1", "h2", "h3"):
                sections.append([])
            leave(gap)
            if tag == "pre" and verbatim is None:
                verbatim = element
            say(element.text)
        else:
            if element is verbatim:
                verbatim = None
            leave(gap)
            if element is not body:
                say(element.tail)
    return [text for section in sections if (text := tidy("".join(section)))]


def _gap(tag: str, element: Any) -> str:
    """What stands before and after an element: an empty line, a new line, a blank or nothing."""
    around = element.getparent().tag if tag == "p" else ""
    if around in CELLS or tag in CELLS:
        return " "
    if around in LINES or tag in LINES:
        return "\n"
    return "\n\n" if tag in PARAGRAPHS else ""


def _unwanted(classes: str | None, name: str | None, tag: str) -> bool:
    return (
        tag in UNWANTED
        or name in UNWANTED_IDS
        or bool(classes and tag != "body" and not UNWANTED_CLASSES.isdisjoint(classes.split()))
    )


# --- manual pages --------------------------------------------------------------------------------------------------

_ESCAPE = re.compile(
    r'\\(?:"(?P<comment>.*)'
    r"|[fFsgmMnY*](?:\(..|\[[^\]]*\]|[+-]?\d|.)"  # font, size, colour, register, string
    r"|[hvwdurAbBCDlLNoRSXxzZ]'[^']*'"  # motions and drawings
    r"|\((?P<two>..)|\[(?P<name>[^\]]*)\]|(?P<one>.))"
)
_CHARACTERS = {
    "-": "-", "e": "\\", "~": " ", " ": " ", "0": " ", "'": "'", "`": "`", ".": ".", "t": " ",
    "aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "em": "—", "en": "–", "hy": "-", "bu": "•",
    "co": "©", "ha": "^", "ti": "~", "rs": "\\", "mu": "×", "<=": "≤", ">=": "≥", "->": "→", "Fo": "«", "Fc": "»",
    "la": "⟨", "ra": "⟩", "ga": "`", "at": "@", "sh": "#", "Do": "$", "lB": "[", "rB": "]", "lC": "{", "rC": "}",
    "+-": "±", "!=": "≠", "tm": "™", "rg": "®", "ss": "ß", "de": "°", "sl": "/", "ba": "|", "or": "|", "bv": "|",
}  # fmt: skip
_FONTS = re.compile(r"\.\s*(?:B|I|R|SB|SM|BR|RB|IR|RI|BI|IB)\s+(.+)")
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"|((?:\\.|\S)+)')
_NEW_PARAGRAPH = re.compile(r"\.\s*(?:[PLHTI]?P|TQ|sp|br|RS|RE|nf|fi|EX|EE|UR|MT|SY)\b")
_TEXT_AFTER = re.compile(r"\.\s*(?:IP|HP|UR|MT)\s+(.+)")


def man_sections(content: bytes) -> list[str]:
    """The text of a manual page written with man(7), section by section; mdoc(7) pages and references have none.

    Tables are left out. Lines are filled, but stay as they are between `.nf` and `.fi`, `.EX` and `.EE`.
    """
    source = content.decode("utf-8", "replace").replace("\\\n", "")
    if re.search(r"^\.\s*(?:Dd|so)\s", source, re.MULTILINE):
        return []
    sections: list[list[str]] = [[]]
    lines: list[str] = []
    verbatim = table = False

    def close() -> None:
        text = "\n".join(lines)
        if text.strip():
            sections[-1].append(text if verbatim else fill(text).strip())
        lines.clear()

    for line in source.split("\n"):
        if line.startswith(("'", '.\\"')):
            continue
        if line.startswith((".TS", ".TE")):
            table = line.startswith(".TS")
        elif table:
            continue
        elif line.startswith((".SH", ".SS")):
            close()
            verbatim = False
            sections.append([arguments(line[3:])])
        elif found := _FONTS.match(line):
            lines.append(arguments(found[1], "" if len(line.split(None, 1)[0].lstrip(".")) == 2 else " "))
        elif _NEW_PARAGRAPH.match(line) or not line.strip():
            close()
            verbatim = (verbatim and not line.startswith((".fi", ".EE"))) or line.startswith((".nf", ".EX"))
            if found := _TEXT_AFTER.match(line):
                lines.append(arguments(found[1].rsplit(None, 1)[0] if line.startswith(".IP") else found[1]))
        elif not line.startswith("."):
            lines.append(unescape(line))
    close()
    return [text for section in sections if (text := tidy("\n\n".join(section)))]


def arguments(line: str, between: str = " ") -> str:
    """The arguments of a roff request as text."""
    return unescape(between.join(quoted or bare for quoted, bare in _ARGUMENT.findall(line)))


def unescape(line: str) -> str:
    """A roff line without its escapes: fonts and sizes gone, named characters as themselves."""
    return _ESCAPE.sub(_character, line) if "\\" in line else line


def _character(found: re.Match[str]) -> str:
    name = found["two"] or found["name"] or found["one"] or ""
    if code := re.fullmatch(r"u([0-9A-F]{4,6})", name):
        return chr(int(code[1], 16))
    return _CHARACTERS.get(name, "")
