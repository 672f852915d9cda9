"""The laws of the design page, on random small corpora through random chains of toy steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from factory.engine.schema import schema_of

if TYPE_CHECKING:
    from conftest import Project

    from factory.engine.stage import Plan, Stage

texts = st.text(alphabet="aAxé \n", max_size=4)
rows = st.one_of(
    st.builds(lambda text: {"text": text}, texts),
    st.builds(
        lambda text, own: {"text": text, "id": own, "tag": 1.5, "meta": {"score": own}}, texts, st.integers(0, 2)
    ),
    st.just({"id": 1}),
)
lines = st.one_of(rows.map(json.dumps), st.sampled_from(["", "{", '{"text": 3}', '{"text": "\\ud800"}', "[1]"]))
files = st.lists(st.lists(lines, max_size=6), min_size=1, max_size=2)

same_type = st.sampled_from(
    [
        "shout",
        "measure",
        "halves",
        "short: {n: 2}",
        "no_x",
        "trimmed",
        "one_of_each",
        "not_too_common",
        "dedup_exact",
        "invent: {count: 3}",
        "first_few: {n: 2}",
    ]
)
chains = st.builds(
    lambda steps, last: [*steps, *last],
    st.lists(same_type, max_size=5),
    st.sampled_from([[], [], ["echo"], ["echo: {k: 3}", "no_x"], ["paired", "no_x"]]),
)
sources = st.sampled_from(["one", "[one, one]", "[one, data/*.jsonl]", "data/*.jsonl", "[one, one, one]"])


def written(project: Project, corpus: list[list[str]], chains: list[list[str]], source: str) -> None:
    """A corpus of jsonl files and a recipe of three targets."""
    corpus = [['{"text": "xx"}', *corpus[0]], *corpus[1:]]  # the first row says what type they all are
    for number, rows in enumerate(corpus):
        project.write(f"data/{number}.jsonl", "".join(f"{row}\n" for row in rows))
    one, two = (json.dumps(chain).replace('"', "") for chain in chains)
    project.recipe(f"""
        targets:
          one: {{from: data/*.jsonl, steps: {one}}}
          two: {{from: {source}, steps: {two}}}
          size: {{from: [two], steps: [how_many]}}
    """)


# Each example is three builds, and shrinking one would take minutes: a failing example is small as it is.
tiny = settings(
    max_examples=9, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@tiny
@given(files, st.lists(same_type, max_size=4), chains, sources)
def test_ids_parents_accounts_and_columns(
    new_project: Callable[[], Project], corpus: list[list[str]], one: list[str], two: list[str], source: str
) -> None:
    project = new_project()
    written(project, corpus, [one, two], source)
    project.build()
    assert project.result
    plan = project.result.plan
    for stage in plan.stages:
        check_account(stage, plan)
        check_columns(stage)
    before = project.written()
    again = project.build()
    assert (again.stages, again.tasks) == ([], {})
    assert project.written() == before


def stored(stage: Stage) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every kept and every dropped record that lies in an artifact's files."""
    kept, dropped = (
        [row for path in sorted(stage.folder.glob(name)) for row in pq.read_table(path).to_pylist()]
        for name in ("shard-*.parquet", "dropped-*.parquet")
    )
    return kept, dropped


def check_account(stage: Stage, plan: Plan) -> None:
    """Laws 2 and 3, recomputed from what lies in the artifact and in those it was made from."""
    kept, dropped = stored(stage)
    ids, gone = [row["id"] for row in kept], [row["id"] for row in dropped]
    assert len(set(ids)) == len(ids)
    assert len(set(gone)) == len(gone)
    assert not set(ids) & set(gone)
    mentioned = {name for row in (*kept, *dropped) for name in (row["id"], *row["parents"])}
    if stage.source is None:
        came_in = [row["id"] for one in stage.inputs for row in stored(one)[0]]
        arrived = set(came_in)
        unresolved = [
            row for row in (*kept, *dropped) if row["id"] not in arrived and not arrived.issuperset(row["parents"])
        ]
        assert not unresolved, f"{stage}: {unresolved}"
    else:
        files = sorted((plan.project / "data").iterdir())
        came_in = [f"data/{path.name}#{n}" for path in files for n, row in enumerate(path.open(), 1) if row.strip()]
        came_in += [f"data/{path.name}" for path in files if not path.read_text().strip()]  # dropped as empty
        arrived = set(came_in)
        assert {place for row in (*kept, *dropped) for place in row["parents"]} <= arrived
    assert arrived <= mentioned, f"{stage}: {arrived - mentioned} vanished"
    manifest = stage.manifest
    assert manifest
    assert manifest["counts"] == {"in": len(came_in), "out": len(kept), "dropped": len(dropped)}
    funnel = manifest["funnel"]
    for line, after in zip(funnel, [*funnel[1:], None], strict=True):
        assert line["in"] + line["made"] == line["out"] + line["parted"] + sum(line["reasons"].values())
        assert after is None or after["in"] == line["out"]
    assert (funnel[0]["in"], funnel[-1]["out"]) == (len(came_in), len(kept))
    for row in dropped:
        assert row["step"]
        assert row["reason"]
        assert all(isinstance(orjson.loads(row[name]), dict) for name in ("details", "record", "meta"))


def check_columns(stage: Stage) -> None:
    """Law 10: the declared columns in order in every shard, all else in meta."""
    for path in stage.folder.glob("shard-*.parquet"):
        schema, wanted = pq.read_schema(path), schema_of(stage.gives)
        assert schema.metadata == wanted.metadata
        assert str(schema).replace("element", "item") == str(wanted), "Parquet has its own word for a list's items"
        for row in pq.read_table(path).to_pylist():
            assert isinstance(orjson.loads(row["meta"]), dict)


@pytest.mark.builds
def test_serial_and_two_processes_give_equal_bytes(new_project: Callable[[], Project]) -> None:
    corpus = [
        [json.dumps({"text": text, "n": 1}) for text in ("one", "two", "xyz", "two", "a")],
        ['{"text": "four"}', "{"],
    ]
    chains = [["shout", "halves", "one_of_each", "no_x"], ["not_too_common", "measure", "echo"]]
    found = []
    for executor in ("serial", "local:2"):
        project = new_project()
        written(project, corpus, chains, "[one, data/*.jsonl]")
        project.build(executor=executor)
        found.append(project.artifacts())
    assert found[0].keys() == found[1].keys()
    assert found[0] == found[1]
    assert len(found[0]) > 20


def test_a_source_gives_ids_by_place_and_content_and_its_own_id_moves_to_meta(project: Project) -> None:
    project.write("a.jsonl", '{"text": "same", "id": "own"}\n{"text": "same", "id": "own"}\n')
    project.recipe("targets: {texts: {from: a.jsonl}}")
    project.build()
    one, two = project.records("texts")
    assert one["id"] != two["id"]
    assert [one["parents"], two["parents"]] == [["a.jsonl#1"], ["a.jsonl#2"]]
    assert one["meta"] == two["meta"] == {"id": "own"}
    project.write("a.jsonl", '{"text": "same", "id": "own"}\n{"text": "other", "id": "own"}\n')
    project.build()
    assert [
        record["id"] == before["id"] for record, before in zip(project.records("texts"), (one, two), strict=True)
    ] == [
        True,
        False,
    ]


def test_ids_do_not_depend_on_where_the_project_lies(new_project: Callable[[], Project]) -> None:
    found = []
    for project in (new_project(), new_project()):
        project.lines("a.jsonl", "one", "two")
        project.recipe("targets: {texts: {from: a.jsonl, steps: [halves, one_of_each]}}")
        project.build()
        found.append(project.artifacts())
    assert found[0] == found[1]


def test_rows_of_one_place_with_equal_content_get_different_ids(project: Project) -> None:
    instance = {"input": "", "output": "yes"}
    project.write("seeds.jsonl", json.dumps({"instruction": "Say yes.", "instances": [instance, instance]}))
    project.recipe("targets: {pairs: {from: seeds.jsonl}}")
    project.build()
    assert len({record["id"] for record in project.records("pairs")}) == 2


def test_three_equal_rows_leave_one_after_dedup(project: Project) -> None:
    project.lines("a.jsonl", "same", "same", "same")
    project.recipe("targets: {texts: {from: a.jsonl, steps: [dedup_exact]}}")
    project.build()
    (kept,) = project.records("texts")
    assert kept["parents"] == ["a.jsonl#1"]
    assert [(row["reason"], row["details"]) for row in project.dropped("texts")] == [
        ("duplicate", {"of": kept["id"]})
    ] * 2


def test_four_equal_samples_get_four_ids(project: Project) -> None:
    project.lines("a.jsonl", "one")
    project.recipe("targets: {pairs: {from: a.jsonl, steps: [echo: {k: 4}]}}")
    project.build()
    records = project.records("pairs")
    assert len({record["id"] for record in records}) == 4
    assert len({tuple(record["parents"]) for record in records}) == 1, "all are children of the text"


@pytest.mark.parametrize("steps", ["[]", "[shout]", "[halves]", "[echo]", "[one_of_each]", "[how_many]", "[invent]"])
def test_an_id_met_through_two_branches_is_renumbered_and_resolves(project: Project, steps: str) -> None:
    project.lines("a.jsonl", "one", "two")
    project.recipe(f"""
        targets:
          texts: {{from: a.jsonl}}
          both: {{from: [texts, texts, texts], steps: {steps}}}
    """)
    project.build()
    assert project.result
    for stage in project.result.plan.stages:
        check_account(stage, project.result.plan) if stage.source is None else None
    if steps in ("[]", "[shout]"):
        assert len({record["id"] for record in project.records("both")}) == 6


def test_details_stand_apart_from_the_reason(project: Project) -> None:
    project.lines("a.jsonl", "one", "seventeen", "thirteen")
    project.recipe("targets: {texts: {from: a.jsonl, steps: [short]}}")
    project.build()
    assert [(row["step"], row["reason"], row["details"]) for row in project.dropped("texts")] == [
        ("short", "too long", {"length": 9}),
        ("short", "too long", {"length": 8}),
    ]
    assert project.dropped("texts")[0]["record"] == {"text": "seventeen"}
    assert project.dropped("texts")[0]["parents"] == ["a.jsonl#2"]


def test_children_of_a_fused_stage_have_places_as_parents(project: Project) -> None:
    project.lines("a.jsonl", "eight888")
    project.recipe("targets: {texts: {from: a.jsonl, steps: [halves, halves, halves]}}")
    project.build()
    assert [record["text"] for record in project.records("texts")] == list("eight888")
    assert {tuple(record["parents"]) for record in project.records("texts")} == {("a.jsonl#1",)}


def test_fields_that_are_no_columns_survive_later_rows_and_steps(project: Project) -> None:
    rows = [{"text": "a"}, {"text": "b", "late": 1}, {"text": "c", "late": {"deep": [1, "x"]}}]
    project.write("a.jsonl", "\n".join(map(json.dumps, rows)))
    project.recipe("targets: {texts: {from: a.jsonl, steps: [measure, trimmed, halves]}}")
    project.build()
    assert [record["meta"] for record in project.records("texts")] == [
        {"characters": 1},
        {"characters": 1, "late": 1},
        {"characters": 1, "late": {"deep": [1, "x"]}},
    ]


def test_what_a_stream_does_not_take_is_dropped_as_not_used(project: Project) -> None:
    project.lines("a.jsonl", "one", "two", "three", "four")
    project.recipe("targets: {texts: {from: a.jsonl, steps: [first_few: {n: 2}]}}")
    project.build()
    assert [record["text"] for record in project.records("texts")] == ["one", "two"]
    assert [(row["record"]["text"], row["reason"]) for row in project.dropped("texts")] == [
        ("three", "not used"),
        ("four", "not used"),
    ]


def test_a_stream_keeps_what_it_says_nothing_about_in_the_account(project: Project) -> None:
    project.lines("a.jsonl", "Apple", "apple", "pear")
    project.recipe("targets: {pairs: {from: a.jsonl, steps: [echo]}}")
    project.build()
    reasons = {row["record"]["text"]: row["reason"] for row in project.dropped("pairs")}
    assert reasons == {"Apple": "begins with A", "apple": "not used"}


def test_rejected_candidates_are_dropped_records_even_when_they_equal_a_kept_one(project: Project) -> None:
    project.lines("a.jsonl", "one")
    project.recipe("targets: {texts: {from: a.jsonl, steps: [invent: {count: 4}]}}")
    project.build()
    (kept,) = project.records("texts")
    dropped = project.dropped("texts")
    assert [row["details"] for row in dropped] == [{"draw": 1}, {"draw": 2}, {"draw": 3}]
    assert {row["id"] for row in dropped}.isdisjoint({kept["id"]})
    assert all(row["parents"] == kept["parents"] for row in dropped)


def test_outputs_of_a_stream_lie_in_the_shard_of_their_parent(project: Project) -> None:
    for number in range(4):
        project.write(f"data/{number}.txt", f"text {number}")
    project.recipe("""
        targets:
          texts: {from: data/*.txt}
          pairs: {from: [texts, texts], steps: [echo]}
    """)
    project.build()
    assert project.result
    (read, stream) = project.result.plan.stages
    before, after = ([pq.read_table(p).to_pylist() for p in sorted(s.folder.glob("shard-*"))] for s in (read, stream))
    assert len(before) > 1
    assert [[row["id"] for row in shard for _ in range(2)] for shard in before * 2] == [
        [row["parents"][0] for row in shard] for shard in after
    ]
