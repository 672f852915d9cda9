"""Evaluation items among instructions."""

from __future__ import annotations

import factory
from factory import Dataset, Drops, Record

from ..contamination import Evaluation


@factory.step
def contaminated(dataset: Dataset[Record], evaluation: list[Dataset[Record]] = []) -> Drops:
    """Drop records that are evaluation items or share 13 words with one.

    In a script without spaces it is 26 characters; an item shorter than that counts when a record, or its prompt, says
    just that. Case and punctuation do not matter. Steps that generate look for the same as they go; this is for records
    from elsewhere. `decontaminate` does it for a corpus, with a report on every item.

    evaluation  evaluation sets
    """
    held_out = Evaluation(evaluation)
    return Drops((record["id"], found) for record in dataset if held_out and (found := held_out.hit_by(record)))
