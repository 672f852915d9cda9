"""The project: the folder that paths in a recipe, places of records and plugins are relative to."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from .records import digest

MARKS = (".factory", "plugins", "factory.toml")
_root = Path.cwd()


def find_project(recipe: Path) -> Path:
    """The nearest folder upward from the recipe that holds a mark of a project, else the recipe's own."""
    start = recipe.resolve().parent
    for folder in (start, *start.parents):
        if any((folder / mark).exists() for mark in MARKS) and folder != Path.home():
            return folder
    return start


def enter_project(root: Path) -> None:
    """Make `root` the project of this process."""
    global _root
    _root = Path(root).resolve()


def project_root() -> Path:
    """The project's folder. Sources and models resolve relative paths against it."""
    return _root


def project_path(path: str | Path) -> Path:
    """A path of a recipe as an absolute one; `~` is the home folder."""
    return Path(os.path.normpath(_root / Path(path).expanduser()))


def place_of(path: str | Path) -> str:
    """A file as records name it: relative to the project where it lies inside, else absolute; always with `/`."""
    path = project_path(path)
    return path.relative_to(_root).as_posix() if path.is_relative_to(_root) else path.as_posix()


class FileHashes:
    """Content hashes of files and of their parts, remembered by size, time and inode, so planning reads each once."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.fresh = False

    def load(self, path: Path) -> None:
        if path.exists():
            try:
                self.known.update(orjson.loads(path.read_bytes()))
            except orjson.JSONDecodeError:
                return  # a cache: hashed again

    def of(self, path: Path, start: int = 0, end: int | None = None) -> str:
        """Hex hash of the bytes [start, end) of a file (16 characters)."""
        stat = path.stat()
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}|{start}|{end}"
        if key not in self.known:
            self.known[key] = _hash_range(path, start, end)
            self.fresh = True
        return self.known[key]


def _hash_range(path: Path, start: int, end: int | None) -> str:
    import hashlib

    hasher = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        file.seek(start)
        left = (end if end is not None else path.stat().st_size) - start
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            hasher.update(block)
            left -= len(block)
    return hasher.hexdigest()


file_hashes = FileHashes()


def hash_file(path: Path, start: int = 0, end: int | None = None) -> str:
    """Hex hash of a file's bytes [start, end); remembered between builds."""
    return file_hashes.of(path, start, end)


def hash_path(path: Path) -> str:
    """Hash of a file, or of every file below a folder."""
    if path.is_dir():
        return digest([[p.relative_to(path).as_posix(), hash_file(p)] for p in sorted(path.rglob("*")) if p.is_file()])
    return hash_file(path)
