"""reward_model on a tiny model: what is learned, what is saved, and that the last token is seen whichever pads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, Dataset, InputError, ModelError, Preference, RewardModel, StepError, assistant, user
from factory.train.adapters import LoraOptions
from factory.train.reward_model import reward_model
from factory.train.sft import sft

pytestmark = pytest.mark.model
FAST = {"epochs": 6, "learning_rate": 1e-2, "batch_size": 4, "validation": 0.3, "evaluations": 1}


@pytest.fixture
def pairs(tmp_path: Path, preferences: Any, write_dataset: Any) -> Dataset[Preference]:
    return write_dataset(tmp_path / "pairs.parquet", preferences(), Preference)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def made(
    tiny: CausalLM,
    tmp_path_factory: pytest.TempPathFactory,
    preferences: Any,
    make_context: Any,
    write_dataset: Any,
) -> RewardModel:
    """A reward model of the step's making, by lora."""
    folder = tmp_path_factory.mktemp("reward")
    dataset = write_dataset(folder / "pairs.parquet", preferences(), Preference)
    context, _ = make_context(folder / "run")
    return reward_model.function(dataset, context, tiny, lora=LoraOptions(r=4), **FAST)  # type: ignore[no-any-return]


def encoded(model: Any, records: Any) -> tuple[Any, list[list[int]]]:
    """(the folder's tokenizer, the ids of all answers)."""
    from factory.models.chat import encode_turns
    from factory.models.loading import load_tokenizer

    tokenizer = load_tokenizer(model)
    both = [(one["prompt"], one[side]) for one in records for side in ("chosen", "rejected")]
    return tokenizer, [encode_turns(tokenizer, prompt, answer)[0] for prompt, answer in both]


