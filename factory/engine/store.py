"""The store: content-addressed artifacts on disk. A manifest is written last, so it means complete.

.factory/
  artifacts/FINGERPRINT/   one stage: shard-*.parquet, dropped-*.parquet beside them, model/, manifest.json
  tasks/KEY.*              one per-shard task's output, shared by every stage that would make the same
  memo/KEY.pickle          one finished item of a `ctx.map`
  work/FINGERPRINT/        what an unfinished stage needs to resume (checkpoints)
  responses.sqlite         every model response, never removed
  locks/  files.json       who is at work; content hashes of files by size and time
  recipes.json             the recipes that were built from here
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from . import records as record_types
from .dataset import Dataset, Shard

log = logging.getLogger("factory")
PROCESS = f"{os.getpid()}-{os.urandom(4).hex()}"  # hosts that share a folder number their processes alike

README = """This folder is the store of the dataset factory: what its recipes have built so far.
It can be deleted; everything in it is made again from the recipes, except the model responses
(responses.sqlite), which would have to be asked, and paid, for again. `factory gc` removes what no
recipe of the project reaches any more.
"""
CACHEDIR = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache: backup tools may skip it.\n"


@dataclass(frozen=True)
class Store:
    """A folder of artifacts."""

    root: Path

    def prepare(self) -> None:
        """Make the folder, with a note for those who find it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the store '{self.root}' cannot be made: {error.strerror}") from None
        for name, text in (("README.md", README), (".gitignore", "*\n"), ("CACHEDIR.TAG", CACHEDIR)):
            if not (self.root / name).exists():
                write_atomic(self.root / name, text.encode())

    def remember(self, recipe: Path) -> None:
        """Note that a recipe is built from this store, so that `gc` knows of it wherever it lies."""
        known = self.recipes()
        if recipe not in known:
            write_atomic(
                self.root / "recipes.json",
                orjson.dumps(sorted(os.path.relpath(one, self.root) for one in [*known, recipe])),
            )

    def recipes(self) -> list[Path]:
        """The recipes that were built from this store and still exist."""
        path = self.root / "recipes.json"
        named = orjson.loads(path.read_bytes()) if path.exists() else []
        known = [Path(os.path.normpath(self.root / name)) for name in named]  # relative: a project may be moved
        return [recipe for recipe in known if recipe.exists()]

    def artifact(self, fingerprint: str) -> Path:
        return self.root / "artifacts" / fingerprint

    def work(self, fingerprint: str) -> Path:
        return self.root / "work" / fingerprint

    def task(self, key: str) -> Path:
        """Stem of a task's files: .00000.parquet and on, .dropped.parquet, and .json, which is written last."""
        return self.root / "tasks" / key[:2] / key

    def memo(self, key: str) -> Path:
        return self.root / "memo" / key[:2] / f"{key}.pickle"

    @property
    def signals(self) -> Path:
        """Where tasks keep the numbers that they measured on texts; a task's .json names its files."""
        return self.root / "signals"

    @property
    def responses(self) -> Path:
        return self.root / "responses.sqlite"

    def manifest(self, fingerprint: str) -> dict[str, Any] | None:
        """The manifest of a complete artifact, or None."""
        try:
            found: dict[str, Any] = orjson.loads((self.artifact(fingerprint) / "manifest.json").read_bytes())
        except FileNotFoundError:
            return None
        return found

    def commit(self, fingerprint: str, manifest: dict[str, Any]) -> None:
        """Declare an artifact complete and drop what was kept for resuming it."""
        data = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        write_atomic(self.artifact(fingerprint) / "manifest.json", data + b"\n")
        shutil.rmtree(self.work(fingerprint), ignore_errors=True)

    def begin(self, fingerprint: str) -> Path:
        """An empty artifact folder: leftovers of a killed try are removed."""
        folder = self.artifact(fingerprint)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.work(fingerprint).mkdir(parents=True, exist_ok=True)
        return folder

    def set_aside(self, fingerprint: str) -> None:
        """Keep a complete artifact while it is made again."""
        self.artifact(fingerprint).rename(self._before(fingerprint))

    def settle(self, fingerprint: str) -> None:
        """Of an artifact and what was set aside for it the one that is complete stays: the new one, if both are."""
        before = self._before(fingerprint)
        if not before.is_dir():
            return
        if self.manifest(fingerprint) is not None:
            shutil.rmtree(before)
            return
        shutil.rmtree(self.artifact(fingerprint), ignore_errors=True)
        before.rename(self.artifact(fingerprint))

    def _before(self, fingerprint: str) -> Path:
        return self.artifact(f"{fingerprint}.before")

    def dataset(self, fingerprint: str) -> Dataset[Any]:
        """The records of a complete artifact."""
        manifest = self.manifest(fingerprint)
        assert manifest is not None, f"artifact {fingerprint} is not complete"
        folder = self.artifact(fingerprint)
        shards = [Shard(str(folder / entry["file"]), entry["key"]) for entry in manifest["shards"]]
        return Dataset(shards, record_types.RECORD_TYPES.get(manifest["type"], record_types.Record))

    def dropped(self, fingerprint: str) -> Iterator[dict[str, Any]]:
        """The dropped records of a complete artifact: id, parents, step, reason, details, record, meta."""
        manifest = self.manifest(fingerprint) or {"shards": []}
        for entry in manifest["shards"]:
            if entry["dropped"]:
                for row in pq.read_table(self.artifact(fingerprint) / entry["dropped_file"]).to_pylist():
                    yield {**row, **{k: orjson.loads(row[k]) for k in ("details", "record", "meta")}}

    @contextlib.contextmanager
    def lock(self, name: str, whose: str) -> Iterator[int]:
        """Hold an OS file lock; wait, and say for whom, when another holds it.

        It ends with the process, and with the last child that inherited its descriptor, which is what this yields.
        """
        path = self.root / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = path.read_text(errors="replace").strip() or "another build"
                log.warning("waiting for %s", holder)
                fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(f"{whose} (process {os.getpid()})".encode())
            file.flush()
            yield file.fileno()


def temporary(path: Path) -> Path:
    """A name beside `path` that no other process writes to."""
    return path.with_name(f".{path.name}.{PROCESS}.{threading.get_ident():x}.tmp")


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it: it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    other = temporary(path)
    other.write_bytes(data)
    other.rename(path)


def write_table(path: Path, table: pa.Table) -> str:
    """Write a Parquet file atomically. Returns the hash of its bytes (16 hex digits)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    other = temporary(path)
    pq.write_table(table, other, compression="zstd", row_group_size=4096)
    key = hashlib.blake2b(other.read_bytes(), digest_size=8).hexdigest()
    other.rename(path)
    return key


def link(source: Path, target: Path) -> None:
    """A second name for a file that never changes: a hard link, or a copy where links are not to be had."""
    other = temporary(target)
    other.unlink(missing_ok=True)
    try:
        os.link(source, other)
    except OSError:
        shutil.copyfile(source, other)
    other.rename(target)


def point(link_path: Path, target: Path) -> None:
    """Make `link_path` a relative symbolic link to `target`, replacing an older one in one move."""
    link_path.parent.mkdir(parents=True, exist_ok=True)
    other = temporary(link_path)
    other.unlink(missing_ok=True)
    other.symlink_to(os.path.relpath(target, link_path.parent))
    other.rename(link_path)
