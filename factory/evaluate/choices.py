"""Multiple choice by log-likelihood: which of the choices a model finds the likeliest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from factory import CausalLM, Choice, Context, Dataset, Drop, InputError, Metric, StepError, step
from factory.models.likelihood import Continuation, log_likelihoods
from factory.models.loading import load_causal_lm, load_config, load_tokenizer

from .measured import differences, grid, metrics, subjects, table
from .questions import Form, checked, continuations, lettered
from .shots import Shots, no_models, shots_by_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHUNK = 256  # records in tokens at a time; their texts are sorted by length together


@step
def choices(
    dataset: Dataset[Choice],
    ctx: Context,
    models: dict[str, CausalLM],
    form: Form = "continuation",
    shots: Annotated[int, Field(ge=0)] | dict[str, Annotated[int, Field(ge=0)]] = 0,
    examples: Dataset[Choice] | None = None,
    permute: Annotated[int, Field(ge=1)] = 1,
    delimiter: str = " ",
    chat: bool = False,
) -> Iterator[Metric]:
    """How often models find the right one of several choices the likeliest, on equal records.

    models      name in the report: model, as in `{before: bundled:smollm2, after: tutor}`
    form        continuation: each choice is read behind the question (lm-evaluation-harness); letter: the choices are
                listed as A, B, C…, and the letters are compared (MMLU, C-Eval)
    shots       solved examples before each question; a number for all models, or model: number. An untuned model with
                five is what tuning has to beat (in-context learning): `{untuned: 5}`
    examples    where they are taken from: those of the record's `meta.subject` first, never the record itself
    permute     in form letter: so many orders of the choices, each turned on by one; the probabilities of a choice are
                averaged over them, and `consistency` is the share of records answered alike in all
    delimiter   between question and choice; none in a chat
    chat        ask by the model's chat template rather than in plain text

    Metrics: `acc`; in form continuation also `acc_norm`, for which log-likelihoods are divided by the characters of
    the choice. Intervals are Wilson's, 95 %. A record that is too long for one of the models is measured for none
    (`too long`). The report has what chance would reach, accuracy by `meta.subject`, and in form letter which letters
    were chosen. Parents of a metric are all the records it was measured on.
    """
    if not models:
        raise no_models("choices")
    if permute > 1 and form != "letter":
        raise InputError("choices: permute turns the order of listed choices; it needs form: letter")
    asking = Asking(form, permute, delimiter, chat, shots_by_model("choices", shots, models, examples))
    if examples is not None:
        asking.examples = checked_examples(examples, form)
    records = measurable(dataset, asking, models, ctx)
    results = answered(records, asking, models, ctx)
    found = {name: measures(some, form, permute) for name, some in results.items()}
    chance = math.fsum(1 / len(record["choices"]) for record in records) / len(records)
    about = {name: {"shots": asking.shots[name], "chance": round(chance, 4)} for name in models}
    parts = [
        table(found, {name: {"shots": asking.shots[name]} for name in models}),
        f"{len(records):,} records, form {form}; chance reaches {chance:.3f}. In brackets 95 % intervals (Wilson).",
        differences(found, "acc"),
        subjects(records, found, "acc"),
        letters(records, results) if form == "letter" else "",
    ]
    ctx.report("Multiple choice", "\n\n".join(part for part in parts if part))
    yield from metrics(records, found, about)


@dataclass
class Asking:
    """How questions are put to each model."""

    form: Form
    permute: int
    delimiter: str
    chat: bool
    shots: dict[str, int]  # by model
    examples: Shots = field(default_factory=lambda: Shots("choices", []))

    def orders(self, tokenizer: PreTrainedTokenizerBase, record: Choice, name: str) -> list[list[Continuation]]:
        """The choices as continuations, for each order in which they are listed. Raises Drop."""
        shown: Sequence[Choice] = self.examples.before(record, self.shots[name])
        if self.form == "letter":
            shown = [lettered(one) for one in shown]
            asked = [lettered(record, first) for first in range(min(self.permute, len(record["choices"])))]
        else:
            asked = [record]
        try:
            return [continuations(tokenizer, one, shown, self.delimiter, self.chat) for one in asked]
        except ValueError as error:
            raise Drop("no tokens", error=str(error)) from error


def checked_examples(examples: Dataset[Choice], form: Form) -> Shots:
    """The examples, each of which can be asked. Raises InputError."""
    found = []
    for example in examples:
        try:
            checked(example, form)
        except Drop as fault:
            raise InputError(f"choices: the example '{example['id']}' cannot be shown: {fault.reason}") from None
        found.append(example)
    return Shots("choices", found)


def measurable(dataset: Dataset[Choice], asking: Asking, models: Mapping[str, CausalLM], ctx: Context) -> list[Choice]:
    """The records that can be put to all models; the others are dropped. Raises StepError when none can."""
    tokenizers = {name: load_tokenizer(model) for name, model in models.items()}
    limits = {name: context_of(model) for name, model in models.items()}
    records: list[Choice] = []
    why: Counter[str] = Counter()
    for record in dataset:
        try:
            checked(record, asking.form)
            for name, tokenizer in tokenizers.items():
                longest = max(len(one.read) for order in asking.orders(tokenizer, record, name) for one in order)
                if longest > limits[name]:
                    raise Drop("too long", tokens=longest, context=limits[name], model=name)
        except Drop as fault:
            why[fault.reason] += 1
            ctx.drop(record, fault.reason, **fault.details)
            continue
        records.append(record)
    if not records:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in why.most_common()) or "there are no records"
        raise StepError(f"choices: no record can be measured: {reasons}")
    return records


def context_of(model: CausalLM) -> int:
    """The tokens that a model can read."""
    return int(getattr(load_config(model).get_text_config(), "max_position_embeddings", None) or 1 << 30)


@dataclass(frozen=True)
class Result:
    """What a model made of one record: whether it was right, and what it chose in each order."""

    right: bool
    right_by_length: bool
    chosen: tuple[int, ...]  # in each order, as a place in the record's own order
    letters: tuple[int, ...]  # in each order, the place in the list that was shown


def answered(
    records: Sequence[Choice], asking: Asking, models: Mapping[str, CausalLM], ctx: Context
) -> dict[str, list[Result]]:
    """What each model makes of the records, one model in memory after the other."""
    import torch

    torch.set_num_threads(ctx.threads)
    results: dict[str, list[Result]] = {name: [] for name in models}
    for place, (name, model) in enumerate(models.items()):
        tokenizer, lm = load_tokenizer(model), load_causal_lm(model)
        for start in range(0, len(records), CHUNK):
            chunk = records[start : start + CHUNK]
            asked = [asking.orders(tokenizer, record, name) for record in chunk]
            flat = [one for orders in asked for order in orders for one in order]
            told = [said for _, said in sorted(log_likelihoods(lm, flat))]
            results[name] += decided(chunk, asked, told, asking.form)
            ctx.progress(place * len(records) + len(results[name]), len(models) * len(records), name)
        del lm
    return results


def decided(
    records: Sequence[Choice], asked: Sequence[list[list[Continuation]]], told: Sequence[float], form: Form
) -> Iterator[Result]:
    """What follows of log-likelihoods, which come record by record, order by order, choice by choice."""
    at = 0
    for record, orders in zip(records, asked, strict=True):
        said = [told[at + n * len(orders[0]) : at + (n + 1) * len(orders[0])] for n in range(len(orders))]
        at += len(orders) * len(orders[0])
        yield by_letters(record, said) if form == "letter" else by_continuation(record, said[0])


def by_continuation(record: Choice, said: Sequence[float]) -> Result:
    """The likeliest choice, and the likeliest for its length in characters; of equal ones the first."""
    best = said.index(max(said))
    each = [one / len(choice) for one, choice in zip(said, record["choices"], strict=True)]
    return Result(best == record["answer"], each.index(max(each)) == record["answer"], (best,), (best,))


def by_letters(record: Choice, said: Sequence[Sequence[float]]) -> Result:
    """The choice of the highest probability among the letters, averaged over orders that were turned by 0, 1, 2, …"""
    count = len(record["choices"])
    total, chosen, letters = [0.0] * count, [], []
    for first, logs in enumerate(said):
        top = max(logs)
        weights = [math.exp(one - top) for one in logs]
        letters.append(logs.index(top))
        chosen.append((letters[-1] + first) % count)
        for letter, weight in enumerate(weights):
            total[(letter + first) % count] += weight / math.fsum(weights)
    right = total.index(max(total)) == record["answer"]
    return Result(right, right, tuple(chosen), tuple(letters))


def measures(results: Sequence[Result], form: Form, permute: int) -> dict[str, list[float]]:
    """A value for each record."""
    found = {"acc": [float(one.right) for one in results]}
    if form == "continuation":
        found["acc_norm"] = [float(one.right_by_length) for one in results]
    elif permute > 1:
        found["consistency"] = [float(len(set(one.chosen)) == 1) for one in results]
    return found


def letters(records: Sequence[Choice], results: Mapping[str, Sequence[Result]]) -> str:
    """How often each letter was chosen, in all orders, and how often it was right."""
    places = range(max(len(record["choices"]) for record in records))
    right = Counter(
        (record["answer"] - first) % len(record["choices"])
        for record, one in zip(records, next(iter(results.values())), strict=True)
        for first in range(len(one.letters))
    )
    rows = [["right", *(f"{right[at] / right.total():.0%}" for at in places)]]
    for name, some in results.items():
        chosen = Counter(letter for one in some for letter in one.letters)
        rows.append([name, *(f"{chosen[at] / chosen.total():.0%}" for at in places)])
    return grid(["letters chosen", *(chr(ord("A") + at) for at in places)], rows)
