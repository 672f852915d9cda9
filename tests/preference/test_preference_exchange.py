"""Votes go out and come in again as they were; files of the other tools come in with what they say."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import InputError, assistant, user
from factory.preference.labelling.exchange import export_votes, import_votes
from factory.preference.labelling.items import item_of
from factory.preference.labelling.store import Labels

from .conftest import Clock

Make = Callable[..., Labels]
SUFFIXES = [".json", ".jsonl", ".csv"]
# What spreadsheets run, what CSV quotes, and what lines end with.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["=1+1", "'", "a\r\nb", '","', "\0"]),
)
SAID = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10).filter(str.strip)
NAMES = SAID.filter(str.isprintable).map(str.strip)


@st.composite
def votes(draw: st.DrawFn) -> dict[str, Any]:
    """A way to answer any view."""
    edit = draw(st.none() | SAID)
    choice = draw(st.sampled_from(["1", "2", "3", "4", "5", "both_good", "both_bad", "skip"]))
    how = {
        "strength": draw(st.none() | st.sampled_from([0.25, 1.0])),
        "note": draw(TEXTS),
        "seconds": draw(st.floats(0, 1e6)),
    }
    return {"choice": choice, "edit": edit, "reason": draw(SAID) if choice == "skip" else "", **how}


def record(number: int, prompt: str, answers: list[str], turns: bool, gold: bool) -> dict[str, Any]:
    asked = [{"role": "system", "content": "Be brief."}, *user(prompt)] if turns else user(prompt)
    completions = [assistant(f"{number}.{place} {text}") for place, text in enumerate(answers)]
    meta = {"models": [f"m{place}" for place in range(len(answers))]} | ({"gold": 0} if gold else {})
    return {"id": str(number), "prompt": asked, "completions": completions, "meta": meta}


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(
    prompts=st.lists(TEXTS, min_size=1, max_size=3),
    answers=st.lists(TEXTS, min_size=2, max_size=3),
    turns=st.booleans(),
    gold=st.booleans(),
    mode=st.sampled_from(["pair", "rank"]),
    names=st.lists(NAMES, min_size=1, max_size=2, unique=True),
    said=st.lists(votes(), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=7)
def test_what_goes_out_comes_in_as_it_was(
    suffix: str, prompts: list[str], answers: list[str], turns: bool, gold: bool, mode: str, names: list[str],
    said: list[dict[str, Any]], order: Any,
) -> None:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"votes{suffix}")
        with Labels(Path(folder, "one"), Clock()) as labels, Labels(Path(folder, "two"), Clock()) as other:
            labels.fill(item_of(record(n, text, answers, turns, gold)) for n, text in enumerate(prompts))
            labels.configure(mode=mode, overlap=2, repeat_share=0.0)
            for name in names:
                labels.invite(name)
            for number, one in enumerate(said):
                who = names[number % len(names)]
                if (view := labels.next(who)) is None:
                    continue
                given = {**one, "edit": one["edit"] and {"answer": view.shown[0], "text": one["edit"]}}
                if view.mode == "rank" and given["choice"] != "skip":
                    places = list(range(len(view.shown)))
                    order.shuffle(places)
                    given |= {"choice": "rank", "ranking": [places[:2], *places[2:]]}
                labels.vote(who, view.view, given.pop("choice"), **given)
            written = export_votes(labels, path)
            assert written == len(labels.votes())
            assert import_votes(other, path) == written
            assert by_content(other) == by_content(labels)
            assert sorted(map(str, other.comparisons())) == sorted(map(str, labels.comparisons()))
            asked = {item.key: (item.prompt, item.completions, item.models, item.gold) for item in labels.items()}
            for item in other.items():
                assert asked[item.key] == (item.prompt, item.completions, item.models, item.gold)
            assert import_votes(other, path) == import_votes(labels, path) == 0


def by_content(labels: Labels) -> list[str]:
    return sorted(json.dumps(vote, sort_keys=True) for vote in labels.votes())


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_items_without_votes_go_out_too_so_that_others_can_vote_on_them(
    label_set: Make, tmp_path: Path, suffix: str
) -> None:
    labels = label_set(2, answers=3)
    assert export_votes(labels, tmp_path / f"all{suffix}") == 0
    with Labels.open(tmp_path / "other") as other:
        assert import_votes(other, tmp_path / f"all{suffix}") == 0
        assert other.progress("")["total"] == 6


def test_label_studio_reads_the_better_answer_under_a_pairwise_control(label_set: Make, tmp_path: Path) -> None:
    labels = label_set(8)
    for _ in range(8):
        view = labels.next("ann")
        assert view is not None
        labels.vote("ann", view.view, "2" if view.shown[0] == 0 else "4")  # the first answer is better
    export_votes(labels, tmp_path / "votes.json")
    for task in json.loads((tmp_path / "votes.json").read_text()):
        (annotation,) = task["annotations"]
        found = {one["type"]: one["value"] for one in annotation["result"]}
        assert found == {"pairwise": {"selected": "left"}, "choices": {"choices": ["2"]}}
        assert task["data"]["text1"].endswith(".0")


def test_a_file_from_label_studio_comes_in(tmp_path: Path) -> None:
    data = {"prompt": "Name a river.", "text1": "The Rhine.", "text2": "No."}
    pairwise = {"from_name": "pw", "to_name": "text1,text2", "type": "pairwise", "value": {"selected": "right"}}
    annotations = [
        {"completed_by": 7, "created_at": "2026-01-02T03:04:05.678901Z", "lead_time": 4.25, "result": [pairwise]},
        {"completed_by": {"id": 8, "email": "b@example.org"}, "was_cancelled": True, "result": []},
        {"completed_by": 9, "result": []},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps([{"id": 1, "data": data, "annotations": annotations}]))
    with Labels.open(tmp_path / "set") as labels:
        assert import_votes(labels, tmp_path / "tasks.json") == 2
        one, two = labels.votes()
        assert (one["by"], one["choice"], one["seconds"], one["at"]) == (
            "7",
            "4",
            4.25,
            "2026-01-02T03:04:05.678+00:00",
        )
        assert (two["by"], two["choice"]) == ("b@example.org", "skip")
        assert [said["verdict"] for said in labels.comparisons()] == ["second", "skip"]
        assert labels.items()[0].completions == [assistant("The Rhine."), assistant("No.")]


def test_a_file_from_argilla_comes_in(tmp_path: Path) -> None:
    fields = {"prompt": "Name a river.", "answer_1": "The Rhine.", "answer_2": "No.", "answer_3": "Yes."}
    ranking = [{"user_id": "u1", "value": ["answer_3", "answer_1", "answer_2"]},
               {"user_id": "u2", "value": [{"value": "answer_1", "rank": 1}, {"value": "answer_2", "rank": 2},
                                           {"value": "answer_3", "rank": 3}]}]  # fmt: skip
    pair = {"fields": {**fields, "answer_3": "x"}, "responses": {"preference": []}}
    pair["fields"].pop("answer_3")
    pair["responses"] = {"preference": [{"user_id": "u1", "value": "1"}]}
    (tmp_path / "records.jsonl").write_text(
        "\n".join(json.dumps(one) for one in ({"fields": fields, "responses": {"ranking": ranking}}, pair))
    )
    with Labels.open(tmp_path / "set") as labels:
        assert import_votes(labels, tmp_path / "records.jsonl") == 3
        best = [vote["ranking"] for vote in labels.votes()]
        assert best == [[2, 0, 1], [0, 1, 2], None]
        assert len(list(labels.comparisons())) == 7


def test_a_table_of_texts_comes_in(tmp_path: Path) -> None:
    asked = "Name a river.,The Rhine.,No."
    (tmp_path / "votes.csv").write_text(f"\ufeffprompt,left,right,choice,by\n{asked},left,ann\n{asked},tie,ben\n")
    with Labels.open(tmp_path / "set") as labels:
        assert import_votes(labels, tmp_path / "votes.csv") == 2
        assert [said["verdict"] for said in labels.comparisons()] == ["first", "tie"]


def test_no_cell_is_a_formula(label_set: Make, tmp_path: Path) -> None:
    labels = label_set(0)
    labels.fill([item_of({"id": "1", "prompt": user("=1+1"), "completions": [assistant("@x"), assistant("-y")]})])
    view = labels.next("ann")
    assert view is not None
    labels.vote("ann", view.view, "1", note='=HYPERLINK("x")')
    export_votes(labels, tmp_path / "votes.csv")
    with (tmp_path / "votes.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("votes.txt", "", "votes are written and read as label_studio"),
        ("votes.json", "{", "is no JSON"),
        ("votes.json", "{}", "is a list of tasks"),
        ("votes.json", '[{"data": {"prompt": 1, "text1": "a", "text2": "b"}}]', "task 1: a prompt or an answer"),
        ("votes.jsonl", '{"fields"', "record 1: "),
        ("votes.csv", "prompt,left\n", "has no column 'by'"),
        ("votes.csv", "prompt,left,right,by,choice\np,a,b,ann,9\n", "row 2: a choice is one of"),
        ("votes.csv", "prompt,left,right,by,choice\np,a,b,,1\n", "row 2: a vote needs the name"),
        ("votes.csv", "prompt,left,right,by,choice,shown\np,a,b,ann,1,\"[0,7]\"\n", "row 2: no answers"),
        ("votes.csv", "prompt,left,right,by,choice,at\np,a,b,ann,1,noon\n", "row 2: a time is written as"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with Labels.open(tmp_path / "set") as labels, pytest.raises(InputError, match=said):
        import_votes(labels, tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with Labels.open(tmp_path / "set") as labels, pytest.raises(InputError, match="there is no file"):
        import_votes(labels, tmp_path / "votes.csv")
