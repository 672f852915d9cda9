"""How good a reward model is on pairs it has not learned from: accuracy, calibration, and whether it goes by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 5  # of confidence, from 0.5 to 1


@dataclass(frozen=True)
class Bin:
    """Pairs of like confidence: the mean confidence, and the share that was right."""

    pairs: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Quality:
    """Of held-out pairs and their answers.

    accuracy     share of the pairs whose chosen answer has the higher reward; a tie is half
    brier        mean of (1 − p)², p = σ(r_chosen − r_rejected): 0 is best, 0.25 is what a coin says
    calibration  expected calibration error (Guo et al. 2017, equation 3) over BINS bins of confidence
    pearson, spearman  of reward and length of the answers; nan where either does not vary
    longer       share of the pairs of unequal length in which the longer answer has the higher reward; nan without any
    chosen_longer  and in which the longer answer is the chosen one
    """

    pairs: int
    accuracy: float
    brier: float
    calibration: float
    bins: Sequence[Bin]
    pearson: float
    spearman: float
    longer: float
    chosen_longer: float


def quality(rewards: Floats, lengths: Floats, pairs: NDArray[np.int64]) -> Quality:
    """rewards and lengths of shape (answers); pairs of shape (pairs, 2): the places of the chosen and the rejected."""
    chosen, rejected = pairs[:, 0], pairs[:, 1]
    gap = rewards[chosen] - rewards[rejected]
    right = np.where(gap == 0, 0.5, gap > 0)
    p = 1 / (1 + np.exp(-np.clip(gap, -700, 700)))  # beyond that exp overflows
    bins = calibration_bins(np.maximum(p, 1 - p), right)
    error = sum(one.pairs * abs(one.confidence - one.right) for one in bins) / len(pairs)
    longer = lengths[chosen] - lengths[rejected]
    unequal = longer != 0
    agrees = np.where(gap == 0, 0.5, (gap > 0) == (longer > 0))[unequal]
    return Quality(
        pairs=len(pairs),
        accuracy=float(right.mean()),
        brier=float(np.square(1 - p).mean()),
        calibration=float(error),
        bins=bins,
        pearson=correlation(rewards, lengths),
        spearman=correlation(ranks(rewards), ranks(lengths)),
        longer=float(agrees.mean()) if len(agrees) else float("nan"),
        chosen_longer=float((longer > 0)[unequal].mean()) if len(agrees) else float("nan"),
    )


def calibration_bins(confidence: Floats, right: Floats) -> list[Bin]:
    """The bins of [0.5, 1] that hold a pair, ascending."""
    places = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    groups = [places == at for at in range(BINS)]
    return [Bin(int(one.sum()), float(confidence[one].mean()), float(right[one].mean())) for one in groups if one.any()]


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's; nan where either does not vary."""
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum() / scale) if scale else float("nan")


def ranks(values: Floats) -> Floats:
    """The mean rank of equals, from 0: Pearson's correlation of ranks is Spearman's."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(middle[places], np.float64)


def quality_table(found: Quality) -> str:
    """Markdown: the figures, and how often the model was right at which confidence."""

    def percent(value: float) -> str:
        return "–" if np.isnan(value) else f"{value:.0%}"

    rows = {
        "held-out pairs": f"{found.pairs:,}",
        "accuracy": f"{found.accuracy:.1%}",
        "Brier score": f"{found.brier:.3f}",
        "expected calibration error": f"{found.calibration:.3f}",
        "reward and length": f"Pearson {found.pearson:.2f}, Spearman {found.spearman:.2f}".replace("nan", "–"),
        "the longer answer": f"rewarded higher in {percent(found.longer)}, chosen in {percent(found.chosen_longer)}",
    }
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    lines += ["", "| confidence | pairs | right |", "|---|---|---|"]
    lines += [f"| {one.confidence:.0%} | {one.pairs:,} | {one.right:.0%} |" for one in found.bins]
    note = "A model that is calibrated is right as often as it is confident; one that has not learned has a Brier score"
    return "\n".join([*lines, "", f"{note} of 0.25. Length is in tokens of the answer."])
