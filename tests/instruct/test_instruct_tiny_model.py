"""The loop over a real transformer in this process, as small as can be."""

import json
from pathlib import Path

import pytest

import factory

pytestmark = [pytest.mark.model, pytest.mark.builds]

RECIPE = """
name: tiny
threads: 1
targets:
  tasks:
    from: seeds.jsonl
    steps:
      - self_instruct: {model: ./tiny, max_requests: 24, max_tokens: 12, min_yield: 0}
  told:
    from: seeds.jsonl
    steps:
      - self_instruct: {model: ./tiny, reading: self_instruct, max_requests: 12, max_tokens: 3, min_yield: 0}
"""


def test_nonsense_is_rejected_with_reasons(tmp_path: Path) -> None:
    """Random weights write nothing to keep: every candidate is accounted for, and the build ends with none."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rows = [
        {"id": f"code-{n}", "instruction": f"Task {n} of a list", "instances": [{"input": "", "output": f"Done {n}"}]}
        for n in range(4)
    ]
    (tmp_path / "seeds.jsonl").write_text("\n".join(map(json.dumps, rows)))
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator([], trainers.BpeTrainer(special_tokens=["<unk>", "</s>"], initial_alphabet=letters))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    tokenizer.save_pretrained(tmp_path / "tiny")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8192, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "tiny")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    result = factory.build(tmp_path / "recipe.yaml")
    for target in ("tasks", "told"):
        stage = result.plan.targets[target]
        assert stage.manifest is not None
        made, dropped = len(list(result[target])), sum(stage.manifest["funnel"][-1]["reasons"].values())
        assert made == 0
        assert dropped >= 12
        assert "It ended short of 100" in json.loads((stage.folder / "sections.json").read_text())[0]["body"]
        alarms = json.loads((stage.folder / "alarms.json").read_text())
        assert alarms[-1]["says"].startswith("ended at 0 of 100")
