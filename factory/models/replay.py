"""`replay:FILE.jsonl`: a model that gives the answers of a file, as `factory answers` writes it. For tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from factory import Answer, CausalLM, InputError, ModelError, Request, digest, hash_file, project_path, text_of

ANSWER = ("text", "finish", "error", "prompt_tokens", "completion_tokens", "logprobs")
REQUEST = tuple(field.name for field in fields(Request) if field.name != "about")
SHOWN = 100  # characters of a question in an error


@dataclass(frozen=True)
class Replay(CausalLM):
    """A file with one request and its answer a line. Which model answered does not matter, only what was asked."""

    file: Path = Path()

    @classmethod
    def from_uri(cls, uri: str) -> Replay:
        """Raises InputError when there is no such file."""
        file = project_path(uri.removeprefix("replay:"))
        if not file.is_file():
            raise InputError(f"model '{uri}': there is no file '{file.name}'; `factory answers` writes one")
        return cls(uri, f"replay {hash_file(file)}", file=file)

    def open(self, threads: int = 2) -> ReplaySession:
        """Raises ModelError when a line is no answer, or when two lines answer one request differently."""
        return ReplaySession(self.uri, recorded(self.file))


def recorded(file: Path) -> dict[str, Answer]:
    """Digest of a request -> its answer."""
    found: dict[str, Answer] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key = digest({name: row[name] for name in REQUEST if name in row})
            answer = Answer(**{name: row[name] for name in ANSWER if name in row})
            if not (isinstance(row["messages"], list) and isinstance(row["text"], str)):
                raise TypeError
        except (ValueError, TypeError, KeyError):
            raise ModelError(f"{file.name}:{number}: no answer as `factory answers` writes it") from None
        if found.setdefault(key, answer) != answer:
            raise ModelError(f"{file.name}:{number}: answers a request that an earlier line answers differently")
    return found


class ReplaySession:
    """An open Replay."""

    batch = 1

    def __init__(self, uri: str, answers: dict[str, Answer]) -> None:
        self._uri, self._answers = uri, answers

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        """Raises ModelError in the future for a request that is not recorded."""
        future: Future[list[Answer]] = Future()
        try:
            future.set_result([self._answer(request) for request in requests])
        except ModelError as error:
            future.set_exception(error)
        return future

    def _answer(self, request: Request) -> Answer:
        answer = self._answers.get(digest(request.said()))
        if answer is None:
            said = " ".join(text_of(request.messages).split())
            shown = said if len(said) <= SHOWN else f"{said[:SHOWN]}…"
            options: dict[str, Any] = {k: v for k, v in request.said().items() if k not in ("messages", "schema") and v}
            raise ModelError(
                f"{self._uri} has no answer to '{shown}' ({', '.join(f'{k}={v}' for k, v in options.items())}); "
                "record it: build once with the model itself, then `factory answers RECIPE TARGET`"
            )
        return answer

    def close(self) -> None:
        """Nothing is open."""
