"""What a win rate would be if answers were of equal length: a judge that likes long ones is taken into account.

Dubois et al. 2024, "Length-Controlled AlpacaEval", section 3: P(win) = σ(θ + φ tanh(Δ / s)), where Δ is how much longer
the answer is and s the deviation of Δ; with Δ = 0 the rate is σ(θ). The term for the difficulty of each instruction is
left out: it is estimated there from many models' answers to the same instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from factory.models.intervals import CONFIDENCE, LARGEST, Estimate

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

RIDGE = 0.01  # on φ, as much as AlpacaEval's C = 100: where length alone parts wins from losses it stays finite
STEPS, FAR = 50, 30.0  # of Newton's method; σ(30) is 1 to the last bit
DRAWS = 1000


def controlled(wins: Sequence[float], longer: Sequence[float], draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The rate at equal length, with its percentile interval over resampled records.

    wins    of each record: 1 won, 0 lost, ½ neither
    longer  of each record: characters (or tokens) that the answer has more than the other
    """
    import numpy as np

    won, more = np.asarray(wins, float), np.asarray(longer, float)
    spread = more.std()
    x = np.tanh(more / spread) if spread else np.zeros(len(more))
    value = _sigmoid(fit(won, x, np.ones((1, len(won))))[:, 0])
    rng = np.random.default_rng(seed)
    at_once = max(1, min(draws, LARGEST // len(won)))
    found = []
    for start in range(0, draws, at_once):
        counts = rng.multinomial(len(won), np.full(len(won), 1 / len(won)), size=min(at_once, draws - start))
        found.append(_sigmoid(fit(won, x, counts.astype(float))[:, 0]))
    low, high = np.quantile(np.concatenate(found), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(value[0]), float(low), float(high), len(won))


def fit(wins: Array, x: Array, weights: Array) -> Array:
    """(θ, φ) of each row of weights, [rows, 2]: the logistic regression of wins on x by Newton's method."""
    import numpy as np

    found = np.zeros((len(weights), 2))
    for _ in range(STEPS):
        p = _sigmoid(found[:, :1] + found[:, 1:] * x)
        error, curve = weights * (wins - p), weights * p * (1 - p)
        slope = np.stack([error.sum(1), error @ x - RIDGE * found[:, 1]], 1)
        a, b, c = curve.sum(1) + 1e-9, curve @ x, curve @ (x * x) + RIDGE
        less = np.maximum(a * c - b * b, 1e-12)
        move = np.stack([c * slope[:, 0] - b * slope[:, 1], a * slope[:, 1] - b * slope[:, 0]], 1) / less[:, None]
        found = np.clip(found + np.clip(move, -2, 2), -FAR, FAR)
        if np.abs(move).max() < 1e-10:
            break
    return found


def _sigmoid(value: Array) -> Array:
    import numpy as np

    sure: Array = 1 / (1 + np.exp(-value))
    return sure
