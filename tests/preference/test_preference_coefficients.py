"""Agreement coefficients against published packages, textbook cases, and what holds of every coefficient."""

from __future__ import annotations

from typing import Any

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as published_fleiss

from factory.preference.coefficients import (
    Coefficient,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    observed_agreement,
)

NAN = float("nan")
SCALES = ("nominal", "ordinal", "interval")


def a_case(number: int) -> Any:
    """Ratings (items, raters): 2 to 8 raters, 2 to 9 categories, up to 60 % missing, agreement from none to much."""
    rng = np.random.default_rng(number)
    raters, categories = 2 + number % 7, 2 + number % 8
    truth = rng.integers(0, categories, (20 + 15 * number, 1))
    noise = rng.integers(0, categories, (len(truth), raters))
    ratings = np.where(rng.random(noise.shape) < number / 10, truth, noise).astype(float)
    ratings[rng.random(ratings.shape) < (number % 4) * 0.2] = NAN
    return ratings


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("scale", SCALES)
def test_alpha_is_the_published_one_also_with_missing_ratings(number: int, scale: Any) -> None:
    ratings = a_case(number)
    expected = krippendorff.alpha(ratings.T, level_of_measurement=scale)
    assert krippendorff_alpha(ratings, scale).value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("number", range(10))
def test_fleiss_is_the_published_one(number: int) -> None:
    ratings = np.where(np.isnan(full := a_case(number)), 0, full)
    expected = published_fleiss(aggregate_raters(ratings.astype(int))[0], method="fleiss")
    assert fleiss_kappa(ratings).value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("number", range(10))
def test_cohen_is_the_published_one_on_the_items_that_both_rated(number: int) -> None:
    ratings = a_case(number)[:, :2]
    both = ratings[~np.isnan(ratings).any(1)].astype(int)
    table = np.zeros((10, 10))
    np.add.at(table, (both[:, 0], both[:, 1]), 1)
    assert cohen_kappa(ratings).value == pytest.approx(cohens_kappa(table).kappa, abs=1e-6)


def test_cohen_1960() -> None:
    """Two raters and three categories, p_o = .70, p_e = .41: the worked example of Cohen's paper, kappa = .492."""
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]  # proportions .44 .07 .09 / .05 .20 .05 / .01 .03 .06 of 200
    pairs = [(i, j) for i, row in enumerate(table) for j, times in enumerate(row) for _ in range(times)]
    assert observed_agreement(np.array(pairs, float)).value == pytest.approx(0.70)
    assert cohen_kappa(np.array(pairs, float)).value == pytest.approx((0.70 - 0.41) / (1 - 0.41), abs=1e-9)


def test_fleiss_by_hand() -> None:
    """Ten items, fourteen raters, five categories (the widely printed worked example): kappa = .210."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    ratings = np.array([np.repeat(range(5), row) for row in counts], float)
    assert fleiss_kappa(ratings).value == pytest.approx(0.210, abs=5e-4)


def test_fleiss_with_missing_ratings_by_hand() -> None:
    """Items aa, ab, a·, bbb: p_o = (1 + 0 + 1) / 3 over three items; p_a = (1 + 1/2 + 1 + 0) / 4 over four."""
    ratings = np.array([[0, 0, NAN], [0, 1, NAN], [NAN, 0, NAN], [1, 1, 1]])
    chance = 0.625**2 + 0.375**2
    assert fleiss_kappa(ratings).value == pytest.approx((2 / 3 - chance) / (1 - chance))
    chance = 2 * 0.625 * 0.375
    assert gwet_ac1(ratings).value == pytest.approx((2 / 3 - chance) / (1 - chance))


def test_krippendorff_2011() -> None:
    """Four observers, twelve units, missing data: the paper's section C and D, .743, .815 and .849."""
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
    found = [krippendorff_alpha(np.array(rows).T, scale).value for scale in SCALES]
    assert found == pytest.approx([0.743, 0.815, 0.849], abs=5e-4)


def test_where_one_category_prevails_ac1_is_high_and_kappa_is_not() -> None:
    ratings = np.array([[0, 0]] * 96 + [[0, 1], [1, 0]] * 2, float)
    assert cohen_kappa(ratings).value == pytest.approx(-0.0204, abs=1e-4)
    assert gwet_ac1(ratings).value == pytest.approx(0.9584, abs=1e-4)


def every(ratings: Any) -> list[Coefficient]:
    alphas = [krippendorff_alpha(ratings, scale) for scale in SCALES]
    return [observed_agreement(ratings), cohen_kappa(ratings[:, :2]), fleiss_kappa(ratings), gwet_ac1(ratings), *alphas]


TABLES = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(2, 5)), elements=st.sampled_from([0, 1, 2, NAN]))


@given(TABLES)
def test_a_coefficient_is_a_number_or_says_why_not(ratings: Any) -> None:
    for one in every(ratings):
        assert (one.value is None) == bool(one.why)
        assert one.value is None or -1e6 < one.value <= 1 + 1e-9


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_raters_and_items_is_nothing(ratings: Any, random: Any) -> None:
    items = random.sample(range(len(ratings)), len(ratings))
    raters = random.sample(range(ratings.shape[1]), ratings.shape[1])
    turned = every(ratings[items][:, raters])
    turned[1] = cohen_kappa(ratings[items][:, 1::-1])
    for one, other in zip(every(ratings), turned, strict=True):
        assert (one.value is None and other.value is None) or one.value == pytest.approx(other.value, abs=1e-9)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12).filter(lambda said: len(set(said)) > 1), st.integers(2, 4))
def test_perfect_agreement_is_one(said: list[int], raters: int) -> None:
    ratings = np.array([said] * raters, float).T
    assert [one.value for one in every(ratings)] == pytest.approx([1.0] * 7)


@given(TABLES, st.floats(0.5, 3), st.floats(-5, 5))
def test_scales_are_what_they_are_called(ratings: Any, factor: float, shift: float) -> None:
    """Renaming keeps nominal, stretching what is between keeps ordinal, a unit and a zero keep interval."""
    stretched, renamed = np.exp(ratings), np.where(np.isnan(ratings), NAN, (ratings + 1) % 3)
    moved = (ratings * factor + shift, stretched, renamed)
    for scale, other in zip(("interval", "ordinal", "nominal"), moved, strict=True):
        one, two = krippendorff_alpha(ratings, scale).value, krippendorff_alpha(other, scale).value
        assert (one is None and two is None) or one == pytest.approx(two, abs=1e-9)


@pytest.mark.parametrize(
    ("ratings", "words"),
    [
        ([[1.0, NAN], [2.0, NAN]], "no item was rated by"),
        ([[1.0, NAN], [NAN, 2.0]], "no item was rated by"),
        ([[NAN, NAN]], "no item was rated by"),
        ([[1.0, 1.0], [1.0, 1.0]], "every rating is the same"),
    ],
)
def test_what_cannot_be_said_is_said_in_words(ratings: list[list[float]], words: str) -> None:
    for one in every(np.array(ratings))[1:]:
        assert one.value is None
        assert words in one.why


def test_an_ordinal_scale_without_end_is_refused_and_an_interval_one_is_not() -> None:
    ratings = np.random.default_rng(0).random((40, 2))
    assert "has" not in krippendorff_alpha(ratings, "interval").why
    assert "may have 50 values here, and the ratings have 80" in krippendorff_alpha(ratings, "ordinal").why
