"""Steps that run once, here or in a process of their own: what they leave, and what is said when they go wrong."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import factory
from factory import CausalLM, Context, InputError, PluginError, StepError
from factory.plugins import pm

if TYPE_CHECKING:
    from conftest import Project

FAULTY = """
import os
import sys
from collections.abc import Iterator

import factory
from factory import CausalLM, Context, Dataset, Drop, Drops, Pending, Record, Text, derive

@factory.step
def dies(dataset: Dataset[Record], ctx: Context) -> CausalLM:
    print("something was said", file=sys.stderr, flush=True)
    os._exit(7)

@factory.step
def fails(dataset: Dataset[Record], ctx: Context) -> CausalLM:
    ctx.output.mkdir()
    raise ValueError("no gradient")

@factory.step
def saves_nothing(dataset: Dataset[Record], ctx: Context) -> CausalLM:
    return CausalLM("x")

@factory.step
def waits(dataset: Dataset[Record], ctx: Context, votes: int = 12) -> Iterator[Record]:
    if not (factory.project_root() / "votes").exists():
        raise Pending(f"{votes} of 30 votes missing")
    yield from dataset

@factory.step
def raises(records: Iterator[Text]) -> Iterator[Text]:
    for number, record in enumerate(records):
        yield record
        if number == 1:
            raise ValueError("enough")

@factory.step
def raises_drop(records: Iterator[Text]) -> Iterator[Text]:
    raise Drop("not so")
    yield

@factory.step
def keeps_and_drops(records: Iterator[Text], ctx: Context) -> Iterator[Text]:
    for record in records:
        ctx.drop(record, "both")
        yield record

@factory.step
def no_record(records: Iterator[Text]) -> Iterator[Text]:
    yield None

@factory.step
def no_drops(dataset: Dataset[Text]) -> Drops:
    return None

@factory.step
def maps_lambda(dataset: Dataset[Text], ctx: Context) -> Drops:
    return Drops(ctx.map(lambda shard: 1, dataset.shards))

@factory.step
def asks_a_shard(record: Text, ctx: Context) -> Text:
    ctx.log(1, loss=1)
    return record

@factory.hookimpl
def register_steps():
    return [value for value in globals().values() if isinstance(value, factory.Step)]
