"""Bradley-Terry strengths: a textbook case, what separates, and intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.api import GLM, families

from factory.preference.strengths import fit, rank_models

# American League 1987 (Agresti, Categorical Data Analysis, table 10.10): wins of the row over the column.
TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
BASEBALL = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
]


def items(wins: Any) -> Any:
    """One item for each win, (items, models, models)."""
    size = len(wins)
    cells = [(i, j) for i in range(size) for j in range(size) for _ in range(int(wins[i][j]))]
    found = np.zeros((len(cells), size, size))
    for at, (i, j) in enumerate(cells):
        found[at, i, j] = 1
    return found


def test_agresti_baseball() -> None:
    found = fit(np.array([BASEBALL], float), ridge=0)[0]
    assert list(found - found[-1]) == pytest.approx([1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0], abs=5e-4)
    ranking = rank_models(TEAMS, items(BASEBALL), draws=200)
    assert [one.model for one in ranking.strengths] == TEAMS
    best, *_, last = ranking.strengths
    assert (best.low or 0) > (last.high or 0)
    assert (best.comparisons, best.won) == (78, 50 / 78)
    assert sum(one.value for one in ranking.strengths) == pytest.approx(0, abs=1e-9)


@settings(max_examples=25)
@pytest.mark.filterwarnings("ignore:Perfect separation")  # statsmodels' word for a fit without residuals
@given(arrays(np.float64, (4, 4), elements=st.integers(1, 30).map(float)))
def test_strengths_are_those_of_logistic_regression(wins: Any) -> None:
    np.fill_diagonal(wins, 0)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    design = np.array([[(k == i) - (k == j) for k in range(1, 4)] for i, j in pairs], float)
    counts = np.array([[wins[i, j], wins[j, i]] for i, j in pairs])
    expected = GLM(counts, design, families.Binomial()).fit(tol=1e-12).params
    found = fit(wins[None], ridge=0)[0]
    assert list((found - found[0])[1:]) == pytest.approx(list(expected), abs=1e-6)


@settings(max_examples=40)
@given(arrays(np.float64, (3, 3), elements=st.sampled_from([0.0, 0.5, 1.0, 40.0, 1e5])), st.permutations(range(3)))
def test_every_table_has_one_answer_whatever_the_order(wins: Any, order: list[int]) -> None:
    np.fill_diagonal(wins, 0)
    found = fit(wins[None])[0]
    assert np.isfinite(found).all()
    assert list(fit(wins[order][:, order][None])[0]) == pytest.approx(list(found[order]), abs=1e-5)
    assert list(fit(wins.T[None])[0]) == pytest.approx(list(-found), abs=1e-5)


def test_two_models_are_the_log_of_their_odds() -> None:
    assert list(fit(np.array([[[0, 30], [10, 0]]], float), ridge=0)[0] * 2) == pytest.approx(
        [math.log(3), -math.log(3)]
    )


def test_who_always_wins_is_strong_but_not_beyond_measure() -> None:
    (best, last) = rank_models(["good", "bad"], items([[0, 20], [0, 0]]), draws=100).strengths
    assert best.model == "good"
    assert best.value - last.value == pytest.approx(math.log(20.05 / 0.05))


def test_two_groups_that_hardly_met_are_still_told_exactly() -> None:
    """MM alone needs tens of thousands of steps here; won pairs between the groups fix how far apart they are."""
    wins = np.array([[0, 6000, 0, 0], [4000, 0, 2, 0], [0, 1, 0, 5000], [0, 0, 5000, 0]], float)
    found = fit(wins[None], ridge=0)[0]
    assert found[1] - found[2] == pytest.approx(math.log(2), abs=1e-6)
    assert found[0] - found[1] == pytest.approx(math.log(1.5), abs=1e-6)


def test_a_hundred_thousand_wins_beside_one_are_still_a_maximum() -> None:
    """Steps that are too long end where the likelihood is flat; the gradient says that this is not such a place."""
    wins = np.array([[0, 1e5, 0.5, 0, 1], [1, 0, 0, 0.5, 0], [0, 0, 0, 1e5, 0], [40, 1, 40, 0, 0], [40, 1, 1e5, 40, 0]])
    theta, won = fit(wins[None], ridge=0.1)[0], wins + 0.05 * (1 - np.eye(5))
    chances = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    np.fill_diagonal(chances, 0)
    assert list(((won + won.T) * chances).sum(1)) == pytest.approx(list(won.sum(1)), abs=1e-6)


def test_what_was_never_compared_is_said() -> None:
    assert rank_models(["a"], np.zeros((3, 1, 1))).why
    assert "two models" in rank_models(["a", "b"], np.zeros((3, 2, 2))).why
    apart = items([[0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 3], [0, 0, 1, 0]])
    assert rank_models(list("abcd"), apart).why == "no comparison connects a, b and c, d"


def test_a_model_against_itself_says_nothing() -> None:
    assert rank_models(["a", "b"], items([[0, 1], [1, 0]])).strengths[0].value == pytest.approx(0)
