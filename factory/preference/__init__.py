"""Answers are compared here: sampled, judged by models and by people, made into the pairs that trainers learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import factory

from .labelling.opening import after_build as after_build
from .labelling.opening import before_build as before_build

if TYPE_CHECKING:
    import click


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from . import agreement, calibrate, judge, pair, reward_score, sample, unpaired
    from .labelling import rank

    return [
        agreement.agreement,
        calibrate.calibrate,
        judge.judge,
        pair.pair,
        rank.rank,
        reward_score.reward_score,
        sample.sample,
        unpaired.unpaired,
    ]


@factory.hookimpl
def register_commands(cli: click.Group) -> None:
    """`factory label`."""
    from .labelling.command import label

    cli.add_command(label)


@factory.hookimpl
def open_dataset(uri: str) -> factory.Source | None:
    """`label:NAME`: what people said in labels/NAME of the project."""
    from .labelling import source

    return source.open_label(uri)
