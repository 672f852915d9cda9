"""A training stage in several processes: what rank 0 runs as any stage is run, the others run without a word."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..errors import PluginError
from ..plugins import get_step
from .budget import Budget
from .context import Context
from .memo import Memo
from .model import Answer, Model, Request
from .options import options_of
from .runtime import Job

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "FACTORY_CHECKPOINTS", "FACTORY_SHARDED")


def environments(count: int, sharded: bool = False) -> list[dict[str, str]]:
    """The environment of each rank, which says in torch.distributed's words where the others are, and whether weights
    are split over them.

    What this process has of it is left out: a build that was itself started by torchrun, or by a cluster's scheduler,
    trains alone unless told otherwise.
    """
    plain = {name: value for name, value in os.environ.items() if name not in NAMES}
    if count == 1:
        return [plain]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {**plain, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if sharded:
        shared["FACTORY_SHARDED"] = "1"
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def follow(job: Job) -> None:
    """Run the step of a job as a rank that is not the first: in a folder of its own, and nothing of it is kept.

    Checkpoints are those of rank 0, whose folder the environment names.
    """
    step = get_step(job.call.step)
    options = options_of(step, job.call, job.objects)
    work = job.store.work(job.fingerprint)
    os.environ["FACTORY_CHECKPOINTS"] = str(work)
    own = work / f"rank-{os.environ['RANK']}"
    own.mkdir(parents=True, exist_ok=True)
    if step.context:
        options[step.context] = Context(step.name, job.seed, job.threads, own, own / "model", Silence())
    step.function(job.dataset, **options)


class Silence:
    """The engine's side of a context that nobody hears."""

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Memo]:
        raise PluginError("a step that trains in several processes cannot use ctx.map")

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None
    ) -> Iterator[Answer]:
        raise PluginError("a step that trains in several processes cannot ask models")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None: ...
    def log(self, step: int, metrics: dict[str, float]) -> None: ...
    def report(self, title: str, body: str) -> None: ...
    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None: ...
    def tell(self, done: int, total: int, note: str) -> None: ...
