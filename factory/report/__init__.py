"""The page a build leaves behind: plan, funnel, samples, curves, and sections that steps add."""

from __future__ import annotations

from typing import Any

import factory


@factory.hookimpl
def after_build(plan: Any, error: BaseException | None) -> None:
    from .page import write_page

    write_page(plan, error)
