"""Plugin: steps that train models."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .merge import merge
    from .pretrain import pretrain
    from .sft import sft

    return [merge, pretrain, sft]
