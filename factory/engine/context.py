"""What a step may use besides its records: seeded draws, questions to models, parallel work, a place to log."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .budget import Budget
from .memo import Memo
from .model import Answer, Model, Request
from .records import digest, texts


class Runtime(Protocol):
    """The engine's side of a context; `work.py` and `process.py` provide it."""

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Memo]: ...
    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None
    ) -> Iterator[Answer]: ...
    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None: ...
    def log(self, step: int, metrics: dict[str, float]) -> None: ...
    def report(self, title: str, body: str) -> None: ...
    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None: ...
    def tell(self, done: int, total: int, note: str) -> None: ...


@dataclass
class Context:
    """Handed to a step that has a parameter of this type.

    workdir  a folder that survives a kill (checkpoints); it is removed when the stage is complete
    output   where a training step saves its model
    threads  the recipe's torch thread count
    """

    step: str
    seed: int
    threads: int
    workdir: Path
    output: Path
    runtime: Runtime = field(repr=False)
    _logged: int = 0

    def rng(self, *key: Any) -> random.Random:
        """A generator seeded by the recipe's seed, the step's name and `key` (a record id, a draw number)."""
        return random.Random(digest([self.seed, self.step, *key], 16))

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None = None, budget: Budget | None = None
    ) -> Iterator[Answer]:
        """Answers in the order of the requests, each from the response cache if it was ever given.

        `requests` is advanced lazily, as far ahead as keeps the model busy. With `ahead`, request k is drawn only
        when the answers up to k - ahead have been consumed, so a step that feeds answers back stays reproducible.
        Requests beyond the `budget` are not sent: their answers are failed, and `over_budget`.
        """
        return self.runtime.ask(model, requests, ahead, budget)

    def map(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> Iterator[Any]:
        """function(item, *args) for every item, in parallel, results in order.

        Each finished item is kept store-wide under a hash of the function's code, the item and the arguments, so
        a killed stage resumes in its middle. `function` is a module's top-level function; items and arguments are
        shards, datasets, models, memos or JSON values. Arrays in results are read-only.
        """
        return (memo.load() for memo in self.memos(function, items, *args))

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Memo]:
        """`map`, with the results as what lies on disk: large ones go on to another `map` unread."""
        return self.runtime.memos(function, items, *args)

    def drop(self, record: Any, reason: str, **details: Any) -> None:
        """Keep `record` among the dropped ones: an input record, or a candidate made with `derive`."""
        self.runtime.drop(record, reason, details)

    def log(self, step: int | None = None, **metrics: float) -> None:
        """Metrics at a training step; curves in the report. Logging a step again replaces it."""
        self._logged = self._logged + 1 if step is None else step
        self.runtime.log(self._logged, {name: float(value) for name, value in metrics.items()})

    def report(self, title: str, body: str) -> None:
        """A section of the build's page: Markdown, or SVG when it starts with `<svg`."""
        self.runtime.report(title, body)

    def alarm(self, says: str, *examples: Any) -> None:
        """What a person should look at when the step is done, with a few records it is about."""
        self.runtime.alarm(says, [_example(record) for record in examples])

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell who is watching how far this step is."""
        self.runtime.tell(done, total, note)


def _example(record: Any) -> dict[str, Any]:
    text = next((text for _, text in texts(record)), "")
    return {"id": record["id"], "place": next(iter(record["parents"]), ""), "text": " ".join(text.split())[:100]}
