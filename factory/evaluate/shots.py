"""Solved examples before a question, so that a model that was never tuned can see what is asked of it.

In-context learning (Brown et al. 2020, section 2). C-Eval and MMLU take the examples of the question's own subject.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from factory import CausalLM, InputError, Message, StepError
from factory.errors import did_you_mean

SUBJECT = "subject"  # the field of meta


class Shots:
    """Examples by subject."""

    def __init__(self, step: str, examples: Iterable[Any]) -> None:
        self._step = step
        self._all = list(examples)
        self._by_subject: dict[str, list[Any]] = {}
        for example in self._all:
            self._by_subject.setdefault(subject_of(example), []).append(example)

    def before(self, record: Mapping[str, Any], count: int) -> list[Any]:
        """The first `count` examples of the record's subject, or of all where it has fewer; the record is none of them.

        Raises StepError where there are not as many.
        """
        for pool in (self._by_subject.get(subject_of(record), []), self._all):
            found = [example for example in pool if example["prompt"] != record["prompt"]][:count]
            if len(found) == count:
                return found
        raise StepError(
            f"{self._step}: shots asks for {count} examples before '{record['id']}' and `examples` has {len(found)}; "
            "give more examples or fewer shots"
        )


def shots_by_model(
    step: str, shots: int | Mapping[str, int], models: Mapping[str, CausalLM], examples: Any
) -> dict[str, int]:
    """How many examples each model is shown; raises InputError where that cannot be."""
    if unknown := sorted(set(shots) - set(models)) if isinstance(shots, Mapping) else []:
        raise InputError(
            f"{step}: shots names '{unknown[0]}', which is none of the models; {did_you_mean(unknown[0], models)}"
        )
    found = {name: shots.get(name, 0) if isinstance(shots, Mapping) else shots for name in models}
    if any(found.values()) and examples is None:
        raise InputError(f"{step}: shots needs `examples`, a dataset of solved ones, as in {{shots: 5, examples: dev}}")
    return found


def no_models(step: str) -> InputError:
    return InputError(f"{step}: models is empty; name at least one, as in {{before: bundled:smollm2, after: tutor}}")


def subject_of(record: Mapping[str, Any]) -> str:
    """What the record is about, by its meta; "" where that does not say."""
    return str((record.get("meta") or {}).get(SUBJECT) or "")


def conversation(
    turns: Sequence[tuple[Sequence[Message], Sequence[Message]]], asked: Sequence[Message]
) -> list[Message]:
    """Examples as turns before what is asked; the system message, where there is one, stays at the head."""
    head = [message for message in asked[:1] if message["role"] == "system"]
    shown = [m for prompt, answer in turns for m in (*prompt, *answer) if m["role"] != "system"]
    return [*head, *shown, *asked[len(head) :]]
