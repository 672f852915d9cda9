"""Watching a build: a live display on a terminal, plain lines when piped, nothing when quiet. All of it on stderr.

Results go to stdout, so `factory show … | head` and a build's progress never mix.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import factory
from factory import Model

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

EVERY = 15.0  # seconds between plain lines about one long stage
SHOWN_NEXT = 6  # stages that wait, shown under the running one
WIDEST_TARGET, WIDEST_STEPS = 24, 44  # characters
MOST_METRICS = 4  # in a line about a training stage
LOOKED_AT_FIRST = ("train_loss", "loss", "eval_loss", "reward", "kl", "entropy", "length")


@dataclass
class Watch:
    """What is known of the stage that runs."""

    stage: Any
    started: float
    done: int = 0
    total: int = 0
    came_in: int = 0
    kept: int = 0
    dropped: int = 0
    asked: int = 0
    replayed: int = 0
    tokens: int = 0
    micro_usd: int | None = None  # None where prices are not known
    asking_since: float | None = None
    note: str = ""
    step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def note_task(self, done: int, total: int, counts: dict[str, int], note: str = "", now: float = 0.0) -> None:
        """Add one task's counts. Model calls (`asked`, `replayed`) and what they took are told as totals so far."""
        if total:
            self.done, self.total, self.note = done, total, note
        self.came_in += counts.get("in", 0)
        self.kept += counts.get("out", 0)
        self.dropped += counts.get("dropped", 0)
        self.asked = counts.get("asked", self.asked)
        self.replayed = counts.get("replayed", self.replayed)
        self.tokens = counts.get("tokens", self.tokens)
        self.micro_usd = counts.get("micro_usd", self.micro_usd)
        if self.asked and self.asking_since is None:
            self.asking_since = now

    def news(self, now: float = 0.0) -> str:
        """How far the stage is, in a few words: `37 of 100  4,210 kept  318 dropped  12 model calls  loss 1.23`."""
        parts = []
        if self.total:
            parts.append(f"{self.done:,} of {self.total:,}")
        if self.came_in:
            parts.append(f"{self.kept:,} kept")
            parts += [f"{self.dropped:,} dropped"] if self.dropped else []
        parts += calls_made(self.asked, self.replayed)
        parts += spent(self.tokens, self.micro_usd)
        parts += self.projected(now)
        parts += [self.note] if self.note and not self.metrics else []
        if self.step is not None and self.step != self.done:
            parts.append(f"step {self.step:,}")
        return "  ".join([*parts, *told(self.metrics)])

    def projected(self, now: float) -> list[str]:
        """Requests a second, and what the rest will take at that pace: `41/s  12 min left, 8.60 USD in all`."""
        seconds = now - self.asking_since if self.asking_since is not None else 0.0
        if not self.asked or seconds < 1.0:
            return []
        rate = self.asked / seconds
        said = [f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"]
        if 0 < self.done < self.total:
            rest = (self.asked + self.replayed) * (self.total - self.done) / self.done  # requests
            whole = (self.asked + rest) / self.asked
            in_all = spent(round(self.tokens * whole), self.micro_usd and round(self.micro_usd * whole))
            said.append(f"{', '.join([f'{took(rest / rate)} left', *in_all[-1:]])}{' in all' if in_all else ''}")
        return said


def told(metrics: dict[str, float]) -> list[str]:
    """The few metrics that a person looks at first, as words; parts of others, like `loss/wiki`, come last."""
    ranks = {name: rank for rank, name in enumerate(LOOKED_AT_FIRST)}
    order = sorted(metrics, key=lambda name: (name == "learning_rate" or "/" in name, ranks.get(name, len(ranks))))
    return [f"{name} {metrics[name]:.4g}" for name in order[:MOST_METRICS]]


def spent(tokens: int, micro_usd: int | None) -> list[str]:
    """Tokens and money as words: `1.2M tokens`, `3.20 USD`."""
    if not tokens:
        return []
    size = f"{tokens / 1e6:,.1f}M" if tokens >= 1e6 else f"{tokens / 1e3:.0f}k" if tokens >= 10_000 else f"{tokens:,}"
    return [f"{size} tokens", *([f"{micro_usd / 1e6:,.2f} USD"] if micro_usd is not None else [])]


def calls_made(asked: int, replayed: int) -> list[str]:
    """Model calls as words; those replayed from the response cache cost nothing and are said apart."""
    said = []
    if asked:
        said.append(f"{asked:,} model call{'s' if asked != 1 else ''}")
    if replayed:
        said.append(f"{replayed:,} replayed")
    return said


def outcome(stage: Any, manifest: dict[str, Any]) -> str:
    """What a complete stage holds: `12,400 in  9,812 kept  2,588 dropped`, or what model came of how many records."""
    counts = manifest.get("counts") or {}
    came_in, out, dropped = (int(counts.get(name, 0)) for name in ("in", "out", "dropped"))
    if isinstance(stage.gives, type) and issubclass(stage.gives, Model):
        parts = [f"{came_in:,} in", stage.gives.__name__]
    else:
        parts = [f"{came_in:,} in", f"{out:,} {'kept' if out <= came_in else 'out'}"]
    return "  ".join([*parts, *([f"{dropped:,} dropped"] if dropped else [])])


def took(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


class PlainProgress:
    """A line when a stage is complete, and one every 15 seconds while a long one runs."""

    def __init__(self, stream: TextIO, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.every, self.clock = stream, every, clock
        self.stages: list[Any] = []
        self.finished: set[int] = set()  # by id(): two stages may have one fingerprint
        self.watch: Watch | None = None
        self.since = self.told = clock()
        self.width = 0

    def line(self, state: str, stage: Any, said: str, seconds: float | None = None) -> None:
        target = cut(stage.target, WIDEST_TARGET).ljust(self.width)
        parts = [state.ljust(7), target, cut(stage.label, WIDEST_STEPS).ljust(WIDEST_STEPS), said]
        parts += [took(seconds)] if seconds is not None else []
        print("  ".join(part for part in parts if part).rstrip(), file=self.stream, flush=True)

    @factory.hookimpl
    def before_build(self, plan: Any) -> None:
        self.stages = list(plan.stages)
        self.width = max((len(cut(stage.target, WIDEST_TARGET)) for stage in self.stages), default=0)
        self.since = self.told = self.clock()

    def watched(self, stage: Any) -> Watch:
        """The account of the stage that runs; news of another one means that the one before is left behind."""
        if self.watch is None or self.watch.stage is not stage:
            self.watch = Watch(stage, self.since)
        return self.watch

    @factory.hookimpl
    def after_task(self, stage: Any, done: int, total: int, counts: dict[str, int], note: str) -> None:
        self.watched(stage).note_task(done, total, counts, note, self.clock())
        self.tell_now_and_then()

    @factory.hookimpl
    def log_metrics(self, stage: Any, step: int, metrics: dict[str, float]) -> None:
        watch = self.watched(stage)
        watch.step = step
        watch.metrics.update(metrics)
        self.tell_now_and_then()

    def tell_now_and_then(self) -> None:
        now = self.clock()
        if self.watch and now - self.told >= self.every:
            self.line("working", self.watch.stage, self.watch.news(now), now - self.watch.started)
            self.told = now

    @factory.hookimpl
    def after_stage(self, stage: Any, manifest: dict[str, Any], cached: bool) -> None:
        now = self.clock()
        watch = self.watch if self.watch and self.watch.stage is stage else None
        calls = [*calls_made(watch.asked, watch.replayed), *spent(watch.tokens, watch.micro_usd)] if watch else []
        said = "  ".join([outcome(stage, manifest), *calls])
        self.line("stored" if cached else "built", stage, said, None if cached else now - self.since)
        self.finished.add(id(stage))
        self.watch = None
        self.since = self.told = now

    def running(self) -> Any:
        """The stage that runs, as far as can be known: there is no hook before a stage."""
        watch = self.watch  # once: the display's thread asks too
        if watch is not None:
            return watch.stage
        last = max((n for n, stage in enumerate(self.stages) if id(stage) in self.finished), default=-1)
        return next((stage for stage in self.stages[last + 1 :]), None)

    @factory.hookimpl
    def after_build(self, plan: Any, error: BaseException | None) -> None:
        """What kept the build from its end; the sentence about it is the command line's to say."""
        if isinstance(error, factory.Pending):
            for stage in self.stages:
                if id(stage) not in self.finished:
                    self.line("pending", stage, "")
        elif error is not None and (stage := self.running()) is not None:
            state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            self.line(state, stage, self.watch.news() if self.watch else "", self.clock() - self.since)


STYLES = {"built": "green", "stored": "dim", "pending": "yellow", "failed": "bold red", "stopped": "red"}
BAR: dict[str, Any] = dict.fromkeys(("complete_style", "finished_style", "pulse_style"), "cyan")


class LiveProgress(PlainProgress):
    """The same on a terminal: finished stages scroll up, the running one has a bar, the next ones stand below."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sys.stderr, EVERY, clock)
        self.console = console
        self.live: Live | None = None
        self.lock = threading.Lock()  # rich draws from a thread of its own

    def line(self, state: str, stage: Any, said: str, seconds: float | None = None) -> None:
        self.console.print(
            self.row(state, STYLES.get(state, ""), stage, said, seconds), no_wrap=True, overflow="ellipsis"
        )

    def row(self, state: str, style: str, stage: Any, said: str, seconds: float | None) -> Text:
        from rich.text import Text

        quiet = "dim" if state in ("stored", "") else ""
        room = max(12, min(WIDEST_STEPS, self.console.width - self.width - 52))
        text = (
            Text("  ").append(state.ljust(8), style).append(cut(stage.target, WIDEST_TARGET).ljust(self.width), quiet)
        )
        text.append("  ").append(cut(stage.label, room).ljust(room), "dim").append("  ").append(said, quiet)
        return text.append(f"  {took(seconds)}", "dim") if seconds is not None else text

    @factory.hookimpl
    def before_build(self, plan: Any) -> None:
        from rich.live import Live

        super().before_build(plan)
        self.live = Live(console=self.console, get_renderable=self.draw, refresh_per_second=8, transient=True)
        self.live.start()

    @factory.hookimpl
    def after_task(self, stage: Any, done: int, total: int, counts: dict[str, int], note: str) -> None:
        with self.lock:
            self.watched(stage).note_task(done, total, counts, note, self.clock())

    @factory.hookimpl
    def log_metrics(self, stage: Any, step: int, metrics: dict[str, float]) -> None:
        with self.lock:
            watch = self.watched(stage)
            watch.step = step
            watch.metrics.update(metrics)

    @factory.hookimpl
    def after_build(self, plan: Any, error: BaseException | None) -> None:
        if self.live:
            self.live.stop()
            self.live = None
        super().after_build(plan, error)

    def draw(self) -> Table:
        """The running stage with its bar, then those that wait."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 0))
        with self.lock:
            stage = self.running()
            if stage is None:
                return grid
            watch = self.watch or Watch(stage, self.since)
            grid.add_row(self.row("running", "bold", stage, "", self.clock() - watch.started))
            line = Table.grid(padding=(0, 2))
            bar = ProgressBar(total=watch.total or None, completed=watch.done, width=32, pulse=not watch.total, **BAR)
            line.add_row(Text(" " * 8), bar, Text(watch.news(self.clock()), no_wrap=True, overflow="ellipsis"))
            grid.add_row(line)
            after = self.stages[self.stages.index(stage) + 1 :] if stage in self.stages else []
            waiting = [other for other in after if id(other) not in self.finished]
        for other in waiting[:SHOWN_NEXT]:
            grid.add_row(self.row("", "", other, "", None))
        if len(waiting) > SHOWN_NEXT:
            grid.add_row(Text(f"          and {len(waiting) - SHOWN_NEXT} more", "dim"))
        return grid


class NoProgress:
    """Registered with `--quiet`: implements no hook."""


def make_progress(stream: TextIO | None = None, quiet: bool = False) -> PlainProgress | NoProgress:
    """The plugin object that shows a build's progress on `stream`, which is stderr unless given."""
    if quiet:
        return NoProgress()
    stream = stream if stream is not None else sys.stderr
    if not stream.isatty():
        return PlainProgress(stream)
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    return LiveProgress(console) if console.is_terminal and not console.is_dumb_terminal else PlainProgress(stream)
