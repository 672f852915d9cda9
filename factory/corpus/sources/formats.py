"""What each file format reads as: rows with their places, not yet of any record type."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from factory import Drop, Row

from .reading import COMPRESSIONS, Line, decode, decoded, read_bytes, read_lines, read_raw

# A message column that holds a list is written to csv as JSON; nothing else is parsed.
JSON_CELLS = (
    "messages",
    "conversations",
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "completions",
    "scores",
    "choices",
)


def format_of(name: str) -> str:
    """The extension that decides how a file is read, without `.gz` and `.zst`: `.jsonl`, say."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def read_rows(path: Path, place: str, start: int = 0, end: int | None = None, first: int = 1) -> Iterator[Row]:
    """Every row of a file; of bytes [start, end) of a jsonl file, or such row groups of Parquet, where `first` begins.

    A file that holds no row at all gives one Drop at the file's place.
    """
    count = 0
    try:
        if path.stat().st_size == 0:
            raise Drop("empty file")
        if format_of(path.name) == ".jsonl":
            rows = _jsonl(read_raw(path, start, end, first), place)
        elif format_of(path.name) == ".parquet":
            rows = _parquet(path, place, start, end, first)
        else:
            rows = READERS[format_of(path.name)](path, place)
        for count, row in enumerate(rows, 1):  # noqa: B007
            yield row
    except Drop as fault:
        yield place, fault
        return
    except OSError as error:
        yield place, Drop("cannot be read", error=error.strerror or type(error).__name__)
        return
    if not count and start == 0:
        yield place, Drop("empty file" if format_of(path.name) == ".jsonl" else "no rows")


def _text(path: Path, place: str) -> Iterator[Row]:
    yield place, {"text": decode(read_bytes(path)), "path": place}


def _html(path: Path, place: str) -> Iterator[Row]:
    from .html import main_text

    text, title = main_text(read_bytes(path))
    yield place, {"text": text, "path": place, **({"title": title} if title else {})}


def _pdf(path: Path, place: str) -> Iterator[Row]:
    from .pdf import pdf_text

    text, title, pages = pdf_text(read_bytes(path))
    yield place, {"text": text, "path": place, "pages": pages, **({"title": title} if title else {})}


def _jsonl(lines: Iterator[tuple[int, int, bytes | Drop]], place: str) -> Iterator[Row]:
    """One JSON object a line; blank lines are no rows."""
    for number, offset, raw in lines:
        if isinstance(raw, Drop):
            yield f"{place}#{number}", raw
        elif raw and not raw.isspace():
            yield f"{place}#{number}", _object(raw, number, offset)


def _object(raw: bytes, line: int, offset: int = 0) -> dict[str, Any] | Drop:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:  # bytes that are no text are the better reason
        return decoded(raw, line, offset).fault or Drop("malformed json", error=error.msg, line=line)
    if not isinstance(value, dict):
        return Drop("not a json object", found=type(value).__name__, line=line)
    return value


def _json(path: Path, place: str) -> Iterator[Row]:
    """One object (the file is the row), an array of objects (`x.json#3` is the third), or lines under a wrong name."""
    data = read_bytes(path)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        head = data.split(b"\n", 1)[0]
        if head != data and isinstance(_object(head, 1), dict):
            yield from _jsonl(read_raw(path), place)
            return
        decode(data)  # a better reason, if there is one
        raise Drop("malformed json", error=error.msg, line=error.lineno) from None
    if isinstance(value, dict):
        yield place, value
        return
    if not isinstance(value, list):
        raise Drop("not a json object", found=type(value).__name__)
    for number, item in enumerate(value, 1):
        row = item if isinstance(item, dict) else Drop("not a json object", found=type(item).__name__, item=number)
        yield f"{place}#{number}", row


