"""Plugin: tokenizers made, extended and measured."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .extend import extend_vocabulary
    from .measure import measure_vocabulary

    return [extend_vocabulary, measure_vocabulary]
