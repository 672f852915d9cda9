"""Text of PDF files, written here by hand."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from factory import Drop, Text
from factory.corpus.sources.files import open_files
from factory.corpus.sources.pdf import joined, without_edges

Read = Callable[..., list[tuple[str, Any]]]

HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
# A font without glyphs whose character codes are UTF-16: what text extraction needs is in ToUnicode alone.
UNICODE = (
    b"<< /Type /Font /Subtype /Type0 /BaseFont /None /Encoding /Identity-H /DescendantFonts [5 0 R] /ToUnicode 6 0 R >>"
)
DESCENDANT = (
    b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /None /DW 1000 "
    b"/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>"
)
CMAP = (
    b"begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange "
    b"1 beginbfrange <0000> <FFFF> <0000> endbfrange endcmap"
)
PASSWORD = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P -44 >> /ID [<00> <00>]" % (b"1" * 64, b"2" * 64)


def pdf(*pages: Sequence[str], title: str = "", trailer: bytes = b"") -> bytes:
    """A PDF with one page a list of lines."""
    kids = b" ".join(b"%d 0 R" % (8 + 2 * at) for at in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), kids),
        HELVETICA,
        UNICODE,
        DESCENDANT,
        stream(CMAP),
        b"<< /Title <%s> >>" % ("\ufeff" + title).encode("utf-16-be").hex().encode(),
    ]
    for at, lines in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R /U 4 0 R >> >> >>" % (9 + 2 * at)
        )
        objects.append(stream(b"\n".join(shown(line, 800 - 14 * row) for row, line in enumerate(lines))))
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(places) + 1, b"".join(places))
    end = b"trailer\n<< /Size %d /Root 1 0 R /Info 7 0 R %s >>\nstartxref\n%d\n%%%%EOF\n"
    return data + table + end % (len(places) + 1, trailer, len(data))


def stream(body: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(body), body)


def shown(line: str, height: int) -> bytes:
    if line.isascii():
        return b"BT /F 11 Tf 50 %d Td (%s) Tj ET" % (height, line.encode())
    return b"BT /U 11 Tf 50 %d Td <%s> Tj ET" % (height, line.encode("utf-16-be").hex().encode())


def test_a_document_is_one_record_with_its_title(project: Path, read: Read) -> None:
    (project / "docs").mkdir()
    (project / "docs/a.pdf").write_bytes(pdf(["Some text", "and more."], ["Second page."], title="A 标题"))
    (project / "docs/b.pdf.gz").write_bytes(gzip.compress(pdf(["中文文本，全角。", "第二行"])))
    source = open_files("docs")
    assert source is not None
    assert source.kind is Text
    text = "Some text\nand more.\n\nSecond page."
    assert dict(read(source)) == {
        "docs/a.pdf": {"text": text, "path": "docs/a.pdf", "pages": 2, "title": "A 标题"},
        "docs/b.pdf.gz": {"text": "中文文本，全角。\n第二行", "path": "docs/b.pdf.gz", "pages": 1},
    }


def test_what_cannot_be_read_is_dropped_and_says_why(project: Path, read: Read) -> None:
    good = pdf(["text"])
    files = {
        "scan": pdf([], []),
        "locked": pdf(["secret"], trailer=PASSWORD),
        "cut": good[:300],
        "other": b"<html>",
        "empty": b"",
        "good": good,
    }
    for name, data in files.items():
        (project / f"{name}.pdf").write_bytes(data)
    source = open_files("*.pdf")
    assert source is not None
    rows = dict(read(source))
    assert rows["scan.pdf"] == Drop("no text", pages=2)
    assert rows["locked.pdf"] == Drop("encrypted")
    assert [rows[f"{name}.pdf"].reason for name in ("cut", "other", "empty")] == ["malformed pdf"] * 2 + ["empty file"]
    assert rows["good.pdf"]["text"] == "text"


def test_cut_words_are_joined_and_heads_go(project: Path, read: Read) -> None:
    bodies = [
        ["A river is a natu-", "ral stream."],
        ["It is well-known, and not in PDF-", "A. A non-porter or a non-", "free one."],
        ["These are well-", "known facts."],
        ["The end."],
    ]
    (project / "a.pdf").write_bytes(
        pdf(*(["The Book of Rivers", "", *body, "", str(number)] for number, body in enumerate(bodies, 9)))
    )
    source = open_files("a.pdf")
    assert source is not None
    assert dict(read(source))["a.pdf"]["text"].split("\n\n") == [
        "A river is a natural stream.",
        "It is well-known, and not in PDF-A. A non-porter or a non-free one.",
        "These are well-known facts.",
        "The end.",
    ]


def test_joined_by_hand() -> None:
    assert joined("exam-\nple and exam\ufffeple and exam\xad\nple") == "example and example and example"
    assert joined("well-known and well\ufffeknown") == "well-known and well-known"
    assert joined("re-use, require and re\ufffequire") == "re-use, require and require"
    assert joined("1998-\n2003, a - b, end-\n") == "1998-2003, a - b, end-\n"
    started = time.perf_counter()
    joined("a\ufffe" * 200_000)
    joined("-\n" * 200_000)
    assert time.perf_counter() - started < 5


def test_only_what_repeats_at_an_edge_goes() -> None:
    pages = [
        [["A", "B 2"][at % 2], *(f"{n} {name}" for n in "xyz"), "same", *(f"{name} {n}" for n in "xyz"), f"{at}"]
        for at, name in enumerate("abcdef")
    ]
    assert without_edges(pages) == [page[1:-1] for page in pages]
    assert without_edges([["Head", "a"], ["Head", "b"]]) == [["Head", "a"], ["Head", "b"]]
    assert without_edges([["one", "iv"], ["two", "v"], ["three", "vi"], []]) == [["one"], ["two"], ["three"], []]
    assert without_edges([["same"], ["same"], ["same"]]) == [[], [], []]
    assert without_edges([["one line"], ["another"], ["a third"]]) == [["one line"], ["another"], ["a third"]]


@given(st.lists(st.lists(st.text("ab1 ivx", max_size=4), max_size=8), max_size=6))
def test_lines_go_only_from_the_edges_and_never_the_middle(pages: list[list[str]]) -> None:
    for before, after in zip(pages, without_edges(pages), strict=True):
        full = [line for line in before if line]
        middle = full[3:-3]
        at = next((at for at in range(4) if full[at : at + len(after)] == after), None)
        assert at is not None
        assert at + len(after) >= 3 + len(middle) or not middle


@given(st.text("ab-\n\ufffe\xad 1A"))
def test_joining_keeps_every_letter(text: str) -> None:
    def letters(value: str) -> str:
        return "".join(filter(str.isalnum, value))

    assert letters(joined(text)) == letters(text)
