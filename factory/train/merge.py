"""An adapter merged into its base: weights that any tool loads, and how far they are from what was trained."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Literal

from factory import CausalLM, Context, InputError, Model, step
from factory.models.loading import load_causal_lm, load_tokenizer
from factory.models.merging import merge_into, noted_quantized, parts_of, put_on, save_merged

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Quantized = Literal["nf4", "int8"]
TEXTS = (
    "The harbour was quiet in the morning, and the boats lay side by side until the wind came up.",
    "Question: which of two numbers is larger, 3.11 or 3.9? Answer: 3.9, since nine tenths are more than eleven "
    "hundredths.",
    "def mean(values):\n    return sum(values) / len(values) if values else 0.0\n",
    "语言模型从大量文本中学习，然后按照人的要求回答问题。",
)


@step
def merge(
    model: CausalLM, ctx: Context, quantized: Quantized | None = None, into: Literal["base", "dequantized"] = "base"
) -> CausalLM:
    """Put what an adapter learned into the weights of its base, as a full model in the base's stored type.

    quantized  how the base was held while the adapter was trained, by default as the adapter notes it: nf4 after
               `method: qlora`, else as it is. The report measures the merged model against the adapter on that base:
               logits on four short texts. Of a quantized base it measures both ways of merging
    into       base: the weights as they were before they were quantized; dequantized: what they are in 4 or 8 bits,
               which the adapter learned to work with. The first keeps what quantization loses, the second is closest
               to what was trained

    The sum is made in float32 and rounded once. Tokenizer, chat template and the note of new rows lie beside it.
    Raises InputError for options that do not go together, ModelError for a model without an adapter and for adapters
    that are no change of weights.
    """
    base, folder = parts_of(model)
    quantized = quantized or noted_quantized(folder)
    if into == "dequantized" and quantized is None:
        raise InputError(
            f"merge: into is dequantized, but {model.uri} notes no quantized base; "
            "say quantized: nf4 or int8 if it was one, or leave `into` out"
        )
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(model)
    trained = _logits(put_on(load_causal_lm(base, quantized), folder), tokenizer)
    merged, types = merge_into(load_causal_lm(base, as_stored=True), folder)
    rows = {"the base": _difference(trained, _logits(merged, tokenizer))}
    if quantized:
        other, _ = merge_into(load_causal_lm(base, quantized).dequantize().cpu(), folder, types)
        rows["the dequantized base"] = _difference(trained, _logits(other, tokenizer))
        merged = other if into == "dequantized" else merged
    ctx.report("Merged adapter", _table(rows, model, base, quantized, into, set(types.values())))
    shutil.rmtree(ctx.output, ignore_errors=True)  # a kill may have left half of one
    save_merged(merged, types, model, base, ctx.output)
    return CausalLM(uri=str(ctx.output), path=ctx.output)


def _logits(lm: Any, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Logits of the texts, one after the other: (tokens of all texts, vocabulary), float32."""
    import torch

    found = []
    with torch.no_grad():
        for text in TEXTS:
            ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]], device=lm.device)
            found.append(lm(input_ids=ids, use_cache=False).logits[0].float().cpu())
    return torch.cat(found)


def _difference(trained: torch.Tensor, merged: torch.Tensor) -> tuple[float, float, float]:
    """(largest and mean absolute difference, share of positions with the same likeliest token)."""
    apart = (trained - merged).abs()
    same = (trained.argmax(-1) == merged.argmax(-1)).float().mean()
    return float(apart.max()), float(apart.mean()), float(same)


def _table(
    rows: dict[str, tuple[float, float, float]],
    model: Model,
    base: Model,
    quantized: str | None,
    into: str,
    types: set[torch.dtype],
) -> str:
    place = "the base" if into == "base" else "the dequantized base"
    stored = ", ".join(sorted(str(one).removeprefix("torch.") for one in types))
    lines = ["| merged into | largest logit difference | mean | same likeliest token |", "|---|---|---|---|"]
    lines += [f"| {name} | {most:.2e} | {mean:.2e} | {same:.1%} |" for name, (most, mean, same) in rows.items()]
    held = (
        f"in {quantized}" if quantized else "as it is (say `quantized: nf4` if it was so while the adapter was trained)"
    )
    under = base.path.name if base.path else base.uri  # a card that is published names no folder of this machine
    said = f"Against the adapter {model.uri} on {under}, {held}. Saved: merged into {place}, as {stored}."
    return "\n".join([*lines, "", said])
