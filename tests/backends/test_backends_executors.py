"""Executors: what a URI means, order and errors of tasks, and that no worker outlives its driver."""

from __future__ import annotations

import contextlib
import operator
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import Executor, Future
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import factory
from factory.backends import executors
from factory.backends import open_executor as hook


def fail(word: str) -> None:
    raise factory.StepError(f"step x: {word}")


def test_serial_runs_inline_in_the_callers_thread() -> None:
    with executors.SerialExecutor() as executor:
        future = executor.submit(threading.get_ident)
        assert future.done()
        assert future.result() == threading.get_ident()
        assert list(executor.map(abs, range(-3, 2))) == [3, 2, 1, 0, 1]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -2)


def test_serial_keeps_a_tasks_error_for_result() -> None:
    future: Future[None] = executors.SerialExecutor().submit(fail, "no")
    assert isinstance(future.exception(), factory.StepError)
    with pytest.raises(factory.StepError, match="step x: no"):
        future.result()


def test_serial_lets_an_interrupt_through() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executors.SerialExecutor().submit(interrupt)


def test_local_runs_in_other_processes_and_hands_errors_back() -> None:
    with executors.local_pool(2) as executor:  # functions every process can import
        assert list(executor.map(operator.mul, range(20), range(20))) == [n * n for n in range(20)]
        assert executor.submit(os.getpid).result() != os.getpid()
        with pytest.raises(factory.InputError, match="expected a whole number"):
            executor.submit(executors.worker_count, "local:x", "x").result()


def workers_of(uri: str) -> int:
    opened = executors.open_executor(uri)
    assert isinstance(opened, Executor)
    count: int = opened._max_workers  # type: ignore[attr-defined]
    opened.shutdown()
    return count


def test_open_executor_reads_the_uri() -> None:
    assert isinstance(hook("serial"), executors.SerialExecutor)
    assert workers_of("local:3") == 3
    assert workers_of("local") == executors.usable_cpus() >= 1


@pytest.mark.parametrize("uri", ["rays:auto", "slurm", "", "dask:tcp"])
def test_open_executor_leaves_other_uris_to_plugins(uri: str) -> None:
    assert hook(uri) is None


@pytest.mark.parametrize("bad", ["local:", "local:0", "local:-1", "local:two", "local:1.5", "local:²"])
def test_open_executor_says_what_number_was_expected(bad: str) -> None:
    with pytest.raises(factory.InputError, match=r"^executor 'local:.*expected a whole number from 1 up$"):
        hook(bad)


def test_open_executor_names_the_nearest_word() -> None:
    with pytest.raises(factory.InputError, match="did you mean 'serial'"):
        hook("seriel")
    with pytest.raises(factory.InputError, match="write serial, or local:4"):
        hook("serial:4")


@given(st.text(max_size=8))
def test_worker_count_is_positive_or_an_input_error(text: str) -> None:
    with contextlib.suppress(factory.InputError):
        assert executors.worker_count(f"local:{text}", text) >= 1


DRIVER = textwrap.dedent("""
    import os, sys, threading
    from pathlib import Path
    from factory.backends.executors import open_executor

    def hang(folder, number):
        path = Path(folder) / f"{number}.part"
        path.write_text(str(os.getpid()))
        path.rename(path.with_suffix(".pid"))
        threading.Event().wait()

    if __name__ == "__main__":
        pool = open_executor("local:2")
        tasks = [pool.submit(hang, sys.argv[1], n) for n in range(2)]
        threading.Event().wait()
""")


@pytest.mark.builds
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_the_driver_is_killed(tmp_path: Path, signal_number: signal.Signals) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(Path(factory.__file__).parents[1])}
    driver = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    pids: list[int] = []
    try:
        deadline = threading.Event()
        for _ in range(600):
            if len(pids := [int(path.read_text()) for path in tmp_path.glob("*.pid")]) == 2:
                break
            assert driver.poll() is None, "the driver ended by itself"
            deadline.wait(0.05)
        assert len(set(pids)) == 2
        family = psutil.Process(driver.pid).children(recursive=True)  # the workers and multiprocessing's tracker
        assert set(pids) <= {child.pid for child in family}
        driver.send_signal(signal_number)
        driver.wait(10)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    finally:
        driver.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
