"""Instructions are made here: from seed tasks, and from documents."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from . import from_documents, novelty, novelty_by_meaning, self_instruct
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
        broken_code.broken_code,
        contaminated.contaminated,
        from_documents.from_documents,
        identity.identity_leaks,
        novelty.novel,
        novelty_by_meaning.novel_by_meaning,
        refusals.refusals,
        repeated_text.repeated_text,
        score_answers.score_answers,
        self_instruct.self_instruct,
        turn_length.turn_length,
        wrong_arithmetic.wrong_arithmetic,
    ]
