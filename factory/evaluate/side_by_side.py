"""One answer of each model to each prompt, as candidates that judges and people compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from factory import Candidates, CausalLM, Context, Dataset, InputError, Prompt, assistant, derive, step, text_of

from .asking import answers_of, count_requests, prompts
from .measured import grid
from .shots import no_models

OWN = "reference"  # the name of a record's own completion among the answers


@step(requests=count_requests)
def side_by_side(
    dataset: Dataset[Prompt],
    ctx: Context,
    models: dict[str, CausalLM],
    reference: bool = False,
    max_tokens: Annotated[int, Field(ge=1)] = 256,
    temperature: Annotated[float, Field(ge=0)] = 0.0,
) -> Iterator[Candidates]:
    """Let each model answer each prompt once, for `judge`, for people and for `win_rate`.

    models       name: model, as in `{before: bundled:smollm2, after: tutor}`; names are in meta.names, in the order of
                 the answers, the models' URIs in meta.models
    reference    the completion that a record has is one more answer, named `reference`; else it is in meta.reference,
                 which judges are shown
    max_tokens   of an answer; an answer that needs more is cut
    temperature  0: the likeliest token at every step

    A judge decides with `judge: {model: …}`, people with the page of `factory label RECIPE TARGET` and the step
    `rank: {votes: label:TARGET}` (or `from: label:TARGET`); behind either, `win_rate` says how often each model won:

        answered: {from: questions, steps: [side_by_side: {models: {before: bundled:smollm2, after: tutor}}]}
        reviewed: {from: answered, steps: [rank: {votes: label:answered}, win_rate]}

    Dropped are prompts that one of the models did not answer (`request failed`, `empty answer`).
    """
    if len(models) + reference < 2:
        raise (
            no_models("side_by_side")
            if not models
            else InputError("side_by_side: one model has nothing to stand beside; name two, or write `reference: true`")
        )
    if reference and OWN in models:
        raise InputError(f"side_by_side: '{OWN}' is the name of the records' own completions; give that model another")
    records, told = answers_of(
        list(prompts(dataset, ctx)), ctx, models, lambda record, _: record["prompt"], max_tokens, temperature
    )
    names = [*models, *([OWN] if reference else [])]
    sizes: dict[str, list[int]] = {name: [] for name in names}
    for at, record in enumerate(records):
        own = text_of(record.get("completion") or [])
        texts = {name: told[name][at].text.strip() for name in models} | ({OWN: own.strip()} if reference else {})
        if empty := [name for name, text in texts.items() if not text]:
            ctx.drop(record, "empty answer", of=empty[0])
            continue
        for name, text in texts.items():
            sizes[name].append(len(text))
        yield candidates(record, texts, [*(model.uri for model in models.values()), *([""] if reference else [])], own)
    ctx.report("Answers side by side", lengths(sizes))


def candidates(record: Any, texts: dict[str, str], uris: list[str], own: str) -> Any:
    """The prompt with its answers, not scored yet."""
    meta = {**record.get("meta", {}), "models": uris, "names": list(texts)}
    if own.strip() and OWN not in texts:
        meta["reference"] = own
    return derive(
        record, prompt=record["prompt"], completions=[assistant(text) for text in texts.values()], scores=[], meta=meta
    )


def lengths(sizes: dict[str, list[int]]) -> str:
    """How many answers each gave, and how long they are."""
    rows = [[name, f"{len(own):,}", f"{sum(own) / max(1, len(own)):,.0f}"] for name, own in sizes.items()]
    return grid(["model", "answers", "characters each"], rows)
