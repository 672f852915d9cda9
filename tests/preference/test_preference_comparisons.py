"""What judges and people said, in one form."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factory import assistant, user
from factory.preference.comparisons import item_key, win_shares

VERDICTS = ["first", "second", "tie", "both_good", "both_bad", "flip", "unreadable", "skip"]


def test_ties_are_half_a_win_and_what_says_nothing_does_not_count() -> None:
    said = [("first", 0, 1), ("tie", 0, 1), ("skip", 0, 1), ("second", 1, 2), ("unreadable", 0, 2), ("both_bad", 0, 2)]
    shares = win_shares([{"verdict": verdict, "first": one, "second": other} for verdict, one, other in said], 3)
    assert shares == [2 / 3, 0.5 / 3, 0.75]


def test_an_answer_that_was_never_compared_leaves_no_shares() -> None:
    assert win_shares([{"verdict": "first", "first": 0, "second": 1}], 3) is None
    assert win_shares([{"verdict": "skip", "first": 0, "second": 1}], 2) is None


@given(st.lists(st.tuples(st.sampled_from(VERDICTS[:6]), st.sampled_from([(0, 1), (0, 2), (1, 2)])), max_size=20))
def test_shares_of_round_robins_sum_to_half_the_answers(said: list[tuple[str, tuple[int, int]]]) -> None:
    whole = [*said, *((verdict, pair) for verdict, _ in said for pair in ((0, 1), (0, 2), (1, 2)))]
    rounds = [{"verdict": verdict, "first": a, "second": b} for verdict, (a, b) in whole[len(said) :]]
    shares = win_shares(rounds, 3)
    assert shares is None if not said else abs(sum(shares or ()) - 1.5) < 1e-9


def test_the_key_is_of_prompt_and_answers_in_their_order() -> None:
    prompt, good, bad = user("Name a prime."), assistant("Seven."), assistant("Nine.")
    assert item_key(prompt, [good, bad]) == item_key([dict(turn) for turn in prompt], [list(good), bad])
    assert len({item_key(prompt, [good, bad]), item_key(prompt, [bad, good]), item_key(prompt, [good])}) == 3
