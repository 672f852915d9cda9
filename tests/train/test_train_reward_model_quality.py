"""How good a reward model is: the figures against SciPy and by hand, and laws that they keep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.train.reward_quality import correlation, quality, quality_table, ranks

numbers = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=30)


def of_gaps(gaps: list[float], lengths: list[float] | None = None) -> Any:
    """The quality on pairs with these gaps of rewards: chosen and rejected answers behind one another."""
    rewards = np.array([side for gap in gaps for side in (gap, 0.0)])
    pairs = np.arange(len(rewards)).reshape(-1, 2)
    return quality(rewards, np.array(lengths or range(len(rewards)), float), pairs)


def test_figures_by_hand() -> None:
    log3 = math.log(3)  # p = 3/4
    found = of_gaps([log3, log3, log3, -log3], [5, 3, 2, 4, 6, 6, 1, 9])
    assert found.accuracy == 0.75
    assert found.brier == pytest.approx((3 * 0.25**2 + 0.75**2) / 4)
    assert found.calibration == pytest.approx(0)  # 75 % sure, and right in 75 %
    assert [(one.pairs, one.right) for one in found.bins] == [(4, 0.75)]
    assert found.longer == pytest.approx(2 / 3)  # of the three pairs of unequal length
    assert found.chosen_longer == pytest.approx(1 / 3)


def test_a_model_that_is_too_sure_is_not_calibrated() -> None:
    found = of_gaps([10.0, -10.0])
    assert (found.accuracy, round(found.calibration, 3), round(found.brier, 3)) == (0.5, 0.5, 0.5)


def test_a_coin_and_a_tie() -> None:
    found = of_gaps([0.0, 0.0])
    assert (found.accuracy, found.brier, found.calibration) == (0.5, 0.25, 0.0)
    assert "| accuracy | 50.0% |" in quality_table(found)


@settings(max_examples=30)
@given(st.lists(st.floats(-900, 900), min_size=1, max_size=40))
def test_every_figure_is_a_share_and_turning_all_pairs_turns_the_accuracy(gaps: list[float]) -> None:
    found, turned = of_gaps(gaps), of_gaps([-gap for gap in gaps])
    assert all(0 <= value <= 1 for value in (found.accuracy, found.brier, found.calibration))
    assert sum(one.pairs for one in found.bins) == len(gaps)
    assert found.accuracy + turned.accuracy == pytest.approx(1)


@settings(max_examples=30)
@given(numbers, st.randoms(use_true_random=False))
def test_correlations_are_those_of_scipy(values: list[float], draw: Any) -> None:
    from scipy import stats

    one = np.array(values)
    other = np.array([value * draw.choice([1, 1, -1]) + draw.randint(-3, 3) for value in values])
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert math.isnan(correlation(one, other))
        return
    assert correlation(one, other) == pytest.approx(stats.pearsonr(one, other).statistic, abs=1e-9)
    assert correlation(ranks(one), ranks(other)) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-9)


def test_a_figure_that_cannot_be_had_is_a_dash() -> None:
    table = quality_table(of_gaps([1.0, 2.0], [4, 4, 4, 4]))
    assert "| reward and length | Pearson –, Spearman – |" in table
    assert "rewarded higher in –, chosen in –" in table
