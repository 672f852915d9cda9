"""Two processes train what one does: with the same records in a step, and resumed from the same checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import launching
import pytest

from factory import CausalLM, Dataset, ModelError, Preference, StepError
from factory.train import ranks
from factory.train.methods import sharded
from factory.train.options import Training
from factory.train.reward_model import reward_model

OPTIONS = {
    "epochs": 3,
    "batch_size": 2,
    "accumulation": 2,
    "checkpoint_every": 2,
    "validation": 0.2,
    "early_stopping": 9,  # then the weights taken are read from a checkpoint
    "weigh": "example",
}


def launch(
    model: Path,
    dataset: Path,
    run: Path,
    options: dict[str, Any],
    moment: str = "",
    count: int = 2,
    sharded: bool = False,
    step: str = "sft",
) -> Any:
    """What rank 0 logged; None when it died at its moment, and the others were ended."""
    arguments = step, model, dataset, run, json.dumps(options)
    said = launching.launch("train_tiny.py", arguments, moment, count, sharded)
    return said[0][0] if said else None


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_take_the_steps_of_one(
    method: str, sharded: bool, tiny: CausalLM, tmp_path: Path, facts: Any, write_dataset: Any
) -> None:
    from safetensors.torch import load_file

    write_dataset(tmp_path / "facts.parquet", facts(2))
    assert tiny.path is not None
    options = {**OPTIONS, "method": method, "learning_rate": 1e-3}
    options |= {"lora": {"dropout": 0.0}} if method == "lora" else {}
    given = tiny.path, tmp_path / "facts.parquet"
    alone = launch(*given, tmp_path / "alone", options, count=1)
    both = launch(*given, tmp_path / "both", options, sharded=sharded)
    assert both.keys() == alone.keys()
    for step, entry in alone.items():
        assert both[step] == pytest.approx(entry, rel=2e-4)
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    weights = [load_file(tmp_path / run / "model" / name) for run in ("alone", "both")]
    assert all((weights[0][key] - weights[1][key]).abs().max() < 1e-4 for key in weights[0])
    launch(*given, tmp_path / "killed", options, "step 5", sharded=sharded)
    resumed = launch(*given, tmp_path / "killed", options, sharded=sharded)
    assert len(resumed) < len(both)
    assert all(both[step] == entry for step, entry in resumed.items())


@pytest.mark.slow
@pytest.mark.model
def test_a_tied_model_pretrains_in_parts(tiny: CausalLM, tmp_path: Path, text: Any, extend: Any) -> None:
    from safetensors.torch import load_file

    assert tiny.path is not None
    tied = extend(tiny.path, tmp_path / "tied", tied=True)
    learned, held = (Path(one.shards[0].path) for one in (text("new", 30), text("old", 8, 100)))
    options = {"method": "full", "seq_len": 64, "batch_size": 2, "accumulation": 2, "learning_rate": 1e-3}
    options |= {"held_out": {"old": str(held)}, "epochs": 2}
    alone = launch(tied.path, learned, tmp_path / "alone", options, count=1, step="pretrain")
    both = launch(tied.path, learned, tmp_path / "both", options, sharded=True, step="pretrain")
    for step, entry in alone.items():
        assert both[step] == pytest.approx(entry, rel=2e-4)
    weights = [load_file(tmp_path / run / "model" / "model.safetensors") for run in ("alone", "both")]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][key] - weights[1][key]).abs().max() < 1e-4 for key in weights[0])


@pytest.mark.slow
@pytest.mark.model
def test_preferences_are_learned_in_parts(tiny: CausalLM, tmp_path: Path, preferences: Any, write_dataset: Any) -> None:
    write_dataset(tmp_path / "pairs.parquet", preferences(11), Preference)
    assert tiny.path is not None
    options = {"method": "full", "batch_size": 2, "accumulation": 2, "learning_rate": 1e-4, "validation": 0.0}
    given = tiny.path, tmp_path / "pairs.parquet"
    alone = launch(*given, tmp_path / "alone", options, count=1, step="dpo")
    both = launch(*given, tmp_path / "both", options, sharded=True, step="dpo")
    for step, entry in alone.items():
        assert both[step]["train_loss"] == pytest.approx(entry["train_loss"], rel=2e-4)


@pytest.mark.slow
@pytest.mark.model
def test_references_that_one_process_left_serve_two(
    tiny: CausalLM, tmp_path: Path, preferences: Any, write_dataset: Any
) -> None:
    """Split weights answer only where all processes ask: none may compute what another reads."""
    write_dataset(tmp_path / "pairs.parquet", preferences(8), Preference)
    assert tiny.path is not None
    options = {"method": "full", "batch_size": 2, "accumulation": 2, "learning_rate": 1e-4, "validation": 0.0}
    given = tiny.path, tmp_path / "pairs.parquet", tmp_path / "run", options
    launch(*given, "step 1", count=1, step="dpo")
    assert (tmp_path / "run" / "work" / "references.npy").is_file()
    assert launch(*given, sharded=True, step="dpo")


@pytest.mark.slow
@pytest.mark.model
def test_a_checkpoint_says_in_how_many_parts_it_was_written(
    tiny: CausalLM, tmp_path: Path, facts: Any, write_dataset: Any
) -> None:
    write_dataset(tmp_path / "facts.parquet", facts(2))
    assert tiny.path is not None
    options = {**OPTIONS, "method": "full"}
    given = tiny.path, tmp_path / "facts.parquet", tmp_path / "run", options
    launch(*given, "step 5", sharded=True)
    with pytest.raises(AssertionError, match=r"written by --sharded --processes 2; go on in the same way"):
        launch(*given)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "qlora"}, "qlora cannot be trained with --sharded; expected one of full, lora"),
        ({"method": "full", "optimizer": "adamw_8bit"}, "optimizer adamw_8bit cannot be split over processes"),
    ],
)
def test_what_cannot_be_split_says_so(options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(optimizer=options.pop("optimizer", "adamw"))
    assert not sharded(options["method"], training)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("FACTORY_SHARDED", "1")
    with pytest.raises(ModelError, match=says):
        sharded(options["method"], training)


def test_a_reward_model_is_not_split(tiny: CausalLM, tmp_path: Path, make_context: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("FACTORY_SHARDED", "1")
    with pytest.raises(ModelError, match="reward_model cannot be trained with --sharded"):
        reward_model.function(Dataset([], Preference), make_context(tmp_path)[0], tiny)


def test_batches_that_cannot_be_shared_say_which_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks.share_of(3) == 3
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks.share_of(4) == 2
    with pytest.raises(
        StepError, match="accumulation is 3, which 2 processes cannot share evenly; try accumulation: 4"
    ):
        ranks.share_of(3)


@pytest.mark.builds
def test_work_is_shared_and_what_is_made_goes_to_all(tmp_path: Path) -> None:
    """Three processes do five things, and one thing; the gradient of one that has none is zeros."""
    told = launching.launch("ranks_tiny.py", ["", "", "", tmp_path], count=3)
    assert [done for done, *_ in told] == [[0, 3, 0], [1, 4], [2]]
    five, one = [[0, 0], [1, 1], [2, 2], [3, 0], [4, 1]], [[0, 0]]
    for _, made, first, gradients in told:
        assert made == [five, one]
        assert first == ["told", 0]
        assert gradients == [[[1.5] * 3] * 2, [0.0]]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 33])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_portions_are_as_many_for_each_process(count: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(size))
    portion = ranks.evenly(count, 8)
    rounds = -(-count // (8 * size))
    assert 1 <= portion <= 8
    assert -(-count // portion) <= rounds * size
    assert -(-count // portion) > (rounds - 1) * size, "no round is for nothing"


@pytest.mark.slow
@pytest.mark.model
def test_a_build_trains_in_two_processes(tiny: CausalLM, tmp_path: Path, facts: Any) -> None:
    """Counts, drops and curves are those of one process; only what trains is shared."""
    from safetensors.torch import load_file

    import factory

    rows = [
        {"prompt": one["prompt"][0]["content"], "completion": one["completion"][0]["content"]} for one in facts()[:8]
    ]
    rows.append({"prompt": "Too long?", "completion": "word " * 400})
    made = {}
    for processes in (1, 2):
        folder = tmp_path / f"project{processes}"
        folder.mkdir()
        (folder / "facts.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / "recipe.yaml").write_text(
            "name: both\ntargets:\n  tutor:\n    from: facts.jsonl\n    steps:\n"
            f"      - sft: {{base: {tiny.path}, batch_size: 2, accumulation: 2, validation: 0, epochs: 2, "
            "learning_rate: 0.001, lora: {dropout: 0}}\n"
        )
        result = factory.build(folder / "recipe.yaml", processes=processes, store=folder / "store")
        stage = result.plan.targets["tutor"]
        manifest = stage.manifest
        assert manifest is not None
        assert manifest["funnel"][-1]["reasons"] == {"too long": 1}
        assert manifest["exact"] == (processes == 1)
        weights = load_file(stage.folder / "model" / "adapter_model.safetensors")
        made[processes] = weights
        assert not list((folder / "store").glob("**/rank-*"))
    assert all((made[1][name] - made[2][name]).abs().max() < 1e-4 for name in made[1])
