"""`label:NAME` and `rank` in real builds: what waits, what changes the fingerprint, what does not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import Candidates, InputError, assistant, user
from factory.engine.project import enter_project, project_root
from factory.preference.labelling.source import LabelSet, open_label
from factory.preference.labelling.store import Labels, items_of

pytestmark = pytest.mark.builds
RECIPE = """
name: people
targets:
  answers: {from: answers.jsonl}
  ranked: {from: answers, steps: [rank: {votes: 'label:answers'}]}
  best: {from: ranked, steps: [take: {n: 1}]}
  people: {from: 'label:answers'}
  some: {from: people, steps: [take: {n: 1}]}
  again: {from: answers, steps: [rank: {votes: people}]}
  other: {from: answers, steps: [take: {n: 2}]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    before = project_root()
    (tmp_path / "factory.toml").touch()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    write_answers(tmp_path, 3)
    enter_project(tmp_path)
    yield tmp_path
    enter_project(before)


def write_answers(project: Path, number: int, answers: int = 2, edited: str = "") -> None:
    rows = [
        {
            "prompt": user(f"{edited if n == 0 else ''}Question {n}?"),
            "completions": [assistant(f"Answer {n}.{place}") for place in range(answers)],
            "scores": [],
            "meta": {"models": [f"m{place}" for place in range(answers)], "temperatures": [0.5] * answers},
        }
        for n in range(number)
    ]
    (project / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def built(project: Path, recipe: str = "recipe.yaml") -> factory.Result:
    return factory.build(project / recipe)


def asked(project: Path, **settings: Any) -> Labels:
    """The label set `answers`, filled from the target as it is."""
    labels = Labels.open(project / "labels" / "answers")
    labels.fill(items_of(factory.build(project / "recipe.yaml", ["answers"])["answers"]))  # type: ignore[arg-type]
    labels.configure(**{"repeat_share": 0.0, **settings})
    labels.invite("ann")
    return labels


def missing(project: Path, votes: int, wanted: int) -> str:
    return f"{votes} of {wanted} votes missing: run `factory label {project / 'recipe.yaml'} answers`"


def cast(labels: Labels, number: int = 1, best: int = 0, **more: Any) -> None:
    """Votes of ann for the answer at a place."""
    for _ in range(number):
        view = labels.next("ann")
        assert view is not None
        given = {"edit": {"answer": view.shown[0], "text": more["text"]}} if "text" in more else {}
        choice = "3" if best not in view.shown else "1" if view.shown[0] == best else "5"
        labels.vote("ann", view.view, choice, seconds=2.0, **given)


def fingerprint(project: Path) -> list[Any]:
    enter_project(project)
    return [piece.identity for piece in LabelSet("label:answers").pieces()]


def test_without_a_label_set_what_needs_votes_waits_and_the_rest_is_built(project: Path) -> None:
    result = built(project)
    none = "there is no label set 'answers' yet"
    run = f"run `factory label {project / 'recipe.yaml'} answers`"
    assert result.pending == {
        "people": f"{none}: {run}",
        "some": f"{none}: {run}",
        "ranked": f"3 of 3 votes missing: {run}",
        "again": f"3 of 3 votes missing: {run}",
    }
    assert len(result["other"]) == 2  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'best' is not built"):
        result["best"]
    assert not (project / "labels").exists()


def test_a_label_set_without_votes_is_awaited_too(project: Path) -> None:
    asked(project).close()
    assert built(project).pending["people"].startswith("nobody has voted in the label set 'answers' yet")


def test_votes_flow_back_one_by_one(project: Path) -> None:
    with asked(project) as labels:
        cast(labels)
        assert built(project).pending["ranked"] == missing(project, 2, 3)
        cast(labels, 2)
        result = built(project)
    assert not result.pending
    ranked: list[Any] = list(result["ranked"])  # type: ignore[arg-type]
    assert [record["scores"] for record in ranked] == [[1.0, 0.0]] * 3
    (said,) = ranked[0]["meta"]["comparisons"]
    assert (said["by"], said["person"], said["verdict"], said["seconds"]) == ("ann", True, "first", 2.0)
    people: list[Any] = list(result["people"])  # type: ignore[arg-type]
    assert {record["meta"]["item"] for record in people} == {vote["item"] for vote in labels_of(project)}
    assert [record["scores"] for record in people] == [[1.0, 0.0]] * 3


def labels_of(project: Path) -> list[dict[str, Any]]:
    with Labels.open(project / "labels" / "answers") as labels:
        return labels.votes()


def test_a_vote_changes_the_fingerprint_and_what_says_the_same_does_not(project: Path) -> None:
    with asked(project, repeat_share=0.0) as labels:
        seen = [fingerprint(project)]
        for _ in range(2):
            cast(labels)
            seen.append(fingerprint(project))
        assert len({str(one) for one in seen}) == 3
        view = labels.undo("ann")
        assert fingerprint(project) == seen[1]
        assert view is not None
        labels.vote("ann", view.view, view.vote["choice"], seconds=99.0)  # type: ignore[index]
        assert fingerprint(project) == seen[2]
        labels.invite("ann")
        labels.next("ann")
        assert fingerprint(project) == seen[2]
    with sqlite3.connect(project / "labels" / "answers" / "labels.sqlite") as db:
        db.execute("VACUUM")
    assert fingerprint(project) == seen[2]


def test_a_build_reads_what_stood_when_it_was_planned(project: Path) -> None:
    with asked(project) as labels:
        cast(labels, 2)
        source = LabelSet("label:answers")
        (piece,) = source.pieces()
        planned = list(source.rows(piece))
        cast(labels)
        labels.undo("ann")
        labels.undo("ann")
        assert list(source.rows(piece)) == planned
        assert source.pieces() != [piece]
        labels.configure(mode="rank")
        with pytest.raises(InputError, match="build again"):
            list(source.rows(piece))


def test_an_edit_upstream_orphans_no_vote(project: Path) -> None:
    with asked(project) as labels:
        cast(labels, 3)
        before: list[Any] = list(built(project)["ranked"])  # type: ignore[arg-type]
        write_answers(project, 4)  # one more
        assert built(project).pending["ranked"] == missing(project, 1, 4)
        labels.fill(items_of(factory.build(project / "recipe.yaml", ["answers"])["answers"]))  # type: ignore[arg-type]
        cast(labels)
        after: list[Any] = list(built(project)["ranked"])  # type: ignore[arg-type]
        assert [record["scores"] for record in after] == [[1.0, 0.0]] * 4
        assert [record["meta"] for record in after[:3]] == [record["meta"] for record in before]
        write_answers(project, 3, edited="Really: ")  # another prompt: nobody has compared its answers
        assert built(project).pending["ranked"].startswith("1 of 3 votes missing")
        write_answers(project, 3)
        again: list[Any] = list(built(project)["ranked"])  # type: ignore[arg-type]
        assert again == before


def test_an_edited_answer_is_one_more_that_beats_what_it_was_made_from(project: Path) -> None:
    write_answers(project, 1, answers=3)
    with asked(project) as labels:
        cast(labels, 3, text="The better answer.")
    (record,) = list(built(project)["ranked"])  # type: ignore[arg-type]
    assert record["completions"][3:] == [assistant("The better answer.")]
    assert record["scores"][3] == 1.0 == max(record["scores"])
    assert max(record["scores"][:3]) < 1.0
    assert record["meta"]["models"] == ["m0", "m1", "m2", "edited by ann"]
    assert record["meta"]["temperatures"] == [0.5, 0.5, 0.5, None]
    recipe = RECIPE.replace("votes: 'label:answers'", "votes: 'label:answers', edits: false")
    (project / "plain.yaml").write_text(recipe)
    (record,) = list(built(project, "plain.yaml")["ranked"])  # type: ignore[arg-type]
    assert record["scores"] == [1.0, 0.25, 0.25]
    assert len(record["completions"]) == 3


def test_an_edit_that_is_another_answer_adds_none(project: Path) -> None:
    write_answers(project, 1)
    with asked(project) as labels:
        view = labels.next("ann")
        assert view is not None
        labels.vote("ann", view.view, "3", edit={"answer": 0, "text": "Answer 0.1"})
    (record,) = list(built(project)["ranked"])  # type: ignore[arg-type]
    assert (len(record["completions"]), record["scores"]) == (2, [0.25, 0.75])


def test_every_pair_that_is_asked_about_is_awaited(project: Path) -> None:
    write_answers(project, 2, answers=4)
    with asked(project, pairs="best") as labels:
        cast(labels)
        assert built(project).pending["ranked"].startswith("5 of 6 votes missing")
        cast(labels, 5)
        assert not built(project).pending
    with asked(project, pairs="all"):
        assert built(project).pending["ranked"].startswith("6 of 12 votes missing")


def test_rankings_count_once(project: Path) -> None:
    write_answers(project, 2, answers=3)
    with asked(project, mode="rank") as labels:
        for number in range(2):
            view = labels.next("ann")
            assert view is not None
            labels.vote("ann", view.view, "rank", ranking=[view.shown.index(place) for place in (2, 0, 1)])
            assert built(project).pending.get("ranked") == (missing(project, 1, 2) if number == 0 else None)
        assert [record["scores"] for record in built(project)["ranked"]] == [[0.5, 0.0, 1.0]] * 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "wanted"), [({}, 9), ({"pairs": "best"}, 6), ({"mode": "rank"}, 3), ({"overlap": 2}, 9)]
)
def test_before_the_first_vote_what_is_really_asked_for_is_counted(
    project: Path, settings: dict[str, Any], wanted: int
) -> None:
    write_answers(project, 3, answers=3)
    asked(project, **settings).close()
    pending = built(project).pending
    assert pending["ranked"] == pending["again"] == missing(project, wanted, wanted)


