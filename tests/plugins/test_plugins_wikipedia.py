"""A small dump, written here, with everything that real ones hold: redirects, talk pages, tables, notes, boxes."""

from __future__ import annotations

import bz2
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

import factory
from factory import Drop, InputError
from factory.plugins import pm
from factory.testing import check_source

ROOT = Path(__file__).parents[2]
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">
  <siteinfo><sitename>Wikipedia</sitename><base>https://de.wikipedia.org/wiki/Hauptseite</base>
    <namespaces><namespace key="0" /><namespace key="6">Datei</namespace><namespace key="14">Kategorie</namespace>
    </namespaces></siteinfo>
"""
BONN = """{{Infobox Ort|name=Bonn|einwohner={{formatnum:330000}}}}
'''Bonn''' ist eine [[Stadt]] am [[Rhein|Fluss Rhein]].<ref name="a">{{cite web|url=http://x}}</ref>
Der Name ist {{lang|la|Bonna}} &amp; alt, siehe [http://example.org dort].<!-- nie zu sehen -->

[[Datei:Bonn.jpg|mini|Ein [[Bild]] davon]]
== Geschichte ==
{| class="wikitable"
| 1 || 2
|}
* die Römer
** ein Lager
<gallery>Datei:A.jpg|x</gallery>
=== Leer ===
== Einzelnachweise ==
<references />
[[Kategorie:Stadt]]
"""
PLAIN = (
    "Bonn ist eine Stadt am Fluss Rhein.\nDer Name ist Bonna & alt, siehe dort.\n\n"
    "## Geschichte\n\n- die Römer\n- - ein Lager"
)


def page(number: int, title: str, text: str, namespace: int = 0, redirect: str = "") -> str:
    goal = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{escape(title)}</title><ns>{namespace}</ns><id>{number}</id>{goal}<revision><id>9{number}</id>"
        f'<timestamp>2024-05-03T10:12:00Z</timestamp><text xml:space="preserve">{escape(text)}</text>'
        "</revision></page>\n"
    )


def dump() -> str:
    pages = [
        page(1, "Bonn", BONN),
        page(2, "Bonna", "#WEITERLEITUNG [[Bonn]]", redirect="Bonn"),
        page(3, "Diskussion:Bonn", "Ist das so?", namespace=1),
        page(4, "Zoë: ein Café?", "Ein [[Datei|Wort]] und [[:Kategorie:X|noch eins]]."),
        page(5, "Nur Vorlagen", "{{Box}}\n== Leer =="),
    ]
    return HEAD + "".join(pages) + "</mediawiki>\n"


@pytest.fixture
def wikipedia(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "plugins" / "factory-wikipedia"))
    module = importlib.import_module("factory_wikipedia")
    pm.register(module, "wikipedia")
    return module


@pytest.fixture
def rows(wikipedia: ModuleType) -> Callable[[str], list[tuple[str, Any]]]:
    def read(uri: str) -> list[tuple[str, Any]]:
        source = wikipedia.open_dataset(uri)
        return [row for piece in source.pieces() for row in source.rows(piece)]

    return read


@pytest.mark.parametrize("name", ["de.xml", "de.xml.bz2"])
def test_a_recipe_reads_a_dump(project: Path, wikipedia: ModuleType, name: str) -> None:
    data = dump().encode()
    (project / name).write_bytes(bz2.compress(data) if name.endswith("bz2") else data)
    recipe = project / "recipe.yaml"
    recipe.write_text(f"name: wiki\ntargets:\n  wiki: {{from: 'wikipedia:{name}', steps: [normalize]}}\n")
    result = factory.build(recipe)
    bonn, zoe = list(result["wiki"])  # type: ignore[call-overload]
    assert bonn["text"] == PLAIN
    assert bonn["parents"] == [f"{name}#1"]
    assert bonn["meta"] == {
        "title": "Bonn",
        "page": "1",
        "date": "2024-05-03T10:12:00Z",
        "url": "https://de.wikipedia.org/wiki/Bonn",
    }
    assert zoe["text"] == "Ein Wort und noch eins."
    assert zoe["meta"]["url"] == "https://de.wikipedia.org/wiki/Zo%C3%AB:_ein_Caf%C3%A9%3F"
    stage = result.plan.targets["wiki"]
    dropped = [(row["parents"], row["reason"]) for row in stage.store.dropped(stage.fingerprint)]
    assert dropped == [([f"{name}#2"], "redirect"), ([f"{name}#3"], "not an article"), ([f"{name}#5"], "no text")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (bz2.compress(b""), "malformed dump"),
        (b"no bzip2", "malformed dump"),
        (bz2.compress(f"{HEAD}</mediawiki>".encode()), "no pages"),
        (bz2.compress(dump().encode())[:-20], "malformed dump"),
        (bz2.compress(dump().encode()[:-200]), "malformed dump"),
    ],
)
def test_damaged_dumps_say_so(
    project: Path, rows: Callable[[str], list[tuple[str, Any]]], data: bytes, reason: str
) -> None:
    (project / "a.xml.bz2").write_bytes(data)
    place, fault = rows("wikipedia:a.xml.bz2")[-1]
    assert (place, fault.reason) == ("a.xml.bz2", reason)


def test_the_pages_before_a_cut_are_kept(project: Path, rows: Callable[[str], list[tuple[str, Any]]]) -> None:
    (project / "a.xml").write_text(dump()[:-400], encoding="utf-8")
    found = rows("wikipedia:a.xml")
    assert found[0][1]["text"] == PLAIN
    assert isinstance(found[-1][1], Drop)


@given(st.text("[]{}|='<>/!-*#:; \nrefabnowiki\u0301", max_size=80))
def test_any_wikitext_is_a_text_or_a_drop(wikitext: str) -> None:
    import sys

    sys.path.insert(0, str(ROOT / "plugins" / "factory-wikipedia"))
    try:
        from xml.etree.ElementTree import fromstring

        from factory_wikipedia.dumps import _fields

        found = _fields(fromstring(page(1, "x", wikitext)), fromstring("<siteinfo/>"))
    finally:
        sys.path.pop(0)
    assert isinstance(found, Drop) or found["text"].strip()


def test_only_dumps_are_opened(wikipedia: ModuleType) -> None:
    assert wikipedia.open_dataset("pages.xml.bz2") is None
    with pytest.raises(InputError, match=r"no file matches 'nothing\.xml'"):
        wikipedia.open_dataset("wikipedia:nothing.xml")


@pytest.mark.builds
def test_the_source_conforms(project: Path, wikipedia: ModuleType) -> None:
    (project / "a.xml.bz2").write_bytes(bz2.compress(dump().encode()))
    long = "Die Boote liegen nebeneinander. " * 1000
    many = HEAD + page(1, "Bonn", BONN) + "".join(page(n, f"Ort {n}", long, redirect="Bonn") for n in range(2, 300))
    (project / "b.xml").write_text(many + "</mediawiki>", encoding="utf-8")
    report = check_source("wikipedia:*.xml*", folder=project, plugin="factory_wikipedia")
    assert "memory" in report.passed["wikipedia:*.xml*"]
