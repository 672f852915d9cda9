"""Builds that are killed go on from there, and end in the bytes of builds that were not."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

IN_FLIGHT = 4  # `concurrency` of the model in the recipe
MANIFESTS = "artifacts/*/manifest.json"
ON_THE_WAY = 2 * IN_FLIGHT  # and those that are between the wire and the disk


class Undisturbed:
    """A build that nobody killed: its bytes, its requests, and when each of its stages was complete (seconds)."""

    def __init__(self, project: Any, server: Any, checks: Any) -> None:
        self.project, mark, started = project, len(server.since()), time.time()
        project.build()
        self.complete = sorted(path.stat().st_mtime - started for path in project.store.glob(MANIFESTS))
        self.bytes = checks.artifacts(project)
        self.calls = server.since(mark)
        checks.accounts(project)
        assert max(Counter(call.body for call in self.calls).values()) == 1


@pytest.fixture(scope="module")
def reference(every_kind: Any, server: Any, checks: Any) -> Undisturbed:
    return Undisturbed(every_kind("undisturbed", files=4), server, checks)


def lines(log: Path, word: str) -> int:
    return sum(word in line for line in log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.slow
@pytest.mark.model
def test_killed_while_reading_asking_training_and_answering(
    every_kind: Any, server: Any, reference: Any, checks: Any, tmp_path: Path
) -> None:
    project, mark, kills = every_kind("killed", files=4), len(server.since()), []
    log = tmp_path / "log"
    moments: list[tuple[str, Callable[[], bool]]] = [
        ("local:2", lambda: project.stores("tasks/*/*.json")),
        ("serial", lambda: server.busy(mark + 82)),
        ("serial", lambda: lines(log, "learn_words") >= 4),
        ("serial", lambda: lines(log, "batch") >= 2),
    ]
    for executor, moment in moments:
        run = project.start_build("--executor", executor, TOYS_LOG=str(log))
        run.wait_until(moment)
        kills.append(run.kill_group())
    project.build("--executor", "local:2", TOYS_LOG=str(log))
    checks.same(project, reference.bytes)
    checks.accounts(project)
    checks.sent(server.since(mark), reference.calls, kills, ON_THE_WAY)
    assert lines(log, "learn_words") <= 12 + 1, "training went on from its checkpoint"


@pytest.mark.slow
def test_killed_at_twenty_random_moments(every_kind: Any, server: Any, tiny: Path, checks: Any) -> None:
    """Projects that are each killed at five moments, spread over the time that an undisturbed build takes."""
    reference = Undisturbed(every_kind("trained", "trained.yaml", tiny), server, checks)
    rng, again, built, stages = random.Random(20), 0, 0, []
    while len(stages) < 20:
        project, mark, kills = every_kind(f"random-{built}", "trained.yaml", tiny), len(server.since()), []
        built += 1
        for moment in sorted(rng.uniform(0, reference.complete[-1]) for _ in range(5)):
            before = [second for second in reference.complete if second < moment]
            run = project.start_build("--executor", rng.choice(("serial", "local:2")))
            run.wait_until(lambda: len(list(project.store.glob(MANIFESTS))) >= len(before), 300)  # noqa: B023
            if run.ended_within(moment - max(before, default=0.0)):
                break  # what was stored made the rest quicker
            kills.append(run.kill_group())
            stages.append(len(list(project.store.glob(MANIFESTS))))
        project.build()
        checks.same(project, reference.bytes)
        checks.accounts(project)
        again += checks.sent(server.since(mark), reference.calls, kills, ON_THE_WAY)
    project.do("gc")
    assert not list(project.store.rglob("*.tmp")), "what kills left half-written goes with the next collection"
    asked = len(server.since())
    assert set(project.states()) == {"stored"}
    project.build()
    assert len(server.since()) == asked
    print(
        f"{len(stages)} kills, with {stages} of {len(reference.complete)} stages complete, in {built} builds of "
        f"{reference.complete[-1]:.0f} s; {again} of {built * len(reference.calls)} requests were sent again"
    )


@pytest.mark.slow
def test_a_driver_killed_alone_leaves_no_child(
    every_kind: Any, server: Any, reference: Any, checks: Any, tmp_path: Path
) -> None:
    project, mark, kills = every_kind("orphans", files=4), len(server.since()), []
    log = tmp_path / "log"
    moments: list[tuple[str, Callable[[], bool]]] = [
        ("the pool works", lambda: lines(log, "count_letters") >= 2),
        ("a child asks", lambda: server.busy(mark + 12)),
        ("a child trains", lambda: lines(log, "learn_words") >= 3),
    ]
    for what, moment in moments:
        run = project.start_build("--executor", "local:2", TOYS_LOG=str(log))
        run.wait_until(moment)
        children = run.descendants()
        assert len(children) >= 2, f"{what}: {children}"
        kills.append(time.monotonic())
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        assert checks.ends(children) == [], what
    project.build(TOYS_LOG=str(log))
    checks.same(project, reference.bytes)
    checks.sent(server.since(mark), reference.calls, kills, ON_THE_WAY)


@pytest.mark.slow
def test_two_builds_at_once_make_everything_once(
    every_kind: Any, server: Any, reference: Any, checks: Any, tmp_path: Path
) -> None:
    project, mark = every_kind("twice", files=4), len(server.since())
    log = tmp_path / "log"
    first = project.start_build(TOYS_LOG=str(log))
    first.wait_until(lambda: server.busy(mark + 5))
    second = project.start_build(TOYS_LOG=str(log))
    assert (first.wait(), second.wait()) == (0, 0), first.stderr + second.stderr
    waited = r"waiting for recipe every_kind, target [a-z.]+ \(process %d\)"
    assert re.search(waited % first.process.pid, second.stderr)
    checks.same(project, reference.bytes)
    checks.sent(server.since(mark), reference.calls, [], 0)
    assert lines(log, "learn_words") == 12
    assert lines(log, "transpose") == 1
    counted = [line for line in log.read_text().splitlines() if line.startswith("count_letters")]
    assert len(counted) == len(set(counted)) > 20


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_a_sentence(
    every_kind: Any, server: Any, reference: Any, checks: Any, tmp_path: Path
) -> None:
    project, mark = every_kind("interrupted", files=4), len(server.since())
    log = tmp_path / "log"
    moments: list[tuple[str, Callable[[], bool]]] = [
        ("local:2", lambda: lines(log, "count_letters") >= 2),
        ("serial", lambda: server.busy(mark + 5)),
        ("serial", lambda: lines(log, "learn_words") >= 2),
    ]
    stops = []
    for executor, moment in moments:
        run = project.start_build("--executor", executor, TOYS_LOG=str(log))
        run.wait_until(moment)
        children = run.descendants()
        stops.append(time.monotonic())
        run.interrupt()
        assert run.wait(20) == 130, run.stderr
        assert "interrupted; what is finished is stored" in run.stderr
        assert "Traceback" not in run.stderr
        assert checks.ends(children) == []
    project.build()
    checks.same(project, reference.bytes)
    checks.sent(server.since(mark), reference.calls, stops, ON_THE_WAY)


STUBBORN = '''
"""A training step that does not hear that its driver is gone for a while."""
import ctypes, os
import factory
from factory import CausalLM, Context, Dataset, Text


@factory.step
def stubborn(dataset: Dataset[Text], ctx: Context) -> CausalLM:
    begun = ctx.workdir / "begun"
    if not begun.exists():
        begun.touch()
        ctypes.PyDLL(None).sleep(4)  # holds the interpreter's lock, as a long call into a library may
        os._exit(7)
    ctx.output.mkdir()
    (ctx.output / "toy.json").write_text('{"weight": ""}')
    return CausalLM(str(ctx.output), path=ctx.output)


@factory.hookimpl
def register_steps():
    return [stubborn]
'''


@pytest.mark.slow
def test_the_next_build_waits_for_a_child_that_outlives_its_driver(project: Any, checks: Any) -> None:
    (project.root / "plugins").mkdir()
    (project.root / "plugins/stubborn.py").write_text(STUBBORN)
    (project.root / "a.txt").write_text("text")
    (project.root / "recipe.yaml").write_text("name: r\ntargets: {model: {from: a.txt, steps: [stubborn]}}\n")
    run = project.start_build()
    run.wait_until(lambda: project.stores("work/*/begun"))
    children = run.descendants()
    run.process.kill()
    run.process.wait()
    following = project.start_build()
    assert following.wait() == 0, following.stderr
    assert f"waiting for recipe r, target model (process {run.process.pid})" in following.stderr
    assert checks.ends(children, 0) == []


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_failed_step(every_kind: Any, reference: Any, checks: Any, tmp_path: Path) -> None:
    project, log = every_kind("starved", files=4), tmp_path / "log"
    run = project.start_build("corpus", "--executor", "local:2", TOYS_LOG=str(log))
    run.wait_until(lambda: lines(log, "count_letters") >= 2)
    for worker in run.descendants():
        if "spawn_main" in " ".join(worker.cmdline()):
            worker.kill()
    assert run.wait() == 1, run.stderr
    assert "corpus: read → normalize" in run.stderr
    assert "a worker process died" in run.stderr
    assert "Traceback" not in run.stderr
    project.build("corpus")


@pytest.mark.slow
def test_a_child_that_dies_without_a_word_is_a_failed_step(project: Any, tmp_path: Path) -> None:
    (project.root / "plugins").mkdir()
    (project.root / "plugins/stubborn.py").write_text(STUBBORN.replace("sleep(4)", "usleep(1)"))
    (project.root / "a.txt").write_text("text")
    (project.root / "recipe.yaml").write_text("name: r\ntargets: {model: {from: a.txt, steps: [stubborn]}}\n")
    run = project.start_build()
    assert run.wait() == 1
    assert "model: stubborn: its process died" in run.stderr
    assert "Traceback" not in run.stderr
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif any('factory.engine.process' in word for word in sys.orig_argv): os._exit(9)\n"
    )
    run = project.start_build(PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert run.wait() == 1, "also when it dies before it has heard what to do"
    assert "model: stubborn: its process died" in run.stderr
