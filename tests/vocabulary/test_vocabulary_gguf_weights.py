"""A model as GGUF: transformers loads it again with the logits it had, an adapter comes merged, and limits are said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, InputError, RewardModel
from factory.vocabulary import save_model

sys.path.insert(0, str(Path(__file__).parent))
from kinds import byte_level

pytestmark = pytest.mark.model
KINDS = ["llama", "llama, tied", "llama, wide heads", "qwen2"]


def tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<|endoftext|>")


def make(folder: Path, kind: str, dtype: str = "float32", **options: Any) -> CausalLM:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    words = tokenizer()
    shape = {
        "vocab_size": len(words) + 5,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
        "tie_word_embeddings": "tied" in kind,
        **({"head_dim": 32} if "wide" in kind else {}),
        **options,
    }
    torch.manual_seed(0)
    model: Any = Qwen2ForCausalLM(Qwen2Config(**shape)) if kind == "qwen2" else LlamaForCausalLM(LlamaConfig(**shape))
    for weight in model.parameters():
        if weight.ndim == 1:  # biases begin at zero and norms at one, where an exchange would not be seen
            weight.data += 0.3 * torch.randn_like(weight)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    words.save_pretrained(folder)
    return CausalLM(uri=folder.name, path=folder)


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(40).view(2, 20)).logits.float()


def again(file: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_loads_it_with_equal_logits(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = make(tmp_path / "made", kind)
    said = save_model(made, str(tmp_path / "out" / "tiny.gguf"))
    assert (said or "").endswith(f" weights as F32 and {len(tokenizer()) + 5:,} tokens")
    wanted = AutoModelForCausalLM.from_pretrained(made.path)
    found = again(tmp_path / "out" / "tiny.gguf")
    assert found.config.tie_word_embeddings == ("tied" in kind)
    assert torch.allclose(logits(found), logits(wanted), atol=1e-4)
    words = AutoTokenizer.from_pretrained(tmp_path / "out", gguf_file="tiny.gguf")
    text = "The boats lie 12 deep."
    assert words(text)["input_ids"] == tokenizer()(text)["input_ids"]


@pytest.mark.parametrize("form", ["f16", "bf16", "Q8_0"])
def test_the_name_of_the_file_says_the_form(form: str, tmp_path: Path) -> None:
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM

    made = make(tmp_path / "made", "llama")
    save_model(made, str(tmp_path / f"tiny-{form}.gguf"))
    kinds = {one.name: one.tensor_type.name for one in GGUFReader(tmp_path / f"tiny-{form}.gguf").tensors}
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert kinds["blk.0.ffn_down.weight"] == kinds["token_embd.weight"] == form.upper()
    rounded = AutoModelForCausalLM.from_pretrained(made.path)
    found = again(tmp_path / f"tiny-{form}.gguf")
    if form == "Q8_0":
        # 32 weights share a step of largest / 127, itself rounded to half precision
        for name, weight in found.named_parameters():
            if weight.ndim > 1:
                wanted = rounded.get_parameter(name).view(-1, 32)
                apart = (weight.view(-1, 32) - wanted).abs()
                assert (apart <= wanted.abs().amax(1, keepdim=True) * (0.5 / 127 + 2**-11)).all()
                assert apart.max() > 0
        return
    for weight in rounded.parameters():
        if weight.ndim > 1:
            weight.data = weight.data.to({"f16": torch.float16, "bf16": torch.bfloat16}[form]).float()
    assert torch.allclose(logits(found), logits(rounded), atol=1e-4)


def test_weights_stay_in_the_type_they_are_stored_in(tmp_path: Path) -> None:
    said = save_model(make(tmp_path / "made", "llama", "bfloat16"), str(tmp_path / "tiny.gguf"))
    assert " weights as BF16 and " in str(said)


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def test_scaled_positions_are_those_of_transformers(tmp_path: Path) -> None:
    """transformers reads no scaling from a GGUF, so what is written is held against its own rotations."""
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM

    slowed = {**LLAMA3, "original_max_position_embeddings": 64}
    made = make(tmp_path / "made", "llama", rope_parameters=slowed, head_dim=64)
    save_model(made, str(tmp_path / "tiny.gguf"))
    (found,) = [one for one in GGUFReader(tmp_path / "tiny.gguf").tensors if one.name == "rope_freqs.weight"]
    slowing = torch.from_numpy(found.data.copy())
    plain = 1 / 500.0 ** (torch.arange(0, 64, 2) / 64)
    wanted = AutoModelForCausalLM.from_pretrained(made.path).model.rotary_emb.inv_freq
    assert torch.allclose(plain / slowing, wanted, rtol=1e-5)
    assert slowing.min() == 1
    assert slowing.max() == 8
    linear = make(
        tmp_path / "linear", "llama", rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    )
    save_model(linear, str(tmp_path / "linear.gguf"))
    fields = GGUFReader(tmp_path / "linear.gguf").fields
    said = {name: fields[f"llama.rope.scaling.{name}"].contents() for name in ("type", "factor")}
    assert said == {"type": "linear", "factor": 2.0}


def test_an_adapter_is_merged_first(tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    made = make(tmp_path / "made", "llama")
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(made.path),
        LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights=False),
    )
    adapted.save_pretrained(str(tmp_path / "adapter"))
    save_model(CausalLM(uri="adapter", path=tmp_path / "adapter"), str(tmp_path / "tiny.gguf"))
    wanted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(made.path), tmp_path / "adapter").eval()
    assert torch.allclose(logits(again(tmp_path / "tiny.gguf")), logits(wanted), atol=1e-4)


def test_what_is_not_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    made = make(tmp_path / "made", "llama")
    file = tmp_path / "tiny.gguf"
    with pytest.raises(InputError, match=r"'tiny.Q4_K.gguf' asks for Q4_K; written here are F32, F16, BF16, Q4_0"):
        save_model(made, str(tmp_path / "tiny.Q4_K.gguf"))
    with pytest.raises(InputError, match="holds a language model, and made is a RewardModel"):
        save_model(RewardModel(uri="made", path=made.path), str(file))
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    for change, says in (
        ({"model_type": "gpt_neox"}, "made is a gpt_neox, whose weights are not written as GGUF here"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "positions scaled by dynamic",
        ),
    ):
        (tmp_path / "made" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(InputError, match=says):
            save_model(made, str(file))
    assert not list(tmp_path.glob("*.gguf"))
