"""The arithmetic of policy gradients: rewards of tokens, advantages, clipped losses, divergences. Pure functions.

Tables are (answers, longest) in float32 with a mask of the tokens that are there, a bool table of the same shape:
an answer's tokens begin at column 0, its end-of-turn token is one of them, and what lies behind is padding.
"""

from __future__ import annotations

import torch
from torch import Tensor

SURE = 1e-8  # added to a deviation that is divided by


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """What each token earns: minus its share of the divergence, and on the last token the answer's score.

    scores  (answers,)
    kl      log-ratio of policy and reference for each token, the estimator k1 (Ziegler et al. 2019, section 2.2)

    An answer's tokens sum to score − coefficient · Σ kl. One without tokens earns nothing.
    """
    earned = torch.where(mask, -coefficient * kl, 0.0)
    lengths = mask.sum(1)
    rows = torch.arange(len(scores), device=scores.device)
    last = (lengths - 1).clamp(min=0)
    earned[rows, last] += torch.where(lengths > 0, scores, 0.0)
    return earned


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """(advantages, returns) by generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, equation 16).

    values  of the state before each token. Behind the last token nothing is worth anything, however wide the table is
    """
    values = torch.where(mask, values, 0.0)
    advantages = torch.zeros_like(values)
    following = torch.zeros_like(values[:, 0])  # the advantage of the next token
    for at in reversed(range(values.shape[1])):
        worth = values[:, at + 1] if at + 1 < values.shape[1] else torch.zeros_like(following)
        delta = rewards[:, at] + gamma * worth - values[:, at]
        following = torch.where(mask[:, at], delta + gamma * lam * following, 0.0)
        advantages[:, at] = following
    return advantages, advantages + values


def group_advantages(scores: Tensor, group: int) -> Tensor:
    """(answers,): how far each answer lies above its group's mean, in deviations of the group.

    GRPO (Shao et al. 2024, arXiv:2402.03300, section 4.1.2). Answers n·group to (n+1)·group − 1 are of one prompt; the
    deviation divides by group − 1. A group of equal scores gives zeros.
    """
    groups = scores.view(-1, group)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred / (groups.std(1, keepdim=True) + SURE)).masked_fill(_flat(groups), 0.0).view(-1)


def leave_one_out(scores: Tensor, group: int) -> Tensor:
    """(answers,): how far each answer lies above the mean of the others of its group.

    RLOO (Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740, section 3.2).
    """
    groups = scores.view(-1, group)
    others = (groups.sum(1, keepdim=True) - groups) / (group - 1)
    return (groups - others).masked_fill(_flat(groups), 0.0).view(-1)


def flat_groups(scores: Tensor, group: int) -> Tensor:
    """(groups,): whether all answers of a group have one score, so that nothing is learned from them."""
    return _flat(scores.view(-1, group)).view(-1)


def _flat(groups: Tensor) -> Tensor:
    return groups.amax(1, keepdim=True) == groups.amin(1, keepdim=True)


def whiten(table: Tensor, mask: Tensor) -> Tensor:
    """The table with mean 0 and deviation 1 over its valid tokens; padding counts for nothing and stays 0."""
    valid = table[mask]
    deviation = valid.std(correction=0) if valid.numel() else valid.new_tensor(0.0)
    mean = valid.mean() if valid.numel() else deviation
    return torch.where(mask, (table - mean) / (deviation + SURE), 0.0)


def k1(drawn: Tensor, other: Tensor) -> Tensor:
    """log(drawn / other), by log-probabilities of tokens that were drawn from the first: without bias, either sign."""
    return drawn - other


def k3(drawn: Tensor, other: Tensor) -> Tensor:
    """r − 1 − log r with r = other / drawn: as much in the mean as k1, never negative, and steadier (Schulman 2020)."""
    log_ratio = other - drawn
    return torch.expm1(log_ratio) - log_ratio


def policy_losses(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """(loss, whether it was clipped) of each token, by log-probabilities (Schulman et al. 2017, equation 7).

    Clipped are the tokens that pass no gradient: the ratio lies outside 1 ± clip, on the side the advantage pulls to.
    """
    ratio = torch.exp(new - old)
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
    return torch.maximum(plain, clipped), clipped > plain


def value_losses(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error of each token, or that of the value clipped to old ± clip if it is larger."""
    clipped = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 − Var(returns − values) / Var(returns) over valid tokens: 1 is perfect, 0 as good as a constant."""
    variance = float(returns.var(correction=0))
    return 1 - float((returns - values).var(correction=0)) / variance if variance > 0 else 0.0


def adapted(coefficient: float, kl: float, target: float) -> float:
    """The next coefficient, which steers the divergence to `target` (Ziegler et al. 2019, section 2.2)."""
    error = max(-0.2, min(0.2, (kl - target) / target))
    return coefficient * (1 + 0.1 * error)
