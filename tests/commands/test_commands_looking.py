"""`factory show` and `factory trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from factory.commands.looking import print_record

if TYPE_CHECKING:
    from conftest import Lab


def test_show_draws_the_funnel_and_a_sample(lab: Lab) -> None:
    said = lab("show", "lab.yaml", "texts", "-n", "2")
    assert said.code == 0
    assert said.lines[0] == "texts: 8 records of type Text"
    assert said.lines[2].split() == ["step", "in", "kept", "dropped"]
    funnel = [line.split() for line in said.lines[3:8]]
    assert [row[0] for row in funnel] == ["read", "halves", "shout", "short", "halves"]
    assert "too long 2" in said.lines[6]
    assert sum(line.startswith("  text: ") for line in said.lines) == 2


def test_show_dropped_records_by_reason(lab: Lab) -> None:
    said = lab("show", "lab.yaml", "texts", "--dropped")
    assert "dropped by short: too long length" in said.out
    assert lab("show", "lab.yaml", "texts", "--reason", "too long").out == said.out
    assert "dropped by" not in lab("show", "lab.yaml", "texts", "--reason", "no such reason").out


def test_show_as_json(lab: Lab) -> None:
    found = lab("show", "lab.yaml", "once", "--json", "--dropped", "-n", "1").json
    assert found["target"] == "once"
    assert [line["step"] for line in found["funnel"]] == ["one_of_each"]
    (row,) = found["sample"]
    assert (row["reason"], row["step"]) == ("duplicate", "one_of_each")
    assert set(row) == {"id", "parents", "step", "reason", "details", "record", "meta"}


def test_show_a_model_and_metrics(lab: Lab) -> None:
    assert "a CausalLM in" in lab("show", "lab.yaml", "model").lines[0]
    assert "value: 6.0" in lab("show", "lab.yaml", "counted").out


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], ["answer 1: Seven.", "answer 2: Nine."]),
        ([0.75, 0.25], ["answer 1, score 0.75: Seven.", "answer 2, score 0.25: Nine."]),
    ],
)
def test_answers_are_shown_one_a_line(scores: list[float], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    answers = [[{"role": "assistant", "content": text}] for text in ("Seven.", "Nine.")]
    print_record({"id": "a", "parents": [], "meta": {}, "completions": answers, "scores": scores})
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == ["a  from nothing", *said]


@pytest.mark.parametrize("command", ["show", "trace"])
def test_what_is_not_there_or_not_built(lab: Lab, command: str) -> None:
    rest = ["abc"] if command == "trace" else []
    said = lab(command, "lab.yaml", "txets", *rest)
    assert (said.code, said.err) == (2, "no target 'txets'; did you mean 'texts'?\n")
    said = lab(command, "lab.yaml", "once", *rest, "--limit", "1")
    assert said.code == 2
    assert said.err.startswith("'once' is not built yet: factory build lab.yaml once")


def kept(lab: Lab, target: str) -> list[dict[str, object]]:
    return lab("show", "lab.yaml", target, "--json", "-n", "100").json["sample"]  # type: ignore[no-any-return]


def test_trace_goes_back_to_file_and_line_through_fused_flat_maps(lab: Lab) -> None:
    record = next(r for r in kept(lab, "pairs") if r["prompt"][0]["content"] == "YZ")  # type: ignore[index]
    said = lab("trace", "lab.yaml", "pairs", str(record["id"]))
    assert said.code == 0
    assert said.lines[0].startswith(f"{record['id']}  pairs: ask_toy")
    assert said.lines[-1].strip() == "data/1.jsonl#1"
    stops = lab("trace", "lab.yaml", "pairs", str(record["id"]), "--json").json
    assert [(stop["target"], stop["label"]) for stop in stops] == [
        ("pairs", "ask_toy"),
        ("once", "one_of_each"),
        ("texts", "read → halves → shout → short → halves"),
        ("", ""),
    ]
    assert stops[-1]["place"] == "data/1.jsonl#1"


def test_trace_by_the_beginning_of_an_id(lab: Lab) -> None:
    record = str(kept(lab, "once")[0]["id"])
    whole = lab("trace", "lab.yaml", "once", record)
    assert lab("trace", "lab.yaml", "once", record[:10]).out == whole.out
    said = lab("trace", "lab.yaml", "once", "")
    assert said.code == 2
    assert "begins" in said.err
    said = lab("trace", "lab.yaml", "once", "nothing")
    assert (said.code, said.err) == (2, "'once' has no record 'nothing', neither kept nor dropped\n")


def test_trace_a_dropped_record(lab: Lab) -> None:
    (row,) = lab("show", "lab.yaml", "once", "--json", "--dropped", "-n", "1").json["sample"]
    said = lab("trace", "lab.yaml", "once", row["id"])
    assert "dropped by one_of_each: duplicate" in said.lines[0]
    assert "data/" in said.lines[-1]
    (row,) = lab("show", "lab.yaml", "texts", "--json", "--dropped", "-n", "1").json["sample"]
    assert lab("trace", "lab.yaml", "texts", row["id"]).lines[-1].strip() == "data/0.jsonl#2"


def test_trace_through_two_branches_and_a_metric(lab: Lab) -> None:
    steps = "b: {from: [a, a], steps: [how_many]}, c: {from: [a, a], steps: [halves]}"
    lab.write("two.yaml", f"targets: {{a: {{from: data/*.jsonl}}, {steps}}}")
    lab("build", "two.yaml", "--quiet")
    for target in ("b", "c"):
        for record in lab("show", "two.yaml", target, "--json", "-n", "100").json["sample"]:
            places = [
                line.strip() for line in lab("trace", "two.yaml", target, record["id"]).lines if ".jsonl#" in line
            ]
            assert len(places) == (3 if target == "b" else 1)
