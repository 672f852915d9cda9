"""Plugin: steps that train models."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .bake_off import bake_off
    from .dpo import dpo
    from .kto import kto
    from .merge import merge
    from .ppo import ppo
    from .pretrain import pretrain
    from .reward_model import reward_model
    from .sft import sft

    return [bake_off, dpo, kto, merge, ppo, pretrain, reward_model, sft]
