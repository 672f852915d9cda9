"""merge: the full model is the adapter on its base, and where the base was quantized the report says how far."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, InputError, ModelError
from factory.models.extension import extension_of
from factory.train.adapters import LoraOptions, add_lora, add_rows
from factory.train.merge import TEXTS, merge

pytestmark = pytest.mark.model


def adapter(base: CausalLM, folder: Path, quantize: str | None = None, rows: bool = False) -> CausalLM:
    """An adapter with values far from zero, and the tokenizer beside it."""
    import torch

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.adapters import save_adapter

    lm = load_causal_lm(base, quantize)
    model = add_rows(lm, [3, 5]) if rows else add_lora(lm, LoraOptions(r=4), 0)
    torch.manual_seed(3)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.05 * torch.randn_like(weight)
    save_adapter(model, folder, str(base.path), None)
    load_tokenizer(base).save_pretrained(folder)
    return CausalLM(uri=str(folder), path=folder)


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(40).view(2, 20)).logits.float()


def unmerged(base: CausalLM, made: CausalLM, quantize: str | None = None) -> Any:
    from peft import PeftModel

    from factory.models.loading import load_causal_lm

    lm = load_causal_lm(base, quantize)
    for module in lm.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # as in training
    return PeftModel.from_pretrained(lm, made.path).eval()


def measured(section: str) -> dict[str, tuple[float, float]]:
    found = re.findall(r"^\| (the [a-z ]+) \| (\S+) \| (\S+) \|", section, re.M)
    return {name: (float(most), float(mean)) for name, most, mean in found}


@pytest.mark.parametrize("rows", [False, True], ids=["lora", "rows"])
def test_the_merged_model_is_the_adapter_on_its_base(
    rows: bool, tiny: CausalLM, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = adapter(tiny, tmp_path / "adapter", rows=rows)
    context, notebook = make_context(tmp_path)
    merged = merge.function(made, context)
    assert merged.path == context.output
    files = {path.name for path in merged.path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= files
    assert "adapter_config.json" not in files
    full = AutoModelForCausalLM.from_pretrained(merged.path)
    wanted = logits(unmerged(tiny, made))
    assert torch.allclose(logits(full), wanted, atol=1e-4)
    assert not torch.allclose(logits(AutoModelForCausalLM.from_pretrained(tiny.path)), wanted, atol=1e-1)
    assert AutoTokenizer.from_pretrained(merged.path).chat_template
    most, mean = measured(notebook.sections["Merged adapter"])["the base"]
    assert 0 <= mean <= most < 1e-4


def test_a_quantized_base_is_measured_both_ways(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    import torch

    from factory.models.loading import load_causal_lm, load_tokenizer

    made = adapter(tiny, tmp_path / "adapter", quantize="nf4")
    found = {}
    for into in ("base", "dequantized"):
        context, notebook = make_context(tmp_path / into)
        merged = merge.function(made, context, quantized="nf4", into=into)
        found[into] = measured(notebook.sections["Merged adapter"])
        saved, trained = load_causal_lm(merged), unmerged(tiny, made, "nf4")
        tokenizer = load_tokenizer(tiny)
        ids = [torch.tensor([tokenizer(text)["input_ids"]]) for text in TEXTS]
        with torch.no_grad():
            apart = [(saved(input_ids=one).logits - trained(input_ids=one).logits).abs().max() for one in ids]
        named = {"base": "the base", "dequantized": "the dequantized base"}[into]
        assert float(max(apart)) == pytest.approx(found[into][named][0], rel=0.02, abs=1e-5)
        assert json.loads((merged.path / "config.json").read_text()).get("quantization_config") is None
    assert found["base"] == found["dequantized"]
    assert found["base"]["the dequantized base"][0] < 1e-4
    assert found["base"]["the base"][0] > 1e-2


def test_the_stored_type_of_every_weight_stays(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    half = CausalLM(uri="half", path=tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.bfloat16).save_pretrained(half.path)
    from factory.models.loading import load_tokenizer

    load_tokenizer(tiny).save_pretrained(half.path)
    made = adapter(half, tmp_path / "adapter")
    context, _ = make_context(tmp_path)
    merged = merge.function(made, context)
    weights = load_file(merged.path / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    assert json.loads((merged.path / "config.json").read_text())["dtype"] == "bfloat16"
    # rounded once: each weight is the bfloat16 next to the float32 sum
    name = "model.layers.0.mlp.down_proj"
    exact = unmerged(half, made).merge_and_unload().get_submodule(name).weight.data.bfloat16()
    assert torch.equal(weights[f"{name}.weight"], exact)


def test_the_note_of_new_rows_is_carried_over(extended: CausalLM, tmp_path: Path, make_context: Any) -> None:
    made = adapter(extended, tmp_path / "adapter")
    context, _ = make_context(tmp_path)
    merged = merge.function(made, context)
    assert extension_of(merged) == extension_of(extended) is not None
    tied = json.loads((merged.path / "config.json").read_text())["tie_word_embeddings"]
    assert tied == json.loads((extended.path / "config.json").read_text())["tie_word_embeddings"]  # type: ignore[operator]


def test_what_cannot_be_merged(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    context, _ = make_context(tmp_path)
    with pytest.raises(ModelError, match="is a full model with no adapter on it; use it as it is"):
        merge.function(tiny, context)
    made = adapter(tiny, tmp_path / "adapter")
    with pytest.raises(InputError, match=r"into is dequantized, but \S+ notes no quantized base; say quantized: nf4"):
        merge.function(made, context, into="dequantized")


def tuned(base: CausalLM, method: Any, folder: Path) -> CausalLM:
    """What a method saves, with values far from where it begins."""
    import torch

    from factory.models.loading import load_tokenizer
    from factory.train.methods import Tuning, prepare

    made = prepare(base, Tuning(virtual_tokens=2, bottleneck=4).of(method), 0)
    torch.manual_seed(3)
    for weight in made.model.parameters():
        if weight.requires_grad:
            weight.data += 0.05 * torch.randn_like(weight)
    made.save(load_tokenizer(base), folder)
    return CausalLM(uri=method, path=folder)


def test_an_adapter_notes_the_base_that_it_was_trained_on(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    reports = {}
    for method, quantized in (("qlora", None), ("qlora", "nf4"), ("lora", None)):
        made = tuned(tiny, method, tmp_path / method)
        context, notebook = make_context(tmp_path / f"{method}-{quantized}")
        merge.function(made, context, quantized=quantized)
        reports[method, quantized] = notebook.sections["Merged adapter"]
    assert reports["qlora", None] == reports["qlora", "nf4"]
    assert "the dequantized base" in reports["qlora", None]
    assert "the dequantized base" not in reports["lora", None]
    made = CausalLM(uri="qlora", path=tmp_path / "qlora")
    merged = merge.function(made, make_context(tmp_path / "other")[0], into="dequantized")
    assert not (merged.path / "trained_on.json").exists()


@pytest.mark.parametrize("method", ["dora", "ia3", "layernorm"])
def test_other_changes_of_weights_are_merged_too(
    method: str, tiny: CausalLM, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    made = tuned(tiny, method, tmp_path / method)
    merged = merge.function(made, make_context(tmp_path)[0])
    found = logits(AutoModelForCausalLM.from_pretrained(merged.path))
    assert torch.allclose(found, logits(unmerged(tiny, made)), atol=1e-4)
    assert not torch.allclose(found, logits(AutoModelForCausalLM.from_pretrained(tiny.path)), atol=1e-2)


@pytest.mark.parametrize("method", ["prefix", "adapter", "bitfit"])
def test_what_works_beside_the_weights_cannot_be_merged(
    method: str, tiny: CausalLM, tmp_path: Path, make_context: Any
) -> None:
    made = tuned(tiny, method, tmp_path / method)
    with pytest.raises(ModelError, match=f"{method} is an adapter of the kind [A-Z_]+, which works beside the weights"):
        merge.function(made, make_context(tmp_path)[0])


def test_an_adapter_with_values_that_are_not_finite_is_refused(
    tiny: CausalLM, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    made = adapter(tiny, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({name: torch.full_like(value, torch.inf) for name, value in load_file(file).items()}, file)
    context, _ = make_context(tmp_path)
    with pytest.raises(ModelError, match="holds values that are not finite"):
        merge.function(made, context)
    assert not context.output.exists()
