"""Plugin: steps that measure models on held-out records."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .answer_match import answer_match
    from .answers import answers
    from .choices import choices
    from .overlap import check_overlap
    from .perplexity import perplexity
    from .side_by_side import side_by_side
    from .win_rate import win_rate

    return [answer_match, answers, check_overlap, choices, perplexity, side_by_side, win_rate]
