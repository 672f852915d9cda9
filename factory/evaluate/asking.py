"""Models that answer the same prompts: one answer of each to each, and who is left when some gave none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from factory import Answer, CausalLM, Context, Dataset, Message, Request, StepError, text_of

Asked = Callable[[Any, str], Sequence[Message]]  # record, model's name -> what the model is asked

FAILED = "request failed"


def count_requests(records: int, models: Mapping[str, Any] = {"before": "", "after": ""}, **_: Any) -> int:
    """Every model answers every prompt once; two of them where the plan does not say."""
    return records * len(models)


def answers_of(
    records: Sequence[Any],
    ctx: Context,
    models: Mapping[str, CausalLM],
    asked: Asked,
    max_tokens: int,
    temperature: float,
    stop: Sequence[str] = (),
) -> tuple[list[Any], dict[str, list[Answer]]]:
    """The records that every model answered, and by model its answers to them; other records are dropped.

    Raises StepError when none is left. An empty answer is an answer.
    """
    told: dict[str, list[Answer]] = {}
    for place, (name, model) in enumerate(models.items()):
        requests = (
            Request(asked(record, name), temperature=temperature, max_tokens=max_tokens, stop=tuple(stop))
            for record in records
        )
        told[name] = []
        for answer in ctx.ask(model, requests):
            told[name].append(answer)
            ctx.progress(place * len(records) + len(told[name]), len(models) * len(records), name)
    kept = []
    for at, record in enumerate(records):
        failed = next(((name, own[at].error) for name, own in told.items() if not own[at].ok), None)
        if failed is None:
            kept.append(at)
        else:
            ctx.drop(record, FAILED, model=failed[0], error=failed[1])
    if not kept and records:
        name, error = next((name, one.error) for name, own in told.items() for one in own if not one.ok)
        raise StepError(f"{ctx.step}: no record was answered by every model; '{name}' says: {error}")
    return [records[at] for at in kept], {name: [own[at] for at in kept] for name, own in told.items()}


def prompts(dataset: Dataset[Any], ctx: Context) -> Iterator[Any]:
    """The records that ask something; the others are dropped."""
    for record in dataset:
        if text_of(record["prompt"]).strip():
            yield record
        else:
            ctx.drop(record, "empty prompt")


def one_line(text: str, width: int) -> str:
    """The beginning of a text, for a table."""
    line = " ".join("".join(islice(text, 4 * width)).split())
    return line if len(line) <= width else line[:width] + " …"
