"""One table of all tasks of a target, wherever they come from: types, lengths, first words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import factory
from factory import Context, Dataset, Drops, PromptCompletion, text_of
from factory.text.words import words

from .coverage import Coverage


@factory.step
def task_table(dataset: Dataset[PromptCompletion], ctx: Context) -> Drops:
    """Put a table of the tasks into the report: type × length of the answer × first word. Every record stays.

    The type is meta.type, else meta.kind (what `from_documents` was asked for); the first word is that of
    meta.instruction, else of the prompt.
    """
    coverage = Coverage()
    for record in dataset:
        coverage.add({"meta": described(record)})
    ctx.report("Tasks", coverage.table())
    return Drops()


def described(record: Mapping[str, Any]) -> dict[str, Any]:
    """Type, instruction and length of the answer in words (characters where words are not spaced)."""
    meta = record["meta"]
    return {
        "type": meta.get("type") or meta.get("kind") or "",
        "instruction": meta.get("instruction") or text_of(record["prompt"]),
        "output_words": len(words(text_of(record["completion"]))),
    }
