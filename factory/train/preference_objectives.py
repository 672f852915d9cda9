"""What training on preferences makes small: rewards of comparisons, log-probabilities of pairs and of single answers.

This module loads torch; only a training step that runs imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from .batches import IGNORED
from .objective import Batch, Objective, Sum
from .preference_losses import PairLoss, bradley_terry, direct_preference, kahneman_tversky
from .references import sequence_logps


def comparison_objective(centring: float) -> Objective:
    """Of batches as `collate_comparisons` makes them; items are prompts, whose pairs share a weight of 1.

    Each answer is run once through the model, and all pairs of a prompt are learned from in one step, each with
    weight 1/(K choose 2) (Ouyang et al. 2022, section 3.5): spread over an epoch, the K − 1 updates that an answer has
    a part in make a reward model overfit. Of a prompt with so many pairs that they stand in several comparisons, each
    counts as the part of an item that it is.
    """
    return Objective(partial(_comparison_sums, centring), lambda batch: batch["weight"].sum())


def _comparison_sums(centring: float, model: Any, batch: Batch) -> Mapping[str, Sum]:
    outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    rewards = outputs.logits.float().squeeze(-1)
    chosen, rejected, weight = rewards[batch["chosen"]], rewards[batch["rejected"]], batch["weight"]
    each = bradley_terry(chosen, rejected, batch["margin"], centring)
    return {
        "loss": (weight * each).sum(),
        "accuracy": (weight * (chosen > rejected)).sum(),
        "reward_gap": (weight * (chosen - rejected)).sum(),
        "reward_mean": (rewards.sum(), len(rewards)),
    }


def pair_objective(head: Any, beta: float, loss: PairLoss, label_smoothing: float) -> Objective:
    """Of batches of chosen and then rejected answers, with `reference`: their log-probabilities before training.

    Items are pairs. A reward is β · (log π − log π_ref) (Rafailov et al. 2023, section 4).
    """
    sums = partial(_pair_sums, head, beta, loss, label_smoothing)
    return Objective(sums, lambda batch: len(batch["reference"]) // 2)


def _pair_sums(
    head: Any, beta: float, loss: PairLoss, label_smoothing: float, model: Any, batch: Batch
) -> Mapping[str, Sum]:
    chosen, rejected = (sequence_logps(model, head, batch) - batch["reference"]).chunk(2)
    lengths = (batch["labels"][:, 1:] != IGNORED).sum(1).chunk(2)
    each = direct_preference(chosen, rejected, (lengths[0], lengths[1]), beta, loss, label_smoothing)
    return {
        "loss": each.sum(),
        "rewards/chosen": beta * chosen.sum(),
        "rewards/rejected": beta * rejected.sum(),
        "rewards/accuracies": (chosen > rejected).sum(),
        "rewards/margins": beta * (chosen - rejected).sum(),
    }


def answer_objective(head: Any, beta: float, desirable: float, undesirable: float) -> Objective:
    """Of batches of answers with `label`, each beside another record's answer to its prompt; items are answers.

    How far the policy is from its reference is estimated on those: z₀ = max(0, mean of log π − log π_ref)
    (Ethayarajh et al. 2024, arXiv:2402.01306, section 4).
    """
    return Objective(partial(_answer_sums, head, beta, desirable, undesirable), lambda batch: len(batch["label"]))


def _answer_sums(
    head: Any, beta: float, desirable: float, undesirable: float, model: Any, batch: Batch
) -> Mapping[str, Sum]:
    others = {name.removeprefix("other_"): value for name, value in batch.items() if name.startswith("other_")}
    with torch.no_grad():
        kl = (sequence_logps(model, head, others) - others["reference"]).mean().clamp(min=0)
    ratio = sequence_logps(model, head, batch) - batch["reference"]
    label = batch["label"]
    each = kahneman_tversky(ratio, label, kl, beta, desirable, undesirable)
    return {
        "loss": each.sum(),
        "kl": (kl, 1.0),
        "rewards/chosen": (beta * ratio[label].sum(), int(label.sum())),
        "rewards/rejected": (beta * ratio[~label].sum(), int((~label).sum())),
    }