def plainly(model: Any, ids: list[list[int]], pad: int) -> Any:
    """What transformers gives for a batch padded on the right."""
    import torch

    longest = max(map(len, ids))
    batch = torch.tensor([one + [pad] * (longest - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
    with torch.no_grad():
        return model.eval()(input_ids=batch, attention_mask=mask).logits.flatten()


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_every_method_learns_to_tell_held_out_answers_apart(
    method: Any, tiny: CausalLM, pairs: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path / "run")
    rate = 3e-3 if method == "full" else 1e-2
    made = reward_model.function(pairs, context, tiny, method=method, **{**FAST, "learning_rate": rate})
    assert isinstance(made, RewardModel)
    losses = [entry["train_loss"] for _, entry in sorted(notebook.logged.items()) if "train_loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    accuracy = [entry["eval_accuracy"] for _, entry in sorted(notebook.logged.items()) if "eval_accuracy" in entry]
    assert accuracy[-1] >= 0.8 > accuracy[0]
    assert f"| method | {method} |" in notebook.sections["Training"]
    assert f"| accuracy | {accuracy[-1]:.1%} |" in notebook.sections["Reward model on held-out pairs"]


def test_what_is_saved_is_what_was_trained_and_peft_loads_it(
    tiny: CausalLM, pairs: Any, tmp_path: Path, preferences: Any, make_context: Any
) -> None:
    import torch
    from peft import AutoPeftModelForSequenceClassification
    from safetensors.torch import load_file

    from factory.models.rewards import load_reward_model, rewards
    from factory.train.batches import split_validation
    from factory.train.comparisons import encode_pairs

    context, notebook = make_context(tmp_path / "run")
    made = reward_model.function(pairs, context, tiny, lora=LoraOptions(r=4), **FAST)
    config = json.loads((made.path / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"
    assert config["modules_to_save"] == ["score"]
    assert config["base_model_name_or_path"] == str(tiny.path)
    state = load_file(made.path / "adapter_model.safetensors")
    head = state["base_model.model.score.weight"]
    assert (head.dtype, tuple(head.shape)) == (torch.float32, (1, 64))
    assert all(".lora_" in name for name in state if "score" not in name)
    tokenizer, ids = encoded(made, preferences())
    ours = rewards(load_reward_model(made), ids, 1)
    plain = AutoPeftModelForSequenceClassification.from_pretrained(made.path, num_labels=1)
    plain.config.pad_token_id = tokenizer.pad_token_id
    assert plainly(plain, ids, tokenizer.pad_token_id).tolist() == pytest.approx(ours, abs=1e-4)
    # the last held-out loss, from the folder
    found = encode_pairs(preferences(), tokenizer, 200, context)
    held = {id(pair) for pair in split_validation(found, 0.3)[1]}
    gaps = [ours[2 * at] - ours[2 * at + 1] for at, pair in enumerate(found) if id(pair) in held]
    loss = sum(math.log1p(math.exp(-gap)) for gap in gaps) / len(gaps)
    assert loss == pytest.approx(notebook.logged[max(notebook.logged)]["eval_loss"], rel=1e-3)


def test_a_full_model_loads_with_transformers_and_pads_apart_from_the_end_of_a_turn(
    tiny: CausalLM, pairs: Any, tmp_path: Path, preferences: Any, make_context: Any
) -> None:
    from transformers import AutoModelForSequenceClassification

    from factory.models.rewards import load_reward_model, rewards

    context, _ = make_context(tmp_path / "run")
    made = reward_model.function(pairs, context, tiny, method="full", **{**FAST, "epochs": 1})
    tokenizer, ids = encoded(made, preferences())
    model = AutoModelForSequenceClassification.from_pretrained(made.path)
    assert model.config.num_labels == 1
    assert model.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id == ids[0][-1]
    ours = rewards(load_reward_model(made), ids, tokenizer.pad_token_id)
    assert plainly(model, ids, tokenizer.pad_token_id).tolist() == pytest.approx(ours, abs=1e-5)


def test_the_last_token_is_seen_even_where_it_also_pads(made: RewardModel, preferences: Any) -> None:
    """transformers takes the last token that is not the pad token: with pad = eos one too early, whatever the mask."""
    from factory.models.rewards import load_reward_model, rewards

    model = load_reward_model(made)
    _, ids = encoded(made, preferences(4))
    end = ids[0][-1]
    assert end == 1
    model.config.pad_token_id = end
    one_by_one = [plainly(model, [one], end).item() for one in ids]
    assert plainly(model, ids, end).tolist() == pytest.approx(one_by_one, abs=1e-5)
    assert rewards(model, ids, end) == pytest.approx(one_by_one, abs=1e-5)
    cut = rewards(model, [one[:-1] for one in ids], end)
    assert min(abs(with_end - without) for with_end, without in zip(one_by_one, cut, strict=True)) > 1e-3


def test_the_head_computes_in_float32_under_autocast(tiny: CausalLM) -> None:
    import torch

    from factory.models.loading import load_causal_lm
    from factory.models.reward_head import add_head

    model = add_head(load_causal_lm(tiny).to(torch.bfloat16), 1)
    ids = torch.arange(2, 14).view(2, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        hidden = model.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, -1]
    assert found.dtype == model.score.weight.dtype == torch.float32
    assert torch.allclose(found, hidden.float() @ model.score.weight.T, atol=1e-5)  # in bfloat16 1e-2 off


def test_a_head_keeps_float32_where_the_layers_do_not(made: RewardModel, preferences: Any) -> None:
    import torch
    from safetensors.torch import load_file

    from factory.models.rewards import load_reward_model, rewards

    saved = load_file(made.path / "adapter_model.safetensors")["base_model.model.score.weight"]  # type: ignore[operator]
    model = load_reward_model(made, "bfloat16")
    assert model.model.embed_tokens.weight.dtype == torch.bfloat16
    assert torch.equal(model.score.weight.data, saved)
    _, ids = encoded(made, preferences(4))
    assert rewards(model, ids, 1) == pytest.approx(rewards(load_reward_model(made), ids, 1), abs=0.3)


def test_a_reward_model_of_a_lora_stands_on_the_base_of_both(
    tiny: CausalLM, pairs: Any, dataset: Any, tmp_path: Path, preferences: Any, make_context: Any
) -> None:
    from factory.models.rewards import load_reward_model, rewards

    first_run, _ = make_context(tmp_path / "first")
    first = sft.function(dataset, first_run, tiny, lora=LoraOptions(r=4), epochs=6, learning_rate=2e-2, validation=0.0)
    second_run, notebook = make_context(tmp_path / "second")
    made = reward_model.function(pairs, second_run, first, lora=LoraOptions(r=2), **FAST)
    config = json.loads((made.path / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (6, str(tiny.path))
    assert (config["task_type"], config["modules_to_save"]) == ("SEQ_CLS", ["score"])
    _, ids = encoded(made, preferences())
    found = rewards(load_reward_model(made), ids, 1)
    gaps = [good - bad for good, bad in zip(found[::2], found[1::2], strict=True)]
    assert sum(gap > 0 for gap in gaps) >= 20
    assert f"| base | {first.uri} |" in notebook.sections["Training"]


def test_reward_score_prefers_the_chosen_answers(
    made: RewardModel, preferences: Any, make_context: Any, tmp_path: Path
) -> None:
    from factory.preference.reward_score import reward_score

    context, _ = make_context(tmp_path)
    records = [
        {"id": one["id"], "prompt": one["prompt"], "completions": [one["rejected"], one["chosen"]], "scores": []}
        for one in preferences()
    ]
    scored = list(reward_score.function(iter(records), context, made))
    assert sum(one["scores"][1] > one["scores"][0] for one in scored) >= 20


@pytest.mark.parametrize("most", [64, 4], ids=["whole", "in parts"])
def test_all_pairs_of_a_prompt_weigh_as_one(
    most: int, tiny: CausalLM, tmp_path: Path, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss by hand: the mean over prompts of the mean over their pairs, also where these are in several batches."""
    from itertools import combinations

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.models.reward_head import add_head
    from factory.models.rewards import rewards
    from factory.train import comparisons
    from factory.train.comparisons import collate_comparisons, encode_pairs, together
    from factory.train.preference_objectives import comparison_objective

    context, _ = make_context(tmp_path)
    answers = ["A list.", "A set of items.", "A dict maps keys.", "No."]
    asked = [("What?", pair) for pair in combinations(answers, 2)] + [("Why?", ("Because.", "It holds."))]
    records = [
        {"id": str(at), "prompt": user(prompt), "chosen": assistant(good), "rejected": assistant(bad), "meta": {}}
        for at, (prompt, (good, bad)) in enumerate(asked)
    ]
    tokenizer, model = load_tokenizer(tiny), add_head(load_causal_lm(tiny), 3)
    found = encode_pairs(records, tokenizer, 100, context)  # type: ignore[arg-type]
    monkeypatch.setattr(comparisons, "MOST_PAIRS", most)
    objective = comparison_objective(0.0)
    batches = [collate_comparisons([one], 1) for one in together(found)]
    assert max(len(batch["chosen"]) for batch in batches) == min(most, 6)
    losses = [objective.sums(model, batch)["loss"] for batch in batches]
    loss = sum(losses) / sum(objective.items(batch) for batch in batches)
    by_hand: dict[str, list[float]] = {}
    for pair in found:
        good, bad = rewards(model, [pair.chosen.ids, pair.rejected.ids], 1)
        by_hand.setdefault(pair.group, []).append(math.log1p(math.exp(bad - good)))
    means = [sum(each) / len(each) for each in by_hand.values()]
    assert sorted(map(len, by_hand.values())) == [1, 6]
    assert loss.item() == pytest.approx(sum(means) / 2, rel=1e-5)


def test_parts_of_a_prompt_are_measured_as_one(
    tiny: CausalLM, tmp_path: Path, preferences: Any, make_context: Any, write_dataset: Any, monkeypatch: Any
) -> None:
    from factory.train import comparisons

    asked = "a" * 3 + "d" * 5 + "c" * 7 + "g" * 9
    records = [{**one, "prompt": user(f"What is {at}?")} for at, one in zip(asked, preferences(), strict=True)]
    dataset = write_dataset(tmp_path / "pairs.parquet", records, Preference)
    losses = []
    for most in (64, 2):
        monkeypatch.setattr(comparisons, "MOST_PAIRS", most)
        context, notebook = make_context(tmp_path / str(most))
        reward_model.function(dataset, context, tiny, **{**FAST, "validation": 0.6, "max_steps": 1})
        assert "| prompts learned | 2 |" in notebook.sections["Training"]
        losses.append(notebook.logged[0]["eval_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.slow
def test_a_margin_asks_for_a_wider_gap_and_centring_keeps_rewards_about_zero(
    tiny: CausalLM, tmp_path: Path, preferences: Any, make_context: Any, write_dataset: Any
) -> None:
    records = [{**one, "meta": {"margin": 4.0}} for one in preferences()]
    dataset = write_dataset(tmp_path / "pairs.parquet", records, Preference)
    ends = {}
    for name, options in (("plain", {}), ("margin", {"margin": True}), ("centred", {"centring": 1.0})):
        context, notebook = make_context(tmp_path / name)
        slow = {**FAST, "validation": 0.0, "epochs": 3, "learning_rate": 3e-3}
        reward_model.function(dataset, context, tiny, **slow, **options)
        ends[name] = notebook.logged[max(notebook.logged)]
    assert ends["margin"]["reward_gap"] > ends["plain"]["reward_gap"] + 1
    assert abs(ends["centred"]["reward_mean"]) < abs(ends["plain"]["reward_mean"])
    assert abs(ends["centred"]["reward_mean"]) < 0.3


def test_errors_are_sentences(
    tiny: CausalLM,
    made: RewardModel,
    pairs: Any,
    tmp_path: Path,
    preferences: Any,
    make_context: Any,
    write_dataset: Any,
) -> None:
    context, _ = make_context(tmp_path / "run")
    with pytest.raises(InputError, match="early_stopping needs held-out records"):
        reward_model.function(pairs, context, tiny, validation=0.0, early_stopping=1)
    with pytest.raises(ModelError, match="is a reward model already"):
        reward_model.function(pairs, context, CausalLM(uri="made", path=made.path))
    with pytest.raises(StepError, match="of 24 records none is left"):
        reward_model.function(pairs, context, tiny, max_length=5)
    with pytest.raises(StepError, match="of 0 records none is left"):
        reward_model.function(write_dataset(tmp_path / "none.parquet", [], Preference), context, tiny)
    alike = [{**one, "prompt": user("Which?")} for one in preferences(4)]
    one_prompt = write_dataset(tmp_path / "alike.parquet", alike, Preference)
    with pytest.raises(StepError, match="the records have only one prompt"):
        reward_model.function(one_prompt, context, tiny, early_stopping=1)
    with pytest.raises(StepError, match="lower learning_rate"):
        reward_model.function(pairs, context, tiny, method="full", learning_rate=1e30, epochs=5, max_grad_norm=1e30)
