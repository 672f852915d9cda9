"""Answers of models held against references: exact match, F1 and ROUGE-L, or the same number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from factory import Answer, CausalLM, Context, Dataset, InputError, Metric, PromptCompletion, StepError, step, text_of

from .asking import answers_of, count_requests, one_line, prompts
from .matching import exact_match, extracted, f1, last_number, rouge_l
from .measured import differences, grid, metrics, subjects, table
from .shots import Shots, conversation, no_models, shots_by_model

SHOWN = 12  # records in the report
WIDTH = 160  # characters of each text there


@step(requests=count_requests)
def answer_match(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    models: dict[str, CausalLM],
    compare: Literal["text", "number"] = "text",
    extract: str | None = None,
    shots: Annotated[int, Field(ge=0)] | dict[str, Annotated[int, Field(ge=0)]] = 0,
    examples: Dataset[PromptCompletion] | None = None,
    max_tokens: Annotated[int, Field(ge=1)] = 256,
    temperature: Annotated[float, Field(ge=0)] = 0.0,
    stop: list[str] = [],
) -> Iterator[Metric]:
    """How well answers of models match the completions of the records, on equal records.

    models      name in the report: model, as in `{before: bundled:smollm2, after: tutor}`
    compare     text: exact match (SQuAD's normalisation: case, punctuation and articles do not count), F1 of words,
                ROUGE-L; number: whether the last number of the answer is that of the reference, as for sums
    extract     a regular expression, whose last match in an answer is what counts, its first group if it has one:
                `"#### (.*)"`. An answer without a match is wrong; a reference without one counts whole
    shots       solved examples before each prompt, as turns; a number for all models, or model: number. An untuned
                model with five is what tuning has to beat (in-context learning)
    examples    where they are taken from: those of the record's `meta.subject` first, never the record itself
    max_tokens  of an answer; an answer that needs more is cut, and counts as it is
    temperature 0: the likeliest token at every step
    stop        texts that end an answer

    Metrics: `exact_match`, and of texts `f1` and `rouge_l`, with 95 % intervals (Wilson, bootstrap over records). Words
    are characters in scripts without spaces. A record that one of the models failed to answer is measured for none.
    """
    if not models:
        raise no_models("answer_match")
    pattern = compiled(extract)
    number = compare == "number"
    shown = shots_by_model("answer_match", shots, models, examples)
    solved = Shots("answer_match", examples or ())

    def asked(record: Any, name: str) -> list[Any]:
        turns = [(one["prompt"], one["completion"]) for one in solved.before(record, shown[name])]
        return conversation(turns, record["prompt"])

    records = referenced(dataset, ctx, pattern, number)
    records, told = answers_of(records, ctx, models, asked, max_tokens, temperature, stop)
    wanted = [reference_of(record, pattern) for record in records]
    texts = {name: [extracted(answer.text, pattern) for answer in own] for name, own in told.items()}
    found = {name: scores(own, wanted, number) for name, own in texts.items()}
    columns = {name: {"shots": shown[name], **kept_apart(told[name], texts[name], pattern)} for name in models}
    parts = [
        table(found, columns),
        f"{len(records):,} records. In brackets 95 % intervals.",
        differences(found, "exact_match"),
        subjects(records, found, "exact_match"),
        answered_table(records, wanted, told, found),
    ]
    ctx.report("Answers against references", "\n\n".join(part for part in parts if part))
    yield from metrics(records, found, {name: {"shots": shown[name]} for name in models})


def kept_apart(told: Sequence[Answer], texts: Sequence[str | None], pattern: re.Pattern[str] | None) -> dict[str, int]:
    """How many answers were cut, and where a pattern is given, how many it does not match."""
    found = {"cut": sum(answer.finish == "length" for answer in told)}
    return found if pattern is None else {**found, "no match of extract": texts.count(None)}


def compiled(extract: str | None) -> re.Pattern[str] | None:
    """Raises InputError where it is no regular expression."""
    try:
        return None if extract is None else re.compile(extract, re.MULTILINE)
    except re.error as error:
        raise InputError(f"answer_match: extract is no regular expression: {error}") from None


def reference_of(record: Mapping[str, Any], pattern: re.Pattern[str] | None) -> str:
    """What the answer should be."""
    text = text_of([turn for turn in record["completion"] if turn["role"] == "assistant"])
    found = extracted(text, pattern)
    return text if found is None else found


def referenced(
    dataset: Dataset[PromptCompletion], ctx: Context, pattern: re.Pattern[str] | None, number: bool
) -> list[Any]:
    """The records that can be compared with; the others are dropped. Raises StepError when none can."""
    records = []
    for record in prompts(dataset, ctx):
        reference = reference_of(record, pattern)
        if not reference.strip():
            ctx.drop(record, "empty reference")
        elif number and last_number(reference) is None:
            ctx.drop(record, "no number in the reference")
        else:
            records.append(record)
    if not records:
        raise StepError(
            f"answer_match: none of {len(dataset):,} records has a reference{' with a number' if number else ''} to "
            "compare answers with"
        )
    return records


def scores(answers: Sequence[str | None], references: Sequence[str], number: bool) -> dict[str, list[float]]:
    """Measure -> a value for each record; an answer that is None is wrong."""
    pairs = [(answer or "", reference) for answer, reference in zip(answers, references, strict=True)]
    if number:
        return {"exact_match": [float(last_number(one) == last_number(other)) for one, other in pairs]}
    found = {"exact_match": exact_match, "f1": f1, "rouge_l": rouge_l}
    return {name: [measure(*pair) for pair in pairs] for name, measure in found.items()}


def answered_table(
    records: Sequence[Any],
    references: Sequence[str],
    told: Mapping[str, Sequence[Answer]],
    found: Mapping[str, Mapping[str, Sequence[float]]],
) -> str:
    """The first records with their references and answers; what matches exactly is marked."""
    rows = []
    for at, (record, reference) in enumerate(zip(records[:SHOWN], references, strict=False)):
        right = {name: "✓ " if found[name]["exact_match"][at] else "" for name in told}
        answers = [right[name] + (one_line(own[at].text, WIDTH) or "(nothing)") for name, own in told.items()]
        rows.append([one_line(text_of(record["prompt"]), WIDTH), one_line(reference, WIDTH), *answers])
    return grid(["prompt", "reference", *told], rows)
