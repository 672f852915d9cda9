"""Vocabularies made twice are equal to the byte, and made by a recipe they go from step to step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, MAKERS, base, sentences
from steps import files, llama, read_json, save


@pytest.mark.slow
def test_two_processes_make_equal_bytes(tmp_path: Path) -> None:
    for name in MAKERS:
        save(base(name), tmp_path / "bases" / name)
    save(base("gpt2"), tmp_path / "bases" / "model", llama(base("gpt2").get_vocab_size()))
    runs = []
    for seed in ("1", "2"):
        script = Path(__file__).parent / "make_vocabularies.py"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed}
        command = [sys.executable, str(script), str(tmp_path / "bases"), str(tmp_path / seed)]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        runs.append(files(tmp_path / seed))
    assert len(runs[0]) > 80
    assert [name for name, content in runs[0].items() if runs[1][name] != content] == []
    assert runs[0].keys() == runs[1].keys()


RECIPE = """
name: words
targets:
  english:
    from: english.jsonl
  own:
    from: english
    steps:
      - train_tokenizer: {size: 330, form: byte_level_bpe}
  larger:
    from: chinese.jsonl
    steps:
      - extend_vocabulary: {base: own, pieces: 40, scripts: [Han], protect: english}
  taught:
    from: chinese.jsonl
    steps:
      - extend_vocabulary: {base: ./model, tokens_per_character: 0.9, scripts: [Han], protect: english}
  merged:
    from: chinese.jsonl
    steps:
      - extend_vocabulary: {base: ./model, merge: larger, scripts: [Han]}
"""


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.builds
def test_a_recipe_makes_a_tokenizer_and_extends_it_and_a_model(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from factory import CausalLM, Tokenizer, build

    def write(name: str, lines: list[str]) -> None:
        rows = [json.dumps({"text": line}, ensure_ascii=False) for line in lines]
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")

    chinese = sentences("Han")
    write("english.jsonl", ENGLISH)
    write("chinese.jsonl", chinese)
    save(base("gpt2"), tmp_path / "model", llama(base("gpt2").get_vocab_size()))
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    result = build(tmp_path / "recipe.yaml")
    made: dict[str, Any] = {name: result[name] for name in ("own", "larger", "taught", "merged")}
    assert [isinstance(model, Tokenizer) for model in made.values()] == [True, True, False, False]
    assert [isinstance(model, CausalLM) for model in made.values()] == [False, False, True, True]
    tokens = {name: AutoTokenizer.from_pretrained(model.path) for name, model in made.items()}
    assert (len(tokens["own"]), len(tokens["larger"])) == (330, 370)
    assert read_json(made["larger"].path / "extension.json") == {"first": 330, "count": 40}
    assert all(tokens["own"](line).input_ids == tokens["larger"](line).input_ids for line in ENGLISH)
    cut = sum(len(tokens["taught"](line).input_ids) for line in chinese)
    assert cut <= 0.9 * sum(map(len, chinese))
    for name in ("taught", "merged"):
        model = AutoModelForCausalLM.from_pretrained(made[name].path)
        assert model.config.vocab_size >= len(tokens[name]) > 330
    again = build(tmp_path / "recipe.yaml")
    assert again["taught"].identity == made["taught"].identity