"""


@pytest.fixture
def faulty(project: Project) -> Project:
    project.write("plugins/faulty.py", FAULTY)
    project.lines("a.jsonl", "one", "two", "three")
    return project


@pytest.mark.builds
def test_a_model_is_trained_and_transformed(project: Project) -> None:
    project.lines("a.jsonl", "one", "two", "three")
    project.recipe("""
        targets:
          texts: {from: a.jsonl, steps: [short: {n: 3}]}
          model: {from: texts, steps: [toy_train: {epochs: 3}]}
          half: {from: model, steps: [toy_halve]}
    """)
    ran = project.build()
    assert ran.stages == ["texts: read → short", "model: toy_train", "half: toy_halve"]
    assert project.result
    half, model = project.result["half"], project.result["model"]
    assert isinstance(half, CausalLM)
    assert isinstance(model, CausalLM)
    assert half.path
    assert json.loads((half.path / "config.json").read_text()) == {"records": 1.0, "epochs": 3}
    assert half.identity == project.result.plan.targets["half"].fingerprint
    stage = project.result.plan.targets["model"]
    logged = [json.loads(line) for line in (stage.folder / "metrics.jsonl").read_text().splitlines()]
    assert logged == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": 1 / 3}]
    assert stage.manifest
    assert stage.manifest["counts"] == {"in": 2, "out": 0, "dropped": 0}
    assert not list(project.root.glob(".factory/work/*")), "what was kept for resuming goes when the stage is complete"
    assert project.build().stages == []
    with pytest.raises(InputError, match="this build has no target 'haf'"):
        project.result["haf"]


def test_logs_and_sections_of_a_step_lie_beside_its_records(project: Project) -> None:
    project.lines("a.jsonl", "one", "two")
    project.recipe("targets: {counted: {from: a.jsonl, steps: [how_many]}}")
    project.build()
    assert project.result
    folder = project.result.plan.targets["counted"].folder
    assert json.loads((folder / "metrics.jsonl").read_text()) == {"step": 1, "records": 2.0}
    assert json.loads((folder / "sections.json").read_text()) == [{"title": "Size", "body": "**2** records"}]
    (metric,) = project.records("counted")
    assert (metric["name"], metric["value"], len(metric["parents"])) == ("records", 2.0, 2)


@pytest.mark.builds
def test_a_process_that_dies_is_quoted(faulty: Project) -> None:
    faulty.recipe("targets: {model: {from: a.jsonl, steps: [dies]}}")
    with pytest.raises(StepError, match=r"model: dies: its process died.*log\.txt:\n +something was said$"):
        faulty.build()


@pytest.mark.builds
def test_an_error_in_a_process_of_its_own_is_one_sentence(faulty: Project) -> None:
    faulty.recipe("targets: {model: {from: a.jsonl, steps: [fails]}}")
    with pytest.raises(StepError, match=r"^fails failed: ValueError: no gradient$"):
        faulty.build()
    assert not list(faulty.root.glob("build/r/model"))


def test_what_waits_for_something_outside_stays_open_and_the_rest_is_built(faulty: Project) -> None:
    faulty.recipe("""
        targets:
          texts: {from: a.jsonl}
          judged: {from: texts, steps: [waits]}
          after: {from: judged, steps: [shout]}
          apart: {from: texts, steps: [shout]}
    """)
    ran = faulty.build()
    assert ran.stages == ["texts: read", "apart: shout"]
    assert faulty.result
    assert faulty.result.pending == {"judged": "12 of 30 votes missing"}
    with pytest.raises(InputError, match="'judged' is not built: 12 of 30 votes missing"):
        faulty.result["judged"]
    with pytest.raises(InputError, match="'after' is not built: it waits for another target"):
        faulty.result["after"]
    faulty.write("votes", "")
    assert faulty.build().stages == ["judged: waits", "after: shout"]
    assert not faulty.result.pending


@pytest.mark.parametrize(
    ("step", "error", "said"),
    [
        ("raises", StepError, r"^raises failed.*: ValueError: enough$"),
        ("raises_drop", StepError, r"^raises_drop .*Drop\('not so'\).*ctx\.drop"),
        ("keeps_and_drops", StepError, r"record [0-9a-f]{16} was kept and dropped"),
        ("no_record", StepError, r"^no_record failed: TypeError"),
        ("no_drops", StepError, r"^no_drops must return Drops"),
        ("maps_lambda", PluginError, r"top-level function"),
        ("asks_a_shard", StepError, r"asks_a_shard: .*has no ctx\.log"),
    ],
)
def test_a_step_that_goes_wrong_is_named(faulty: Project, step: str, error: type[Exception], said: str) -> None:
    faulty.recipe(f"targets: {{t: {{from: a.jsonl, steps: [{step}]}}}}")
    with pytest.raises(error, match=said):
        faulty.build()


def test_a_stream_that_raises_names_the_record_it_had_last(faulty: Project) -> None:
    faulty.recipe("targets: {t: {from: a.jsonl, steps: [raises]}}")
    with pytest.raises(
        StepError, match=r"^raises failed after it took record [0-9a-f]{16} from a.jsonl#2: ValueError: enough$"
    ):
        faulty.build()


def test_drops_travel_by_path_and_tasks_stay_small(project: Project) -> None:
    sizes: list[int] = []

    class Measuring(ThreadPoolExecutor):
        def submit(self, function: Any, /, *args: Any, **more: Any) -> Future[Any]:
            sizes.append(len(pickle.dumps((function, args, more))))
            return super().submit(function, *args, **more)

    class Plugin:
        @factory.hookimpl
        def open_executor(self, uri: str) -> Any:
            return Measuring(1) if uri == "measuring" else None

    project.lines("a.jsonl", *["same"] * 2000)
    project.recipe("targets: {once: {from: a.jsonl, steps: [one_of_each]}}")
    pm.register(plugin := Plugin())
    try:
        project.build(executor="measuring")
    finally:
        pm.unregister(plugin)
    assert len(project.dropped("once")) == 1999
    assert max(sizes) < 5000, "bytes; pickled into its task, the drops were 40 a record"


def test_draws_depend_on_seed_step_and_key_alone(project: Project) -> None:
    def draws(seed: int, step: str, *key: Any) -> float:
        return Context(step, seed, 2, Path(), Path(), None).rng(*key).random()  # type: ignore[arg-type]

    assert draws(1, "a", "id", 3) == draws(1, "a", "id", 3)
    assert len({draws(1, "a", "x"), draws(2, "a", "x"), draws(1, "b", "x"), draws(1, "a", "y"), draws(1, "a")}) == 5
    project.lines("a.jsonl", "first", "second")
    project.recipe("targets: {t: {from: a.jsonl, steps: [dice]}}")
    project.write("plugins/dice.py", DICE)
    project.build()
    before = {record["text"]: record["meta"]["throw"] for record in project.records("t")}
    project.lines("a.jsonl", "first", "second", "third")
    project.build()
    after = {record["text"]: record["meta"]["throw"] for record in project.records("t")}
    assert before.items() < after.items(), "a row more changes no other draw"


DICE = """
import factory
from factory import Context, Text

