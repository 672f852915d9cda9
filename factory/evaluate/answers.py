"""A few prompts answered by several models, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from factory import (
    Answer,
    CausalLM,
    Context,
    Dataset,
    InputError,
    Prompt,
    PromptCompletion,
    Request,
    assistant,
    derive,
    digest,
    step,
    text_of,
)


def count_requests(records: int, n: int = 3, models: Mapping[str, Any] = {"before": "", "after": ""}, **_: Any) -> int:
    """Every chosen prompt is put to every model; two of them where the plan does not say."""
    return min(records, n) * len(models)


@step(requests=count_requests)
def answers(
    dataset: Dataset[Prompt],
    ctx: Context,
    models: dict[str, CausalLM],
    n: Annotated[int, Field(ge=1)] = 3,
    max_tokens: Annotated[int, Field(ge=1)] = 96,
    temperature: Annotated[float, Field(ge=0)] = 0.0,
) -> Iterator[PromptCompletion]:
    """Let each model answer the same few prompts; one record for each prompt and model, the model in `meta.model`.

    models       name in the report: model, as in `{before: bundled:smollm2, after: tutor}`
    n            prompts asked. They are the ones with the lowest hashes, so they are spread over the dataset and
                 adding records changes few of them; equal prompts are asked once. The others are `not asked`
    max_tokens   of an answer; an answer that needs more is cut, and `meta.finish` is `length`
    temperature  0: the likeliest token at every step

    The answers also stand side by side in the build's report, with the completion that the record has, if it has one.
    """
    if not models:
        raise InputError("answers: models is empty; name at least one, as in {before: bundled:smollm2}")
    chosen = choose(dataset, n)
    records = []
    for record in dataset:
        if record["id"] in chosen:
            records.append(record)
        else:
            ctx.drop(record, "not asked")
    told: dict[str, list[Answer]] = {}
    for name, model in models.items():
        requests = (
            Request(messages=record["prompt"], temperature=temperature, max_tokens=max_tokens) for record in records
        )
        told[name] = list(ctx.ask(model, requests))
    ctx.report("Answers before and after" if {*models} == {"before", "after"} else "Answers", _markdown(records, told))
    for place, record in enumerate(records):
        for name, given in told.items():
            answer = given[place]
            meta = {"model": name, "finish": answer.finish}
            made = derive(record, prompt=record["prompt"], completion=assistant(answer.text), meta=meta)
            if not answer.ok:
                ctx.drop(made, "request failed", error=answer.error)
            elif not answer.text.strip():
                ctx.drop(made, "empty answer")
            else:
                yield made


def choose(dataset: Dataset[Prompt], n: int) -> set[str]:
    """The ids of the n records whose prompts have the lowest hashes, the first of equal prompts."""
    first: dict[str, str] = {}
    for record in dataset:
        first.setdefault(digest(["answers", record["prompt"]]), record["id"])
    return {first[key] for key in sorted(first)[:n]}


def _markdown(records: list[Prompt], told: Mapping[str, list[Answer]]) -> str:
    parts = []
    for place, record in enumerate(records):
        parts.append(f"### {place + 1}. {_one_line(text_of(record['prompt']))}")
        if completion := record.get("completion"):
            parts.append(f"**as written**\n\n{_quoted(text_of(completion))}")  # type: ignore[arg-type]
        for name, given in told.items():
            answer = given[place]
            said = answer.text.strip() or (f"(failed: {answer.error})" if not answer.ok else "(nothing)")
            parts.append(f"**{name}**\n\n{_quoted(said + (' …' if answer.finish == 'length' else ''))}")
    return "\n\n".join(parts) or "There was no prompt to ask."


def _one_line(text: str, width: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[:width] + " …"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
