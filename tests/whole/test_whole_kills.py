"""Builds that are killed go on from there, and end in the bytes of builds that were not."""

from __future__ import annotations

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
ON_THE_WAY = 2 * IN_FLIGHT  # and those that are between the wire and the disk


class Undisturbed:
    """A build that nobody killed: its bytes, its requests, its seconds."""

    def __init__(self, project: Any, server: Any, checks: Any) -> None:
        self.project, mark, started = project, len(server.since()), time.monotonic()
        project.build()
        self.seconds = time.monotonic() - started
        self.bytes = checks.artifacts(project)
        self.calls = server.since(mark)
        checks.accounts(project)
        assert max(Counter(call.body for call in self.calls).values()) == 1


@pytest.fixture(scope="module")
def reference(every_kind: Any, server: Any, checks: Any) -> Undisturbed:
    return Undisturbed(every_kind("undisturbed", files=4), server, checks)


def lines(log: Path, word: str) -> int:
    return sum(word in line for line in log.read_text().splitlines()) if log.exists() else 0


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
    """Projects are built one after another, each killed again and again until it is done, until there were 20 kills."""
    reference = Undisturbed(every_kind("trained", "trained.yaml", tiny), server, checks)
    rng = random.Random(20)
    kills, rounds, again, complete = 0, 0, 0, []
    while kills < 20:
        rounds += 1
        project, mark, moments = every_kind(f"random-{rounds}", "trained.yaml", tiny), len(server.since()), []
        finished = False
        while not finished:
            run = project.start_build("--executor", rng.choice(("serial", "local:2")))
            finished = kills >= 20 or run.ended_within(rng.uniform(0.2, reference.seconds / 3))
            if finished:
                assert run.wait() == 0, run.stderr
            else:
                moments.append(run.kill_group())
                kills += 1
                complete.append(len(project.manifests()))
        checks.same(project, reference.bytes)
        checks.accounts(project)
        again += checks.sent(server.since(mark), reference.calls, moments, ON_THE_WAY)
    project.do("gc")
    assert not list(project.store.rglob("*.tmp")), "what kills left half-written goes with the next collection"
    asked = len(server.since())
    assert set(project.states()) == {"stored"}
    project.build()
    assert len(server.since()) == asked
    print(
        f"{kills} kills in {rounds} builds of {reference.seconds:.1f} s and {len(reference.project.manifests())} "
        f"stages, with {complete} stages complete; {again} of {rounds * len(reference.calls)} requests sent again"
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
    waited = r"waiting for recipe every_kind, target [a-z.]+ \\(process %d\\)"
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
