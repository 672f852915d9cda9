"""The benchmark corpus: extraction on small pages, edits that are as near as they say, truth that can be recounted."""

import gzip
import json
import random

import corpus
import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard
from debian_text import MOST, Document, cut, documents_of, html_sections, language_of, man_sections, reader_of, size
from hypothesis import given
from hypothesis import strategies as st
from seeded_edits import KINDS, FarCopies, near_copy, pools

from factory.text.words import shingles

ENGLISH = [f"{start}{end}" for start in "bcdfghklmnprst" for end in ("ale", "ine", "ord", "ust", "ent", "ack", "eep")]
CHINESE = [chr(code) for code in range(0x4E00, 0x4E00 + 600)]


def document(number: int, language: str) -> Document:
    drawn = random.Random(f"{number} {language}")
    if language == "zh":
        text = "\n".join("".join(drawn.choices(CHINESE, k=30)) + "。" for _ in range(12))
    else:
        text = "\n".join(" ".join(drawn.choices(ENGLISH, k=15)) + "." for _ in range(12))
    return Document(f"{language}#{number}", text, language, "made")


@pytest.fixture
def documents() -> list[Document]:
    return [document(number, language) for language in ("en", "zh") for number in range(40)]


# --- extraction ----------------------------------------------------------------------------------------------------


def test_a_page_is_cut_at_headings_and_loses_its_navigation():
    page = b"""<html><head><title>T</title></head><body class="toc"><nav>menu</nav><div class="navheader">Next</div>
        <h1>Mount<a class="headerlink">#</a></h1><p>Attach a
        file   system.<!-- no --> Then <b>use</b> it.</p><script>x()</script>
        <h2>Options</h2><table><tr><td><p>-r</p></td><td>read only</td></tr><tr><td>-w</td><td>write</td></tr></table>
        <pre>mount  -r
          /dev/sda1</pre><p>\xe6\x8c\x82\xe8\xbd\xbd
        \xe6\x96\x87\xe4\xbb\xb6</p></body></html>"""
    assert html_sections(page) == [
        "Mount\n\nAttach a file system. Then use it.",
        "Options\n\n-r read only\n-w write\n\nmount  -r\n          /dev/sda1\n\n挂载文件",
    ]


@pytest.mark.parametrize("page", [b"", b"  ", b"<html></html>", b"<!-- only -->", b"<body><script>x()</script></body>"])
def test_a_page_without_text_has_no_sections(page):
    assert html_sections(page) == []


def test_a_manual_page_is_read_without_its_macros():
    page = r""".TH LS 1
.SH NAME
ls \- list
.SH "SEE ALSO"
.\" a comment
.TP
\fB\-a\fR, \fB\-\-all\fR
show \(lqall\(rq
of them
.PP
.BR stat (2),
.I file \" why
.TS
l l.
a	b
.TE
.nf
  $ ls
  x \[u2026]
.fi
The \fIend\fP.
"""
    assert man_sections(page.encode()) == [
        "NAME\n\nls - list",
        "SEE ALSO\n\n-a, --all show “all” of them\n\nstat(2), file\n\n  $ ls\n  x …\n\nThe end.",
    ]


def test_a_reference_and_an_mdoc_page_have_no_sections():
    assert man_sections(b".so man3/sin.3\n") == man_sections(b".Dd May 1\n.Sh NAME\n") == []


@pytest.mark.parametrize(
    ("path", "source", "text", "language"),
    [
        ("man/man2/open.2.gz", "manpages-dev", "open a file", "en"),
        ("man/fr/man2/open.2.gz", "manpages-fr-dev", "ouvrir", "fr"),
        ("man/zh_CN/man1/ls.1.gz", "manpages-zh", "列出目录", "zh"),
        ("man/zh_CN/man1/ls.1.gz", "manpages-zh", "list the files of a folder, please", "en"),
        ("doc/linux-doc-6.1/html/translations/it_IT/index.html", "linux-doc-6.1", "indice", "it"),
        ("doc/debian-handbook/html/pt-BR/index.html", "debian-handbook", "livro", "pt"),
        ("doc/python3.11/html/library/os.html", "python3.11-doc", "files", "en"),
        ("libreoffice/help/pt-BR/text/a.html", "libreoffice-help-pt-br", "ajuda", "pt"),
    ],
)
def test_a_language_is_told_by_folder_or_package(path, source, text, language):
    assert language_of(path, source, text) == language


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("doc/a/index.html", True),
        ("doc/a/genindex.html", False),
        ("doc/a/html/_sources/index.rst.txt", False),
        ("doc/a/notes.txt.gz", True),
        ("doc/a/copyright", False),
        ("man/ja/man3/sin.3.gz", True),
        ("doc/a/figure.png", False),
    ],
)
def test_files_with_text_are_read(path, read):
    assert (reader_of(path) is not None) == read


