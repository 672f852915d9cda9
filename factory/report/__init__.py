"""The page a build leaves behind: plan, funnel, samples, curves, and sections that steps add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import factory

if TYPE_CHECKING:
    from .live import Live

running: list[Live] = []  # the build of this process, while there is one


@factory.hookimpl
def before_build(plan: Any) -> None:
    from .live import Live

    running[:] = [Live(plan)]


@factory.hookimpl
def log_metrics(stage: Any, step: int, metrics: dict[str, float]) -> None:
    for live in running:
        live.log(stage, step, metrics)


@factory.hookimpl
def after_stage() -> None:
    for live in running:
        live.draw()


@factory.hookimpl
def after_build(plan: Any, error: BaseException | None) -> None:
    from .page import write_page

    running.clear()
    write_page(plan, error)
