"""A stage in a process of its own: memory comes back when it ends, and it ends when its driver does."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..errors import FactoryError, StepError
from .once import Outcome, run_job
from .ranks import environments, follow
from .runtime import Job, Tell
from .work import Setup, remote

# -P and a path at the end: a random.py in the user's folder must not stand in for the standard library's.
BOOT = "import sys; sys.path.append(sys.argv[2]); from factory.engine.process import main; main(int(sys.argv[1]))"
LOG_LINES = 12  # of the child's own output, quoted when it dies without a word


def run_in_child(
    job: Job, setup: Setup, executor: str, tell: Tell, lock: int, processes: int = 1, sharded: bool = False
) -> Outcome:
    """Run a job in a fresh Python process, or as so many ranks, and pass on the news of the first.

    One socket for each carries everything; when this process dies the children read its end and exit. Until they have,
    they hold the stage's lock (a descriptor), so that the next build does not write beside them. Raises what the job
    raised, or StepError with the end of the log when the child died without a word.
    """
    log = job.store.work(job.fingerprint) / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        children = [_start(job, output, lock, ranked) for ranked in environments(processes, sharded)]
    try:
        for here, _ in children:
            with contextlib.suppress(BrokenPipeError):  # it died; then there is nothing to hear either
                here.send((setup, executor))
                here.send_bytes(pickle.dumps(job))
        return _listen([here for here, _ in children], tell, job, log)
    finally:
        for here, _ in children:
            here.close()
        for _, child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            if child.poll() is None:
                child.kill()
                child.wait()


def _start(job: Job, output: Any, lock: int, ranked: dict[str, str]) -> tuple[Connection, subprocess.Popen[bytes]]:
    here, there = Pipe()
    threads = str(job.threads)
    environment = {**ranked, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONHASHSEED": "0"}
    # Threads that spin while they wait starve each other on a busy machine: over 10 times slower was seen.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", BOOT, str(there.fileno()), str(Path(__file__).parents[2])],
        pass_fds=(there.fileno(), lock),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
    )
    there.close()
    return here, child


def _listen(ranks: list[Connection], tell: Tell, job: Job, log: Path) -> Outcome:
    """News of the first until it is done. An error of any ends all: the others would wait for it for ever."""
    heard = list(ranks)
    while True:
        for here in wait(heard):
            assert isinstance(here, Connection)
            try:
                what, *details = here.recv()
            except (EOFError, ConnectionResetError):
                lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                raise StepError("\n  ".join([f"{job.label}: its process died; the end of {log}:", *lines])) from None
            if what == "error":
                raise details[0]
            if what == "done":
                if here is ranks[0]:
                    return details[0]  # type: ignore[no-any-return]
                heard.remove(here)
            else:
                tell(what, *details)


def main(descriptor: int) -> None:
    """The child: read the job, run it, send news and the outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which closes the socket
    there: Connection = Connection(descriptor)
    setup, executor = there.recv()
    packed = there.recv_bytes()
    mutex = threading.Lock()

    def tell(what: str, *details: Any) -> None:
        with mutex:
            there.send((what, *details))

    driver = threading.Thread(target=_end_with, args=(there,), daemon=True)
    driver.start()
    try:
        outcome = work(packed, executor, setup, tell)
    except BaseException as error:
        traceback.print_exception(error)
        tell("error", _portable(error))
        sys.stdout.flush()
        sys.stderr.flush()
        # Other ranks would take an early end for their own error, and may be heard before this one.
        driver.join()
    else:
        tell("done", outcome)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # not through interpreter shutdown, where threads of native libraries can hang


def work(packed: bytes, executor: str, setup: Setup, tell: Tell) -> Outcome:
    from ..plugins import load_plugins
    from .project import enter_project

    enter_project(setup.project)
    load_plugins(setup.plugins)
    job: Job = pickle.loads(packed)
    if os.environ.get("RANK", "0") != "0":
        follow(job)
        return Outcome()
    with _lazily(executor, setup) as submit:
        return run_job(job, tell, submit)


@contextlib.contextmanager
def _lazily(executor: str, setup: Setup) -> Iterator[Callable[[bytes], Future[Any]]]:
    """An executor that is opened at the first `ctx.map`, if there is one."""
    from ..plugins import open_uri

    opened: list[Executor] = []

    def submit(packed: bytes) -> Future[Any]:
        if not opened:
            opened.append(open_uri("executor", executor))
        return opened[0].submit(remote, setup, packed)

    try:
        yield submit
    finally:
        for one in opened:
            one.shutdown(cancel_futures=True)


def _end_with(there: Connection) -> None:
    """Exit as soon as the driver is gone."""
    try:
        there.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _portable(error: BaseException) -> FactoryError:
    """The error, or its sentence alone when it is none of ours or cannot travel."""
    if not isinstance(error, FactoryError):
        return StepError(f"{type(error).__name__}: {error}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return StepError(str(error))
    return error
