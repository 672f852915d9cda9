"""Plugin: tokenizers made, extended and measured."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .measure import measure_vocabulary

    return [measure_vocabulary]
