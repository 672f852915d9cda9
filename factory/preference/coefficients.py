"""Agreement coefficients: raw, Cohen's and Fleiss' kappa, Gwet's AC1, Krippendorff's alpha.

Ratings are an array (items, raters) of numbers, NaN where a rater said nothing of an item. Each coefficient is a
formula over sums of what every item adds, so a bootstrap sample of items costs one weighted sum and no second look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

Scale = Literal["nominal", "ordinal", "interval"]
MOST_CATEGORIES = 50  # of an ordinal scale, whose items each add a square of them

SAME = "every rating is the same, so agreement by chance is certain"
ALONE = "no item was rated by two"
EDGE = 1e-12  # what is left of 0 after rounding: chance agreement this near to 1 is 1


@dataclass(frozen=True)
class Coefficient:
    """`formula` takes sums of `features` over items, (draws, width), to values, (draws,): NaN where it is undefined.

    `why` says in a sentence why the coefficient has no value on these ratings; it is empty when it has one.
    """

    features: Array  # (items, width); zeros for an item that does not count
    formula: Callable[[Array], Array]
    why: str = ""

    @property
    def value(self) -> float | None:
        return None if self.why else float(self.formula(self.features.sum(0, keepdims=True))[0])


def observed_agreement(ratings: Array) -> Coefficient:
    """The share of pairs of ratings of one item that are equal; every pair counts the same."""
    counts = _counts(ratings)[0]
    each = counts.sum(1)
    features = _columns((counts * (counts - 1)).sum(1), each * (each - 1))
    return Coefficient(features, lambda sums: _divided(sums[:, 0], sums[:, 1]), _alone(counts))


def cohen_kappa(ratings: Array) -> Coefficient:
    """Cohen's kappa of two raters, from the items that both rated.

    (p_o - p_e) / (1 - p_e) with p_e from each rater's own shares of the categories (Cohen 1960, A coefficient of
    agreement for nominal scales, eq. 1). `ratings` is (items, 2).
    """
    import numpy as np

    there = ~np.isnan(ratings).any(1)
    both = ratings[there]
    values, codes = np.unique(both, return_inverse=True)
    codes, k = codes.reshape(both.shape), len(values)
    features = np.zeros((len(ratings), k * k))
    features[np.nonzero(there)[0], codes[:, 0] * k + codes[:, 1]] = 1

    def formula(sums: Array) -> Array:
        table = sums.reshape(-1, k, k)
        total = table.sum((1, 2))
        observed = _divided(np.trace(table, axis1=1, axis2=2), total)
        expected = _divided((table.sum(1) * table.sum(2)).sum(1), total**2)
        return _chance_corrected(observed, expected)

    return Coefficient(features, formula, "no item was rated by both" if not k else SAME if k == 1 else "")


def fleiss_kappa(ratings: Array) -> Coefficient:
    """Fleiss' kappa: agreement of pairs of raters, corrected by the categories' shares over all raters.

    Fleiss 1971, Measuring nominal scale agreement among many raters, eq. 3 to 9. Where items have unequal numbers of
    ratings, observed agreement is the mean over items rated at least twice, and a category's share the mean of its
    shares over items rated at all (Gwet 2014, Handbook of Inter-Rater Reliability, section 2.4).
    """
    return _fleiss_like(ratings, lambda shares: (shares**2).sum(1))


def gwet_ac1(ratings: Array) -> Coefficient:
    """Gwet's AC1, which stays high where nearly all ratings fall into one category and kappa does not.

    Chance agreement is Σ p(1 - p) / (categories - 1) (Gwet 2008, Computing inter-rater reliability and its variance in
    the presence of high agreement, eq. 5 and 6).
    """
    return _fleiss_like(ratings, lambda shares: (shares * (1 - shares)).sum(1) / max(1, shares.shape[1] - 1))


def _fleiss_like(ratings: Array, chance: Callable[[Array], Array]) -> Coefficient:
    """Coefficients that differ in how chance agreement follows from the categories' shares, (draws, categories)."""
    import numpy as np

    counts, values = _counts(ratings)
    each = counts.sum(1)
    agreed = _divided((counts * (counts - 1)).sum(1), each * (each - 1), 0.0)
    shares = counts / np.maximum(each, 1)[:, None]
    features = np.column_stack([agreed, each >= 2, each >= 1, shares]).astype(float)

    def formula(sums: Array) -> Array:
        observed = _divided(sums[:, 0], sums[:, 1])
        return _chance_corrected(observed, chance(_divided(sums[:, 3:], sums[:, 2:3])))

    return Coefficient(features, formula, _alone(counts) or (SAME if len(values) == 1 else ""))


