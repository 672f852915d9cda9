"""A model written to a folder that stands alone: merged where an adapter can be, copied where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, InputError
from factory.models import save_model

pytestmark = pytest.mark.model


def lora(tiny: Path, folder: Path, kind: str = "lora") -> CausalLM:
    import torch
    from peft import LoraConfig, PrefixTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    config: Any = PrefixTuningConfig("CAUSAL_LM", num_virtual_tokens=2)
    if kind == "lora":
        config = LoraConfig("CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config).save_pretrained(str(folder))
    return CausalLM(uri=folder.name, path=folder)


def test_an_adapter_is_merged_with_tokenizer_and_template(tiny_folder: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = lora(tiny_folder, tmp_path / "adapter")
    assert save_model(made, str(tmp_path / "out-1.0")) == "merged into its base, as float32"
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(tiny_folder)
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "out-1.0")(input_ids=ids).logits
        wanted = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()(input_ids=ids).logits
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not (tmp_path / "out-1.0" / "adapter_config.json").exists()
    assert AutoTokenizer.from_pretrained(tmp_path / "out-1.0").chat_template


def test_what_cannot_be_merged_is_copied_and_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    said = save_model(lora(tiny_folder, tmp_path / "prefix", "prefix"), str(tmp_path / "a"))
    assert said == f"an adapter, which needs its base {tiny_folder}"
    assert (tmp_path / "a" / "adapter_config.json").is_file()
    full = CausalLM(uri="tiny", path=tiny_folder)
    assert save_model(full, str(tmp_path / "b")) == "a copy"
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == (tiny_folder / "model.safetensors").read_bytes()


def test_files_are_for_others_and_full_folders_are_left_alone(tiny_folder: Path, tmp_path: Path) -> None:
    model = CausalLM(uri="tiny", path=tiny_folder)
    assert save_model(model, str(tmp_path / "x.jsonl")) is None
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already and not empty; it is left as it is"):
        save_model(model, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
