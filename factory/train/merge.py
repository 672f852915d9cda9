"""An adapter merged into its base: weights that any tool loads, and how far they are from what was trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from factory import CausalLM, Context, InputError, Model, ModelError, step
from factory.models.extension import extension_of
from factory.models.loading import adapter_base, adapter_config, load_causal_lm, load_tokenizer, resolve_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Quantized = Literal["nf4", "int8"]
# What peft puts in front of a text, or of every layer's keys and values: no weight of the base changes.
READ_NOT_WEIGHED = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT")
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

    quantized  how the base was held while the adapter was trained: nf4 after `method: qlora`; without it, as it is.
               The report measures the merged model against the adapter on that base: logits on four short texts. Of a
               quantized base it measures both ways of merging
    into       base: the weights as they were before they were quantized; dequantized: what they are in 4 or 8 bits,
               which the adapter learned to work with. The first keeps what quantization loses, the second is closest
               to what was trained

    The sum is made in float32 and rounded once. Tokenizer, chat template and the note of new rows lie beside it.
    Raises InputError for options that do not go together, ModelError for a model without an adapter and for adapters
    that are no change of weights.
    """
    if into == "dequantized" and quantized is None:
        raise InputError("merge: into is dequantized, but quantized is not given; say nf4 or int8, or leave `into` out")
    base, folder = _parts(model)
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(model)
    trained = _logits(_on(load_causal_lm(base, quantized), folder), tokenizer)
    merged, types = _merged(base, folder, model)
    rows = {"the base": _difference(trained, _logits(merged, tokenizer))}
    if quantized:
        other = _merged_dequantized(base, folder, quantized, types)
        rows["the dequantized base"] = _difference(trained, _logits(other, tokenizer))
        merged = other if into == "dequantized" else merged
    ctx.report("Merged adapter", _table(rows, model, base, quantized, into, set(types.values())))
    for name, weight in merged.named_parameters():
        weight.data = weight.data.to(types[name])
    shutil.rmtree(ctx.output, ignore_errors=True)  # a kill may have left half of one
    merged.save_pretrained(ctx.output)
    tokenizer.save_pretrained(ctx.output)
    if added := extension_of(model) or extension_of(base):
        added.save(ctx.output)
    return CausalLM(uri=str(ctx.output), path=ctx.output)


def _parts(model: Model) -> tuple[Model, Path]:
    """(the base, the adapter's folder). Raises ModelError where there is nothing that could be merged."""
    source = resolve_folder(model)
    config = adapter_config(source)
    if config is None:
        raise ModelError(f"merge: {model.uri} is a full model with no adapter on it; use it as it is")
    kind = str(config.get("peft_type"))
    if kind in READ_NOT_WEIGHED:
        raise ModelError(
            f"merge: {model.uri} is an adapter of kind {kind.lower()}, which changes what the model reads and none of "
            "its weights; use it as it is, or train with method: lora"
        )
    return adapter_base(Path(source), config), Path(source)


def _on(base: PreTrainedModel, folder: Path) -> Any:
    """The base with the adapter in front of its weights, as it was trained."""
    from peft import PeftModel

    for module in base.modules():
        # bitsandbytes would compute 4-bit layers in bfloat16 where the CPU can; training does not (adapters.py)
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    try:
        return PeftModel.from_pretrained(base, folder).eval()
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"merge: peft cannot put {folder} on its base: {str(error).splitlines()[0]}") from error


def _merged(base: Model, folder: Path, model: Model) -> tuple[PreTrainedModel, dict[str, torch.dtype]]:
    """The merged model, its values rounded to the stored types but held in float32; and these types by parameter."""
    lm = load_causal_lm(base, as_stored=True)
    types = {name: weight.dtype for name, weight in lm.named_parameters()}
    for weight in lm.parameters():
        weight.data = weight.data.float()
    try:
        merged = _on(lm, folder).merge_and_unload(safe_merge=True).eval()
    except ValueError as error:
        raise ModelError(f"merge: {model.uri} holds values that are not finite; it cannot be merged") from error
    return _rounded(merged, types), types


def _merged_dequantized(base: Model, folder: Path, quantized: str, types: dict[str, torch.dtype]) -> PreTrainedModel:
    """The same on the weights that the quantized ones stand for."""
    lm = load_causal_lm(base, quantized).dequantize().cpu()
    for weight in lm.parameters():
        weight.data = weight.data.float()
    return _rounded(_on(lm, folder).merge_and_unload().eval(), types)


def _rounded(lm: PreTrainedModel, types: dict[str, torch.dtype]) -> PreTrainedModel:
    for name, weight in lm.named_parameters():
        weight.data = weight.data.to(types[name]).float()
        weight.requires_grad_(False)
    return lm


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
    stored = ", ".join(sorted(str(one).removeprefix("torch.") for one in types))
    lines = ["| merged into | largest logit difference | mean | same likeliest token |", "|---|---|---|---|"]
    lines += [f"| {name} | {most:.2e} | {mean:.2e} | {same:.1%} |" for name, (most, mean, same) in rows.items()]
    held = f"in {quantized}" if quantized else "not quantized"
    said = f"Against the adapter {model.uri} on {base.uri}, {held}. Saved: into the {into} weights, as {stored}."
    return "\n".join([*lines, "", said if into == "dequantized" else said.replace("the base weights", "the base")])
