"""Perplexity of models on held-out completions, also per character and per byte."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from factory import CausalLM, Context, Dataset, InputError, Metric, PromptCompletion, derive, step, text_of
from factory.models.chat import encode_turns
from factory.models.likelihood import Encoded, losses
from factory.models.loading import load_causal_lm, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MEASURES = ("perplexity", "bits_per_character", "bits_per_byte", "tokens")


@step
def perplexity(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    models: dict[str, CausalLM],
    max_length: Annotated[int, Field(ge=2)] = 2048,
) -> Iterator[Metric]:
    """How well models foresee the completions: four metrics for each model, on equal records.

    models      name in the report: model, as in `{before: bundled:smollm2, after: tutor}`
    max_length  tokens of prompt and completion; what is longer under any of the tokenizers is dropped (`too long`)

    perplexity is exp of the mean negative log-likelihood per completion token, end-of-turn token included, given the
    prompt. It is not comparable across tokenizers: one that cuts text into fewer tokens has a higher one for an equal
    model. bits_per_character and bits_per_byte (UTF-8) divide the same likelihood by the length of the text, so they
    are; tokens says how many were measured. Parents of a metric are all the records it was measured on.
    """
    if not models:
        raise InputError("perplexity: models is empty; name at least one, as in {before: bundled:smollm2}")
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizers = {name: load_tokenizer(model) for name, model in models.items()}
    records, encoded = _encode(dataset, tokenizers, max_length, ctx)
    if not records:
        ctx.report("Perplexity", "No record could be measured.")
        return
    completions = [_assistant_text(record) for record in records]
    characters = sum(map(len, completions))
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in completions)
    table: dict[str, dict[str, float]] = {}
    total = len(models) * len(records)
    for place, (name, model) in enumerate(models.items()):
        lm = load_causal_lm(model)
        nats = []
        for _, loss in losses(lm, encoded[name]):
            nats.append(loss)
            ctx.progress(place * len(records) + len(nats), total, name)
        del lm  # before the next model is loaded
        tokens = sum(sum(one.mask) for one in encoded[name])
        table[name] = _measures(math.fsum(nats), tokens, characters, size)
    ctx.report("Perplexity", _markdown(table, len(records)))
    for name, values in table.items():
        for measure in MEASURES:
            yield derive(*records, name=measure, value=values[measure], of=name)


def _encode(
    dataset: Dataset[PromptCompletion], tokenizers: dict[str, PreTrainedTokenizerBase], max_length: int, ctx: Context
) -> tuple[list[PromptCompletion], dict[str, list[Encoded]]]:
    """(the records that every model can be measured on, name -> each of them in tokens); the others are dropped."""
    records: list[PromptCompletion] = []
    encoded: dict[str, list[Encoded]] = {name: [] for name in tokenizers}
    for record in dataset:
        if not _assistant_text(record).strip():
            ctx.drop(record, "empty completion")
            continue
        cut = {name: _completion(record, tokenizer) for name, tokenizer in tokenizers.items()}
        longest = max(cut, key=lambda name: len(cut[name].ids))
        if len(cut[longest].ids) > max_length:
            ctx.drop(record, "too long", tokens=len(cut[longest].ids), max_length=max_length, model=longest)
            continue
        records.append(record)
        for name, one in cut.items():
            encoded[name].append(one)
    return records, encoded


def _assistant_text(record: PromptCompletion) -> str:
    return text_of([turn for turn in record["completion"] if turn["role"] == "assistant"])


def _completion(record: PromptCompletion, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Up to the last token of the completion; a template's newline behind it is not measured."""
    ids, mask = encode_turns(tokenizer, record["prompt"], record["completion"])
    end = len(mask) - mask[::-1].index(1)
    return Encoded(ids[:end], mask[:end])


def _measures(nats: float, tokens: int, characters: int, size: int) -> dict[str, float]:
    bits = nats / math.log(2)
    values = (math.exp(nats / tokens), bits / characters, bits / size, float(tokens))
    return dict(zip(MEASURES, values, strict=True))


def _markdown(table: dict[str, dict[str, float]], records: int) -> str:
    lines = ["| model | perplexity per token | bits per character | bits per byte | tokens |", "|---|---|---|---|---|"]
    for name, found in table.items():
        numbers = f"{found['perplexity']:.3f} | {found['bits_per_character']:.4f} | {found['bits_per_byte']:.4f}"
        lines.append(f"| {name} | {numbers} | {found['tokens']:,.0f} |")
    said = f"On the completions of {records:,} records. Perplexity per token compares only models with one tokenizer."
    return "\n".join([*lines, "", said])