def krippendorff_alpha(ratings: Array, scale: Scale) -> Coefficient:
    """Krippendorff's alpha, 1 - D_o / D_e; items with fewer than two ratings count for nothing.

    Krippendorff 2011, Computing Krippendorff's alpha-reliability: coincidences (section C), and the metric differences
    of section D: 0 or 1 (nominal), the square of how many ratings lie between two ranks, half of each end counted
    (ordinal), the square of the difference (interval).
    """
    import numpy as np

    rated = np.where((~np.isnan(ratings)).sum(1, keepdims=True) >= 2, ratings, np.nan)
    counts, values = _counts(rated)
    if len(values) < 2:
        return Coefficient(np.zeros((1, 1)), lambda sums: sums[:, 0], SAME if len(values) else ALONE)
    if scale == "interval":
        return _interval_alpha(rated)
    each = counts.sum(1)
    others = np.maximum(each - 1, 1)
    if scale == "nominal":
        apart = (each**2 - (counts**2).sum(1)) / others
        return Coefficient(np.column_stack([apart, counts]), _nominal)
    k = len(values)
    if k > MOST_CATEGORIES:
        why = f"an ordinal scale may have {MOST_CATEGORIES} values here, and the ratings have {k:,}"
        return Coefficient(np.zeros((1, 1)), lambda sums: sums[:, 0], why)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(k)
    return Coefficient((pairs / others[:, None, None]).reshape(-1, k * k), lambda sums: _ordinal(sums, k))


def _nominal(sums: Array) -> Array:
    """Sums of disagreement and of each category's ratings; D_e is what any two of all ratings disagree."""
    n = sums[:, 1:].sum(1)
    return 1 - _divided(sums[:, 0] * (n - 1), n**2 - (sums[:, 1:] ** 2).sum(1))


def _ordinal(sums: Array, k: int) -> Array:
    """Sums of coincidences o_ck; the distance of two ranks depends on how often the ranks between them were given."""
    pairs = sums.reshape(-1, k, k)
    marginal = pairs.sum(2)
    middle = marginal.cumsum(1) - marginal / 2  # where a rank lies among all ratings
    distance = (middle[:, :, None] - middle[:, None, :]) ** 2
    expected = (marginal[:, :, None] * marginal[:, None, :] * distance).sum((1, 2))
    return 1 - _divided((marginal.sum(1) - 1) * (pairs * distance).sum((1, 2)), expected)


def _interval_alpha(ratings: Array) -> Coefficient:
    """Squared differences follow from counts, sums and sums of squares, however many values there are."""
    import numpy as np

    there = ~np.isnan(ratings)
    centred = np.where(there, ratings - np.nanmean(ratings), 0.0)  # or the squares cancel badly
    centred /= np.abs(centred).max()
    each, total, squares = there.sum(1), centred.sum(1), (centred**2).sum(1)
    apart = 2 * (each * squares - total**2) / np.maximum(each - 1, 1)

    def formula(sums: Array) -> Array:
        n = sums[:, 1]
        return 1 - _divided(sums[:, 0] * (n - 1), 2 * (n * sums[:, 3] - sums[:, 2] ** 2))

    return Coefficient(_columns(apart, each, total, squares), formula)


def _counts(ratings: Array) -> tuple[Array, Array]:
    """(how often each item was given each value, (items, categories); the values in ascending order)."""
    import numpy as np

    there = ~np.isnan(ratings)
    values, codes = np.unique(ratings[there], return_inverse=True)
    counts = np.zeros((len(ratings), len(values)))
    np.add.at(counts, (np.nonzero(there)[0], codes), 1)
    return counts, values


def _alone(counts: Array) -> str:
    return "" if (counts.sum(1) >= 2).any() else ALONE


def _chance_corrected(observed: Array, expected: Array) -> Array:
    return _divided(observed - expected, 1 - expected)


def _columns(*columns: Any) -> Array:
    import numpy as np

    return np.column_stack(columns).astype(float)


def _divided(over: Array, under: Array, otherwise: float = float("nan")) -> Array:
    """over / under, and `otherwise` where `under` is zero but for rounding."""
    import numpy as np

    under = np.asarray(under, dtype=float)
    zero = np.abs(under) < EDGE
    return np.where(zero, otherwise, over / np.where(zero, 1.0, under))
