"""Everything a plugin may implement. An implementation asks only for the arguments it wants."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from .engine.dataset import Dataset
    from .engine.model import Model
    from .engine.source import Source
    from .engine.stage import Plan, Stage
    from .engine.step import Step

hookspec = pluggy.HookspecMarker("factory")
hookimpl = pluggy.HookimplMarker("factory")


@hookspec
def register_steps() -> list[Step]:  # type: ignore[empty-body]
    """Return the steps this plugin brings."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the command line."""


@hookspec(firstresult=True)
def open_dataset(uri: str) -> Source | None:
    """Return the Source that `uri` means, or None when it is not yours. Raise InputError when it cannot be had."""


@hookspec(firstresult=True)
def save_dataset(dataset: Dataset[Any], uri: str) -> bool | None:
    """Write `dataset` to `uri` (`factory export`) and return True, or None when the form is not yours."""


@hookspec(firstresult=True)
def save_model(model: Model, uri: str) -> str | None:
    """Write `model`, or a part of it, to the file `uri` (`factory export`) and say in words what was written.

    None when the form is not yours.
    """


@hookspec(firstresult=True)
def open_model(uri: str) -> Model | None:
    """Return the Model that `uri` means, or None when it is not yours. It must be cheap: weights are loaded later."""


@hookspec(firstresult=True)
def open_executor(uri: str) -> Executor | None:
    """Return where tasks run (`serial`, `local:4`, `ray:auto`), or None when it is not yours."""


@hookspec
def before_build(plan: Plan) -> None:
    """A build begins. Announcements only, in the driver process."""


@hookspec
def after_task(stage: Stage, done: int, total: int, counts: dict[str, int], note: str) -> None:
    """A task of a stage is finished: `done` of `total`; `counts` are this task's, `note` is how it goes in words."""


@hookspec
def after_stage(stage: Stage, manifest: dict[str, Any], cached: bool) -> None:
    """A stage is complete, or was already."""


@hookspec
def log_metrics(stage: Stage, step: int, metrics: dict[str, float]) -> None:
    """A step logged metrics while it ran."""


@hookspec
def after_build(plan: Plan, error: BaseException | None) -> None:
    """The build ended, well or not."""
