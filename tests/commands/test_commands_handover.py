"""`factory export --for`: TRL, axolotl and LLaMA-Factory get what was learned, with its masks and options."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from tiny_chat import make_tiny

if TYPE_CHECKING:
    from conftest import Said

pytestmark = pytest.mark.slow
RECIPE = """\
name: hand
seed: 5
targets:
  tutor:
    from: data.jsonl
    steps:
      - sft: {base: ./tiny, lora: {r: 4, alpha: 8, dropout: 0.1}, max_steps: 2, learning_rate: 1.0e-3, batch_size: 4,
              max_length: 100, validation: 0.3, warmup: 0.5, neftune: 5, early_stopping: 3}
  better:
    from: pairs.jsonl
    steps: [dpo: {base: tutor, max_steps: 1, batch_size: 4, validation: 0.3, lora: {r: 4}}]
  liked:
    from: answers.jsonl
    steps: [kto: {base: ./tiny, max_steps: 1, batch_size: 4, validation: 0.3, lora: {r: 4}, undesirable: 1.5}]
  judge:
    from: pairs.jsonl
    steps: [reward_model: {base: ./tiny, max_steps: 1, batch_size: 4, validation: 0.3, lora: {r: 4}, margin: true}]
"""


def conversations() -> list[dict[str, Any]]:
    """Twenty; one too long to be learned, half of them with an earlier answer that is not learned again."""
    rows = []
    for number in range(20):
        earlier = [("user", "Hi."), ("assistant", f"Hello {number}.")] if number % 2 else [("system", "Be brief.")]
        prompt = [*earlier, ("user", f"What is {number}?")]
        answer = f"It is {number}." * (40 if number == 7 else 1)
        turns = [{"role": role, "content": content} for role, content in prompt]
        rows.append({"prompt": turns, "completion": [{"role": "assistant", "content": answer}]})
    return rows


def pairs() -> list[dict[str, Any]]:
    said = {name: [{"role": "assistant", "content": text}] for name, text in (("chosen", "Yes."), ("rejected", "No."))}
    earlier = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    prompts = [[{"role": "user", "content": f"Is {number} a number?"}] for number in range(12)]
    prompts[3] = earlier + prompts[3]
    return [{"prompt": prompt, **said, "meta": {"margin": at / 4}} for at, prompt in enumerate(prompts)]


def answers() -> list[dict[str, Any]]:
    return [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in pairs()
        for side in ("chosen", "rejected")
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import factory
    from factory.engine.project import enter_project, project_root
    from factory.plugins import load_plugins, unload_files

    before = project_root()
    root = tmp_path_factory.mktemp("hand")
    make_tiny(root / "tiny")
    (root / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in conversations()))
    (root / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs()))
    (root / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers()))
    (root / "hand.yaml").write_text(RECIPE)
    load_plugins()
    factory.build(root / "hand.yaml")
    yield root
    unload_files()
    enter_project(before)


@pytest.fixture
def export(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    def run(tool: str, target: str = "tutor", *args: str) -> Any:
        from factory.cli import main

        said = ["factory", "export", str(built / "hand.yaml"), target, str(tmp_path / "out"), "--for", tool, *args]
        monkeypatch.chdir(built)
        monkeypatch.setattr(sys, "argv", said)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        monkeypatch.chdir(tmp_path)
        return ended.value.code, capsys.readouterr()

    return run


def trained_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the script of a folder has made, run where it lies."""
    import datasets

    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder.parent / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder.parent / "cache"))
    return runpy.run_path("train.py")


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def reported(built: Path) -> dict[str, int]:
    """Records learned, held out and dropped, as the step itself said."""
    (section,) = json.loads((built / "build" / "hand" / "tutor" / "sections.json").read_text())
    found = re.findall(r"\| (records learned|held out|dropped) \| (\d+) \|", section["body"])
    return {name: int(count) for name, count in found}


