"""`ray:ADDRESS`: tasks on the machines of a Ray cluster, which share a folder with this one.

Ray decides where a task runs, and begins it again when its worker or its machine dies. What a task raises is never
retried.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from factory import InputError, PluginError, StepError

from .installed import Different, difference, fingerprint, installed_here, run

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("factory")

RETRIES = 3  # times a task is begun again after its worker or its machine died
AT_RAY = 4096  # tasks that Ray knows of at a time; it is slow with millions, and more cores than this are rare
WATCHED = 5.0  # seconds between looks at which nodes are there
PATIENCE = 10.0  # seconds for a cluster to accept a connection
EVERYWHERE = "every node needs the same installed, in the Python that started Ray there"
FEWER = "when memory is short, start the nodes with a smaller --num-cpus"
START = "`ray start --head --disable-usage-stats --include-dashboard=false` starts a cluster"
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else a driver under `uv run` uploads its folder and installs anew
    "RAY_task_oom_retries": str(RETRIES),  # else a task that never fits into memory is tried for ever
}


def open_ray(uri: str, address: str) -> RayExecutor:
    """An executor on the cluster at `auto` or `HOST:PORT`.

    Raises InputError when there is no cluster, PluginError when Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise PluginError(f"executor '{uri}' needs Ray: pip install 'dataset-factory[ray]'")
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or "/" in host or not (port.isascii() and port.isdigit()):
            raise InputError(f"executor '{uri}': expected ray:auto (this machine's cluster) or ray:HOST:PORT")
        knock(uri, host.strip("[]"), int(port))
    return RayExecutor(uri, address)


def knock(uri: str, host: str, port: int) -> None:
    """Find out whether a gRPC server listens there; Ray itself would try for two minutes, and tell of each try."""
    why = "what listens there is no Ray cluster"
    try:
        with socket.create_connection((host, port), PATIENCE) as link:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            link.settimeout(PATIENCE)
            link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            if link.recv(4)[3:] == b"\x04":  # the type of its first frame is SETTINGS (RFC 9113, section 3.4)
                return
    except (OSError, OverflowError) as error:
        why = f"no answer ({getattr(error, 'strerror', None) or error})"
    raise InputError(f"executor '{uri}': {why}; {START}")


