"""Files as a source: what is read, what is not, where it says it was, and how it is cut into pieces."""

from __future__ import annotations

import gzip
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import Conversation, Drop, InputError, Preference, PromptCompletion, Record, Text, Unpaired
from factory.corpus import open_dataset
from factory.corpus.sources import packing
from factory.corpus.sources.files import Files
from factory.corpus.sources.packing import buckets, cut_lines
from factory.corpus.sources.reading import read_lines
from factory.engine.project import enter_project, project_root
from factory.engine.source import Source, enter

Read = Callable[[Source], list[tuple[str, Any]]]


def source(uri: str) -> Source:
    found = open_dataset(uri)
    assert found is not None
    return found


@contextmanager
def a_project() -> Iterator[Path]:
    """For hypothesis, whose examples must not share a fixture's folder."""
    before = project_root()
    with tempfile.TemporaryDirectory() as folder:
        enter_project(Path(folder))
        try:
            yield project_root()
        finally:
            enter_project(before)


def drops(rows: list[tuple[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {place: (row.reason, row.details) for place, row in rows if isinstance(row, Drop)}


def test_every_format_is_read(project: Path, read: Read) -> None:
    (project / "a.txt").write_text("plain\r\ntext")
    (project / "b.md").write_bytes(b"\xef\xbb\xbf# Title")
    (project / "c.jsonl").write_text('{"text": "one"}\n\n{"text": "two"}')
    (project / "d.json").write_text('[{"text": "first"}, {"text": "second"}]')
    (project / "e.csv").write_text('text,n\n"a ""quoted""\nline",1\nlast,2\n')
    (project / "f.tsv").write_text("text\tn\ntabbed\t1\n")
    pq.write_table(pa.table({"text": ["row one", "row two"]}), project / "g.parquet")
    (project / "h.json").write_text('{"text": "whole"}')
    (project / "i.json").write_text('{"text": "line 1"}\n{"text": "line 2"}\n')
    (project / "j.txt").write_text("wide", encoding="utf-16")
    (project / ".hidden.txt").write_text("not read")
    (project / "skip.bin").write_bytes(b"\0")
    opened = source("./")
    assert opened.kind is Text
    assert {place: row["text"] for place, row in read(opened)} == {
        "a.txt": "plain\ntext",
        "b.md": "# Title",
        "c.jsonl#1": "one",
        "c.jsonl#3": "two",
        "d.json#1": "first",
        "d.json#2": "second",
        "e.csv#2": 'a "quoted"\nline',
        "e.csv#4": "last",
        "f.tsv#2": "tabbed",
        "g.parquet#1": "row one",
        "g.parquet#2": "row two",
        "h.json": "whole",
        "i.json#1": "line 1",
        "i.json#2": "line 2",
        "j.txt": "wide",
    }


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_read_like_the_files_in_them(project: Path, read: Read, suffix: str) -> None:
    pack = gzip.compress if suffix == ".gz" else zstandard.compress
    pq.write_table(pa.table({"text": ["p"]}), project / "raw.parquet")
    (project / "data").mkdir()
    for name, data in {
        "a.txt": b"hello",
        "b.jsonl": b'{"text": "x"}\n',
        "c.csv": b"text\ny\n",
        "d.parquet": (project / "raw.parquet").read_bytes(),
    }.items():
        (project / "data" / (name + suffix)).write_bytes(pack(data) + pack(b"") if name == "b.jsonl" else pack(data))
    assert sorted(row["text"] for _, row in read(source("data"))) == ["hello", "p", "x", "y"]


def test_html_gives_main_text_and_title(project: Path, read: Read) -> None:
    body = "<p>" + "A sentence of the main text that is long enough to be one. " * 5 + "</p>"
    (project / "a.html").write_text(
        f"<html><head><title>My  page</title></head><body><h1>Head</h1>{body}</body></html>"
    )
    (project / "b.html").write_text("<html><body><script>x = 1</script></body></html>")
    (project / "c.htm").write_bytes(b'<html><meta charset="latin-1"><body><p>caf\xe9 au lait</p></body></html>')
    rows = dict(read(source("*.htm*")))
    assert "main text" in rows["a.html"]["text"]
    assert rows["a.html"]["title"] == "My page"
    assert rows["b.html"] == Drop("no text")
    assert "café" in rows["c.htm"]["text"]


def test_a_broken_row_is_dropped_and_the_rest_is_there(project: Path, read: Read) -> None:
    (project / "x.jsonl").write_bytes(
        b'{"text": "ok"}\n{"text": \n[1]\n{"text": "\xff"}\n{"text": "a\0b"}\n{"text": "end"}\n{"body": "no text"}\n'
    )
    rows = read(source("x.jsonl"))
    assert [row["text"] for _, row in rows if not isinstance(row, Drop)] == ["ok", "end"]
    found = drops(rows)
    assert found["x.jsonl#2"][0] == "malformed json"
    assert found["x.jsonl#2"][1]["line"] == 2
    assert found["x.jsonl#3"] == ("not a json object", {"found": "list", "line": 3})
    assert found["x.jsonl#4"] == ("broken utf-8", {"line": 4, "byte": 39})
    assert found["x.jsonl#5"] == ("nul byte", {"line": 5, "byte": 54})
    assert found["x.jsonl#7"] == ("not a Text", {"columns": ["body"]})
    assert len(rows) == 7


def test_a_broken_csv_row_is_dropped_and_the_rest_is_there(project: Path, read: Read) -> None:
    (project / "x.csv").write_bytes(b'text,n\nok,1\nbad\xff,2\na\0b,3\nshort\nlast,4\n"never closed,5\nmore,6\n')
    rows = read(source("x.csv"))
    assert [row["text"] for _, row in rows if not isinstance(row, Drop)] == ["ok", "last"]
    assert {place: reason for place, (reason, _) in drops(rows).items()} == {
        "x.csv#3": "broken utf-8",
        "x.csv#4": "nul byte",
        "x.csv#5": "wrong number of cells",
        "x.csv#7": "unclosed quote",
    }


def test_broken_whole_files(project: Path, read: Read) -> None:
    (project / "empty.txt").write_bytes(b"")
    (project / "blank.txt").write_bytes(b" \n")
    (project / "empty.jsonl").write_bytes(b"\n\n")
    (project / "empty.txt.gz").write_bytes(gzip.compress(b""))
    (project / "latin.txt").write_bytes(b"line\ncaf\xe9")
    (project / "nul.txt").write_bytes(b"one\ntw\0o")
    (project / "bad.json").write_bytes(b'{"text": }')
    (project / "bad.parquet").write_bytes(b"PAR1 but no more")
    (project / "header.csv").write_bytes(b"text,n\n")
    (project / "list.json").write_bytes(b"[]")
    (project / "number.json").write_bytes(b"17")
    (project / "noise.jsonl.gz").write_bytes(b"this is not gzip")
    (project / "ok.txt").write_bytes(b"ok")
    rows = read(source("./"))
    found = {place: reason for place, (reason, _) in drops(rows).items()}
    assert found == {
        "empty.txt": "empty file",
        "blank.txt": "empty file",
        "empty.jsonl": "empty file",
        "empty.txt.gz": "empty file",
        "latin.txt": "broken utf-8",
        "nul.txt": "nul byte",
        "bad.json": "malformed json",
        "bad.parquet": "malformed parquet",
        "header.csv": "no rows",
        "list.json": "no rows",
        "number.json": "not a json object",
        "noise.jsonl.gz#1": "corrupt gzip",
    }
    assert drops(rows)["latin.txt"][1] == {"line": 2, "byte": 8}
    assert drops(rows)["nul.txt"][1] == {"line": 2, "byte": 6}
    assert len(rows) == len(found) + 1


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
def test_rows_before_a_truncation_are_kept(project: Path, read: Read, suffix: str, name: str) -> None:
    lines = [
        f'{{"text": "{os.urandom(40).hex()}"}}' if name == "x.jsonl" else os.urandom(40).hex() for _ in range(5000)
    ]
    text = "\n".join(lines if name == "x.jsonl" else ["text", *lines]).encode()
    packed = gzip.compress(text) if suffix == ".gz" else zstandard.compress(text)
    (project / (name + suffix)).write_bytes(packed[: len(packed) * 2 // 3])
    rows = read(source(name + suffix))
    *kept, (place, last) = rows
    assert last.reason == f"truncated {'gzip' if suffix == '.gz' else 'zstd'}"
    assert not any(isinstance(row, Drop) for _, row in kept)
    wanted = [orjson.loads(line)["text"] if name == "x.jsonl" else line for line in lines]
    assert [row["text"] for _, row in kept] == wanted[: len(kept)]
    assert 2000 < len(kept) < 5000
    assert place == f"{name}{suffix}#{last.details['line']}"
    assert last.details["line"] == len(kept) + (1 if name == "x.jsonl" else 2)


def test_a_file_that_cannot_be_read_is_a_drop(project: Path, read: Read) -> None:
    (project / "a.jsonl").write_text('{"text": "a"}')
    (project / "mem.txt").symlink_to("/proc/self/mem")  # even root cannot read its first byte
    (project / "mem.jsonl").symlink_to("/proc/self/mem")
    opened = source("./")
    pieces = opened.pieces()
    (project / "a.jsonl").unlink()  # between planning and reading
    rows = [row for piece in pieces for row in opened.rows(piece)]
    assert {row.reason for _, row in rows} <= {"cannot be read", "empty file"}
    assert len(rows) == 3
    assert str(project) not in str([(row.reason, row.details) for _, row in rows])


def test_a_line_of_50_mb_is_read_in_linear_time(project: Path) -> None:
    with (project / "x.jsonl").open("wb") as file:
        file.write(b'{"text": "before"}\n{"text": "' + b"x" * 50_000_000 + b'"}\n{"text": "after"}\n')
    lines = list(read_lines(project / "x.jsonl"))
    assert [len(line.text) for line in lines] == [18, 50_000_012, 17]
    assert [line.fault for line in lines] == [None, None, None]
    rows = [row for piece in source("x.jsonl").pieces() for row in source("x.jsonl").rows(piece)]
    assert [len(row["text"]) for _, row in rows if isinstance(row, dict)] == [6, 50_000_000, 5]


def test_a_row_that_lacks_a_column_is_dropped_by_name(project: Path, entered: Any, read: Read) -> None:
    (project / "x.jsonl").write_text('{"prompt": "p", "completion": "c"}\n{"prompt": "alone"}\n{"text": "other"}\n')
    opened = source("x.jsonl")
    assert opened.kind is PromptCompletion
    assert drops(read(opened)) == {
        "x.jsonl#2": ("missing column", {"columns": ["completion"]}),
        "x.jsonl#3": ("not a PromptCompletion", {"columns": ["text"]}),
    }


def test_the_kind_is_that_of_the_first_readable_row(project: Path) -> None:
    (project / "a.jsonl").write_text("broken\n")
    (project / "b.jsonl").write_text('broken\n{"messages": [{"role": "user", "content": "hi"}]}\n')
    (project / "c.jsonl").write_text('{"text": "later"}\n')
    assert source("*.jsonl").kind is Conversation
    assert source("c.jsonl").kind is Text


def test_places_are_relative_and_a_source_can_be_pickled(project: Path, read: Read) -> None:
    (project / "sub").mkdir()
    (project / "sub/x.jsonl").write_text('{"text": "a"}')
    opened = source(str(project / "sub/x.jsonl"))
    assert [place for place, _ in read(opened)] == ["sub/x.jsonl#1"]
    assert opened.pieces()[0].files == ("sub/x.jsonl",)
    assert read(pickle.loads(pickle.dumps(opened))) == read(opened)


def test_what_is_no_path_is_left_to_others(project: Path) -> None:
    assert open_dataset("mysql://host/table") is None
    assert open_dataset("warc:x.warc") is None


def test_nothing_found_names_the_nearest_thing(project: Path) -> None:
    (project / "data").mkdir()
    (project / "data/train.jsonl").write_text("{}")
    (project / "data/x.docx").write_text("docx")
    with pytest.raises(InputError, match=r"no file matches data/\*\.jsnl; did you mean 'data/\*\.jsonl'\?"):
        open_dataset("data/*.jsnl")
    with pytest.raises(InputError, match=r"did you mean 'data/train\.jsonl'\?"):
        open_dataset("data/trian.jsonl")
    with pytest.raises(InputError, match=r"did you mean 'data'\?"):
        open_dataset("dta/train.jsonl")
    with pytest.raises(InputError, match=r"cannot read data/x\.docx; readable are \.txt \.md"):
        open_dataset("data/x.docx")
    (project / "void").mkdir()
    with pytest.raises(InputError, match="no readable file matches void"):
        open_dataset("void/")


def test_globs_go_deep_and_leave_hidden_files_out(project: Path, read: Read) -> None:
    for name in ("a/b/c.md", "a/d.md", "a/.git/e.md", "f.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    assert sorted(place for place, _ in read(source("**/*.md"))) == ["a/b/c.md", "a/d.md", "f.md"]
    assert sorted(place for place, _ in read(source("a"))) == ["a/b/c.md", "a/d.md"]


def test_the_kind_counts_in_the_key_of_every_piece(project: Path) -> None:
    (project / "b.jsonl").write_text('{"prompt": "p", "completion": "c"}')
    before = {piece.files: piece.key for piece in source("*.jsonl").pieces()}
    (project / "a.jsonl").write_text('{"prompt": "only"}')
    after = {piece.files: piece.key for piece in source("*.jsonl").pieces()}
    assert before[("b.jsonl",)] != after[("b.jsonl",)]  # its rows are read as prompts now


names = st.text("abcdefghij", min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, st.integers(0, 90), min_size=1, max_size=60), names, st.integers(0, 90))
def test_a_new_file_changes_one_bucket_at_most(sizes: dict[str, int], new: str, size: int) -> None:
    before = buckets(sizes, limit=100)
    assert sorted(place for group in before for place in group) == sorted(sizes)
    assert all(sum(sizes[place] for place in group) <= 100 or len(group) == 1 for group in before)
    after = buckets({**sizes, new: sizes.get(new, size)}, limit=100)
    gone = [group for group in before if group not in after]
    assert len(gone) <= 1
    assert after == buckets(dict(sorted({**sizes, new: sizes.get(new, size)}.items(), reverse=True)), limit=100)


@settings(max_examples=30, deadline=None)
@given(st.sets(names, min_size=1, max_size=30), names)
def test_pieces_cover_all_files_once_and_a_new_file_changes_one(files: set[str], new: str) -> None:
    with a_project() as project:
        for name in files - {new}:
            (project / f"{name}.txt").write_text(name)
        (project / "always.txt").write_text("x")
        before = source("*.txt").pieces()
        covered = [place for piece in before for place in piece.files]
        assert sorted(covered) == sorted(f"{name}.txt" for name in {*files - {new}, "always"})
        (project / f"{new}.txt").write_text("new")
        after = source("*.txt").pieces()
        assert len({piece.key for piece in before} - {piece.key for piece in after}) <= 1
        assert len({piece.key for piece in after} - {piece.key for piece in before}) == 1


lines = st.lists(st.text("ab", max_size=12), max_size=30)


@settings(max_examples=80, deadline=None)
@given(lines, lines, st.booleans(), st.integers(1, 40))
def test_a_cut_file_loses_nothing_and_grows_at_its_end(
    first: list[str], more: list[str], ended: bool, limit: int
) -> None:
    with a_project() as project:
        path = project / "x.jsonl"
        data = "\n".join(first) + ("\n" if ended else "")
        path.write_text(data)
        parts = cut_lines(path, limit)
        assert [start for start, _, _ in parts][1:] == [end for _, end, _ in parts][:-1]
        assert (parts[0][0], parts[-1][1]) == (0, len(data))
        for start, end, number in parts:
            assert number == data[:start].count("\n") + 1
            assert start == 0 or data[start - 1] == "\n"
            assert end == len(data) or end - start >= limit
        read = [(line.number, line.text) for part in parts for line in read_lines(path, *part)]
        assert read == [(line.number, line.text) for line in read_lines(path)]
        path.write_text(data + "\n".join(more) + "\n")
        assert cut_lines(path, limit)[: len(parts) - 1] == parts[:-1]


def test_rows_of_a_cut_file_keep_their_line_numbers(project: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.corpus.sources.files.PIECE", 1000)
    monkeypatch.setattr("factory.corpus.sources.files.cut_lines", lambda path: cut_lines(path, 1000))
    path = project / "x.jsonl"
    path.write_text("".join(f'{{"text": "row {number}"}}\n' for number in range(1, 301)))
    before = source("x.jsonl").pieces()
    assert len(before) > 4
    assert [(place, row["text"]) for place, row in read(source("x.jsonl"))] == [
        (f"x.jsonl#{number}", f"row {number}") for number in range(1, 301)
    ]
    with path.open("a") as file:
        file.write('{"text": "one more"}\n')
    after = source("x.jsonl").pieces()
    assert [piece.key for piece in after[: len(before) - 1]] == [piece.key for piece in before[:-1]]
    # a line more in the first part shifts the numbers of all others, so their keys must change
    path.write_text("\n" + path.read_text()[1:].replace('row 1"', 'row 1"', 1))
    assert not {piece.key for piece in source("x.jsonl").pieces()[1:]} & {piece.key for piece in after}


def test_kinds_by_columns(project: Path, entered: Any) -> None:
    def only(row: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        (project / "k.jsonl").write_bytes(orjson.dumps(row))
        opened = Files("k.jsonl", {"k.jsonl": project / "k.jsonl"})
        (record,) = entered(opened)
        return opened.kind, record

    def said(*turns: str) -> list[dict[str, str]]:
        return [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]

    kind, record = only({"prompt": "q", "completion": "a", "source": "s"})
    assert (kind, record["prompt"], record["meta"]) == (PromptCompletion, said("q"), {"source": "s"})
    assert record["completion"] == [{"role": "assistant", "content": "a"}]
    kind, record = only({"instruction": "Add", "input": "1 2", "output": "3"})
    assert (kind, record["prompt"][0]["content"]) == (PromptCompletion, "Add\n\n1 2")
    assert record["meta"] == {"instruction": "Add", "input": "1 2"}
    kind, record = only({"instruction": "Hello", "input": "", "output": "Hi"})
    assert record["prompt"] == said("Hello")
    seed = {"id": "s1", "name": "n", "instruction": "I", "is_classification": True}
    kind, record = only({**seed, "instances": [{"input": "in", "output": "out"}]})
    assert (kind, record["prompt"][0]["content"]) == (PromptCompletion, "I\n\nin")
    assert record["meta"] == {**seed, "input": "in"}
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    kind, record = only({"conversations": turns})
    assert (kind, record["messages"], record["meta"]) == (Conversation, said("q", "a"), {})
    kind, record = only({"chosen": said("q", "good"), "rejected": said("q", "bad")})
    assert (kind, record["prompt"], record["chosen"]) == (Preference, said("q"), said("q", "good")[1:])
    kind, record = only({"prompt": "q", "chosen": said("q", "good"), "rejected": said("q", "bad")})
    assert (kind, record["rejected"]) == (Preference, said("q", "bad")[1:])
    kind, record = only({"prompt": "q", "completion": "a", "label": 1})
    assert (kind, record["label"]) == (Unpaired, True)
    kind, record = only({"question": "q", "answer": "a"})
    assert (kind, record["meta"]) == (Record, {"question": "q", "answer": "a"})


def test_a_seed_task_with_two_instances_gives_two_records(project: Path, entered: Any) -> None:
    row = {"instruction": "I", "instances": [{"input": "1", "output": "a"}, {"input": "2", "output": "b"}]}
    (project / "s.jsonl").write_bytes(orjson.dumps(row))
    records = entered(source("s.jsonl"))
    assert [record["meta"]["input"] for record in records] == ["1", "2"]
    assert len({record["id"] for record in records}) == 2


@pytest.mark.parametrize(
    "row",
    [
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": 17},
        {"messages": ["hello"]},
    ],
)
def test_messages_that_are_none_are_dropped(project: Path, read: Read, row: dict[str, Any]) -> None:
    good = {"messages": [{"role": "user", "content": "hi"}]}
    (project / "x.jsonl").write_bytes(orjson.dumps(good) + b"\n" + orjson.dumps(row))
    assert [reason for reason, _ in drops(read(source("x.jsonl"))).values()] == ["not a Conversation"]


def test_parquet_values_that_json_lacks_become_strings(project: Path) -> None:
    import datetime
    import decimal

    table = pa.table(
        {"text": ["a"], "when": [datetime.datetime(2024, 1, 2)], "price": [decimal.Decimal("1.50")], "raw": [b"\x01"]}
    )
    pq.write_table(table, project / "x.parquet")
    opened = source("x.parquet")
    ((record, drop),) = enter(opened, iter(list(opened.rows(opened.pieces()[0]))))
    assert drop is None
    assert record["meta"] == {"when": "2024-01-02T00:00:00", "price": "1.50", "raw": "\x01"}


def test_the_limit_of_a_piece_is_that_of_the_design() -> None:
    assert packing.PIECE == 64 * 1024 * 1024


def test_a_big_parquet_file_is_cut_at_row_groups(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    texts = [f"{n} " + "word " * 40 for n in range(1000)]
    pq.write_table(pa.table({"text": texts, "n": list(range(1000))}), project / "a.parquet", row_group_size=64)
    monkeypatch.setattr("factory.corpus.sources.packing.cut_row_groups.__defaults__", (4_000,))
    source = open_dataset("a.parquet")
    assert source is not None
    pieces = source.pieces()
    assert len(pieces) > 4
    assert len({piece.key for piece in pieces}) == len(pieces)
    rows = [row for piece in pieces for row in source.rows(piece)]
    assert [(place, fields["n"]) for place, fields in rows] == [(f"a.parquet#{n + 1}", n) for n in range(1000)]  # type: ignore[index]
