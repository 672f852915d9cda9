"""`factory export` and `factory new`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Lab


def test_export_jsonl_as_it_is(lab: Lab) -> None:
    said = lab("export", "lab.yaml", "once", "out/once.jsonl")
    assert (said.code, said.out) == (0, "6 records in out/once.jsonl, described in out/once.jsonl.md\n")
    rows = [json.loads(line) for line in (lab.root / "out" / "once.jsonl").read_text().splitlines()]
    assert sorted(row["text"] for row in rows) == ["AB", "CD", "EF", "GH", "WX", "YZ"]


def test_export_alpaca(lab: Lab) -> None:
    assert lab("export", "lab.yaml", "pairs", "pairs.jsonl", "--form", "alpaca").code == 0
    row = json.loads((lab.root / "pairs.jsonl").read_text().splitlines()[0])
    assert len(row["instruction"]) == 2
    assert len(row["output"]) == 16


def test_what_cannot_be_exported(lab: Lab) -> None:
    said = lab("export", "lab.yaml", "model", "model.jsonl")
    assert said.code == 2
    assert "'model' is a model; name a folder, or a file that ends in .gguf; it lies in" in said.err
    lab.write("mine/notes.txt", "mine")
    said = lab("export", "lab.yaml", "model", "mine")
    assert said.code == 2
    assert "is there already and not empty; it is left as it is" in said.err
    assert [path.name for path in (lab.root / "mine").iterdir()] == ["notes.txt"]
    said = lab("export", "lab.yaml", "pairs", "pairs.docx")
    assert said.code == 2
    assert ".jsonl" in said.err
    assert lab("export", "lab.yaml", "pairs", "pairs.jsonl", "--form", "alpacca").code == 2
    assert not (lab.root / "pairs.jsonl").exists()


def test_new_lists_and_copies_recipes_that_work_where_they_are_put(lab: Lab) -> None:
    said = lab("new")
    assert said.code == 0
    assert said.lines[0].split()
    assert any(line.startswith("quickstart") for line in said.lines)
    said = lab("new", "quickstart", "mine")
    assert said.code == 0
    assert (lab.root / "mine" / "quickstart.yaml").exists()
    assert (lab.root / "mine" / "seeds" / "python.jsonl").exists()
    assert said.lines[-1] == "Next: factory build mine/quickstart.yaml"
    said = lab("new", "quickstart", "mine")
    assert said.code == 2
    assert "is there already; it is left as it is" in said.err


def test_new_knows_the_nearest_name(lab: Lab) -> None:
    said = lab("new", "quikstart")
    assert said.code == 2
    assert "did you mean 'quickstart'?" in said.err
