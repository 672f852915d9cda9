"""Measured values with their intervals: Wilson's for shares, the bootstrap for means; and when two are different."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
DRAWS = 2000  # the ends of a percentile interval then wander by about a twentieth of its width
LARGEST = 4_000_000  # numbers in one array of draws: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval; None where it is undefined, and `why` says so in a sentence."""

    value: float | None
    low: float | None
    high: float | None
    of: int  # items (coefficients) or cases (shares) that it was measured on
    why: str = ""


def share(count: int, of: int) -> Estimate:
    """count / of with Wilson's score interval (Wilson 1927), sound also for few cases and shares of 0 and 1."""
    if not of:
        return Estimate(None, None, None, 0, "no case")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = (count + z * z / 2) / (of + z * z)
    spread = z / (of + z * z) * math.sqrt(count * (of - count) / of + z * z / 4)
    return Estimate(count / of, middle - spread if count else 0.0, middle + spread if count < of else 1.0, of)


def mean(values: Sequence[float], draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The mean with its percentile interval over resampled cases (Efron & Tibshirani 1993, section 13.3).

    Equal values are alike to every draw, so numbers of kinds are drawn: shares cost as much as two cases.
    """
    import numpy as np

    if not len(values):
        return Estimate(None, None, None, 0, "no case")
    value = math.fsum(values) / len(values)
    if len(values) < 2:
        return Estimate(value, None, None, 1, "one case only, so no interval")
    kinds, counts = np.unique(np.asarray(values, float), return_counts=True)
    rng = np.random.default_rng(seed)
    at_once = max(1, min(draws, LARGEST // len(kinds)))
    found = np.concatenate(
        [
            rng.multinomial(len(values), counts / len(values), size=min(at_once, draws - start)) @ kinds / len(values)
            for start in range(0, draws, at_once)
        ]
    )
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), len(values))


def mcnemar(one: int, other: int) -> float:
    """How likely a split at least as uneven as one : other is when both are equally good, two-sided and exact.

    McNemar 1947 with the binomial distribution in place of chi-square; `one` and `other` count the cases that only the
    one, or only the other, has right.
    """
    cases, least = one + other, min(one, other)
    log_all = math.lgamma(cases + 1) - cases * math.log(2)
    logs = (log_all - math.lgamma(k + 1) - math.lgamma(cases - k + 1) for k in range(least + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))