def test_trl_trains_from_the_script_on_the_same_tokens(
    export: Callable[..., Any], built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = export("trl")
    assert code == 0, said.err
    out = tmp_path / "out"
    learned, held = rows(out / "train.jsonl"), rows(out / "validation.jsonl")
    assert reported(built) == {"records learned": len(learned), "held out": len(held), "dropped": 1}
    assert len(learned) + len(held) == 19
    kept = [row for number, row in enumerate(conversations()) if number != 7]
    assert sorted(map(str, learned + held)) == sorted(map(str, kept))
    assert len((out / "train.py").read_text().splitlines()) < 60
    ran = trained_there(out, monkeypatch)
    settings, trainer = ran["settings"], ran["trainer"]
    assert (settings.learning_rate, settings.max_steps, settings.warmup_steps, settings.seed) == (1e-3, 2, 1, 5)
    assert (settings.neftune_noise_alpha, settings.max_length, settings.completion_only_loss) == (5, 100, True)
    adapter = trainer.model.peft_config["default"]
    assert (adapter.r, adapter.lora_alpha, adapter.lora_dropout) == (4, 8, 0.1)
    assert trainer.state.global_step == 2
    assert (out / "trained" / "adapter_model.safetensors").is_file()
    for row, ours in zip(trainer.train_dataset, our_labels(built, learned), strict=True):
        ids = row["input_ids"]
        labels = row.get("labels") or [i if m else -100 for i, m in zip(ids, row["completion_mask"], strict=True)]
        # a template's newline behind the answer is learned by TRL, and cut off by us
        assert labels[: len(ours)] == ours
        assert len(labels) - len(ours) <= 1


def test_trl_learns_from_the_pairs_on_the_model_that_they_were_learned_on(
    export: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = export("trl", "better")
    assert code == 0, said.err
    out = tmp_path / "out"
    learned, held = rows(out / "train.jsonl"), rows(out / "validation.jsonl")
    turns = [{name: turns for name, turns in pair.items() if name != "meta"} for pair in pairs()]
    assert sorted(map(str, learned + held)) == sorted(map(str, turns))
    # the base is an adapter of this recipe, which no other trainer knows: it comes merged
    assert (out / "base" / "model.safetensors").is_file()
    assert not (out / "base" / "adapter_config.json").exists()
    ran = trained_there(out, monkeypatch)
    assert ran["trainer"].state.global_step == 1
    assert ran["settings"].learning_rate == pytest.approx(1e-5)  # what dpo takes by itself


def test_trl_learns_from_the_single_answers(
    export: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = export("trl", "liked")
    assert code == 0, said.err
    out = tmp_path / "out"
    learned, held = rows(out / "train.jsonl"), rows(out / "validation.jsonl")
    assert sorted(map(str, learned + held)) == sorted(map(str, answers()))
    ran = trained_there(out, monkeypatch)
    assert ran["trainer"].state.global_step == 1
    settings = ran["settings"]
    assert (settings.learning_rate, settings.undesirable_weight) == (pytest.approx(1e-5), 1.5)


def test_trl_makes_a_reward_model_with_the_margins(
    export: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    code, said = export("trl", "judge")
    assert code == 0, said.err
    out = tmp_path / "out"
    found = rows(out / "train.jsonl") + rows(out / "validation.jsonl")
    assert sorted(row["margin"] for row in found) == [number / 4 for number in range(12)]
    ran = trained_there(out, monkeypatch)
    trainer = ran["trainer"]
    assert trainer.state.global_step == 1
    assert ran["settings"].learning_rate == pytest.approx(1e-4)
    assert sorted(trainer.train_dataset["margin"]) == sorted(row["margin"] for row in rows(out / "train.jsonl"))
    assert "base_model.model.score.weight" in load_file(out / "trained" / "adapter_model.safetensors")


def test_axolotl_gets_single_answers_as_the_text_that_was_learned(
    export: Callable[..., Any], built: Path, tmp_path: Path
) -> None:
    code, said = export("axolotl", "liked")
    assert code == 0, said.err
    from factory import CausalLM
    from factory.models.chat import encode_turns
    from factory.models.loading import load_tokenizer

    tokenizer = load_tokenizer(CausalLM(uri="tiny", path=built / "tiny"))
    found = rows(tmp_path / "out" / "train.jsonl") + rows(tmp_path / "out" / "validation.jsonl")
    texts = {(row["prompt"] + row["completion"], len(row["completion"]), row["label"]) for row in found}
    wanted = set()
    for answer in answers():
        ids, mask = encode_turns(tokenizer, answer["prompt"], answer["completion"])
        begin, end = mask.index(1), len(mask) - mask[::-1].index(1)
        wanted.add((tokenizer.decode(ids[:end]), len(tokenizer.decode(ids[begin:end])), answer["label"]))
    assert texts == wanted


def test_nothing_is_left_where_the_base_has_no_weights(export: Callable[..., Any], built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "tiny", built / "hollow", ignore=shutil.ignore_patterns("*.safetensors"))
    config = built / "build" / "hand" / "tutor" / "model" / "adapter_config.json"
    before = config.read_text()
    config.write_text(json.dumps({**json.loads(before), "base_model_name_or_path": "hollow"}))
    code, said = export("trl", "better")
    config.write_text(before)
    assert code == 2
    assert "hollow: its weights cannot be loaded" in said.err
    assert list(tmp_path.iterdir()) == []


def our_labels(built: Path, given: list[dict[str, Any]]) -> list[list[int]]:
    """What our trainer learns of these records: a token's id, or -100."""
    from factory import CausalLM
    from factory.models.chat import encode_turns
    from factory.models.loading import load_tokenizer

    tokenizer = load_tokenizer(CausalLM(uri="tiny", path=built / "tiny"))
    found = []
    for row in given:
        ids, mask = encode_turns(tokenizer, row["prompt"], row["completion"])
        end = len(mask) - mask[::-1].index(1)
        found.append([i if m else -100 for i, m in zip(ids[:end], mask[:end], strict=True)])
    return found


def test_axolotl_gets_a_mark_on_every_turn(export: Callable[..., Any], built: Path, tmp_path: Path) -> None:
    code, said = export("axolotl")
    assert code == 0, said.err
    assert "start it there with: axolotl train config.yaml" in said.out
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert config["datasets"][0] == {
        "path": "train.jsonl",
        "ds_type": "json",
        "chat_template": "tokenizer_default",
        "type": "chat_template",
        "field_messages": "messages",
        "message_field_training": "train",
        "train_on_eos": "turn",
        "roles_to_train": [],
    }
    assert config["test_datasets"][0]["path"] == "validation.jsonl"
    expected = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "lora_target_linear": True}
    expected |= {"sequence_len": 100, "micro_batch_size": 4, "learning_rate": 1e-3, "max_steps": 2, "warmup_steps": 1}
    expected |= {"base_model": "./base", "early_stopping_patience": 3, "neftune_noise_alpha": 5.0}
    assert {name: config[name] for name in expected} == expected
    assert config["save_steps"] % config["eval_steps"] == 0  # axolotl asks for this where it stops early
    for row in rows(tmp_path / "out" / "train.jsonl"):
        assert [turn["train"] for turn in row["messages"]] == [False] * (len(row["messages"]) - 1) + [True]
    assert (tmp_path / "out" / "tokenizer" / "chat_template.jinja").is_file()
    assert (tmp_path / "out" / "base" / "model.safetensors").is_file()


def test_llama_factory_gets_its_two_files(export: Callable[..., Any], tmp_path: Path) -> None:
    code, said = export("llamafactory")
    assert code == 0, said.err
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert set(info) == {config["dataset"], config["eval_dataset"]} == {"tutor", "tutor_validation"}
    assert info["tutor"]["file_name"] == "train.jsonl"
    assert info["tutor"]["formatting"] == "sharegpt"
    assert info["tutor"]["tags"]["assistant_tag"] == "assistant"
    expected = {"stage": "sft", "finetuning_type": "lora", "lora_rank": 4, "lora_alpha": 8, "lora_target": "all"}
    expected |= {"mask_history": True, "train_on_prompt": False, "cutoff_len": 100, "early_stopping_steps": 3}
    assert {name: config[name] for name in expected} == expected
    assert "template" not in config  # it is read from the tokenizer beside the base
    (first, *_) = rows(tmp_path / "out" / "train.jsonl")
    assert set(first["messages"][0]) == {"role", "content"}


def test_what_cannot_be_handed_over_is_said(export: Callable[..., Any], built: Path, tmp_path: Path) -> None:
    (built / "hand.yaml").write_text(RECIPE + "  two: {from: data.jsonl, steps: [take: {n: 2}]}\n")
    import factory

    factory.build(built / "hand.yaml", "two")
    code, said = export("trl", "two")
    assert code == 2
    assert "'two' is made by none of sft, dpo, kto, reward_model, which --for hands over;" in said.err
    assert "name one that is, such as 'tutor'" in said.err
    code, said = export("axolotl", "judge")
    assert code == 2
    assert "has several turns in its prompt, and axolotl's reward model reads one question; take --for trl" in said.err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    code, said = export("trl")
    assert code == 2
    assert "is there already and not empty" in said.err


def test_a_folder_that_one_stands_in_is_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.commands.handover import _whole

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with _whole(Path(".")) as part:
        (part / "train.jsonl").touch()
    assert [one.name for one in tmp_path.iterdir()] == ["here"]
    assert (tmp_path / "here" / "train.jsonl").is_file()
