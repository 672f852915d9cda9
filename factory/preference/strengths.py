"""Bradley-Terry strengths: how good each model's answers are, from who beat whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .bootstrap import CONFIDENCE, DRAWS, resampled

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

RIDGE = 0.1  # draws that every two models are taken to have had, so that one that always won has a finite strength
STEPS = 500
PARTS = (1, 0.5, 0.2)  # of a step by Newton
FAR = 3.0  # it may take in log-odds: where a model has won nearly all it would go where the likelihood is flat
CLOSE = 1e-7  # of the largest step by Newton, in log-odds; rounding leaves 1e-8 where 1e5 wins meet a tenth of one


@dataclass(frozen=True)
class Strength:
    """A model's strength in log-odds, the mean of all models being 0: 1 above another wins 73 of 100."""

    model: str
    value: float
    low: float | None
    high: float | None
    comparisons: int
    won: float  # share, ties as half


@dataclass(frozen=True)
class Ranking:
    """Strengths, strongest first; none, and a sentence why, where comparisons do not tell."""

    strengths: tuple[Strength, ...]
    why: str = ""


def rank_models(names: Sequence[str], wins: Array, draws: int = DRAWS, seed: int = 0, ridge: float = RIDGE) -> Ranking:
    """Strengths with percentile intervals over resampled items.

    wins  (items, models, models): how often one beat the other in an item, a tie half a win for each
    """
    import numpy as np

    total = wins.sum(0)
    met = total + total.T
    if len(names) < 2 or not met.any():
        return Ranking((), "answers of two models are needed, compared with each other")
    if len(apart := _parts(met)) > 1:
        said = " and ".join(", ".join(names[place] for place in part) for part in apart[:2])
        return Ranking((), f"no comparison connects {said}")
    values = fit(total[None], ridge)[0]
    low = high = np.full(len(names), np.nan)
    if int(wins.any((1, 2)).sum()) > 1:
        size = len(names)
        drawn = [fit(s.reshape(-1, size, size), ridge) for s in resampled(wins.reshape(len(wins), -1), draws, seed)]
        low, high = np.quantile(np.concatenate(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    found = [
        Strength(
            name,
            float(values[at]),
            None if np.isnan(low[at]) else float(low[at]),
            None if np.isnan(high[at]) else float(high[at]),
            round(met[at].sum()),
            float(total[at].sum() / met[at].sum()),
        )
        for at, name in enumerate(names)
    ]
    return Ranking(tuple(sorted(found, key=lambda one: -one.value)))


def fit(wins: Array, ridge: float = RIDGE) -> Array:
    """Strengths of the Bradley-Terry model in log-odds with mean 0, (draws, models), for wins (draws, models, models).

    Maximises Σ wins[i, j] log(γ_i / (γ_i + γ_j)), `ridge` draws added between every two models. Each step is the
    likeliest of Newton's, parts of it, and the minorisation-maximisation γ_i ← W_i / Σ n_ij / (γ_i + γ_j), which always
    raises the likelihood (Hunter 2004, MM algorithms for generalized Bradley-Terry models, eq. 3): Newton's is quick
    where two groups of models hardly met, and MM cannot diverge. The maximum is unique when ridge > 0, and with
    ridge = 0 when no group of models won, or lost, everything against the rest (Hunter's assumption 1).
    """
    import numpy as np

    models = wins.shape[1]
    wins = wins + ridge / 2 * (1 - np.eye(models))
    met = wins + wins.transpose(0, 2, 1)
    won = wins.sum(2)
    theta = np.zeros(won.shape)
    for _ in range(STEPS):
        chance = _chances(theta)
        gradient = won - (met * chance).sum(2)
        curve = met * chance * (1 - chance)
        hessian = np.einsum("bi,ij->bij", curve.sum(2), np.eye(models)) - curve + 1 / models  # the mean is free
        newton = np.linalg.solve(hessian + 1e-12 * np.eye(models), gradient[..., None])[..., 0]
        gamma = np.exp(theta)
        under = (met / (gamma[:, :, None] + gamma[:, None, :])).sum(2)
        safe = np.log(np.maximum(won, 1e-300)) - np.log(under)
        longest = np.abs(newton).max(1, keepdims=True)
        bounded = newton * (FAR / np.maximum(longest, FAR))
        steps = np.stack([*(theta + bounded * part for part in PARTS), safe])
        reached = np.stack([_likelihood(one, wins) for one in steps])
        top = reached.max(0)
        best = (reached >= top - 1e-12 * np.abs(top)).argmax(0)  # of those equal but for rounding the longest step
        theta = steps[best, np.arange(len(theta))]
        theta -= theta.mean(1, keepdims=True)
        if longest.max() <= CLOSE:
            break
    return theta


def _chances(theta: Array) -> Array:
    """How likely i beats j, (draws, models, models); 0 on the diagonal, where wins are 0 as well."""
    import numpy as np

    apart = np.clip(theta[:, :, None] - theta[:, None, :], -500, 500)
    return np.asarray((1 - np.eye(theta.shape[1])) / (1 + np.exp(-apart)))


def _likelihood(theta: Array, wins: Array) -> Array:
    import numpy as np

    return np.asarray(-(wins * np.logaddexp(0, theta[:, None, :] - theta[:, :, None])).sum((1, 2)))


def _parts(met: Array) -> list[list[int]]:
    """Models in groups that comparisons connect."""
    left, found = set(range(len(met))), []
    while left:
        part, new = set[int](), {min(left)}
        while new:
            part |= new
            new = {j for i in new for j in range(len(met)) if met[i, j]} - part
        found.append(sorted(part))
        left -= part
    return found
