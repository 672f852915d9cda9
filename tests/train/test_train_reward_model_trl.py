"""The loss of a reward model and its gradients are those of TRL's trainer on equal batches."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM

pytestmark = pytest.mark.model


@pytest.mark.parametrize(("margin", "centring"), [(False, 0.0), (True, 0.0), (True, 0.01)])
def test_losses_and_gradients_are_those_of_trl(
    margin: bool, centring: float, tiny: CausalLM, tmp_path: Path, preferences: Any, make_context: Any
) -> None:
    import datasets
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.models.reward_head import add_head
    from factory.train.comparisons import collate_comparisons, encode_pairs, together
    from factory.train.preference_objectives import comparison_objective

    context, _ = make_context(tmp_path)
    tokenizer, model = load_tokenizer(tiny), add_head(load_causal_lm(tiny), 3)
    pairs = encode_pairs(preferences(6), tokenizer, 200, context, margin)
    objective = comparison_objective(centring)
    batch = collate_comparisons(together(pairs), tokenizer.pad_token_id)
    loss = objective.sums(model.train(), batch)["loss"] / objective.items(batch)
    loss.backward()

    config = copy.deepcopy(model.config)
    config.pad_token_id = None  # a model made with one has no gradient in that row
    theirs = LlamaForSequenceClassification(config)
    theirs.load_state_dict(model.state_dict())
    rows = [{"chosen_ids": list(pair.chosen.ids), "rejected_ids": list(pair.rejected.ids)} for pair in pairs]
    rows = [row | ({"margin": pair.margin} if margin else {}) for row, pair in zip(rows, pairs, strict=True)]
    arguments = RewardConfig(
        str(tmp_path / "trl"),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        pad_token="<|im_start|>",  # TRL would not see the end of an answer where it also pads
        center_rewards_coefficient=centring or None,
    )
    data = datasets.Dataset.from_list(rows)
    trainer = RewardTrainer(theirs, arguments, train_dataset=data, processing_class=load_tokenizer(tiny))
    expected = trainer.compute_loss(theirs.train(), trainer.data_collator(rows))
    expected.backward()

    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    ours = dict(model.named_parameters())
    largest = 0.0
    for name, weight in theirs.named_parameters():
        assert (weight.grad - ours[name].grad).abs().max() < 1e-5
        largest = max(largest, float(weight.grad.abs().max()))
    assert largest > 0.1
    assert bool(pairs[-1].margin) == margin
