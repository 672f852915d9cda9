"""Intervals: the bootstrap over items for coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from factory.models.intervals import CONFIDENCE, DRAWS, LARGEST, Estimate, mcnemar, share

from .coefficients import Coefficient

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["CONFIDENCE", "DRAWS", "Estimate", "estimate", "grouped", "mcnemar", "median", "resampled", "share"]


def estimate(coefficient: Coefficient, draws: int = DRAWS, seed: int = 0, groups: Array | None = None) -> Estimate:
    """A coefficient with its percentile interval over resampled items (Efron & Tibshirani 1993, section 13.3).

    groups  a number for each item; items of one group are drawn together, since answers to one prompt are not
            independent of one another
    Draws that leave the coefficient undefined (all ratings equal) are left out; where these are more than half, there
    is no interval.
    """
    import numpy as np

    features = coefficient.features
    used = int(features.any(1).sum())
    value = coefficient.value
    if value is None:
        return Estimate(None, None, None, 0, coefficient.why)
    if groups is not None:
        features = grouped(features, groups)
    if len(features[features.any(1)]) < 2:
        return Estimate(value, None, None, used, "one item only, so no interval")
    found = np.concatenate([coefficient.formula(sums) for sums in resampled(features, draws, seed)])
    found = found[np.isfinite(found)]
    if len(found) < draws / 2:
        return Estimate(value, None, None, used, "most draws of the items leave it undefined, so no interval")
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), used)


def grouped(features: Array, groups: Array) -> Array:
    """Features summed over the items of each group."""
    import numpy as np

    names, codes = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), features.shape[1]))
    np.add.at(sums, codes, features)
    return sums


def resampled(features: Array, draws: int, seed: int) -> Iterator[Array]:
    """Sums of features over bootstrap samples of the items, (some draws, width) at a time.

    Items that add the same are alike to every draw, so numbers of kinds are drawn (one multinomial), not items: a
    hundred thousand votes of two people among three verdicts cost as much as nine. Items that add nothing are left out.
    """
    import numpy as np

    kinds, counts = np.unique(features[features.any(1)], axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    at_once = max(1, min(draws, LARGEST // max(1, len(kinds), features.shape[1])))
    for start in range(0, draws, at_once):
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=min(at_once, draws - start))
        yield drawn @ kinds


def median(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    half = len(ordered) // 2
    if not ordered:
        return None
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
