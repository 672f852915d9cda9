"""`factory build` and `factory plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Lab

TROUBLE = """
import factory
from collections.abc import Iterator
from factory import Dataset, Pending, Text

@factory.step
def breaks(record: Text) -> Text:
    raise ValueError("not this one")

@factory.step
def waits(dataset: Dataset[Text]) -> Iterator[Text]:
    raise Pending("12 of 30 votes missing")

@factory.step
def interrupted(record: Text) -> Text:
    raise KeyboardInterrupt

@factory.hookimpl
def register_steps():
    return [breaks, waits, interrupted]
"""


def test_building_again_says_where_everything_lies(lab: Lab) -> None:
    said = lab("build", "lab.yaml")
    assert said.code == 0
    assert all(name in said.out for name in ("build/lab", "texts", "once", "pairs", "counted", "model"))
    assert "build/lab/report.html" in said.out
    assert "records" in said.out, "metrics are printed"
    assert sum(line.startswith("stored") for line in said.err.splitlines()) == 5
    assert "built" not in said.err
    assert (lab.root / "build" / "lab" / "report.html").exists()
    assert (lab.root / "build" / "lab" / "pairs" / "manifest.json").exists()


def test_only_the_targets_named_are_built(lab: Lab) -> None:
    said = lab("build", "lab.yaml", "once")
    assert "once" in said.out
    assert "pairs" not in said.out
    said = lab("build", "lab.yaml", "onse")
    assert (said.code, said.out) == (2, "")
    assert said.err == "lab.yaml: no target 'onse'; did you mean 'once'?\n"


def test_a_limit_and_a_setting_make_another_version(lab: Lab) -> None:
    said = lab("build", "lab.yaml", "texts", "--limit", "1", "--json")
    assert said.json["targets"]["texts"]["records"] == 4
    said = lab("build", "lab.yaml", "texts", "--set", "texts.short.n=1", "--json")
    assert said.json["targets"]["texts"]["records"] == 0
    said = lab("build", "lab.yaml", "texts", "--set", "texts.short.m=1")
    assert said.code == 2
    assert said.err == "lab.yaml:5: short has no option 'm'; known: n\n"


def test_quiet_prints_nothing(lab: Lab) -> None:
    said = lab("build", "lab.yaml", "once", "--set", "texts.short.n=5", "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_json_is_for_a_program(lab: Lab) -> None:
    said = lab("build", "lab.yaml", "--json")
    assert said.err == ""
    targets = said.json["targets"]
    assert list(targets) == ["texts", "once", "pairs", "counted", "model"]
    assert (targets["pairs"]["type"], targets["pairs"]["records"], targets["pairs"]["state"]) == (
        "PromptCompletion",
        6,
        "complete",
    )
    assert targets["model"]["path"].endswith("/model")
    assert said.json["recipe"] == "lab"
    assert said.json["pending"] == {}


def test_exit_codes_tell_what_happened(lab: Lab) -> None:
    lab.write("plugins/trouble.py", TROUBLE)
    for step in ("breaks", "waits", "interrupted"):
        lab.write(f"{step}.yaml", f"targets: {{t: {{from: data/*.jsonl, steps: [{step}]}}, u: {{from: t}}}}")
    said = lab("build", "breaks.yaml")
    assert said.code == 1
    assert "breaks failed on record" in said.err
    assert "data/" in said.err
    assert "ValueError: not this one" in said.err
    assert "To go on from there: factory build breaks.yaml" in said.err
    assert "Traceback" not in said.err
    said = lab("build", "waits.yaml")
    assert said.code == 3
    assert "t: 12 of 30 votes missing" in said.out
    said = lab("build", "waits.yaml", "--json")
    assert (said.code, said.json["pending"]) == (3, {"t": "12 of 30 votes missing"})
    assert [target["state"] for target in said.json["targets"].values()] == ["pending", "pending"]
    said = lab("build", "interrupted.yaml")
    assert said.code == 130
    assert "the same command goes on from there" in said.err


def test_a_mistake_in_the_recipe_writes_nothing(lab: Lab) -> None:
    lab.write("bad.yaml", "name: bad\ntargets:\n  a: {from: b}\n  c: {from: data/*.jsonl, steps: [shuot]}\n")
    before = lab.files()
    for command in ("build", "plan"):
        said = lab(command, "bad.yaml")
        assert (said.code, said.out) == (2, "")
        assert said.err.splitlines() == [
            "bad.yaml:3: no target 'b'; known: a, c (a file or folder is written './b')",
            "bad.yaml:4: no step 'shuot'; did you mean 'shout'?",
        ]
    assert lab.files() == before


@pytest.mark.parametrize("executor", ["loca:2", "local:0", "serial:3"])
def test_an_executor_that_is_none(lab: Lab, executor: str) -> None:
    said = lab("build", "lab.yaml", "--executor", executor)
    assert said.code == 2
    assert executor in said.err


def test_a_store_elsewhere(lab: Lab) -> None:
    said = lab("--store", "../store", "build", "lab.yaml", "texts", "--quiet")
    assert said.code == 0
    assert (lab.root.parent / "store" / "artifacts").is_dir()
    assert lab("--store", "../store", "plan", "lab.yaml", "texts").lines[0].startswith("stored")


def test_the_plan_says_what_is_stored_what_runs_and_what_it_may_cost(lab: Lab) -> None:
    said = lab("plan", "lab.yaml")
    assert said.code == 0
    assert [line.split()[:2] for line in said.lines[:5]] == [
        ["stored", name] for name in ("texts", "once", "pairs", "counted", "model")
    ]
    assert "8 records" in said.lines[0]
    assert "5 stages are stored" in said.lines[-1]
    said = lab("plan", "lab.yaml", "--set", "pairs.ask_toy.n=3")
    assert [line.split()[0] for line in said.lines[:5]] == ["stored", "stored", "runs", "runs", "runs"]
    assert "at most 18 model calls" in said.lines[2]
    assert "at most 18 model calls" in said.lines[-1]
    said = lab("plan", "lab.yaml", "--set", "texts.short.n=3")
    assert "model calls unknown until its input is built" in said.lines[2]
    assert "pairs" in said.lines[-1]


def test_the_plan_knows_what_resumes_and_writes_nothing(lab: Lab) -> None:
    before = lab.files()
    lab.write("data/2.jsonl", '{"text": "new"}\n')
    rows = lab("plan", "lab.yaml", "--json").json
    assert [row["state"] for row in rows] == ["resumes", "runs", "runs", "runs", "runs"]
    assert (rows[0]["tasks"], rows[0]["tasks_stored"]) == (3, 2)
    assert (rows[2]["kind"], rows[2]["calls"]) == ("stream", None)
    assert lab.files() - before == {"data/2.jsonl"}
    assert lab("plan", "nowhere.yaml").code == 2