def test_documents_carry_place_language_and_package(tmp_path):
    page = tmp_path / "usr/share/man/de/man1/ls.1.gz"
    page.parent.mkdir(parents=True)
    page.write_bytes(gzip.compress((".SH NAME\n" + "Verzeichnisinhalte auflisten. " * 400).encode()))
    found = documents_of(tmp_path, page, "manpages-de")
    place = "manpages-de:man/de/man1/ls.1.gz#1"  # the heading before the long line is no document
    assert [(one.id, one.language, one.source) for one in found] == [(place, "de", "manpages-de")]
    assert size(found[0].text) > MOST  # one line: there is nowhere to cut


@given(st.lists(st.text("ab 字\n", min_size=1), max_size=30), st.integers(1, 60))
def test_cutting_loses_nothing(sections, least):
    def bare(texts: list[str]) -> str:
        return "".join("".join(texts).split())

    documents = list(cut(sections, least))
    assert bare(documents) == bare(sections)
    assert all(size(one) >= least for one in documents[:-1])


def test_long_sections_are_cut_at_paragraphs_then_lines():
    paragraphs = "\n\n".join("word " * 300 for _ in range(20))
    lines = "\n".join("字" * 30 for _ in range(1000))
    documents = list(cut([paragraphs, lines], 300))
    assert max(map(size, documents)) <= MOST
    assert len(documents) < 20


# --- edits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_near_copy_is_about_as_near_as_asked(documents, language, kind):
    pool = pools(documents)[language, language == "zh"]
    for aim in (0.5, 0.8, 0.95):
        found = []
        for number in range(30):
            text = document(number, language).text
            before, after = shingles(text), shingles(near_copy(text, kind, aim, pool, random.Random(number)))
            found.append(len(before & after) / len(before | after))
        assert np.mean(found) == pytest.approx(aim, abs=0.05)


def test_the_same_seed_gives_the_same_edits(documents):
    pool_of = pools(documents)
    for one in (documents[0], documents[-1]):
        pool = pool_of[one.language, one.language == "zh"]
        copies = {near_copy(one.text, kind, 0.8, pool, random.Random(1)) for kind in KINDS for _ in range(3)}
        assert len(copies) == len(KINDS)
        far = {FarCopies(pool_of).copy(one.text, one.language, np.random.default_rng(1)) for _ in range(3)}
        assert len(far) == 1


def test_a_far_copy_is_no_near_duplicate(documents):
    far, drawn = FarCopies(pools(documents)), np.random.default_rng(1)
    for one in documents:
        copy = far.copy(one.text, one.language, drawn)
        before, after = shingles(one.text), shingles(copy)
        assert len(before & after) / len(before | after) < 0.3
        assert copy.count("\n") == one.text.count("\n")


# --- the corpus ----------------------------------------------------------------------------------------------------


def test_one_in_ten_exact_duplicates_stays_with_the_language_of_the_first():
    english = document(0, "en")
    repeated = [english._replace(id=f"de#{number}", language="de") for number in range(1000)]
    kept, repeats = corpus.without_repeats([*repeated, english])
    assert repeats == 1000
    assert 60 < len(kept) - 1 < 140
    assert {one.language for one in kept} == {"en"}


def test_the_truth_can_be_recounted(documents):
    copies, truth = corpus.near_duplicates(documents, 60)
    assert corpus.near_duplicates(documents, 60) == (copies, truth)
    text_of = {one.id: one.text for one in [*documents, *copies]}
    assert len(text_of) == len(documents) + 60
    assert [row["unspaced"] for row in truth] == [False] * 30 + [True] * 30
    assert {row["edit"] for row in truth} == set(KINDS)
    for row in truth:
        before, after = shingles(text_of[row["original"]]), shingles(text_of[row["copy"]])
        assert row["jaccard"] == len(before & after) / len(before | after)
        assert row["unspaced"] == (row["language"] == "zh")


def test_files_hold_the_documents_and_grow(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "ROW_GROUP", 16)
    corpus.write_corpus(documents, tmp_path)
    lines = zstandard.decompress((tmp_path / "corpus.jsonl.zst").read_bytes(), max_output_size=10_000_000).splitlines()
    assert [Document(**json.loads(line)) for line in lines] == documents
    assert [one for group in corpus.row_groups(tmp_path / "corpus.parquet") for one in group] == documents

    number, written = corpus.grow(tmp_path, 0.3)
    grown = [one for group in corpus.row_groups(tmp_path / "grown.parquet") for one in group]
    assert grown[: len(documents)] == documents
    assert len({one.id for one in grown}) == len(grown) == number
    assert sum(size(one.text) for one in grown) == written
    assert 0.3e6 <= written < 0.3e6 + 2000
    meta = pq.ParquetFile(tmp_path / "grown.parquet").metadata
    assert max(meta.row_group(group).num_rows for group in range(meta.num_row_groups)) <= 16
    first = (tmp_path / "grown.parquet").read_bytes()
    corpus.grow(tmp_path, 0.3)
    assert (tmp_path / "grown.parquet").read_bytes() == first
