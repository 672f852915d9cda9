"""What a judge's verdicts are worth, and when there is a warning."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.preference.calibration import Judged, calibration, family, is_related, warnings

PROMPTS = itertools.count()


def case(label: float, verdict: str, longer: int = 0, group: str = "", models: tuple[str, ...] = ()) -> Judged:
    return Judged(group or str(next(PROMPTS)), label, verdict, longer, models)  # type: ignore[arg-type]


def cases(*groups: tuple[int, float, str, int]) -> list[Judged]:
    return [case(label, verdict, longer, f"{at} {n}") for at, (times, label, verdict, longer) in enumerate(groups)
            for n in range(times)]  # fmt: skip


def test_ties_are_half_right_and_what_was_not_read_counts_apart() -> None:
    found = calibration("j", cases((4, 1, "first", 1), (2, 1, "second", 1), (1, -1, "tie", 1), (1, -1, "flip", 1),
                                   (2, 1, "unreadable", 1)), draws=100)  # fmt: skip
    assert (found.pairs, found.labelled) == (10, 8)
    assert found.accuracy.value == pytest.approx(5 / 8)
    assert found.clear.value == pytest.approx(4 / 6)
    assert [one.value for one in (found.flipped, found.tied, found.unreadable)] == [1 / 8, 1 / 8, 0.2]
    assert found.longest.value == pytest.approx(6 / 8)
    assert found.longer.value == pytest.approx(4 / 6)


def test_a_judge_that_chooses_the_longest_is_warned_of() -> None:
    same = cases((60, 1, "first", 5), (40, 1, "second", -5))
    found = calibration("j", same, draws=100)
    assert (found.gained, found.lost, found.p, found.longer.value) == (0, 0, 1.0, 1.0)
    (only,) = warnings(found, same)
    assert only.startswith("is not shown to be better than choosing the longer answer: 60% right against 60% of 100")


def test_a_judge_that_is_right_where_the_longest_is_wrong_is_not() -> None:
    good = cases((50, 1, "first", 5), (30, 1, "first", -5), (5, 1, "second", 5))
    found = calibration("j", good, draws=100)
    assert (found.gained, found.lost) == (30, 5)
    assert found.beats_the_longest
    assert list(warnings(found, good)) == []


def test_pairs_of_one_prompt_have_one_vote() -> None:
    """Six pairs of four answers are no six witnesses: ten prompts that are won outright are ten."""
    good = [case(1, "first", -1, f"prompt {n % 10}") for n in range(60)]
    lost = [case(1, "second", 1, "prompt 0") for _ in range(7)]
    found = calibration("j", good + lost, draws=100)
    assert (found.gained, found.lost) == (9, 1)
    assert found.p == pytest.approx(22 / 1024)


def test_a_judge_that_is_worse_is_said_to_be() -> None:
    bad = cases((50, 1, "second", 5), (5, 1, "first", -5))
    found = calibration("j", bad, draws=100)
    assert next(warnings(found, bad)).startswith("does worse than choosing the longer answer")


def test_one_that_always_says_first_comes_to_a_coin() -> None:
    """Asked in both orders it flips on every pair: half right, no kappa, and no better than the longest."""
    flips = cases((30, 1, "flip", 3), (30, -1, "flip", 3))
    found = calibration("j", flips, draws=100)
    assert (found.accuracy.value, found.flipped.value, found.kappa.value) == (0.5, 1.0, 0.0)
    assert found.clear.value is None
    assert any("not shown to be better" in one for one in warnings(found, flips))


def test_labels_without_a_better_answer_count_for_kappa_alone() -> None:
    found = calibration(
        "j", cases((5, 0, "tie", 1), (5, 0, "first", 1), (5, 1, "first", 1), (5, -1, "second", 1)), draws=100
    )
    assert (found.labelled, found.accuracy.value) == (10, 1.0)
    assert found.kappa.value == pytest.approx(7 / 11)


def test_nothing_to_measure_is_said_in_words() -> None:
    found = calibration("j", cases((3, 1, "unreadable", 1)), draws=100)
    assert found.accuracy.value is None
    first, second = warnings(found, [])
    assert first == "could not be measured: no pair has both a better answer and a verdict that could be read"
    assert second == "gave no verdict that could be read on 100% of 3 pairs"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai:gpt-4o-mini", "gpt"),
        ("bundled:smollm2", "smollm"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm"),
        ("meta-llama/Llama-3.1-8B", "llama"),
        ("qwen2.5:7b", "qwen"),
        ("gemma:latest", "gemma"),
        ("tutor", "tutor"),
        ("openai:judge?base_url=http://127.0.0.1:8000/v1", "judge"),
        ("/store/artifacts/ab12/model", ""),
        ("./tutor", ""),
    ],
)
def test_families_by_name(name: str, expected: str) -> None:
    assert family(name) == expected


def test_a_judge_of_the_writers_family_is_warned_of() -> None:
    assert is_related("./tutor", "./tutor")
    assert not is_related("/a/model", "/b/model")
    pairs = [case(1, "first", -1, models=("HuggingFaceTB/SmolLM2-360M", "openai:gpt-4o")) for _ in range(9)]
    (warning,) = warnings(calibration("bundled:smollm2", pairs, draws=100), pairs)
    assert warning.startswith("is of the family that wrote answers in 9 of 9 pairs (HuggingFaceTB/SmolLM2-360M)")


VERDICTS = ["first", "second", "tie", "both_bad", "flip", "unreadable"]


@given(st.lists(st.builds(case, st.sampled_from([1.0, -1.0, 0.0]), st.sampled_from(VERDICTS), st.integers(-3, 3))))
def test_turning_every_pair_round_changes_nothing(some: list[Judged]) -> None:
    turn = {"first": "second", "second": "first"}
    turned = [Judged(one.group, -one.label, turn.get(one.verdict, one.verdict), -one.longer) for one in some]  # type: ignore[arg-type]
    one, other = (calibration("j", each, draws=100) for each in (some, turned))
    for name in ("accuracy", "longest", "clear", "kappa", "longer", "flipped", "tied", "unreadable"):
        values = getattr(one, name).value, getattr(other, name).value
        assert values[0] == pytest.approx(values[1]) if None not in values else values == (None, None)
    assert (one.gained, one.lost, one.p) == (other.gained, other.lost, other.p)
