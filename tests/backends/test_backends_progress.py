"""The progress display: lines when piped, a live table on a terminal, nothing when quiet."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from rich.console import Console

import factory
from factory import hookspecs
from factory.backends import progress


@dataclass(eq=False)
class Stage:
    target: str
    label: str
    gives: Any = factory.Text


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Terminal(io.StringIO):
    written: list[str] = field(default_factory=list)

    def isatty(self) -> bool:
        return True


CORPUS = Stage("corpus", "normalize → language → dedup_minhash")
ASKED = Stage("instructions", "self_instruct", factory.PromptCompletion)
TUTOR = Stage("tutor", "sft", factory.CausalLM)
PLAN = SimpleNamespace(stages=[CORPUS, ASKED, TUTOR], recipe=SimpleNamespace(name="small"))


def manifest(came_in: int, out: int, dropped: int) -> dict[str, Any]:
    return {"counts": {"in": came_in, "out": out, "dropped": dropped}}


def watch(plugin: object) -> pluggy.PluginManager:
    """A manager that checks every implementation against the hook's own arguments."""
    manager = pluggy.PluginManager("factory")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    return manager


def test_lines_when_piped() -> None:
    stream, clock = io.StringIO(), Clock()
    hook = watch(progress.PlainProgress(stream, clock=clock)).hook
    hook.before_build(plan=PLAN)
    hook.after_stage(stage=CORPUS, manifest=manifest(12_400, 9_812, 2_588), cached=True)
    clock.now = 41.2
    hook.after_task(stage=ASKED, done=0, total=0, counts={"asked": 317, "replayed": 21}, note="")
    hook.after_stage(stage=ASKED, manifest=manifest(48, 200, 338), cached=False)
    clock.now = 100
    hook.after_stage(stage=TUTOR, manifest=manifest(200, 0, 3), cached=False)
    hook.after_build(plan=PLAN, error=None)
    lines = [re.split(r"\s{2,}", line) for line in stream.getvalue().splitlines()]
    corpus = ["corpus", "normalize → language → dedup_minhash", "12,400 in", "9,812 kept", "2,588 dropped"]
    calls = ["317 model calls", "21 replayed"]
    assert lines == [
        ["stored", *corpus],
        ["working", "instructions", "self_instruct", *calls, "41 s"],
        ["built", "instructions", "self_instruct", "48 in", "200 out", "338 dropped", *calls, "41 s"],
        ["built", "tutor", "sft", "200 in", "CausalLM", "3 dropped", "59 s"],
    ]


