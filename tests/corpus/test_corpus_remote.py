"""Files behind addresses: a real web server, and fsspec's file system in memory."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from factory import InputError, Source, Text
from factory.corpus import open_dataset

Entered = Callable[[Source], list[dict[str, Any]]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which a web server shows it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def bucket() -> Iterator[Any]:
    """An object store: flat names, nothing to seek in before it is fetched."""
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/bucket", recursive=True)


def lines(*texts: str) -> bytes:
    return b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts)


def test_a_file_is_read_from_a_web_server(served: tuple[Path, str], entered: Entered) -> None:
    folder, address = served
    (folder / "x.jsonl.zst").write_bytes(zstandard.compress(lines("one", "zwei", "三")))
    source = open_dataset(f"{address}/x.jsonl.zst")
    assert source is not None
    records = entered(source)
    assert [record["text"] for record in records] == ["one", "zwei", "三"]
    assert records[2]["parents"] == [f"{address}/x.jsonl.zst#3"]


def test_a_glob_and_a_folder_of_an_object_store_are_read(bucket: Any, entered: Entered) -> None:
    bucket.pipe({"/bucket/a/1.jsonl": lines("a"), "/bucket/b/2.jsonl": lines("b"), "/bucket/b/notes.bin": b"\x00"})
    with bucket.open("/bucket/b/3.parquet", "wb") as file:
        pq.write_table(pa.table({"text": ["c", "d"]}), file)
    for uri in ("memory://bucket/**/*", "memory://bucket"):
        source = open_dataset(uri)
        assert source is not None
        assert source.kind is Text
        assert sorted(record["text"] for record in entered(source)) == ["a", "b", "c", "d"]
    assert [record["text"] for record in entered(open_dataset("memory://bucket/*/1.jsonl"))] == ["a"]  # type: ignore[arg-type]


def test_another_content_is_another_key(bucket: Any) -> None:
    def keys() -> list[str]:
        source = open_dataset("memory://bucket/x.jsonl")
        assert source is not None
        return [piece.key for piece in source.pieces()]

    bucket.pipe("/bucket/x.jsonl", lines("a"))
    first = keys()
    assert keys() == first
    bucket.pipe("/bucket/x.jsonl", lines("something longer"))
    assert keys() != first


def test_what_cannot_be_opened_is_said(served: tuple[Path, str], bucket: Any) -> None:
    _, address = served
    with pytest.raises(InputError, match=r"no file matches memory://bucket/\*\.jsonl"):
        open_dataset("memory://bucket/*.jsonl")
    bucket.pipe("/bucket/x.bin", b"x")
    with pytest.raises(InputError, match=r"cannot read memory:///bucket/x\.bin; readable are \.txt"):
        open_dataset("memory://bucket/x.bin")
    with pytest.raises(InputError, match="no file matches"):
        open_dataset(f"{address}/missing.jsonl")
    assert open_dataset("nothing://bucket/x.jsonl") is None


def test_a_server_that_goes_away_stops_the_build_and_drops_nothing(served: tuple[Path, str]) -> None:
    folder, address = served
    (folder / "x.jsonl").write_bytes(lines("a"))
    source = open_dataset(f"{address}/x.jsonl")
    assert source is not None
    (piece,) = source.pieces()
    (folder / "x.jsonl").unlink()
    with pytest.raises(InputError, match=r"x\.jsonl.* cannot be fetched: .*; build again to go on"):
        list(source.rows(piece))


def test_a_missing_package_is_named() -> None:
    with pytest.raises(InputError, match=r"s3://bucket/x\.jsonl needs a package that is not installed: .*s3fs"):
        open_dataset("s3://bucket/x.jsonl")
