"""Web archives written on the spot by fastwarc's own writer, damaged here and there, and read through a recipe."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastwarc.warc import WarcRecord, WarcRecordType

import factory
from factory import Drop, InputError
from factory.plugins import pm
from factory.testing import check_source

ROOT = Path(__file__).parents[2]
PAGE = (
    "<html><head><title> The  harbour </title><script>no()</script></head><body><nav><a href=/>Home</a></nav>"
    "<article><h1>The harbour</h1><p>The boats that came in at night lie side by side, says Zoë.</p>"
    "<p>Nobody is awake but the man with the radio.</p></article><footer>About us</footer></body></html>"
)
RECIPE = "name: web\ntargets:\n  web:\n    from: {uri}\n    steps: [{{length: {{min_chars: 10}}}}]\n"


def http(body: bytes, kind: str = "text/html; charset=utf-8", status: str = "200 OK", **headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def record(block: bytes, number: int, kind: WarcRecordType = WarcRecordType.response, **headers: str) -> bytes:
    """One WARC record with a block digest, as bytes."""
    made = WarcRecord()
    made.init_headers(kind)
    made.headers["WARC-Date"] = "2024-05-03T10:12:00Z"
    made.headers["WARC-Target-URI"] = f"https://example.org/{number}"
    default = "text/plain" if kind == WarcRecordType.conversion else "application/http; msgtype=response"
    made.headers["Content-Type"] = headers.pop("Content_Type", default)
    for name, value in headers.items():
        made.headers[name.replace("_", "-")] = value
    made.set_bytes_content(block)
    out = io.BytesIO()
    made.write(out, checksum_data=True)
    return out.getvalue()


def archive() -> list[bytes]:
    """Ten documents, and a request that is none."""
    page = PAGE.encode()
    latin = PAGE.encode("cp1252")
    packed = gzip.compress(page)
    chunked = b"%x\r\n" % len(packed) + packed + b"\r\n0\r\n\r\n"
    return [
        record(http(page), 1),
        record(b"GET / HTTP/1.1\r\n\r\n", 1, WarcRecordType.request),
        record(http(latin, "text/html; charset=windows-1252"), 2),
        record(http(chunked, Transfer_Encoding="chunked", Content_Encoding="gzip"), 3),
        record(http(b"Plain, but long enough.", "text/plain"), 4),
        record(http(page), 5).replace(b"The boats", b"No boats!"),
        record(http(b"%PDF", "application/pdf"), 6),
        record(http(page, status="404 Not Found"), 7),
        record(http(b"<html><body></body></html>"), 8),
        record(http(b"a\0b", "text/plain"), 9),
        record(http(b"caf\xe9", "text/plain; charset=utf-8"), 10),
    ]


@pytest.fixture
def warc(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "plugins" / "factory-warc"))
    module = importlib.import_module("factory_warc")
    pm.register(module, "warc")
    return module


@pytest.fixture
def rows(warc: ModuleType) -> Callable[[str], list[tuple[str, Any]]]:
    def read(uri: str) -> list[tuple[str, Any]]:
        source = warc.open_dataset(uri)
        return [row for piece in source.pieces() for row in source.rows(piece)]

    return read


def test_pages_become_text(project: Path, rows: Callable[[str], list[tuple[str, Any]]]) -> None:
    (project / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, archive())))
    found = dict(rows("a.warc.gz"))
    assert list(found) == [f"a.warc.gz#{number}" for number in range(1, 11)]
    first = found["a.warc.gz#1"]
    assert "The boats that came in at night lie side by side, says Zoë." in first["text"]
    assert "Home" not in first["text"]
    assert "About us" not in first["text"]
    assert first["meta"] == {
        "url": "https://example.org/1",
        "date": "2024-05-03T10:12:00Z",
        "content_type": "text/html",
        "title": "The harbour",
    }
    assert found["a.warc.gz#2"]["text"] == found["a.warc.gz#3"]["text"] == first["text"]
    assert found["a.warc.gz#4"]["text"] == "Plain, but long enough."
    reasons = {place: row.reason for place, row in found.items() if isinstance(row, Drop)}
    assert list(reasons.values()) == [
        "bad digest", "not a web page", "http status", "no text", "nul byte", "broken charset",
    ]  # fmt: skip
    assert found["a.warc.gz#7"].details["status"] == 404


def test_a_recipe_reads_archives_and_accounts_for_all_of_them(project: Path, warc: ModuleType) -> None:
    (project / "crawl").mkdir()
    (project / "crawl" / "a.warc").write_bytes(b"".join(archive()))
    text = "Wet files hold text alone: Zoë.".encode()
    (project / "crawl" / "b.warc.wet.gz").write_bytes(gzip.compress(record(text, 1, WarcRecordType.conversion)))
    (project / "recipe.yaml").write_text(RECIPE.format(uri="crawl/*"))
    with pytest.raises(factory.RecipeError, match="cannot read"):
        factory.build(project / "recipe.yaml")  # a glob that says nothing of archives is for files
    (project / "recipe.yaml").write_text(RECIPE.format(uri="warc:crawl/*"))
    result = factory.build(project / "recipe.yaml")
    kept: Any = list(result["web"])  # type: ignore[call-overload]
    assert [row["parents"] for row in kept] == [[f"crawl/a.warc#{n}"] for n in range(1, 5)] + [
        ["crawl/b.warc.wet.gz#1"]
    ]
    assert kept[-1]["text"] == "Wet files hold text alone: Zoë."
    stage = result.plan.targets["web"]
    assert len(list(stage.store.dropped(stage.fingerprint))) == 6


@pytest.mark.parametrize(
    ("data", "last"),
    [
        (b"", ("a.warc.gz", "empty file")),
        (b"no archive at all\r\n\r\n", ("a.warc.gz", "malformed archive")),
        (gzip.compress(record(b"GET", 1, WarcRecordType.request)), ("a.warc.gz", "no documents")),
        (b"".join(archive()[:3])[:-200], ("a.warc.gz#2", "truncated record")),
        (b"".join(map(gzip.compress, archive()[:3]))[:-100], ("a.warc.gz#2", "truncated record")),
    ],
)
def test_damaged_files(
    project: Path, rows: Callable[[str], list[tuple[str, Any]]], data: bytes, last: tuple[str, str]
) -> None:
    (project / "a.warc.gz").write_bytes(data)
    place, row = rows("warc:a.warc.gz")[-1]
    assert (place, row.reason) == last


def test_damaged_compression_ends_a_file_and_says_so(
    project: Path, rows: Callable[[str], list[tuple[str, Any]]]
) -> None:
    members = [gzip.compress(one) for one in archive()[:3]]
    data = bytearray(b"".join(members))
    data[-len(members[-1]) + 40] ^= 0xFF
    (project / "a.warc.gz").write_bytes(data)
    (_, whole), *_, (place, fault) = rows("a.warc.gz")
    assert "The boats" in whole["text"]
    assert (place, fault.reason) == ("a.warc.gz#2", "malformed archive")


def test_only_archives_are_opened(warc: ModuleType) -> None:
    assert warc.open_dataset("notes/*.txt") is None
    assert warc.open_dataset("hf:owner/name.warc") is None
    with pytest.raises(InputError, match=r"no file matches 'nothing\.warc\.gz'"):
        warc.open_dataset("nothing.warc.gz")


@pytest.mark.builds
def test_the_source_conforms(project: Path, warc: ModuleType) -> None:
    (project / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, archive())))
    (project / "b.wet.gz").write_bytes(gzip.compress(record(b"A text.", 1, WarcRecordType.conversion)))
    body = http(b"<p>" + b"The boats lie side by side. " * 4000)
    (project / "large.warc").write_bytes(b"".join(record(body, number) for number in range(90)))
    report = check_source("warc:*.*", folder=project, plugin="factory_warc")
    assert "memory" in report.passed["warc:*.*"]


@pytest.mark.parametrize("name", ["factory-warc", "factory-wikipedia"])
def test_it_is_small(name: str) -> None:
    files = (ROOT / "plugins" / name).glob("*/*.py")
    assert sum(bool(line.strip()) for path in files for line in path.read_text(encoding="utf-8").splitlines()) < 100


@pytest.mark.slow
def test_the_installed_packages_work(
    project: Path, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: Any
) -> None:
    folder, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    names = ("factory-warc", "factory-wikipedia")
    for name in names:
        shutil.copytree(ROOT / "plugins" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, *(str(folder / name) for name in names)], check=True, capture_output=True)
    (project / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, archive())))
    (project / "recipe.yaml").write_text(RECIPE.format(uri="a.warc.gz"))
    path = {"PYTHONPATH": str(site)}
    listed = {row["plugin"]: row["hooks"] for row in json.loads(run("plugins", "--json", **path).stdout)}
    assert listed["warc"] == listed["wikipedia"] == ["open_dataset"]
    built = run("build", "recipe.yaml", "--json", **path)
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["targets"]["web"]["records"] == 4
