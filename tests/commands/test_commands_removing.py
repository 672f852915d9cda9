"""`factory forget` and `factory gc`: what must go goes everywhere, what is needed stays."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import Lab

PLACE = "data/0.jsonl#1"  # "abcdefgh", whose parts abcd- share with the row in the other file


def everywhere(lab: Lab, text: str) -> list[str]:
    """Files of the store and results that hold a text."""
    found = []
    for path in [*(lab.root / ".factory").rglob("*"), *(lab.root / "build").rglob("*")]:
        if path.suffix == ".parquet":
            content = json.dumps(pq.read_table(path).to_pylist())
        elif path.is_file() and path.suffix in (".json", ".jsonl", ".html"):
            content = path.read_text()
        else:
            continue
        if text in content:
            found.append(str(path.relative_to(lab.root)))
    return found


def test_a_forgotten_record_is_gone_from_every_artifact_and_never_read_again(lab: Lab) -> None:
    assert everywhere(lab, "EF")
    said = lab("forget", "lab.yaml", PLACE, "--yes", "--json")
    assert said.code == 0
    rows = said.json["artifacts"]
    assert [row["target"] for row in rows[:3]] == ["texts", "once", "pairs"]
    assert {row["target"]: row["model"] for row in rows[3:]} == {"counted": False, "model": True}
    assert (rows[0]["stage"], rows[0]["kept"]) == ("read → halves → shout → short → halves", 4)
    assert said.json["responses"] == 4, "answers about AB, CD, EF and GH"
    left = [path for path in everywhere(lab, "EF") if "report.html" not in path]
    assert left == []
    forgotten = (lab.root / "forgotten.jsonl").read_text()
    assert json.loads(forgotten) == {"id": said.json["id"], "place": PLACE}
    said = lab("build", "lab.yaml", "once", "--json")
    assert said.json["targets"]["texts"]["records"] == 4
    assert everywhere(lab, "EF") == []
    (read,) = lab("show", "lab.yaml", "texts", "--json", "--reason", "forgotten").json["sample"]
    assert (read["id"], read["parents"], read["record"]) == (json.loads(forgotten)["id"], [PLACE], {})
    assert (lab.root / "data" / "0.jsonl").read_text().startswith('{"text": "abcdefgh"}'), "the file is yours"


def test_other_shards_are_not_made_again(lab: Lab) -> None:
    assert lab("forget", "lab.yaml", PLACE, "--yes").code == 0
    rows = {row["target"]: row for row in lab("plan", "lab.yaml", "--json").json}
    assert (rows["texts"]["tasks"], rows["texts"]["tasks_stored"]) == (2, 1)
    base = sqlite3.connect(lab.root / ".factory" / "responses.sqlite")
    before = base.execute("SELECT count(*) FROM responses").fetchone()[0]
    assert before == 2, "the answers about what comes from the other row"
    base.close()


def test_forgetting_by_id_asks_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = lab("show", "lab.yaml", "texts", "--json", "--reason", "too long", "-n", "1").json["sample"]
    before = lab.files()
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: "n")
    said = lab("forget", "lab.yaml", row["id"])
    assert "data/0.jsonl#2" in said.out
    assert (said.code, said.lines[-1]) == (0, "nothing is removed")
    assert lab.files() == before
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: "y")
    said = lab("forget", "lab.yaml", row["id"])
    assert said.code == 0
    assert "removed 1 artifacts and 0 model responses; forgotten.jsonl keeps the record out" in said.out
    assert lab("plan", "lab.yaml").lines[0].startswith(("runs", "resumes"))


def test_what_another_recipe_or_an_older_option_made_of_it_goes_too(lab: Lab) -> None:
    lab.write("other.yaml", "targets: {other: {from: data/*.jsonl, steps: [measure]}}")
    assert lab("build", "other.yaml", "--quiet").code == 0
    assert lab("build", "lab.yaml", "once", "--set", "texts.short.n=5", "--quiet").code == 0
    assert lab("build", "lab.yaml", "texts", "--limit", "1", "--quiet").code == 0
    assert lab("forget", "lab.yaml", PLACE, "--yes").code == 0
    assert [path for path in everywhere(lab, "EF") if "report.html" not in path] == []
    assert [path for path in everywhere(lab, "abcdefgh") if "report.html" not in path] == []


def test_what_a_killed_build_left_of_it_goes_too(lab: Lab) -> None:
    assert lab("build", "lab.yaml", "texts", "--set", "texts.short.n=5", "--quiet").code == 0
    for path in (lab.root / ".factory" / "artifacts").glob("*/manifest.json"):
        if '"n": 5' in path.read_text():
            path.unlink()
    assert lab("forget", "lab.yaml", PLACE, "--yes").code == 0
    assert [path for path in everywhere(lab, "EF") if "report.html" not in path] == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["lab.yaml", "data/0.jsonl#9", "--yes"], "no source of lab.yaml has a record at 'data/0.jsonl#9'"),
        (["lab.yaml", "nothing", "--yes"], "no built target of lab.yaml has a record 'nothing'"),
        (["lab.yaml", PLACE, "--json"], "--json asks nothing: add --yes"),
        (["nowhere.yaml", PLACE], "there is no recipe 'nowhere.yaml'"),
    ],
)
def test_what_cannot_be_forgotten(lab: Lab, args: list[str], said: str) -> None:
    before = lab.files()
    answer = lab("forget", *args)
    assert answer.code == 2
    assert said in answer.err
    assert lab.files() == before


def test_a_record_made_from_several_is_forgotten_by_place(lab: Lab) -> None:
    (row,) = lab("show", "lab.yaml", "counted", "--json").json["sample"]
    said = lab("forget", "lab.yaml", row["id"], "--yes")
    assert said.code == 2
    assert "forget the place you mean: data/0.jsonl#1, data/1.jsonl#1" in said.err


def artifacts(lab: Lab) -> set[str]:
    return {path.name for path in (lab.root / ".factory" / "artifacts").iterdir()}


def test_gc_keeps_what_recipes_reach_and_removes_the_rest(lab: Lab) -> None:
    reached, tasks = artifacts(lab), lab.files()
    assert lab("build", "lab.yaml", "once", "--set", "texts.short.n=5", "--quiet").code == 0
    assert len(artifacts(lab)) == len(reached) + 2
    grown = lab.files()
    said = lab("gc", "--dry-run")
    assert said.code == 0
    assert said.out.startswith("would remove ")
    assert lab.files() == grown
    said = lab("gc", "--json")
    assert said.json["removed"] > 2
    assert said.json["dry_run"] is False
    assert artifacts(lab) == reached
    assert {path for path in lab.files() if ".factory" in path and "locks" not in path} == {
        path for path in tasks if ".factory" in path and "locks" not in path
    }
    assert (lab.root / ".factory" / "responses.sqlite").exists()
    assert lab("gc", "--json").json["removed"] == 0
    assert all(row["state"] == "stored" for row in lab("plan", "lab.yaml", "--json").json)


def test_gc_where_no_recipe_says_what_to_keep_removes_nothing(lab: Lab) -> None:
    for path in lab.root.glob("*.y*ml"):
        path.unlink()
    before = lab.files()
    said = lab("gc")
    assert said.code == 2
    assert "there is no recipe in" in said.err
    assert lab.files() == before


def test_gc_knows_recipes_by_their_other_ending_and_in_other_folders(lab: Lab) -> None:
    recipe = lab.root / "elsewhere" / "lab.yml"
    recipe.parent.mkdir()
    (lab.root / "lab.yaml").rename(lab.root / "lab.yml")
    assert lab("gc", "--json").json["removed"] == 0
    assert lab("build", "lab.yml").code == 0
    (lab.root / "lab.yml").rename(recipe)
    assert lab("build", "elsewhere/lab.yml").code == 0
    assert lab("gc", "--json").json["removed"] == 0
    assert artifacts(lab)


def test_gc_removes_what_no_recipe_reaches_but_no_responses(lab: Lab) -> None:
    (lab.root / "lab.yaml").unlink()
    lab.write("other.yaml", "targets: {other: {from: data/*.jsonl}}\n")
    assert lab("gc").out.startswith("removed ")
    assert artifacts(lab) == set()
    assert not list((lab.root / ".factory" / "tasks").glob("*/*"))
    assert (lab.root / ".factory" / "responses.sqlite").exists()


def test_gc_stops_at_a_recipe_with_mistakes_and_passes_other_yaml(lab: Lab) -> None:
    lab.write("compose.yaml", "services: {}\n")
    assert lab("gc", "--json").json["removed"] == 0
    lab.write("broken.yaml", "targets: {a: {from: nowhere.jsonl}}\n")
    before = lab.files()
    said = lab("gc")
    assert said.code == 2
    assert "broken.yaml:1: no file matches nowhere.jsonl" in said.err
    assert "nothing was removed" in said.err
    assert lab.files() == before


def test_gc_keeps_what_an_unfinished_build_goes_on_from(lab: Lab) -> None:
    manifest = next(
        Path(p) for p in (lab.root / ".factory" / "artifacts").glob("*/manifest.json") if '"texts"' in p.read_text()
    )
    manifest.unlink()
    lab("gc")
    rows = lab("plan", "lab.yaml", "--json").json
    assert (rows[0]["state"], rows[0]["tasks_stored"]) == ("resumes", 2)
