"""The command that opens the page on which a build's missing votes are given.

A step knows neither its recipe nor what its inputs are called, and recipes share what they have in common. So the plan
of the build at work is remembered here: for sentences only, nothing that is stored may depend on it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import factory

_at_work: list[Any] = []  # the plan, while a build runs


@factory.hookimpl
def before_build(plan: Any) -> None:
    _at_work[:] = [plan]


@factory.hookimpl
def after_build() -> None:
    _at_work.clear()


def command(name: str) -> str:
    """What opens the page of the label set `name`, whose votes are on the target `name` of some recipe."""
    recipe, more = "RECIPE", []
    for plan in _at_work:
        if name in plan.recipe.targets:
            recipe = str(plan.recipe.path)
            if limit := next((stage.limit for stage in plan.stages if stage.limit), None):
                more = ["--limit", str(limit)]
    return shlex.join(["factory", "label", recipe, name, *more])


def label_set(fingerprint: str, option: str) -> str | None:
    """The name of the label set that a stage reads through an option; None where that is not known."""
    for plan in _at_work:
        for stage in plan.stages:
            if stage.fingerprint == fingerprint:
                referred = stage.references.get(stage.calls[0].options[option])
                return next(_label_sets(referred), None)
    return None


def _label_sets(stage: Any) -> Iterator[str]:
    """Of those that a stage is made from."""
    if stage is None:
        return
    scheme, _, name = (stage.source.uri if stage.source is not None else "").partition(":")
    if scheme == "label":
        yield name
    for one in stage.inputs:
        yield from _label_sets(one)
