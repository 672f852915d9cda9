"""Plugin: steps that measure models on held-out records."""

from __future__ import annotations

import factory
from factory import Step


@factory.hookimpl
def register_steps() -> list[Step]:
    from .answers import answers
    from .perplexity import perplexity

    return [answers, perplexity]
