"""Losses on preferences, from rewards or log-probabilities to one number for each pair or answer."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

PairLoss = Literal["sigmoid", "ipo", "hinge"]


def bradley_terry(
    chosen: torch.Tensor, rejected: torch.Tensor, margin: torch.Tensor | float = 0.0, centring: float = 0.0
) -> torch.Tensor:
    """−log σ(r_chosen − r_rejected − margin) of each pair, all of shape (pairs).

    The probability that one answer is preferred is that of Bradley and Terry (1952), as in Ouyang et al. 2022, section
    3.5, equation 1; the margin is that of Touvron et al. 2023 (Llama 2), section 3.2.2, equation 2. `centring` times
    (r_chosen + r_rejected)² keeps the rewards about zero, which pairs alone leave open (Eisenstein et al. 2023,
    arXiv:2312.09244).
    """
    loss = -functional.logsigmoid(chosen - rejected - margin)
    return loss + centring * (chosen + rejected).square() if centring else loss


def direct_preference(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    lengths: tuple[torch.Tensor, torch.Tensor],
    beta: float,
    loss: PairLoss = "sigmoid",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The loss of each pair, from log π(answer) − log π_ref(answer) of both answers (nats), all of shape (pairs).

    lengths  learned tokens of the chosen and of the rejected answers; only ipo looks at them
    sigmoid  −log σ(β · (chosen − rejected)) (Rafailov et al. 2023, equation 7). With label_smoothing ε a share ε of the
             labels is taken for wrong: (1 − ε) of this and ε of the turned one (Mitchell 2023, conservative DPO)
    hinge    max(0, 1 − β · (chosen − rejected)) (Zhao et al. 2023, SLiC-HF)
    ipo      (chosen − rejected − 1 / 2β)², both per token (Azar et al. 2023, equation 17): over sums the target would
             depend on the length
    """
    if loss == "ipo":
        return (chosen / lengths[0] - rejected / lengths[1] - 1 / (2 * beta)).square()
    scaled = beta * (chosen - rejected)
    if loss == "hinge":
        return torch.relu(1 - scaled)
    return -(1 - label_smoothing) * functional.logsigmoid(scaled) - label_smoothing * functional.logsigmoid(-scaled)


def kahneman_tversky(
    ratio: torch.Tensor,
    label: torch.Tensor,
    kl: torch.Tensor,
    beta: float,
    desirable: float = 1.0,
    undesirable: float = 1.0,
) -> torch.Tensor:
    """λ · (1 − σ(β · (ratio − kl))) of a good answer, λ · (1 − σ(β · (kl − ratio))) of a bad one; of shape (answers).

    ratio  log π(answer) − log π_ref(answer), in nats
    label  whether an answer is good
    kl     how far the policy is from its reference, at least 0 and without a gradient: the value of an answer is
           measured from there (Ethayarajh et al. 2024, arXiv:2402.01306, section 4)
    """
    sign = torch.where(label, 1.0, -1.0)
    weight = torch.where(label, desirable, undesirable)
    return weight * (1 - torch.sigmoid(beta * sign * (ratio - kl)))
