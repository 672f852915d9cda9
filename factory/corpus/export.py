"""Datasets written to one file in the forms that others read."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, get_type_hints
from urllib.parse import parse_qsl

import orjson

from factory import (
    Conversation,
    Dataset,
    InputError,
    Preference,
    Prompt,
    PromptCompletion,
    Unpaired,
    place_of,
    project_path,
    text_of,
)
from factory.errors import did_you_mean

from .reshape import KEPT
from .sources.formats import format_of
from .sources.kinds import join_input
from .sources.reading import COMPRESSIONS

WRITTEN = (".jsonl", ".parquet", ".csv")
SHAREGPT = {"user": "human", "assistant": "gpt"}
ROWS = 1024


def export(dataset: Dataset[Any], uri: str) -> bool | None:
    """Write `FILE[?form=…]`; None when the extension is not one of ours.

    plain     the columns of the type, id and meta (the default)
    alpaca    instruction, input, output          PromptCompletion with one user turn
    sharegpt  conversations [{from, value}]       PromptCompletion, Conversation
    openai, chatml  messages [{role, content}]    PromptCompletion, Conversation
    trl       the columns of the type alone       what TRL's trainers take: Preference (DPOTrainer, RewardTrainer),
              Unpaired (KTOTrainer), PromptCompletion, Conversation (SFTTrainer), Prompt (GRPOTrainer)
    trl_margin  the same and margin               Preference; RewardTrainer's loss takes it off the difference of the
              two rewards (Touvron et al. 2023, Llama 2, equation 2)

    Raises InputError when the records do not fit the form. The file appears when it is complete.
    """
    name, _, query = uri.partition("?")
    if format_of(name) not in WRITTEN:
        return None
    path = project_path(name)
    packed = path.suffix.lower() in COMPRESSIONS
    if packed and format_of(name) != ".jsonl":
        raise InputError(f"{name}: only jsonl is written compressed; {format_of(name)} without {path.suffix}")
    form = dict(parse_qsl(query)).get("form", "plain")
    if form not in FORMS:
        raise InputError(f"{name}: no form named '{form}'; {did_you_mean(form, FORMS)}")
    if dataset.kind not in FORMS[form][0] and form != "plain":
        fits = " or ".join(kind.__name__ for kind in FORMS[form][0])
        raise InputError(f"{name}: the form {form} holds {fits}, and these records are {dataset.kind.__name__}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        WRITERS[format_of(name)](_rows(dataset, form), dataset, form, draft, path.suffix.lower())
        os.replace(draft, path)
    except InputError as error:
        raise InputError(f"{place_of(path)}: {error}") from None
    finally:
        draft.unlink(missing_ok=True)
    return True


def _rows(dataset: Dataset[Any], form: str) -> Iterator[dict[str, Any]]:
    shape = FORMS[form][1]
    for record in dataset:
        yield shape(record)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    columns = {name: value for name, value in record.items() if name not in KEPT}
    return {"id": record["id"], **columns, "meta": record["meta"]}


def _alpaca(record: dict[str, Any]) -> dict[str, Any]:
    """Instruction and input as they came in, if they still make up the prompt."""
    prompt, completion, meta = record["prompt"], record["completion"], record["meta"]
    if [turn["role"] for turn in prompt] != ["user"] or len(completion) != 1:
        raise InputError(f"record {record['id']} has several turns, and alpaca holds one question and one answer")
    asked, instruction, given = text_of(prompt), meta.get("instruction"), meta.get("input")
    if isinstance(instruction, str) and isinstance(given, str) and join_input(instruction, given) == asked:
        return {"instruction": instruction, "input": given, "output": text_of(completion)}
    return {"instruction": asked, "input": "", "output": text_of(completion)}


def _openai(record: dict[str, Any]) -> dict[str, Any]:
    return {"messages": record["messages"] if "messages" in record else record["prompt"] + record["completion"]}


def _sharegpt(record: dict[str, Any]) -> dict[str, Any]:
    turns = _openai(record)["messages"]
    return {"conversations": [{"from": SHAREGPT.get(t["role"], t["role"]), "value": t["content"]} for t in turns]}


def _trl(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in KEPT}


def _trl_margin(record: dict[str, Any]) -> dict[str, Any]:
    margin = record["meta"].get("margin")
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        raise InputError(f"record {record['id']} has no margin in its meta; the step pair gives one")
    return {**_trl(record), "margin": float(margin)}


# form -> the types it holds, a record in it, its columns where they are not those of the type
FORMS: dict[str, tuple[tuple[Any, ...], Callable[[dict[str, Any]], dict[str, Any]], tuple[str, ...]]] = {
    "plain": ((), _plain, ()),
    "trl": ((Preference, Unpaired, PromptCompletion, Conversation, Prompt), _trl, ()),
    "trl_margin": ((Preference,), _trl_margin, ()),
    "alpaca": ((PromptCompletion,), _alpaca, ("instruction", "input", "output")),
    "sharegpt": ((PromptCompletion, Conversation), _sharegpt, ("conversations",)),
    "openai": ((PromptCompletion, Conversation), _openai, ("messages",)),
    "chatml": ((PromptCompletion, Conversation), _openai, ("messages",)),
}


def _names(dataset: Dataset[Any], form: str) -> list[str]:
    """The columns of the file in order, known also when there are no records."""
    if FORMS[form][2]:
        return list(FORMS[form][2])
    columns = [name for name in get_type_hints(dataset.kind) if name not in KEPT]
    return {"plain": ["id", *columns, "meta"], "trl_margin": [*columns, "margin"]}.get(form, columns)


@contextmanager
def _opened(draft: Path, suffix: str) -> Iterator[IO[bytes]]:
    with draft.open("wb") as raw:
        if suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:  # equal records give equal bytes
                yield packed  # type: ignore[misc]
        elif suffix == ".zst":
            import zstandard

            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
                yield stream
        else:
            yield raw
        _sync(raw)


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write_jsonl(rows: Iterator[dict[str, Any]], dataset: Dataset[Any], form: str, draft: Path, suffix: str) -> None:
    with _opened(draft, suffix) as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS))


def _write_csv(rows: Iterator[dict[str, Any]], dataset: Dataset[Any], form: str, draft: Path, suffix: str) -> None:
    """One question and one answer as plain text; other messages, lists and meta as JSON in a cell."""
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        names = _names(dataset, form)
        writer.writerow(names)
        for row in rows:
            writer.writerow([_cell(row[name], name) for name in names])
        _sync(file)


def _cell(value: Any, name: str) -> Any:
    role = {"prompt": "user"}.get(name, "assistant")
    if isinstance(value, list):
        single = len(value) == 1 and isinstance(value[0], dict) and value[0].get("role") == role
        if (
            single
            and name in ("prompt", "completion", "chosen", "rejected")
            and not value[0]["content"].startswith("[")
        ):
            return value[0]["content"]
    if isinstance(value, bool):
        return str(value).lower()
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode() if isinstance(value, list | dict) else value


def _write_parquet(rows: Iterator[dict[str, Any]], dataset: Dataset[Any], form: str, draft: Path, suffix: str) -> None:
    """Typed columns; meta is a JSON string, since it varies from row to row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(dataset, form)
    with pq.ParquetWriter(draft, schema) as writer:
        held: list[dict[str, Any]] = []
        for row in rows:
            if "meta" in row:
                row["meta"] = orjson.dumps(row["meta"], option=orjson.OPT_NON_STR_KEYS).decode()
            held.append(row)
            if len(held) == ROWS:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held = []
        if held:
            writer.write_table(pa.Table.from_pylist(held, schema))


def _schema(dataset: Dataset[Any], form: str) -> Any:
    import pyarrow as pa

    turns = {"from": "value"} if form == "sharegpt" else {"role": "content"}
    messages = pa.list_(pa.struct([(name, pa.string()) for pair in turns.items() for name in pair]))
    if FORMS[form][2]:
        return pa.schema([(name, pa.string() if form == "alpaca" else messages) for name in FORMS[form][2]])
    types = {"margin": pa.float64()}
    if dataset.shards:
        types |= {field.name: field.type for field in dataset.shards[0].table().schema}
    return pa.schema([(name, types.get(name, pa.string())) for name in _names(dataset, form)])


WRITERS: dict[str, Callable[..., None]] = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}
