"""Instructions are made here: from seed tasks, from documents, from a model alone, and from one another."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from . import (
        backtranslate,
        evolve,
        from_documents,
        grid,
        magpie,
        multi_turn,
        novelty,
        novelty_by_meaning,
        self_instruct,
        task_table,
    )
    from .gates import (
        answer_language,
        broken_code,
        contaminated,
        identity,
        refusals,
        repeated_text,
        score_answers,
        turn_length,
        wrong_arithmetic,
    )

    return [
        answer_language.answer_language,
        backtranslate.backtranslate,
        broken_code.broken_code,
        contaminated.contaminated,
        evolve.evolve,
        from_documents.from_documents,
        grid.grid,
        identity.identity_leaks,
        magpie.magpie,
        multi_turn.multi_turn,
        novelty.novel,
        novelty_by_meaning.novel_by_meaning,
        refusals.refusals,
        repeated_text.repeated_text,
        score_answers.score_answers,
        self_instruct.self_instruct,
        task_table.task_table,
        turn_length.turn_length,
        wrong_arithmetic.wrong_arithmetic,
    ]
