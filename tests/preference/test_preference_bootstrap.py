"""Intervals cover as often as they say, and are the same again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as published_mcnemar
from statsmodels.stats.proportion import proportion_confint

from factory.preference.bootstrap import estimate, grouped, mcnemar, median, resampled, share
from factory.preference.coefficients import cohen_kappa, krippendorff_alpha, observed_agreement


def test_the_interval_is_that_of_items_drawn_one_by_one() -> None:
    """Numbers of kinds drawn from a multinomial are the same bootstrap as items drawn with replacement."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, (60, 1))
    ratings = np.where(rng.random((60, 3)) < 0.6, truth, rng.integers(0, 3, (60, 3))).astype(float)
    found = estimate(krippendorff_alpha(ratings, "nominal"), draws=4000)
    plain = [krippendorff_alpha(ratings[rng.integers(0, 60, 60)], "nominal").value for _ in range(1000)]
    assert [found.low, found.high] == pytest.approx(list(np.quantile(plain, [0.025, 0.975])), abs=0.025)
    assert found.of == 60


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Two raters who agree with probability .8 on 150 items: 95 % intervals hold .8 in 91 to 99 of 100."""
    rng, held = np.random.default_rng(5), 0
    for number in range(100):
        one = rng.integers(0, 2, 150)
        ratings = np.column_stack([one, np.where(rng.random(150) < 0.8, one, 1 - one)]).astype(float)
        found = estimate(observed_agreement(ratings), draws=300, seed=number)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.8 <= found.high
    assert 88 <= held <= 99


def test_items_of_one_group_are_drawn_together_so_the_interval_is_wider() -> None:
    ratings = np.repeat(np.array([[0, 0], [1, 1], [0, 1], [1, 0]] * 5, float), 6, axis=0)
    groups = np.repeat(np.arange(20), 6)
    alone, together = (estimate(cohen_kappa(ratings), groups=g) for g in (None, groups))
    assert alone.value == together.value
    assert None not in (alone.high, alone.low, together.high, together.low)
    assert (together.high or 0) - (together.low or 0) > 2 * ((alone.high or 0) - (alone.low or 0))


def test_a_seed_gives_the_same_interval_and_another_gives_another() -> None:
    ratings = np.array([[0, 0], [1, 1], [0, 1], [1, 1], [0, 0], [1, 0]] * 4, float)
    first, again, other = (estimate(cohen_kappa(ratings), draws=200, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_where_there_is_no_interval_it_says_so() -> None:
    one = estimate(observed_agreement(np.array([[0.0, 0.0]])))
    assert (one.value, one.low, one.why) == (1.0, None, "one item only, so no interval")
    none = estimate(cohen_kappa(np.array([[0.0, 0.0], [0.0, 0.0]])))
    assert (none.value, none.low, none.of) == (None, None, 0)
    assert none.why.startswith("every rating is the same")


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 99))
def test_draws_keep_the_number_of_items(items: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = np.column_stack([np.ones(items), rng.integers(0, 2, (items, width))]).astype(float)
    drawn = np.concatenate(list(resampled(features, 50, seed)))
    assert drawn.shape == (50, width + 1)
    assert (drawn[:, 0] == items).all()
    assert (grouped(features, np.arange(items) % 3).sum(0) == features.sum(0)).all()


@pytest.mark.parametrize(("count", "of"), [(0, 10), (10, 10), (3, 7), (480, 1000), (1, 1)])
def test_shares_have_wilsons_interval(count: int, of: int) -> None:
    found = share(count, of)
    assert (found.low, found.high) == pytest.approx(proportion_confint(count, of, method="wilson"), abs=1e-9)
    assert share(0, 0).value is None


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 9), (12, 5), (30, 30), (0, 6)])
def test_mcnemar_is_the_published_exact_test(one: int, other: int) -> None:
    expected = published_mcnemar([[5, one], [other, 7]], exact=True).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, abs=1e-9)


def test_a_median_lies_in_the_middle() -> None:
    assert [median([]), median([3.0]), median([1.0, 9.0, 2.0]), median([4.0, 1.0])] == [None, 3.0, 2.0, 2.5]
