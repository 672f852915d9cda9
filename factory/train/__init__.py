"""Plugin: steps that train models."""

from __future__ import annotations

import factory
from factory import Step


@factory.hookimpl
def register_steps() -> list[Step]:
    from .sft import sft

    return [sft]
