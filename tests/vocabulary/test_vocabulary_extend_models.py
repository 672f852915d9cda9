"""extend_vocabulary on tiny models: what transformers loads says the same of old text, bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM
from factory.models.extension import Extension, extension_of

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, base, ids, sentences
from steps import CHATML, extend, llama, read_json, save

pytestmark = pytest.mark.model
HAN = sentences("Han", 100)
CORPUS = [*HAN, *ENGLISH[:20]]
FIRST = 332  # of the byte-level base with two added tokens


def tokenizer(name: str = "gpt2") -> Any:
    made = base(name).from_str(base(name).to_str())
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return made


def loaded(folder: Path, **options: Any) -> Any:
    """The model and the tokenizer, as anybody loads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **options).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def logits(model: Any, tokens: Any, lines: list[str]) -> list[Any]:
    import torch

    with torch.no_grad():
        return [model(torch.tensor([tokens(line).input_ids])).logits[0, :, :FIRST] for line in lines]


def embeddings(model: Any) -> tuple[Any, Any]:
    return model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach()


def check(source: Any, found: Any, pieces: int = 40) -> Any:
    """Everything that holds of every extended model; the model."""
    import torch

    old, old_tokens = loaded(source.path)
    new, new_tokens = loaded(found.path)
    assert isinstance(found, CausalLM)
    assert extension_of(found) == Extension(FIRST, pieces)
    assert len(new_tokens) == FIRST + pieces == len(old_tokens) + pieces
    assert new.config.vocab_size == len(embeddings(new)[0]) == new.get_output_embeddings().out_features
    assert new.config.tie_word_embeddings == old.config.tie_word_embeddings
    assert new.dtype == old.dtype
    for before, after in zip(logits(old, old_tokens, ENGLISH[:8]), logits(new, new_tokens, ENGLISH[:8]), strict=True):
        assert torch.equal(before, after)
    for before, after in zip(embeddings(old), embeddings(new), strict=True):
        assert torch.equal(before[:FIRST], after[:FIRST])
    chinese = new_tokens(HAN[0]).input_ids
    assert max(chinese) >= FIRST
    assert new_tokens.decode(chinese) == HAN[0]
    assert new_tokens.chat_template == CHATML
    with torch.no_grad():
        assert new(torch.tensor([chinese])).logits.isfinite().all()
    return new


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("rows", "grown"), [(FIRST, 384), (FIRST + 20, 384), (512, 512)])
def test_a_llama_says_of_old_text_what_it_said(rows: int, grown: int, tied: bool, tmp_path: Path) -> None:
    import torch

    source = save(tokenizer(), tmp_path / "chat", llama(rows, tied), eos_token="<|endoftext|>")
    found, page = extend(tmp_path / "run", source, CORPUS, pieces=40, scripts=["Han"])
    model = check(source, found)
    assert model.config.vocab_size == grown
    assert f"| rows of the embedding | {grown} |" in page
    assert read_json(found.path / "generation_config.json")["eos_token_id"] == 0
    spelled = base("gpt2")
    new = base("gpt2").from_file(str(found.path / "tokenizer.json"))
    for token in range(FIRST, FIRST + 40):  # the mean of the rows of the tokens that the piece stands for
        text = new.decode([token])
        if "\ufffd" not in text:
            for matrix in embeddings(model):
                torch.testing.assert_close(matrix[token], matrix[ids(spelled, text)].mean(0))
    assert {path.name for path in found.path.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "extension.json",
    }  # fmt: skip


def test_rows_begin_as_asked_for(tmp_path: Path) -> None:
    import torch

    source = save(tokenizer(), tmp_path / "chat", llama(FIRST), eos_token="<|endoftext|>")
    rows = {}
    for name in ("mean", "last", "normal", "distribution", "rescaled_mean"):
        found, _ = extend(tmp_path / name, source, CORPUS, pieces=40, scripts=["Han"], initialise=name)
        rows[name] = embeddings(check(source, found))[0][FIRST : FIRST + 40]
    assert len({row.numpy().tobytes() for row in rows.values()}) == 5
    again, _ = extend(tmp_path / "again", source, CORPUS, pieces=40, scripts=["Han"], initialise="normal")
    assert torch.equal(embeddings(loaded(again.path)[0])[0][FIRST : FIRST + 40], rows["normal"])


def test_half_precision_stays(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    source = save(tokenizer(), tmp_path / "chat", llama(FIRST).half(), eos_token="<|endoftext|>")
    found, _ = extend(tmp_path / "run", source, CORPUS, pieces=40, scripts=["Han"])
    assert check(source, found).dtype == torch.float16
    assert {weight.dtype for weight in load_file(found.path / "model.safetensors").values()} == {torch.float16}


def test_a_quantised_model_stays_quantised(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    wide = llama(FIRST, hidden_size=64, intermediate_size=128)  # blocks are of 64
    plain = save(tokenizer(), tmp_path / "chat", wide, eos_token="<|endoftext|>")
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    small = AutoModelForCausalLM.from_pretrained(plain.path, quantization_config=config)
    source = save(tokenizer(), tmp_path / "chat4", small, eos_token="<|endoftext|>")
    found, _ = extend(tmp_path / "run", source, CORPUS, pieces=40, scripts=["Han"])
    model = check(source, found)
    assert model.config.quantization_config.bnb_4bit_quant_type == "nf4"
    before = loaded(source.path)[0].state_dict()
    kept = {name: weight for name, weight in model.state_dict().items() if len(before[name]) == len(weight)}
    assert any(weight.dtype == torch.uint8 for weight in kept.values())
    assert all(torch.equal(weight, before[name]) for name, weight in kept.items())


def test_an_adapter_is_merged_into_its_base(tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    plain = save(tokenizer(), tmp_path / "chat", llama(FIRST), eos_token="<|endoftext|>")
    adapted = get_peft_model(loaded(plain.path)[0], LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    source = CausalLM("adapter", "adapter", tmp_path / "adapter")
    found, _ = extend(tmp_path / "run", source, CORPUS, pieces=40, scripts=["Han"])
    assert not (found.path / "adapter_config.json").exists()
    model, tokens = loaded(found.path)
    before = logits(adapted.eval(), loaded(plain.path)[1], ENGLISH[:4])
    for old, new in zip(before, logits(model, tokens, ENGLISH[:4]), strict=True):
        torch.testing.assert_close(old, new, rtol=1e-4, atol=1e-4)
    assert len(tokens) == FIRST + 40


@pytest.mark.parametrize("name", ["prepend", "metaspace", "unigram_bytes"])
def test_other_kinds_of_tokenizers_with_a_model(name: str, tmp_path: Path) -> None:
    import torch

    made = tokenizer(name)
    first = made.get_vocab_size()
    source = save(made, tmp_path / "chat", llama(first), unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    found, _ = extend(tmp_path / "run", source, CORPUS, pieces=40, scripts=["Han"], pad_to_multiple_of=1)
    model, tokens = loaded(found.path)
    assert model.config.vocab_size == len(tokens) == first + 40
    old = loaded(source.path)
    assert torch.equal(embeddings(model)[0][:first], embeddings(old[0])[0])
    assert tokens("<|im_start|>list").input_ids == old[1]("<|im_start|>list").input_ids
    assert max(tokens(HAN[0]).input_ids) >= first
