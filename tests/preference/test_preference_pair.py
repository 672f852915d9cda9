"""Pairs of a better and a worse answer: their laws, and why others are none."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Context, Drop, assistant, text_of, user
from factory.engine.account import Account
from factory.engine.flow import expanded
from factory.engine.work import TaskRuntime
from factory.preference.pair import pair
from factory.preference.unpaired import unpaired

run = pair.function
TEXTS = ["yes", "no", " yes ", "perhaps so", "y" * 40, "not at all\n", ""]
VERDICTS = ["first", "second", "tie", "both_good", "both_bad", "flip", "unreadable", "skip"]


class Heard:
    """A runtime that hears what is dropped."""

    def __init__(self) -> None:
        self.dropped: list[tuple[Any, str, dict[str, Any]]] = []

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record, reason, details))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.dropped]


def context(runtime: Any = None, seed: int = 0) -> Context:
    return Context("pair", seed, 1, Path(), Path(), runtime or Heard())


def candidates(texts: list[str], scores: list[float] = [], **meta: Any) -> Any:
    completions = [assistant(text) for text in texts]
    return {"id": "c1", "parents": ["p1"], "prompt": user("Q?"), "completions": completions, "scores": scores,
            "meta": meta}  # fmt: skip


def said(*verdicts: tuple[str, int, int], by: str = "judge") -> list[dict[str, Any]]:
    return [{"by": by, "first": one, "second": other, "verdict": verdict} for verdict, one, other in verdicts]


def made(record: Any, runtime: Any = None, seed: int = 0, **options: Any) -> list[Any]:
    return list(run(record, context(runtime, seed), **options))


def answers(pairs: list[Any]) -> list[tuple[str, str]]:
    return [(text_of(one["chosen"]), text_of(one["rejected"])) for one in pairs]


comparison = st.builds(
    lambda verdict, two, by: {"by": by, "first": two[0], "second": two[1], "verdict": verdict},
    st.sampled_from(VERDICTS),
    st.sampled_from(list(combinations(range(5), 2))),
    st.sampled_from(["anna", "judge"]),
)
scored = st.one_of(st.integers(0, 3).map(float), st.floats(allow_nan=True, allow_infinity=True))


@st.composite
def records(draw: st.DrawFn) -> Any:
    texts = draw(st.lists(st.sampled_from(TEXTS) | st.text(max_size=5), max_size=5))
    scores = draw(st.just([]) | st.lists(scored, min_size=len(texts), max_size=len(texts)))
    return candidates(texts, scores, comparisons=draw(st.lists(comparison, max_size=8)), topic="t")


options = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(["best_worst", "best_random", "all_pairs"]),
        "margin": st.sampled_from([0.0, 0.5, 1.0]),
        "length_matched": st.sampled_from([None, 1.0, 2.0]),
    }
)


@given(records(), options)
def test_chosen_is_better_and_another_answer(record: Any, options: dict[str, Any]) -> None:
    try:
        pairs = made(record, **options)
    except Drop:
        return
    for one in pairs:
        better, worse = text_of(one["chosen"]), text_of(one["rejected"])
        high, low = one["meta"]["scores"]
        assert better.split() != worse.split()
        assert better.strip()
        assert worse.strip()
        assert high > low
        assert one["meta"]["margin"] == high - low >= options["margin"] - 1e-9
        assert math.isfinite(one["meta"]["margin"])
        if record["scores"]:
            assert (one["chosen"], high) in zip(record["completions"], record["scores"], strict=True)
            assert (one["rejected"], low) in zip(record["completions"], record["scores"], strict=True)
        if options["length_matched"] is not None:
            short, long = sorted((len(better), len(worse)))
            assert long <= options["length_matched"] * short
        assert one["meta"]["topic"] == "t"
        assert "comparisons" not in one["meta"]
    assert len(pairs) == 1 or options["policy"] == "all_pairs"


@given(records(), options)
def test_every_pair_of_all_is_made_or_counted(record: Any, options: dict[str, Any]) -> None:
    heard = Heard()
    answers = len(record["completions"])
    options = {**options, "policy": "all_pairs"}
    if answers < 2:
        with pytest.raises(Drop, match="fewer than two answers"):
            made(record, heard, **options)
        return
    pairs = made(record, heard, **options)
    assert len(pairs) + len(heard.dropped) == answers * (answers - 1) // 2
    assert len({record["id"] for record, _, _ in heard.dropped}) == len(heard.dropped)


@given(st.lists(records(), min_size=1, max_size=4), options)
def test_the_account_closes(given: list[Any], options: dict[str, Any]) -> None:
    """Through the engine's own flow, records of equal texts among them."""
    for step, chosen in ((pair, options), (unpaired, {})):
        account = Account(step.name)
        tally = account.line(step.name)
        rows = [account.arrive({**record, "id": f"c{at}"}) for at, record in enumerate(given)]
        ctx = context(TaskRuntime(account, tally))
        flow = expanded(step, iter([rows]), account, tally, {"ctx": ctx, **chosen})
        kept = [one for portion in flow for one in portion]
        account.keep([one["id"] for one in kept])
        counts = account.close()
        assert counts["out"] == len(kept) == len({one["id"] for one in kept})
        assert counts["out"] + counts["dropped"] >= len(given)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=9, unique=True))
