"""Instructions are made here: from seed tasks, and from documents."""

from __future__ import annotations

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from . import from_documents, novelty, self_instruct

    return [from_documents.from_documents, novelty.novel, self_instruct.self_instruct]