def test_a_long_stage_tells_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    hook = watch(progress.PlainProgress(stream, clock=clock)).hook
    hook.before_build(plan=PLAN)
    for second in range(60):
        clock.now = float(second)
        hook.log_metrics(stage=TUTOR, step=second * 10, metrics={"loss": 2 - second / 100})
    said = stream.getvalue().splitlines()
    assert len(said) == 3
    assert "step 150  loss 1.85" in said[0]
    assert "step 450  loss 1.55" in said[2]
    hook.after_task(stage=CORPUS, done=3, total=10, counts={"in": 50, "out": 40, "dropped": 10}, note="")
    clock.now = 75
    hook.after_task(stage=CORPUS, done=4, total=10, counts={"in": 50, "out": 50, "dropped": 0}, note="")
    assert "4 of 10  90 kept  10 dropped" in stream.getvalue().splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "state"), [(factory.StepError("sft failed"), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_a_build_that_ends_early_names_the_stage(error: BaseException, state: str) -> None:
    stream = io.StringIO()
    hook = watch(progress.PlainProgress(stream)).hook
    hook.before_build(plan=PLAN)
    hook.after_stage(stage=CORPUS, manifest=manifest(1, 1, 0), cached=True)
    hook.after_build(plan=PLAN, error=error)
    assert re.match(rf"{state}\s+instructions\s+self_instruct", stream.getvalue().splitlines()[-1])
    assert "sft failed" not in stream.getvalue()  # the command line says it


def test_pending_stages_are_listed() -> None:
    stream = io.StringIO()
    hook = watch(progress.PlainProgress(stream)).hook
    hook.before_build(plan=PLAN)
    hook.after_stage(stage=CORPUS, manifest=manifest(1, 1, 0), cached=True)
    hook.after_build(plan=PLAN, error=factory.Pending("12 of 30 votes missing"))
    assert [line.split()[:2] for line in stream.getvalue().splitlines()[1:]] == [
        ["pending", "instructions"],
        ["pending", "tutor"],
    ]


def shown(plugin: progress.LiveProgress, width: int) -> str:
    """What the display looks like now."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(plugin.draw())
    return captured.get()


def test_quiet_prints_nothing() -> None:
    stream = io.StringIO()
    hook = watch(progress.make_progress(stream, quiet=True)).hook
    hook.before_build(plan=PLAN)
    hook.after_stage(stage=CORPUS, manifest=manifest(1, 1, 0), cached=False)
    hook.after_build(plan=PLAN, error=factory.StepError("no"))
    assert stream.getvalue() == ""


def test_a_pipe_gets_lines_and_a_terminal_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert type(progress.make_progress(io.StringIO())) is progress.PlainProgress
    assert type(progress.make_progress(Terminal())) is progress.LiveProgress
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress.make_progress(Terminal())) is progress.PlainProgress


@pytest.mark.parametrize("width", [60, 120])
def test_the_display_shows_the_running_stage_and_what_waits(width: int) -> None:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=width, height=30, color_system=None)
    plugin = progress.LiveProgress(console, clock)
    hook = watch(plugin).hook
    hook.before_build(plan=PLAN)
    hook.after_stage(stage=CORPUS, manifest=manifest(12, 9, 3), cached=False)
    hook.after_task(stage=ASKED, done=132, total=200, counts={}, note="66% accepted")
    hook.after_task(stage=ASKED, done=0, total=0, counts={"asked": 5, "replayed": 1}, note="")
    drawn = shown(plugin, width)
    assert re.search(r"running\s+instructions\s+self_instr", drawn)
    assert "132 of 200" in drawn
    assert width < 120 or "5 model calls  1 replayed  66% accepted" in drawn
    assert re.search(r"^\s+tutor\s+sft", drawn, re.MULTILINE)
    assert "corpus" not in drawn  # finished: it scrolled up
    assert all(len(line) <= width for line in drawn.splitlines())
    hook.log_metrics(stage=TUTOR, step=7, metrics={"loss": 1.5})
    assert re.search(r"running\s+tutor", shown(plugin, width))
    hook.after_build(plan=PLAN, error=None)
    assert plugin.live is None
    assert re.search(r"built\s+corpus", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()))


def test_forty_stages_fit_on_a_screen() -> None:
    stages = [Stage(f"target_{n}", "normalize") for n in range(40)]
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=24)
    plugin = progress.LiveProgress(console)
    plugin.stages = list(stages)
    drawn = shown(plugin, 100)
    assert len(drawn.splitlines()) <= 10
    assert "and 33 more" in drawn


def test_of_many_metrics_the_first_to_look_at_are_told() -> None:
    watch = progress.Watch(None, 0.0)
    watch.note_task(40, 200, {}, "loss 2.11")
    assert watch.news() == "40 of 200  loss 2.11"
    watch.step = 40
    watch.metrics = {"learning_rate": 1e-4, "reward/length": 3.0, "clip_fraction": 0.125, "kl": 0.02, "reward": 1.5}
    assert watch.news() == "40 of 200  reward 1.5  kl 0.02  clip_fraction 0.125  learning_rate 0.0001"
    watch.step = 41
    assert watch.news().startswith("40 of 200  step 41  reward 1.5")


def test_what_the_rest_will_take_is_told_from_the_pace_so_far() -> None:
    watch = progress.Watch(None, 0.0)
    watch.note_task(0, 0, {"asked": 10, "replayed": 100, "tokens": 1000, "micro_usd": 20_000}, now=5.0)
    assert watch.projected(5.5) == [], "too early to tell"
    watch.note_task(50, 100, {}, now=10.0)
    watch.note_task(0, 0, {"asked": 100, "replayed": 100, "tokens": 12_000, "micro_usd": 400_000}, now=15.0)
    assert watch.news(15.0) == (
        "50 of 100  100 model calls  100 replayed  12k tokens  0.40 USD  10/s  20 s left, 1.20 USD in all"
    )
    watch.micro_usd = None
    assert watch.projected(15.0)[-1] == "20 s left, 36k tokens in all"
