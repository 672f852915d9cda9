"""Which requests are at a server's Batch API: one small file a batch, so that none is submitted, or paid for, twice.

A file is written before its batch is made. It holds the batch's id and the response cache's keys of its requests, in
order; neither prompts nor the key to the server. Between the file and the id a kill may come: the batch carries the
file's token in its metadata, and is found by that.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from factory import project_root

RELEASING = threading.Lock()


@dataclass
class Batch:
    """A batch that was, or was about to be, submitted."""

    token: str
    endpoint: str  # the model's identity
    keys: list[str]
    id: str = ""  # the server's name for it


def folder() -> Path:
    """Beside the project's store; what is in it is removed as answers are stored."""
    return project_root() / ".factory" / "batches"


def new(endpoint: str, keys: Iterable[str]) -> Batch:
    batch = Batch(uuid.uuid4().hex, endpoint, list(keys))
    save(batch)
    return batch


def save(batch: Batch) -> None:
    path = folder() / f"{batch.token}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(orjson.dumps(asdict(batch)))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def release(batch: Batch, keys: Collection[str] | None = None) -> None:
    """Forget the requests of a batch with these keys, or all; a batch of which none are left is forgotten itself."""
    path = folder() / f"{batch.token}.json"
    with RELEASING:
        if path.exists():
            kept = Batch(**orjson.loads(path.read_bytes()))
            kept.keys = [] if keys is None else [key for key in kept.keys if key not in keys]
            if kept.keys:
                save(kept)
            else:
                path.unlink()


def known(endpoint: str) -> list[Batch]:
    """The batches of an endpoint that were not fetched yet, in no particular order."""
    found = []
    for path in sorted(folder().glob("*.json")):
        try:
            batch = Batch(**orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue  # of another process that fetched it meanwhile
        if batch.endpoint == endpoint:
            found.append(batch)
    return found
