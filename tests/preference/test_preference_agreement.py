"""Who agrees with whom, habits of raters, models' strengths, and the step that reports them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import Answer, Budget, Candidates, Context, Model, Request, assistant, user
from factory.preference.agreement import agreement, agreement_of
from factory.preference.pictures import as_json, as_markdown, sections
from factory.preference.ratings import Compared
from factory.report.markdown import section as on_the_page

VERDICTS = ["first", "second", "tie", "both_good", "both_bad", "flip", "unreadable", "skip"]


class Noted:
    """A runtime that keeps what a step reports."""

    def __init__(self) -> None:
        self.sections: list[tuple[str, str]] = []
        self.alarms: list[str] = []

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Any]:
        raise AssertionError("agreement maps nothing")

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None
    ) -> Iterator[Answer]:
        raise AssertionError("agreement asks nobody")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        raise AssertionError("agreement drops nothing")

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def report(self, title: str, body: str) -> None:
        self.sections.append((title, body))

    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None:
        self.alarms.append(says)

    def tell(self, done: int, total: int, note: str) -> None: ...


@pytest.fixture
def noted(tmp_path: Path) -> tuple[Context, Noted]:
    runtime = Noted()
    return Context("agreement", 0, 1, tmp_path, tmp_path, runtime), runtime


def vote(by: str, verdict: str, person: bool = True, **more: Any) -> dict[str, Any]:
    return {"by": by, "person": person, "aspect": "", "first": 0, "second": 1, "verdict": verdict, **more}


def item(*votes: dict[str, Any], lengths: Sequence[int] = (10, 20), **more: Any) -> Compared:
    return Compared(str(id(votes)), votes, lengths, **more)


def the(found: Any, name: str) -> Any:
    return next(one for one in found if one.name == name)


def test_people_judges_and_everyone_are_measured_apart() -> None:
    said = ["first", "second", "tie", "first"]
    items = [item(vote("ann", v), vote("bob", v), vote("j", "second", person=False)) for v in said]
    found = agreement_of(items, draws=200)
    assert [group.name for group in found.groups] == ["people", "judges", "everyone"]
    people = the(found.groups, "people")
    assert {name: one.value for name, one in people.coefficients.items()} == pytest.approx(
        dict.fromkeys(["raw", "fleiss", "ac1", "alpha_nominal", "alpha_ordinal"], 1.0)
    )
    assert (people.raters, people.units, found.items, found.comparisons) == (2, 4, 4, 12)
    judges = the(found.groups, "judges")
    assert judges.coefficients["fleiss"].why == "no item was rated by two"
    assert [(pair.one, pair.other, pair.raw.value) for pair in found.against] == [("j", "most people", 0.25)]


def test_all_kinds_of_neither_agree_and_how_much_better_counts_on_the_ordinal_scale() -> None:
    ties = [item(vote("ann", one), vote("bob", "tie")) for one in ("both_good", "both_bad", "tie")]
    clear = [item(vote("ann", one, strength=1.0), vote("bob", one, strength=0.5)) for one in ("first", "second")]
    people = the(agreement_of(ties + clear, draws=100).groups, "people").coefficients
    assert people["alpha_nominal"].value == 1.0
    assert 0.5 < people["alpha_ordinal"].value < 1.0


def test_the_majority_of_people_is_what_a_judge_is_held_against() -> None:
    split = item(vote("a", "first"), vote("b", "second"), vote("j", "flip", person=False))
    most = item(vote("a", "first"), vote("b", "first"), vote("c", "second"), vote("j", "first", person=False))
    none = item(vote("j", "first", person=False))
    (against,) = agreement_of([split, most, none], draws=100).against
    assert (against.units, against.raw.value) == (2, 1.0)


def test_a_judge_of_aspects_is_held_against_the_whole_by_all_of_them() -> None:
    by_aspect = [
        vote("j", v, person=False, aspect=a) for a, v in (("true", "first"), ("kind", "tie"), ("brief", "first"))
    ]
    (against,) = agreement_of([item(vote("a", "first"), *by_aspect)], draws=100).against
    assert (against.units, against.raw.value) == (1, 1.0)
    whole = vote("j", "second", person=False)
    (against,) = agreement_of([item(vote("a", "first"), whole, *by_aspect)], draws=100).against
    assert (against.units, against.raw.value) == (1, 0.0)


def test_an_edit_is_no_vote() -> None:
    edit = vote("a", "second", reason="edited", strength=1.0)
    found = agreement_of([item(vote("a", "first", left=0), edit)], draws=100)
    assert (found.comparisons, found.raters[0].longer.of) == (1, 1)


def test_checks_measure_their_annotator_and_nobody_else() -> None:
    repeated = [item(vote("ann", "first"), vote("ann", again, check="repeat")) for again in ("first", "second", "skip")]
    right = item(vote("ann", "first", check="gold"), gold="first")
    placed = item(vote("ann", "first", check="gold"), gold="1")
    elsewhere = item(vote("ann", "first", check="gold"), gold="2")
    found = agreement_of([*repeated, right, placed, elsewhere], draws=100)
    (ann,) = found.raters
    assert (ann.repeats.value, ann.repeats.of) == (0.5, 2)
    assert (ann.gold.value, ann.gold.of) == (0.5, 2)
    assert ann.silent.value == pytest.approx(1 / 9)
    assert the(found.groups, "people").raters == 1


def test_a_repeat_of_a_gold_item_is_held_against_what_was_said_then() -> None:
    twice = item(vote("ann", "tie", check="gold"), vote("ann", "both_bad", check="repeat"), gold="tie")
    (ann,) = agreement_of([twice], draws=100).raters
    assert (ann.repeats.value, ann.gold.value) == (1.0, 1.0)


def test_sides_lengths_and_speed() -> None:
    votes = [
        vote("ann", "first", left=0, seconds=3.0),
        vote("ann", "second", left=0, seconds=9.0),
        vote("ann", "second", left=1, seconds=5.0),
        vote("ann", "tie", left=1),
    ]
    (ann,) = agreement_of([item(one) for one in votes], draws=100).raters
    assert (ann.left.value, ann.left.of) == (pytest.approx(2 / 3), 3)
    assert (ann.longer.value, ann.seconds, ann.tied.value) == (pytest.approx(2 / 3), 5.0, 0.25)
    (same,) = agreement_of([item(vote("ann", "first"), lengths=(7, 7))], draws=100).raters
    assert same.longer.value is None


def test_a_judge_that_says_first_or_likes_length_is_named() -> None:
    first = [item(vote("blind", "flip", person=False, orders=["first", "first"])) for _ in range(40)]
    long = [
        item(vote("wordy", "first" if n % 2 else "second", person=False), lengths=(9, 5) if n % 2 else (5, 9))
        for n in range(40)
    ]
    remarks = "\n".join(agreement_of(first + long, draws=100).remarks)
    assert "blind prefers the answer that is shown first: chosen in 100 % (95 to 100 %) of 80" in remarks
    assert "blind changes its verdict with the order of the answers in 100 %" in remarks
    assert "wordy prefers the answer that is longer: chosen in 100 % (91 to 100 %) of 40" in remarks


def test_a_judge_named_as_a_person_is_another_rater() -> None:
    found = agreement_of([item(vote("kim", "first"), vote("kim", "second", person=False))], draws=100)
    assert [(one.name, one.person, one.comparisons) for one in found.raters] == [("kim", True, 1), ("kim", False, 1)]


def test_aspects_are_told_apart_where_there_are_several() -> None:
    both = [
        item(*(vote(by, v if aspect == "honest" else w, aspect=aspect) for by, w in (("a", "first"), ("b", "tie"))
               for aspect in ("helpful", "honest")))
        for v in ("first", "second")
    ]  # fmt: skip
    groups = agreement_of(both, draws=100).groups
    assert [group.name for group in groups] == ["people", "people, helpful", "people, honest"]
    assert [group.coefficients["raw"].value for group in groups] == [0.5, 0.0, 1.0]


def test_models_are_ranked_by_people_and_by_judges_apart() -> None:
    draw = random.Random(1)
    items = []
    for number in range(60):
        better = "first" if draw.random() < 0.8 else "second"
        other = vote("j", "second", person=False)
        items.append(item(vote("ann", better), other, models=("good", "bad") if number % 2 else ("good", "worse")))
    rankings = agreement_of(items, draws=200).rankings
    assert rankings["people"].strengths[0].model == "good"
    assert rankings["judges"].strengths[-1].model == "good"
    good = rankings["people"].strengths[0]
    assert good.low is not None
    assert 0 < good.low < good.value < (good.high or 0)


def test_grades_have_agreement_too() -> None:
    grades = [
        [{"by": by, "person": False, "aspect": "", "answer": 0, "grade": grade} for by, grade in (("a", g), ("b", h))]
        for g, h in ((1.0, 2.0), (5.0, 5.0), (9.0, 8.0), (3.0, None))
    ]
    (judges,) = agreement_of([Compared(str(n), (), [5], grades=g) for n, g in enumerate(grades)], draws=100).grades
    assert (judges.units, judges.raters) == (3, 2)
    assert judges.coefficients["alpha_interval"].value > 0.9


SAID = st.builds(
    vote,
    by=st.sampled_from(["ann", "bob", "j|x*"]),
    verdict=st.sampled_from(VERDICTS),
    person=st.booleans(),
    check=st.sampled_from(["", "", "gold", "repeat"]),
    left=st.sampled_from([0, 1]),
    aspect=st.sampled_from(["", "honest"]),
)
ITEMS = st.lists(
    st.builds(
        Compared, key=st.just("k"), comparisons=st.lists(SAID, max_size=6), lengths=st.just([3, 4]),
        models=st.sampled_from([(), ("a", "b"), ("a", "a"), ("b", "<c>")]), gold=st.sampled_from([None, "first", "1"]),
    ),
    max_size=6,
)  # fmt: skip


@settings(max_examples=30)
@given(ITEMS)
def test_whatever_was_said_there_is_a_page_of_numbers_and_reasons(items: list[Compared]) -> None:
    found = agreement_of(items, draws=100)
    assert "NaN" not in json.dumps(asdict(found), allow_nan=False)
    assert agreement_of(items, draws=100) == found
    for section in sections(found):
        assert all(len(row) == len(section.columns) for row in section.rows)
        assert set(as_json(section)) == {"title", "note", "table", "svg"}
        assert "nan" not in section.svg
        drawn = on_the_page(section.svg)
        assert "left out" not in drawn
        assert "style" not in section.svg
        on_the_page(as_markdown(section))


def candidates(number: int, comparisons: list[dict[str, Any]]) -> Any:
    return {
        "id": f"c{number}", "parents": [f"p{number}"], "prompt": user(f"Question {number}"),
        "completions": [assistant("Yes."), assistant("No, not at all.")], "scores": [],
        "meta": {"comparisons": comparisons, "models": ["good", "bad"]},
    }  # fmt: skip


def test_the_step_gives_metrics_with_intervals_and_a_page(noted: tuple[Context, Noted]) -> None:
    ctx, runtime = noted
    records = [
        candidates(n, [vote("ann", v), vote("bob", v if n % 4 else "tie"), vote("j", "second", person=False)])
        for n, v in enumerate(["first", "second", "first", "tie"] * 10)
    ]
    metrics = list(agreement.function(records, ctx, draws=200))
    values = {(one["name"], one["of"]): one for one in metrics}
    assert values["comparisons", "all"]["value"] == 120
    assert values["comparisons", "all"]["parents"] == [f"c{n}" for n in range(40)]
    raw = values["raw", "people"]
    assert raw["value"] == 0.75
    assert raw["meta"]["low"] < 0.75 < raw["meta"]["high"]
    assert raw["meta"]["cases"] == 40
    assert {
        ("cohen", "ann and bob"),
        ("cohen", "j and most people"),
        ("longer", "judge j"),
        ("strength_by_people", "good"),
    } <= set(values)
    assert len({one["id"] for one in metrics}) == len(metrics)
    titles = [title for title, _ in runtime.sections]
    assert titles[:3] == ["Agreement", "Agreement, drawn", "What stands out"]
    assert "Models by verdicts of people" in titles
    assert any("j prefers the answer that is longer" in alarm for alarm in runtime.alarms)


def test_where_nothing_was_compared_the_step_says_so(noted: tuple[Context, Noted]) -> None:
    ctx, runtime = noted
    bare: Candidates = {**candidates(0, []), "meta": {}}
    (only,) = agreement.function([bare], ctx)
    assert (only["name"], only["value"], only["parents"]) == ("comparisons", 0.0, ["c0"])
    assert runtime.sections == [("Agreement", "Nothing was compared yet.")]
