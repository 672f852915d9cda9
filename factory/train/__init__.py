"""Plugin: steps that train models."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .dpo import dpo
    from .kto import kto
    from .merge import merge
    from .pretrain import pretrain
    from .reward_model import reward_model
    from .sft import sft

    return [dpo, kto, merge, pretrain, reward_model, sft]
