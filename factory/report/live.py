"""The page while the build runs, drawn anew every so often; and a line for each call of `ctx.log`, with its time.

`build/RECIPE/metrics.jsonl` is for tails and plots of one's own: times differ from build to build, so they lie beside
the results and not among them. A step that a resumed run logs again has a line more, and the last one counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from .page import write_page

EVERY = 10.0  # seconds between two drawings
LEAST_REST = 50  # times what a drawing takes: at most 2 % of a build goes into its page


@dataclass
class Live:
    """The page of a build that runs; `due` is the time of `clock` at which it is drawn next."""

    plan: Any
    clock: Callable[[], float] = time.monotonic
    due: float = 0.0

    def __post_init__(self) -> None:
        self.due = self.clock() + EVERY

    def log(self, stage: Any, step: int, metrics: dict[str, float]) -> None:
        """One more line for the metrics, and the page if it is due."""
        path = Path(self.plan.folder) / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        known = {"target": stage.target, "stage": stage.label, "fingerprint": stage.fingerprint}
        with path.open("ab") as file:
            line = {**known, "step": step, "time": round(time.time(), 3), "metrics": metrics}
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.draw()

    def draw(self) -> None:
        """The page as it stands, where the last one is old enough."""
        began = self.clock()
        if began < self.due:
            return
        write_page(self.plan, None, again=EVERY)
        took = self.clock() - began
        self.due = began + took + max(EVERY, LEAST_REST * took)
