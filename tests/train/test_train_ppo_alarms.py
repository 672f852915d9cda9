"""Signs of reward hacking: each is told where it shows, and by its words; a quiet run tells none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.train.hacking import repetition, signs

QUIET = {
    "reward": 0.5, "reward_deviation": 0.2, "answer_tokens": 50.0, "repetition": 0.05, "entropy": 2.0, "kl": 1.0,
    "ended": 0.9, "flat_groups": 0.2, "judge_unreadable": 0.1, "sampler_gap": 0.01,
}  # fmt: skip


def run(steps: int, target: float | None = None, **last: float) -> dict[str, str]:
    """The signs of a run whose metrics go from quiet ones to these."""
    told = [
        {name: start + (last.get(name, start) - start) * at / (steps - 1) for name, start in QUIET.items()}
        for at in range(steps)
    ]
    return signs(told, target)


def test_a_quiet_run_tells_nothing() -> None:
    assert run(40) == {}
    assert signs([], None) == {}


@pytest.mark.parametrize(
    ("kind", "last", "says"),
    [
        ("length", {"answer_tokens": 200.0}, "answers grew longer: 58 tokens at first"),
        ("length", {"answer_tokens": 2.0}, "answers grew shorter"),
        ("repetition", {"repetition": 0.9}, "answers repeat themselves: 86%"),
        ("entropy", {"entropy": 0.01}, "the policy hardly varies"),
        ("kl", {"kl": 60.0}, "far from its reference"),
        ("ended", {"ended": 0.1}, "% of the answers do not end within max_new_tokens"),
        ("judge", {"judge_unreadable": 1.0}, "the judge's grade of 95% of the answers cannot be read"),
        ("sampler", {"sampler_gap": 0.5}, "probabilities of what it draws are 0.47 nats a token from the policy's"),
        ("flat", {"flat_groups": 1.0}, "of the groups all answers have one reward"),
    ],
)
def test_what_goes_wrong_is_said(kind: str, last: dict[str, float], says: str) -> None:
    found = run(40, **last)
    assert set(found) == {kind}
    assert says in found[kind]


def test_a_target_says_what_is_far() -> None:
    assert run(40, target=2.0, kl=10.0)["kl"].endswith("expected below 6")
    assert run(40, target=5.0, kl=10.0) == {}


def test_rewards_that_are_all_equal_are_told_at_once() -> None:
    equal = {**QUIET, "reward_deviation": 0.0}
    assert "every answer has the reward 0.5" in signs([equal], None)["equal"]
    assert signs([{**equal, "reward": 0.4}, equal], None) == {}  # they differ from step to step


def test_a_metric_that_no_step_has_tells_nothing() -> None:
    without = [{name: value for name, value in QUIET.items() if name != "flat_groups"}] * 40
    assert signs(without, None) == {}


@given(st.lists(st.integers(0, 3), max_size=30))
def test_repetition_is_the_share_of_trigrams_seen_before(tokens: list[int]) -> None:
    seen: set[Any] = set()
    again = 0
    for at in range(len(tokens) - 2):
        gram = tuple(tokens[at : at + 3])
        again += gram in seen
        seen.add(gram)
    assert repetition(tokens) == pytest.approx(again / max(1, len(tokens) - 2))
