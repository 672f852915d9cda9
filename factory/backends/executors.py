"""Executors: `serial` runs a task where it is submitted, `local:N` in N processes here, `ray:ADDRESS` on a cluster."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, ParamSpec, TypeVar

from factory import InputError
from factory.errors import did_you_mean

P = ParamSpec("P")
T = TypeVar("T")

ENDED_WITH_DRIVER = 143  # 128 + SIGTERM: what a shell shows for a process that was asked to end


class SerialExecutor(Executor):
    """Runs each task at once, in the caller's thread: breakpoints work and a traceback is whole."""

    _closed = False

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # KeyboardInterrupt and SystemExit pass: they are meant for the driver
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed = True


def open_executor(uri: str) -> Executor | None:
    """`serial`, `local` (a worker per CPU this process may use), `local:N`, `ray:auto`, `ray:HOST:PORT`; or None.

    Raises InputError when the URI is one of these but malformed, or names a cluster that cannot be had.
    """
    name, colon, rest = uri.partition(":")
    if name == "serial":
        if colon:
            raise InputError(f"executor '{uri}': serial takes no number; write serial, or local:{rest or 'N'}")
        return SerialExecutor()
    if name == "local":
        return local_pool(worker_count(uri, rest) if colon else usable_cpus())
    if name == "ray":
        from .ray import open_ray

        return open_ray(uri, rest)
    if not colon and "did you mean" in (near := did_you_mean(name, ["serial", "local", "ray"])):
        raise InputError(f"executor '{uri}' is unknown; {near}")
    return None


def worker_count(uri: str, text: str) -> int:
    """N of `local:N`: a whole number of at least 1."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise InputError(f"executor '{uri}': the number of processes is '{text}', expected a whole number from 1 up")
    return int(text)


def usable_cpus() -> int:
    """CPUs this process may run on, which in a container or under taskset are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of spawned processes, started on demand. Spawned, not forked: the driver has threads that hold locks."""
    context: Any = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=follow_driver)


def follow_driver() -> None:
    """Make this worker end when its driver does, however it does, and at once on Ctrl-C.

    Ending in the middle of a task is safe: files appear under their name only when they are whole.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))  # no traceback from every worker
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])  # readable once the driver is gone, even by SIGKILL
        os._exit(ENDED_WITH_DRIVER)

    threading.Thread(target=wait, name="follow-driver", daemon=True).start()