@factory.step
def dice(record: Text, ctx: Context) -> Text:
    return {**record, "throw": ctx.rng(record["id"]).randint(1, 6)}

@factory.hookimpl
def register_steps():
    return [dice]
"""


@pytest.mark.builds
def test_files_of_the_user_do_not_stand_in_for_the_standard_library(project: Project, monkeypatch) -> None:
    project.write("random.py", "raise RuntimeError('not the one that was meant')")
    project.lines("a.jsonl", "one", "two")
    project.recipe("name: r\ntargets:\n  model:\n    from: a.jsonl\n    steps: [toy_train]\n")
    monkeypatch.chdir(project.root)
    project.build()
    assert project.result is not None
    assert isinstance(project.result["model"], factory.Model)


RANKED = """
import os
import sys
import time

import factory
from factory import CausalLM, Context, Dataset, Record

@factory.step(ranks=True)
def shared(dataset: Dataset[Record], ctx: Context, fails: str = "") -> CausalLM:
    rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    ctx.log(1, rank=float(rank))
    if rank == fails:
        raise ValueError(f"rank {rank} of {size} fails")
    if fails == "dead" and rank == "1":
        print("something was said", file=sys.stderr, flush=True)
        os._exit(7)
    if fails == "heard late":
        import torch.distributed as dist
        dist.init_process_group("gloo")
        if rank == "0":
            ctx.progress(1, 2, "the driver is busy")
            dist.barrier()  # fails when the other is gone
        raise ValueError("this is why")
    if fails and rank == "0":
        time.sleep(600)
    ctx.output.mkdir()
    (ctx.output / "config.json").write_text("{}")
    (ctx.output / "rank").write_text(f"{rank} of {size} {os.environ.get('FACTORY_SHARDED')}")
    return CausalLM(uri="x", path=ctx.output)

@factory.hookimpl
def register_steps():
    return [shared]

@factory.hookimpl
def after_task(note):
    if note == "the driver is busy":
        time.sleep(3)
"""


@pytest.mark.builds
@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("", ""),
        ("1", "rank 1 of 2 fails"),
        ("dead", r"its process died(.|\n)*something was said"),
        ("heard late", "this is why"),
    ],
    ids=["none", "one", "dead", "heard late"],
)
def test_ranks_are_one_stage_and_end_together(project: Project, fails: str, says: str) -> None:
    """What rank 0 makes is what is kept; an error of another ends all, which would wait for it for ever."""
    project.write("plugins/ranked.py", RANKED)
    project.lines("a.jsonl", "one")
    recipe = project.recipe(f'targets: {{x: {{from: a.jsonl, steps: [shared: {{fails: "{fails}"}}]}}}}')
    if fails:
        with pytest.raises(StepError, match=says):
            factory.build(recipe, processes=2)
        return
    made = factory.build(recipe, processes=2)["x"]
    assert (made.path / "rank").read_text() == "0 of 2 None"
    with pytest.raises(StepError, match="'RANK'"):
        factory.build(recipe, targets="x", overrides=["x.shared.fails=none"])


@pytest.mark.builds
def test_the_variables_of_a_launcher_reach_no_stage(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build inside torchrun or a cluster's job trains alone, or as its own ranks."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "4", "FACTORY_SHARDED": "1", "OMP_NUM_THREADS": "7"}.items():
        monkeypatch.setenv(name, value)
    project.write("plugins/ranked.py", RANKED)
    project.lines("a.jsonl", "one")
    recipe = project.recipe("targets: {x: {from: a.jsonl, steps: [shared]}}")
    with pytest.raises(StepError, match="'RANK'"):
        factory.build(recipe)
    made = factory.build(recipe, processes=2)["x"]
    assert (made.path / "rank").read_text() == "0 of 2 None"


@pytest.mark.builds
def test_weights_are_split_when_the_build_says_so(project: Project) -> None:
    project.write("plugins/ranked.py", RANKED)
    project.lines("a.jsonl", "one")
    recipe = project.recipe("targets: {x: {from: a.jsonl, steps: [shared]}}")
    with pytest.raises(InputError, match="--sharded splits weights over processes, and there is one"):
        factory.build(recipe, sharded=True)
    made = factory.build(recipe, processes=2, sharded=True)["x"]
    assert (made.path / "rank").read_text() == "0 of 2 1"