def connect(uri: str, address: str) -> Any:
    """Make this process a driver of the cluster. Returns `run` as what can be called there."""
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    import ray
    from ray.job_config import JobConfig

    job = JobConfig()
    # Else workers would look for modules in the folder in which the build was started before those installed.
    vars(job)["_runtime_env_has_working_dir"] = lambda: True
    if ray.is_initialized():
        raise InputError(f"executor '{uri}': this process is connected to a Ray cluster; ray.shutdown() leaves it")
    here = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if here else None
    try:
        ray.init(address=address, job_config=job, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise InputError(f"executor '{uri}': {refused(error)}") from None
    finally:
        if here:
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there
    # Ray tells of dead workers on standard output, which is for results.
    importlib.import_module("ray._private.worker").__dict__["_worker_logs_enabled"] = False
    return ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(run)


class RayExecutor(Executor):
    """Hands tasks to a Ray cluster. Left by an error, Ctrl-C included, it ends those under way.

    A thread of its own talks to Ray, so `submit` never waits. A future can be cancelled until its result is here; a
    task that runs is killed then, which is safe: files appear under their name only when they are whole.
    """

    def __init__(self, uri: str, address: str) -> None:
        self.call = connect(uri, address)
        self.expected = fingerprint(installed_here())
        self.futures: set[Future[Any]] = set()  # not done
        self.waiting: deque[tuple[Future[Any], tuple[Any, ...]]] = deque()
        self.references: dict[Future[Any], Any] = {}  # of those at Ray
        self.events: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.closed = False
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.work, name="ray-executor", daemon=True)
        self.thread.start()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self.lock:
            if self.closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.futures.add(future)
            self.events.put(partial(self.waiting.append, (future, (function, args, kwargs))))
        future.add_done_callback(lambda done: self.events.put(partial(self.forget, done)))
        return future

    def work(self) -> None:
        """The thread. Whatever breaks it is told to all who wait."""
        import ray

        try:
            self.serve()
        except Exception as error:
            self.closed = True
            for future in list(self.futures):
                fail(future, StepError(f"the connection to the Ray cluster broke: {last_line(error)}"))
        ray.shutdown()

    def serve(self) -> None:
        """One event after the other; then as many waiting tasks go to Ray as may be there."""
        closing, nodes, seen = False, nodes_alive(), time.monotonic()
        while not closing or self.waiting or self.references:
            with contextlib.suppress(Empty):
                if (event := self.events.get(timeout=WATCHED)) is None:
                    closing = True
                else:
                    event()
            if time.monotonic() - seen > WATCHED:
                nodes, seen = tell_of_lost(nodes), time.monotonic()
            while self.waiting and len(self.references) < AT_RAY:
                self.hand_over(*self.waiting.popleft())
        tell_of_lost(nodes)

    def hand_over(self, future: Future[Any], what: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        try:
            reference = self.call.remote(self.expected, *what)
        except Exception as error:  # it cannot be pickled
            fail(future, error)
            return
        self.references[future] = reference
        reference.future().add_done_callback(lambda inner: self.events.put(partial(self.land, future, inner)))

    def land(self, future: Future[Any], inner: Future[Any]) -> None:
        """A task is finished: its result, or its error as the sentence it is, into the future."""
        error = inner.exception()
        if error is None:
            with contextlib.suppress(InvalidStateError):  # cancelled in this very moment
                future.set_result(inner.result())
        else:
            fail(future, explained(error))

    def forget(self, future: Future[Any]) -> None:
        """A future is done. Where it was cancelled, its task may still be at Ray."""
        import ray

        self.futures.discard(future)
        reference = self.references.pop(future, None)
        if future.cancelled():
            future.set_running_or_notify_cancel()  # those who wait for it are told
            if reference is not None:
                ray.cancel(reference, force=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self.lock:
            if not self.closed:
                self.closed = True
                self.events.put(None)
        if cancel_futures:
            for future in list(self.futures):
                future.cancel()
        if wait:
            self.thread.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=True, cancel_futures=error is not None)


def fail(future: Future[Any], error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # cancelled
        future.set_exception(error)


def nodes_alive() -> dict[str, str]:
    """Node → host."""
    import ray

    found: Any = ray.nodes  # untyped
    return {node["NodeID"]: node["NodeManagerHostname"] for node in found() if node["Alive"]}


def tell_of_lost(known: dict[str, str]) -> dict[str, str]:
    alive = nodes_alive()
    for node in known.keys() - alive.keys():
        log.warning("the Ray node %s is gone; what it was at is begun again elsewhere", known[node])
    return alive


def explained(error: BaseException) -> BaseException:
    """What came back from Ray as what the task raised, or as a sentence about what befell it."""
    from ray import exceptions

    if isinstance(error, exceptions.RayTaskError):
        cause = error.cause
        if isinstance(cause, Different):
            host, there = cause.args
            return PluginError(difference(host, there, installed_here()))
        unknown = isinstance(cause, RuntimeError) and "failed to import on the worker" in str(cause)
        if unknown or isinstance(cause, exceptions.RayError) or not isinstance(cause, Exception):
            why = last_line(cause if unknown else error)
            if why.startswith("ModuleNotFoundError"):  # Ray's own words: what a task raises comes as it is
                return PluginError(f"a Ray node lacks a package ({why}); {EVERYWHERE}")
            return StepError(f"a task failed on a Ray node: {why}")
        cause.__cause__ = error
        return cause
    if isinstance(error, exceptions.TaskCancelledError):
        return StepError("a task was cancelled by the Ray cluster")
    if isinstance(error, exceptions.OutOfMemoryError):
        return StepError(f"a node of the Ray cluster has too little memory for a task, {RETRIES + 1} times; {FEWER}")
    if isinstance(error, exceptions.WorkerCrashedError | exceptions.NodeDiedError):
        return StepError(f"a task was begun {RETRIES + 1} times, and its worker or node died each time; {FEWER}")
    if isinstance(error, exceptions.RayError):
        return StepError(f"the Ray cluster failed: {last_line(error)}")
    return error


def refused(error: BaseException) -> str:
    """Why Ray did not connect, as a clause."""
    text = str(error)
    if isinstance(error, ConnectionError) and "any running Ray instance" in text:
        return f"no Ray cluster runs on this machine; {START}"
    if isinstance(error, ConnectionError):
        return "no node of that cluster runs on this machine (`ray start --address=HOST:PORT` adds one)"
    if "version" in text.lower():
        return "this machine and the cluster differ in their versions of Ray or Python"
    return f"the cluster refused: {last_line(error)}"


def last_line(error: BaseException) -> str:
    return next(filter(None, reversed([line.strip() for line in str(error).splitlines()])), type(error).__name__)