def _csv(path: Path, place: str, delimiter: str = ",") -> Iterator[Row]:
    """Rows by the header's names. A row's place is the physical line it starts on."""
    csv.field_size_limit(1 << 30)  # its own 128 kB would refuse long documents
    faults: list[Line] = []
    state = {"line": 0, "ended": 0}

    def feed() -> Iterator[str]:
        for line in read_lines(path):
            if line.fault is not None:
                faults.append(line)
                if line.last:
                    break
            state["line"] = line.number
            yield line.text + "\n"
        state["ended"] = 1

    reader = csv.reader(feed(), delimiter=delimiter)
    header: list[str] = []
    while True:
        start = state["line"] + 1
        try:
            cells: list[str] | None = next(reader, None)
            error = ""
        except csv.Error as raised:
            cells, error = [], str(raised)
        if faults:  # in this row, or where the next one would begin
            fault = faults[0]
            faults.clear()
            assert fault.fault is not None
            yield f"{place}#{start}", fault.fault
            if fault.last:
                return
            header = header or cells or []  # a damaged name is better than the first row for a header
            continue
        if cells is None:
            return
        where = f"{place}#{start}"
        if error:
            yield where, Drop("malformed csv", error=error, line=start)
        elif state["ended"]:  # a complete row is given before the end is seen
            yield where, Drop("unclosed quote", line=start, lines=state["line"] - start + 1)
        elif not cells:
            continue
        elif not header:
            header = cells
        elif len(cells) != len(header):
            yield where, Drop("wrong number of cells", found=len(cells), expected=len(header), line=start)
        else:
            yield where, {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)}


def _cell(name: str, cell: str) -> Any:
    if name in JSON_CELLS and cell.startswith("["):
        try:
            return orjson.loads(cell)
        except orjson.JSONDecodeError:
            return cell
    return cell


def _tsv(path: Path, place: str) -> Iterator[Row]:
    return _csv(path, place, "\t")


def _parquet(path: Path, place: str, start: int = 0, end: int | None = None, first: int = 1) -> Iterator[Row]:
    """Rows of these row groups, numbered from `first`, a batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = first - 1
    packed = path.suffix in COMPRESSIONS
    with io.BytesIO(read_bytes(path)) if packed else path.open("rb") as file:
        try:
            groups = pq.ParquetFile(file)
            last = groups.num_row_groups if end is None else end
            for batch in groups.iter_batches(1024, row_groups=range(start, last)):
                for row in _plain_rows(batch, number):
                    number += 1
                    yield f"{place}#{number}", row
        except (pa.ArrowException, OSError) as error:
            said = str(error).split("\n")[0]
            yield f"{place}#{number + 1}" if number else place, Drop("malformed parquet", error=said, row=number + 1)


def _plain_rows(batch: Any, before: int) -> list[dict[str, Any] | Drop]:
    """The rows of a batch at once where all is plain JSON, 20 times faster; else one by one."""
    try:
        rows: list[dict[str, Any] | Drop] = batch.to_pylist()
        if all(isinstance(cell, str | int | float | bool | None) for row in rows for cell in row.values()):  # type: ignore[union-attr]
            return rows
    except (UnicodeDecodeError, ValueError, OverflowError):
        pass
    return [plain_row(batch.slice(at, 1), before + at + 1) for at in range(batch.num_rows)]


def plain_row(row: Any, number: int) -> dict[str, Any] | Drop:
    """One row as JSON values: times and decimals become strings, since meta and ids are JSON."""
    try:
        value: dict[str, Any] = row.to_pylist()[0]
        if all(isinstance(cell, str | int | float | bool | None) for cell in value.values()):
            return value
        plain: dict[str, Any] = orjson.loads(orjson.dumps(value, default=_as_string, option=orjson.OPT_NON_STR_KEYS))
        return plain
    except UnicodeDecodeError as error:
        return Drop("broken utf-8", row=number, byte=error.start)
    except (TypeError, ValueError, OverflowError) as error:
        return Drop("no json value", error=str(error).split("\n")[0], row=number)


def _as_string(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


READERS: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    ".txt": _text,
    ".md": _text,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".jsonl": lambda path, place: _jsonl(read_raw(path), place),
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
