"""Answers with a label of their own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Context, Drop, StepError, assistant, text_of, user
from factory.preference.unpaired import unpaired

run = unpaired.function
TURNED = {"first": "second", "second": "first"}


class Heard:
    def __init__(self) -> None:
        self.dropped: list[tuple[Any, str]] = []

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record, reason))


def labels(texts: list[str], scores: list[float] = [], verdicts: Any = (), **options: Any) -> tuple[Any, list[str]]:
    """({text: label}, reasons of the drops)."""
    comparisons = [{"by": "anna", "verdict": verdict, "first": a, "second": b} for verdict, a, b in verdicts]
    meta = {"comparisons": comparisons, "models": [f"m{at}" for at in range(len(texts))], "topic": "t"}
    record = {"id": "c1", "parents": ["p1"], "prompt": user("Q?"), "completions": list(map(assistant, texts)),
              "scores": scores, "meta": meta}  # fmt: skip
    heard = Heard()
    made = list(run(record, Context("unpaired", 0, 1, Path(), Path(), heard), **options))
    assert len(made) + len(heard.dropped) == len(texts)
    assert len({one["id"] for one in made} | {one["id"] for one, _ in heard.dropped}) == len(texts)
    for one in made:
        assert one["meta"]["topic"] == "t"
        assert one["meta"]["group"] == "c1"
        assert one["meta"]["model"] == f"m{texts.index(text_of(one['completion']))}"
    return {text_of(one["completion"]): one["label"] for one in made}, [reason for _, reason in heard.dropped]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("first", {"a": True, "b": False}),
        ("second", {"a": False, "b": True}),
        ("both_good", {"a": True, "b": True}),
        ("both_bad", {"a": False, "b": False}),
        ("tie", {}),
        ("flip", {}),
        ("unreadable", {}),
    ],
)
def test_a_verdict_labels_both_answers(verdict: str, expected: dict[str, bool]) -> None:
    found, reasons = labels(["a", "b"], verdicts=[(verdict, 0, 1)])
    assert found == expected
    reason = "not judged" if verdict == "unreadable" else "undecided"
    assert reasons == ([] if expected else [reason, reason])


def test_a_share_of_the_verdicts_decides() -> None:
    verdicts = [("first", 0, 1), ("first", 0, 1), ("second", 0, 1)]
    assert labels(["a", "b"], verdicts=verdicts)[0] == {"a": True, "b": False}
    assert labels(["a", "b"], verdicts=verdicts, share=0.7) == ({}, ["undecided", "undecided"])


def test_scores_decide_by_bounds_or_by_the_mean_of_the_prompt() -> None:
    texts, scores = ["a", "b", "c"], [1.0, 3.0, 5.0]
    assert labels(texts, scores) == ({"a": False, "c": True}, ["undecided"])
    assert labels(texts, scores, good=3, bad=2)[0] == {"a": False, "b": True, "c": True}
    assert labels(texts, scores, good=6, bad=5)[0] == {"a": False, "b": False, "c": False}
    assert labels(texts, [1.0, float("nan"), 3.0]) == ({"a": False, "c": True}, ["not judged"])


def test_bounds_are_for_scores_alone_and_come_together() -> None:
    assert labels(["a", "b"], [5.0, 4.0], [("both_bad", 0, 1)], good=4, bad=2)[0] == {"a": True, "b": True}
    for bounds in ({"good": 4}, {"bad": 1}, {"good": 2, "bad": 2}):
        with pytest.raises(StepError, match="must be given together, and bad must be the lower one"):
            labels(["a"], [1.0], **bounds)


def test_equal_and_empty_answers_have_no_label() -> None:
    found, reasons = labels(["a", " a\n", "", "b"], [3.0, 3.0, 1.0, 0.0])
    assert found == {"a": True, "b": False}
    assert Counter(reasons) == {"equal answers": 1, "empty answer": 1}
    assert labels(["a", "a", "a", "b"], [3.0, 3.0, 3.0, 0.0])[1] == ["equal answers", "equal answers"]
    with pytest.raises(Drop, match="no answers"):
        labels([])


@given(
    st.lists(st.tuples(st.sampled_from(["first", "second", "tie", "both_good"]), st.just(0), st.just(1)), max_size=6)
)
def test_turning_the_sides_round_turns_the_labels(verdicts: list[tuple[str, int, int]]) -> None:
    turned = [(TURNED.get(verdict, verdict), one, other) for verdict, one, other in verdicts]
    found, other = labels(["a", "b"], verdicts=verdicts)[0], labels(["a", "b"], verdicts=turned)[0]
    assert found.get("a") == other.get("b")
    assert found.get("b") == other.get("a")