def test_a_ranking_of_k_answers_is_k_times_k_minus_1_halves_pairs(ranks: list[int]) -> None:
    pairs = made(candidates([f"answer {rank}" for rank in ranks], [float(rank) for rank in ranks]), policy="all_pairs")
    assert len(pairs) == len(ranks) * (len(ranks) - 1) // 2
    assert {one["meta"]["group"] for one in pairs} == {"c1"}
    assert len({one["id"] for one in pairs}) == len(pairs)


def test_best_worst_is_the_widest_pair_and_best_random_draws_the_rejected() -> None:
    record = candidates(["a", "b", "c", "d"], [3.0, 1.0, 4.0, 2.0], models=list("wxyz"), temperatures=[1, 2, 3, 4])
    (one,) = made(record)
    assert answers([one]) == [("c", "b")]
    assert one["meta"]["models"] == ["y", "x"]
    assert one["meta"]["temperatures"] == [3, 2]
    assert one["meta"]["margin"] == 3.0
    drawn = Counter(answers(made(record, seed=seed, policy="best_random"))[0] for seed in range(60))
    assert set(drawn) == {("c", "a"), ("c", "b"), ("c", "d")}
    assert made(record, policy="best_random") == made(record, policy="best_random")


def test_of_equal_best_answers_the_first_is_no_better() -> None:
    record = candidates(["a", "b", "c"], [2.0, 2.0, 1.0])
    assert {answers(made(record, seed=seed))[0] for seed in range(40)} == {("a", "c"), ("b", "c")}


