"""The contract on yield: when a run is stopped, what it says meanwhile, and what it has cost."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Answer, Drop, assistant, user
from factory.instruct.tally import FEWEST, Recent, Tally, _tail


def candidate(said="Name a bird."):
    return {"prompt": user(said), "completion": assistant("The wren.")}


def fed(outcomes, min_yield):
    """After how many candidates a run is called dry; None when never."""
    recent = Recent()
    accepted = 0
    for at, got in enumerate(outcomes, 1):
        accepted += got
        recent.note(at, accepted)
        if recent.is_dry(min_yield):
            return at
    return None


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.01, 0.99))
def test_the_binomial_tail(n, most, p):
    exact = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(min(n, most) + 1))
    assert _tail(n, min(n, most), p) == pytest.approx(exact, abs=1e-9)


def test_nothing_from_the_beginning():
    assert fed([False] * 1000, 0.04) == 74  # .96 ** 74 < .05
    assert fed([False] * 1000, 0.5) == FEWEST
    assert fed([False] * 1000, 0) is None


def test_a_run_that_dries_up_late_is_stopped():
    stopped = fed([True, False] * 2000 + [False] * 1000, 0.04)
    assert 4000 + 200 <= stopped <= 4000 + 250  # the latest 250 count


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_run_that_is_good_enough_goes_on(share):
    for seed in range(20):
        draw = random.Random(seed)
        assert fed([draw.random() < share for _ in range(5000)], 0.04) is None


def test_a_run_below_is_stopped():
    for seed in range(20):
        draw = random.Random(seed)
        assert fed([draw.random() < 0.01 for _ in range(5000)], 0.04) is not None


def test_accepted_may_be_counted_from_outside():
    tally = Tally()
    for _ in range(100):
        tally.answered(Answer("x"))
        tally.accepted += 1
    assert not tally.is_dry(0.04)
    for _ in range(300):
        tally.answered(Answer("x"))
        tally.reject(Drop("dull"), candidate())
    assert tally.is_dry(0.04)


def test_the_note_of_progress():
    tally = Tally(prices=(1.0, 4.0))
    assert tally.note(10) == "0 requests"
    for number in range(10):
        tally.answered(Answer("x", prompt_tokens=1000, completion_tokens=500))
        if number % 2:
            tally.accepted += 1
        else:
            tally.reject(Drop("not novel" if number else "cut off"), candidate())
    share, reasons, left = tally.note(105).split("; ")
    assert (share, reasons) == ("50% accepted", "not novel 40%, cut off 10%")
    assert left.startswith("1 s, 300.0k tokens, $0.60 to go")  # 20 times what 5 accepted ones took
    assert tally.cost() == pytest.approx(0.03)
    assert "They took 10,000 tokens in and 5,000 out, $0.03." in tally.summary()
    assert Tally(accepted=3).note(3) == "100% accepted"


def test_a_summary_holds_together_whatever_the_candidates_say():
    tally = Tally()
    tally.reject(Drop("dull", phrase="a|b"), candidate("One | two\n| three \\"))
    (row,) = [line for line in tally.summary().splitlines() if line.startswith("| dull")]
    assert row == "| dull | 1 | One \\| two \\| three \\\\ → The wren. (phrase a\\|b) |"
