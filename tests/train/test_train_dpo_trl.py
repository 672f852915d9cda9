"""The losses of DPO and their gradients are those of TRL's trainer on equal batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM

pytestmark = pytest.mark.model
BETA = 0.3


def trained_a_little(base: CausalLM) -> Any:
    """A policy that differs from its reference."""
    import torch

    from factory.models.loading import load_causal_lm

    model = load_causal_lm(base)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    return model.train()


def trl_dpo(tiny: CausalLM, folder: Path, policy: Any, pairs: Any, **options: Any) -> tuple[Any, dict[str, float]]:
    """(loss, what is told beside it) of TRL's trainer, which computes the reference itself."""
    import datasets
    from trl import DPOConfig, DPOTrainer

    from factory.models.loading import load_causal_lm, load_tokenizer

    config = DPOConfig(
        str(folder), report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False, beta=BETA, **options
    )
    data = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    tokenizer = load_tokenizer(tiny)
    trainer = DPOTrainer(policy, load_causal_lm(tiny), args=config, train_dataset=data, processing_class=tokenizer)
    rows = []
    for pair in pairs:
        begin = pair.chosen.learned.index(1)
        chosen, rejected = list(pair.chosen.ids), list(pair.rejected.ids)
        rows.append({"prompt_ids": chosen[:begin], "chosen_ids": chosen[begin:], "rejected_ids": rejected[begin:]})
    loss = trainer.compute_loss(policy, trainer.data_collator(rows))
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


@pytest.mark.parametrize(
    ("loss", "smoothing", "name", "count"),
    [
        ("sigmoid", 0.0, "sigmoid", 6),
        ("ipo", 0.0, "ipo", 6),
        ("hinge", 0.0, "hinge", 6),
        # TRL's sigmoid has no label smoothing; its `aot` of a single pair is the same with it
        ("sigmoid", 0.2, "aot", 1),
    ],
)
def test_losses_and_gradients_are_those_of_trl(
    loss: Any,
    smoothing: float,
    name: str,
    count: int,
    tiny: CausalLM,
    tmp_path: Path,
    preferences: Any,
    make_context: Any,
) -> None:
    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.comparisons import encode_pairs
    from factory.train.dpo import collate_pairs
    from factory.train.preference_objectives import pair_objective
    from factory.train.references import Referred, reference_logps

    context, _ = make_context(tmp_path)
    tokenizer, model, theirs = load_tokenizer(tiny), trained_a_little(tiny), trained_a_little(tiny)
    pairs = encode_pairs(preferences(count), tokenizer, 200, context)
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    logps = reference_logps(load_causal_lm(tiny), answers, 4, 1, context).reshape(-1, 2).tolist()
    batch = collate_pairs([Referred(pair, (a, b)) for pair, (a, b) in zip(pairs, logps, strict=True)], 1)
    objective = pair_objective(model.get_output_embeddings(), BETA, loss, smoothing)
    sums = objective.sums(model, batch)
    ours = sums["loss"] / objective.items(batch)
    ours.backward()
    expected, told = trl_dpo(tiny, tmp_path / "trl", theirs, pairs, loss_type=[name], label_smoothing=smoothing)
    expected.backward()

    assert ours.item() == pytest.approx(expected.item(), abs=1e-5)
    gradients = dict(model.named_parameters())
    for path, weight in theirs.named_parameters():
        assert (weight.grad - gradients[path].grad).abs().max() < 1e-5
    for metric in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
        assert float(sums[metric]) / len(pairs) == pytest.approx(told[metric], abs=1e-5)
    assert abs(told["rewards/margins"]) > 0.01