def test_a_build_of_a_part_says_so_in_the_command(project: Path) -> None:
    pending = factory.build(project / "recipe.yaml", limit=2).pending
    assert pending["ranked"] == missing(project, 2, 2).replace("answers`", "answers --limit 2`")


def test_a_label_set_of_another_recipe_is_no_target_of_this_one(project: Path) -> None:
    (project / "other.yaml").write_text(
        "name: other\ntargets:\n  mine: {from: answers.jsonl}\n"
        "  ranked: {from: mine, steps: [rank: {votes: 'label:answers'}]}\n"
    )
    assert built(project, "other.yaml").pending["ranked"] == "3 of 3 votes missing: run `factory label RECIPE answers`"


def test_a_name_with_a_blank_is_quoted(project: Path) -> None:
    (project / "my recipe.yaml").write_text(RECIPE)
    assert f"factory label '{project / 'my recipe.yaml'}' answers" in built(project, "my recipe.yaml").pending["ranked"]


def test_what_everybody_skipped_is_dropped_and_does_not_wait(project: Path) -> None:
    with asked(project) as labels:
        view = labels.next("ann")
        assert view is not None
        labels.vote("ann", view.view, "skip", reason="both in Latin")
        cast(labels, 2)
    result = built(project)
    assert len(result["ranked"]) == 2  # type: ignore[arg-type]
    assert "skipped by everyone" in str(result.plan.targets["ranked"].manifest)


@pytest.mark.parametrize("uri", ["label:", "label:../up", "label:a/b", "label:.hidden", "label:a b"])
def test_a_label_set_lies_in_the_folder_of_label_sets(uri: str) -> None:
    with pytest.raises(InputError, match="a label set is named by letters"):
        open_label(uri)


def test_another_uri_is_not_ours() -> None:
    assert open_label("labels/answers.jsonl") is None
    assert open_label("hf:owner/name") is None


def test_a_wrong_name_is_told_with_the_right_one(project: Path) -> None:
    asked(project).close()
    source = open_label("label:anwsers")
    assert source is not None
    assert source.kind is Candidates
    assert source.awaited.startswith("there is no label set 'anwsers' yet (did you mean 'answers'?)")
    assert source.pieces() == []