@pytest.mark.parametrize(
    ("texts", "scores", "options", "reason"),
    [
        (["a", "b"], [1.0, 1.0], {}, "tie"),
        (["a", "b"], [1.0, 1.5], {"margin": 1}, "margin too small"),
        (["a", "b" * 9], [1.0, 3.0], {"length_matched": 2}, "lengths differ"),
        (["a b", " a  b\n"], [1.0, 3.0], {}, "equal answers"),
        (["a", " "], [1.0, 3.0], {}, "empty answer"),
        (["a", "b"], [], {}, "not judged"),
        (["a", "b"], [1.0, math.nan], {}, "not judged"),
        (["a", "b"], [1.0, math.inf], {}, "not judged"),
        (["a", "b"], [1.7e308, -1.7e308], {}, "not judged"),
        (["a", "b"], [1.0], {}, "scores do not fit"),
        (["a"], [1.0], {}, "fewer than two answers"),
        ([], [], {}, "fewer than two answers"),
    ],
)
def test_why_a_prompt_gives_no_pair(texts: list[str], scores: list[float], options: Any, reason: str) -> None:
    for policy in ("best_worst", "best_random"):
        with pytest.raises(Drop) as drop:
            made(candidates(texts, scores), policy=policy, **options)
        assert drop.value.reason == reason


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (["flip"], "flip"),
        (["flip", "unreadable"], "flip"),
        (["tie"], "tie"),
        (["both_bad", "both_bad", "tie"], "both bad"),
        (["both_good"], "both good"),
        (["both_good", "both_bad"], "tie"),
        (["first", "second"], "tie"),
        (["unreadable"], "unreadable verdicts"),
        (["skip"], "not judged"),
    ],
)
def test_ties_are_told_by_their_kind(verdicts: list[str], reason: str) -> None:
    comparisons = said(*[(verdict, 0, 1) for verdict in verdicts])
    with pytest.raises(Drop) as drop:
        made(candidates(["a", "b"], comparisons=comparisons))
    assert drop.value.reason == reason
    heard = Heard()
    assert made(candidates(["a", "b"], comparisons=comparisons), heard, policy="all_pairs") == []
    assert heard.reasons == [reason]


def test_a_flip_is_a_tie_whatever_others_did_to_the_scores() -> None:
    comparisons = said(("flip", 0, 1), ("first", 0, 2), ("second", 1, 2))
    heard = Heard()
    pairs = made(candidates(["a", "b", "c"], comparisons=comparisons), heard, policy="all_pairs")
    assert answers(pairs) == [("a", "c"), ("c", "b")]
    assert heard.reasons == ["flip"]
    assert [one["meta"]["scores"] for one in pairs] == [[0.75, 0.5], [0.5, 0.25]]
    (widest,) = made(candidates(["a", "b", "c"], comparisons=comparisons))
    assert answers([widest]) != [("a", "b")]


def test_a_judge_that_always_says_first_yields_no_pair() -> None:
    """What `judge` makes of it: each comparison a flip."""
    comparisons = said(*[("flip", one, other) for one, other in combinations(range(4), 2)])
    heard = Heard()
    assert made(candidates(list("abcd"), comparisons=comparisons), heard, policy="all_pairs") == []
    assert Counter(heard.reasons) == {"flip": 6}


def test_answers_that_no_chain_of_comparisons_joins_make_no_pair() -> None:
    comparisons = said(("first", 0, 1), ("first", 2, 3))
    heard = Heard()
    pairs = made(candidates(list("abcd"), comparisons=comparisons), heard, policy="all_pairs")
    assert answers(pairs) == [("a", "b"), ("c", "d")]
    assert Counter(heard.reasons) == {"not judged": 4}


def test_who_said_so_is_kept_and_a_repeat_is_no_second_vote() -> None:
    votes = said(("first", 0, 1), by="anna") + said(("second", 0, 1), by="bo") + said(("first", 0, 1), by="cy")
    again = {**votes[1], "check": "repeat"}
    grades = [{"by": "grader", "answer": 1, "grade": 2.0}]
    (one,) = made(candidates(["a", "b"], comparisons=[*votes, again, again], grades=grades))
    assert answers([one]) == [("a", "b")]
    assert one["meta"]["by"] == ["anna", "bo", "cy", "grader"]
    assert one["meta"]["margin"] == pytest.approx(1 / 3)


def test_comparisons_that_are_none_are_passed_over() -> None:
    odd: Any = [7, {"verdict": "first"}, {"verdict": "first", "first": 0, "second": 9}, {"verdict": "won", "first": 0}]
    with pytest.raises(Drop, match="not judged"):
        made(candidates(["a", "b"], comparisons=odd))
    with pytest.raises(Drop, match="not judged"):
        made(candidates(["a", "b"], comparisons="none"))
