"""Dumps as a source: pages are parsed one by one, so memory is that of the longest page."""

import bz2
import glob
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError, iterparse

import mwparserfromhell
from mwparserfromhell.nodes import ExternalLink, Heading, HTMLEntity, Tag, Template, Text, Wikilink

import factory
from factory import Drop, InputError, Piece, Row, Source, hash_file, place_of, project_path, project_root

# Templates go as well, all but the few that hold words of the sentence: most are boxes, notes and navigation.
NO_TEXT = ("ref", "references", "table", "gallery", "math", "chem", "timeline", "score", "imagemap", "syntaxhighlight")
INLINE = {"lang": "2", "nowrap": "1", "abbr": "1", "transliteration": "2"}  # template -> the parameter that is text
NO_LINKS = {"file", "image", "category"}  # besides the namespaces that the dump itself lists
BARE_HEADING = re.compile(r"^(#+) [^\n]*\s*(?=(?!\1#)#+ |\Z)", re.MULTILINE)  # with nothing under it


class Dumps(Source):
    """One Text an article, one piece a file. A place is the page's own number: `dump/pages.xml.bz2#12`."""

    kind = factory.Text
    license = "cc-by-sa-4.0"

    def __init__(self, uri: str, places: list[str]) -> None:
        super().__init__(uri)
        self.places = places

    def pieces(self) -> list[Piece]:
        return [Piece(hash_file(project_path(place)), (place,)) for place in self.places]

    def rows(self, piece: Piece) -> Iterator[Row]:
        (place,) = piece.files
        path, root, site, fault = project_path(place), Element(""), Element(""), "no pages"
        try:
            with bz2.open(path) if path.suffix == ".bz2" else path.open("rb") as file:
                for event, element in iterparse(file, ("start", "end")):
                    tag = element.tag.rpartition("}")[2]
                    if tag == "mediawiki" and event == "start":
                        root = element
                    elif tag == "siteinfo" and event == "end":
                        site = element
                    elif tag == "page" and event == "end":
                        yield f"{place}#{element.findtext('{*}id')}", _fields(element, site)
                        fault = ""
                        root.clear()
        except (ParseError, EOFError, OSError, ValueError) as error:
            yield place, Drop("malformed dump" if path.stat().st_size else "empty file", error=str(error))
        else:
            if fault:
                yield place, Drop(fault)


def open_dumps(uri: str) -> Dumps | None:
    """The dumps a URI means; None when it is not ours. Raises InputError when nothing matches."""
    scheme, _, path = uri.partition(":")
    if scheme != "wikipedia":
        return None
    found = glob.glob(path, root_dir=project_root(), recursive=True)
    if not (places := sorted(place_of(name) for name in found if project_path(name).is_file())):
        raise InputError(f"{uri}: no file matches '{path}'")
    return Dumps(uri, places)


def _fields(page: Element, site: Element) -> dict[str, Any] | Drop:
    """An article's row, or why there is none."""
    title, address = page.findtext("{*}title") or "", (site.findtext("{*}base") or "").rpartition("/")[0]
    known = {"title": title, "page": page.findtext("{*}id"), "date": page.findtext("{*}revision/{*}timestamp")}
    known |= {"url": f"{address}/{quote(title.replace(' ', '_'), safe='/:,()')}"} if address else {}
    if (namespace := page.findtext("{*}ns")) != "0":
        return Drop("not an article", **known, namespace=namespace)
    if (target := page.find("{*}redirect")) is not None:
        return Drop("redirect", **known, to=target.get("title", ""))
    names = {(one.text or "").casefold() for one in site.iterfind("{*}namespaces/{*}namespace")} - {""}
    prefixes = tuple(f"{name}:" for name in names | NO_LINKS)
    said = "".join(_said(mwparserfromhell.parse(page.findtext("{*}revision/{*}text")), prefixes))
    lines = "\n".join(" ".join(line.split()) for line in said.splitlines())
    text = re.sub(r"\n{3,}", "\n\n", lines).strip()
    while (shorter := BARE_HEADING.sub("", text).strip()) != text:
        text = shorter
    return {"text": text, "meta": known} if text else Drop("no text", **known)


def _said(code: Any, prefixes: tuple[str, ...]) -> Iterator[str]:
    """The text of parsed wikitext, with Markdown headings and lists; links that begin with `prefixes` are none."""
    for node in code.nodes if code is not None else ():
        match node:
            case Text() | HTMLEntity():
                yield node.value if isinstance(node, Text) else node.normalize() or ""
            case Heading():
                yield f"\n\n{'#' * node.level} {''.join(_said(node.title, prefixes)).strip()}\n\n"
            case ExternalLink():
                yield from _said(node.title, prefixes)
            case Wikilink() if not str(node.title).strip().casefold().startswith(prefixes):
                yield from _said(node.text or node.title, prefixes)
            case Template() if node.has(wanted := INLINE.get(str(node.name).strip().casefold(), "")):
                yield from _said(node.get(wanted).value, prefixes)
            case Tag() if node.wiki_markup in ("*", "#"):
                yield "- "
            case Tag() if str(node.tag).casefold() not in NO_TEXT:
                yield "\n" if node.tag == "br" else "".join(_said(node.contents, prefixes))
