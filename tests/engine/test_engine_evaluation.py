"""The recipe's evaluation sets: given to every step that has the option, unless the recipe says otherwise there."""

from __future__ import annotations

from typing import Any

import pytest

from factory.errors import RecipeError

RECIPE = """\
    evaluation: [held_out, other.jsonl]
    targets:
      held_out:
        from: held.jsonl
        steps: [shout, unlike]
      made:
        from: a.jsonl
        steps: [shout, unlike]
      free:
        from: a.jsonl
        steps: [shout, unlike: {evaluation: []}]
    """


@pytest.fixture
def given(project: Any) -> Any:
    project.lines("a.jsonl", "a", "b", "c")
    project.lines("held.jsonl", "b", "C")
    project.lines("other.jsonl", "C")
    project.recipe(RECIPE)
    return project


def texts(project: Any, target: str) -> list[str]:
    return [record["text"] for record in project.records(target)]


def test_records_of_an_evaluation_set_are_dropped_by_default(given: Any) -> None:
    given.build()
    assert texts(given, "made") == ["A"]
    assert texts(given, "free") == ["A", "B", "C"]
    assert texts(given, "held_out") == ["B"], "a set is measured by the others, not by itself"
    assert [row["reason"] for row in given.dropped("made")] == ["in an evaluation set"] * 2


def test_the_sets_count_in_the_fingerprint(given: Any) -> None:
    before = {name: stage.fingerprint for name, stage in given.plan().targets.items()}
    given.edit("r.yaml", "[held_out, other.jsonl]", "[held_out]")
    after = {name: stage.fingerprint for name, stage in given.plan().targets.items()}
    assert [name for name in before if before[name] != after[name]] == ["held_out", "made"]
    given.lines("held.jsonl", "b")
    again = {name: stage.fingerprint for name, stage in given.plan().targets.items()}
    assert [name for name in before if again[name] != after[name]] == ["held_out", "made"]


def test_only_what_is_needed_is_built(given: Any) -> None:
    assert "held_out: read → shout" not in given.build("r.yaml", "free").stages
    assert "held_out: read → shout" in given.build("r.yaml", "made").stages


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[held_out, other.jsonl]", "\n- other.jsonl\n- held_ot", "r.yaml:3: no target 'held_ot'; did you mean"),
        ("[held_out, other.jsonl]", "[othr.jsonl]", "r.yaml:1: "),
        ("[held_out, other.jsonl]", "[3]", "r.yaml:1: an evaluation set is a target or a URI, not 3"),
        ("[held_out, other.jsonl]", "held_out", "r.yaml:1: 'evaluation' must be a list, not 'held_out'"),
        (
            "from: held.jsonl",
            "from: made",
            "r.yaml:1: the evaluation set 'held_out' is made from 'made', whose step unlike must not come near it: "
            "name another set, or write `evaluation: []` at unlike (line 8)",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_once_with_their_line(given: Any, old: str, new: str, said: str) -> None:
    given.edit("r.yaml", old, new)
    with pytest.raises(RecipeError) as found:
        given.plan()
    lines = str(found.value).splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_a_set_may_be_made_from_what_is_told_to_stay_away_from_nothing(given: Any) -> None:
    given.edit("r.yaml", "from: held.jsonl", "from: free")
    given.build()
    assert texts(given, "made") == []
