"""Stages brought up to date one after the other: kept, resumed or made, task by task."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from ..errors import FactoryError, StepError
from ..plugins import pm
from .account import merge_funnels
from .alarms import find_alarms
from .dataset import Dataset, Shard
from .model import Answer, Model, Request
from .once import Outcome, inline, run_job
from .process import run_in_child
from .recipe import Call
from .records import digest
from .runtime import Job
from .schema import type_name
from .stage import Plan, Stage, content_of, opened, reading, referred
from .step import Kind
from .store import Store, link, write_atomic
from .work import Setup, Task, remote, run_task

log = logging.getLogger("factory")
GUARD = """put the call under `if __name__ == "__main__":`"""


class Runner:
    """Brings one stage after the other up to date."""

    def __init__(self, plan: Plan, workers: Executor, executor: str, processes: int = 1, sharded: bool = False) -> None:
        self.plan, self.store, self.workers, self.executor = plan, plan.store, workers, executor
        self.processes, self.sharded = processes, sharded  # of a stage that trains
        self.setup = Setup(plan.project, plan.project / "plugins")
        self.submit = inline(self.setup, workers)

    def bring_up_to_date(self, stage: Stage) -> None:
        manifest = stage.manifest
        if manifest is not None and not manifest.get("retry"):
            pm.hook.after_stage(stage=stage, manifest=manifest, cached=True)
            return
        whose = f"recipe {self.plan.recipe.name}, target {stage.target}"
        with self.store.lock(stage.fingerprint, whose) as self.lock:
            self.store.settle(stage.fingerprint)
            manifest = stage.manifest  # the build waited for may have made it
            started = time.monotonic()
            made = None
            if manifest is None or manifest.get("retry"):
                try:
                    made = self.make(stage) if manifest is None else self.make_again(stage, manifest["retry"])
                except BrokenExecutor:
                    said = f"a worker process died. When memory is short, try fewer workers; in a script, {GUARD}"
                    raise StepError(f"{stage.target}: {stage.label}: {said}") from None
            cached, manifest = made is None, made or manifest
            if made is not None:
                self.note_time(stage, time.monotonic() - started)
        pm.hook.after_stage(stage=stage, manifest=manifest, cached=cached)

    def make_again(self, stage: Stage, failed: int) -> dict[str, Any] | None:
        """A stage with failed requests once more: all other answers are stored, so only these are asked.

        None when it cannot be done now; what was made before then stays as it was.
        """
        log.warning("%s: %d requests failed in the last build; asking them again", stage.target, failed)
        self.store.set_aside(stage.fingerprint)
        try:
            return self.make(stage)
        except FactoryError as error:
            log.warning("%s: stays as it was, without these: %s", stage.target, error)
            return None
        finally:
            self.store.settle(stage.fingerprint)

    def make(self, stage: Stage) -> dict[str, Any]:
        folder = self.store.begin(stage.fingerprint)
        objects = referred(stage)
        outcome = Outcome() if stage.per_shard else self.once(stage, objects)
        if stage.per_shard:
            shards, counts = self.per_shard(stage, folder, objects, None)
        elif stage.head is not None and stage.head.kind is Kind.GLOBAL_FILTER:
            shards, counts = self.per_shard(stage, folder, objects, outcome)
        else:
            shards, counts = outcome.shards, outcome.counts
        manifest = {
            "target": stage.target,
            "recipe": self.plan.recipe.name,
            "steps": [{"step": call.step, "options": call.options} for call in stage.calls],
            "source": stage.source.uri if stage.source else None,
            "inputs": [one.fingerprint for one in stage.inputs],
            "references": {
                name: value.fingerprint if isinstance(value, Stage) else value.identity or value.uri
                for name, value in stage.references.items()
            },
            "type": type_name(stage.gives),
            "counts": {key: counts[key] for key in ("in", "out", "dropped")},
            "funnel": counts["funnel"],
            "shards": shards,
            "memos": sorted(set(outcome.memos)),
            "exact": outcome.exact,
        }
        if (requests := outcome.usage.entry()) is not None:
            manifest["requests"] = requests
        if outcome.usage.again:
            manifest["retry"] = outcome.usage.again
        if unsettled := self.unsettled(stage):
            manifest["unsettled"] = unsettled
        if alarms := outcome.alarms + self.alarms(stage, manifest):
            write_atomic(folder / "alarms.json", orjson.dumps(alarms, option=orjson.OPT_INDENT_2))
        self.store.commit(stage.fingerprint, manifest)
        return manifest

    def unsettled(self, stage: Stage) -> dict[str, str]:
        """Fingerprint -> content of those it is made from that may yet become others: requests of theirs failed."""
        known = {one.fingerprint: one.manifest or {} for one in stage.needs}
        return {
            name: content_of(manifest)
            for name, manifest in known.items()
            if manifest.get("retry") or manifest.get("unsettled")
        }

    def alarms(self, stage: Stage, manifest: dict[str, Any]) -> list[dict[str, Any]]:
        if not (stage.per_shard or stage.kind == Kind.GLOBAL_FILTER.value) or not stage.calls:
            return []
        kept = [stage.folder / entry["file"] for entry in manifest["shards"]]
        dropped = [stage.folder / entry["dropped_file"] for entry in manifest["shards"] if entry["dropped"]]
        return find_alarms(stage.steps, manifest["funnel"], kept, dropped)

    def once(self, stage: Stage, objects: dict[str, Any]) -> Outcome:
        """Run the head of a stage over its whole input, in this process or in one of its own."""
        job = self.job(stage, objects)

        def tell(what: str, *details: Any) -> None:
            if what == "metrics":
                pm.hook.log_metrics(stage=stage, step=details[0], metrics=details[1])
            elif what == "asked":
                pm.hook.after_task(stage=stage, done=0, total=0, counts=details[0], note="")
            elif what == "progress":
                pm.hook.after_task(stage=stage, done=details[0], total=details[1], counts={}, note=details[2])

        if stage.own_process:
            processes = self.processes if stage.head is not None and stage.head.ranks else 1
            return run_in_child(job, self.setup, self.executor, tell, self.lock, processes, self.sharded)
        return run_job(job, tell, self.submit)

    def job(self, stage: Stage, objects: dict[str, Any]) -> Job:
        """The head of a stage and its whole input, as plain data."""
        call = stage.calls[0]
        job = Job(
            stage.fingerprint, f"{stage.target}: {call.step}", call, self.takes(stage), type_name(stage.gives),
            self.store, objects=objects, seed=self.plan.recipe.seed, threads=self.plan.recipe.threads,
        )  # fmt: skip
        if stage.inputs[0].is_model:
            model = opened(stage.inputs[0])
            assert isinstance(model, Model)
            return replace(job, model=model)
        return replace(job, dataset=self.gather(stage))

    def stored_answers(self, stage: Stage, take: Callable[[Model, Request, Answer], None]) -> None:
        """Run a stage's step again on the stored answers alone; its output goes nowhere, `take` gets the answers.

        The cache keeps no requests: what a step asks follows from its input, and from the answers.
        """
        job = self.job(stage, referred(stage))
        with TemporaryDirectory() as name:
            store = Store(Path(name))
            store.responses.symlink_to(self.store.responses.resolve())
            store.begin(stage.fingerprint)
            run_job(replace(job, store=store), lambda *news: None, self.submit, take)

    def takes(self, stage: Stage) -> str:
        if stage.source is not None:
            return type_name(stage.source.kind)
        return type_name(stage.inputs[0].gives)

    def gather(self, stage: Stage) -> Dataset[Any]:
        """The stage's input as one dataset; an id that comes through two branches is renumbered in the later one."""
        parts = [self.store.dataset(one.fingerprint) for one in stage.inputs]
        named = dict(zip(stage.input_names, parts, strict=True))
        if len(parts) == 1:
            return Dataset(parts[0].shards, parts[0].kind, named)
        seen: set[str] = set()
        shards: list[Shard] = []
        for number, part in enumerate(parts):
            fresh: set[str] = set()
            for shard in part.shards:
                ids = set(shard.ids())
                if twice := sorted(ids & seen):
                    path = self.store.work(stage.fingerprint) / f"again-{number}-{digest([number, twice])}.json"
                    write_atomic(path, orjson.dumps(twice))
                    shard = replace(shard, again=str(path), key=digest([shard.key, number, twice]))
                fresh |= ids
                shards.append(shard)
            seen |= fresh
        return Dataset(shards, parts[0].kind, named)

    def tasks(self, stage: Stage, objects: dict[str, Any], filtered: Outcome | None) -> list[tuple[str, Task]]:
        """(key, task) for every shard or piece that comes in."""
        recipe = self.plan.recipe
        calls = tuple(Call(call.step, call.options) for call in stage.calls)
        plain = Task(
            calls, f"{stage.target}: {stage.label}", self.takes(stage), type_name(stage.gives), objects=objects,
            seed=recipe.seed, threads=recipe.threads, signals=str(self.store.signals),
        )  # fmt: skip
        if stage.source is not None:
            plain = replace(plain, uri=stage.source.uri)
            return [
                (digest([stage.task_identity, *known], 12), replace(plain, known_by=digest(known, 12), **parts))
                for known, parts in reading(stage)
            ]
        found = []
        for index, shard in enumerate(self.gather(stage).shards):
            task, known = replace(plain, shard=shard, known_by=shard.key), [stage.task_identity, shard.key]
            if filtered is not None:
                mine = {i: filtered.drops[i] for i in shard.ids() if i in filtered.drops}
                data = orjson.dumps({i: [drop.reason, drop.details] for i, drop in sorted(mine.items())})
                path = self.store.work(stage.fingerprint) / f"drops-{index:05d}.json"
                write_atomic(path, data)
                task, known = replace(task, drops=str(path)), [*known, digest(data)]
            found.append((digest(known, 12), task))
        return found

    def per_shard(
        self, stage: Stage, folder: Path, objects: dict[str, Any], filtered: Outcome | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Run the tasks that are not stored; link all their outputs into the artifact in order."""
        tasks = self.tasks(stage, objects, filtered)
        notes: dict[str, dict[str, Any]] = {}
        waiting: dict[Future[Any], str] = {}

        def land(key: str, note: dict[str, Any]) -> None:
            notes[key] = note
            counts = {name: note[name] for name in ("in", "out", "dropped")}
            pm.hook.after_task(stage=stage, done=len(notes), total=len(tasks), counts=counts, note="")

        missing = []
        for key, task in dict(tasks).items():
            path = self.store.task(key).with_suffix(".json")
            if path.exists():
                notes[key] = orjson.loads(path.read_bytes())
            else:
                missing.append((key, task))
        try:
            for key, task in missing:
                future = self.submit_task(task, self.store.task(key))
                if future.done():  # the serial executor: tell as it goes
                    land(key, future.result())
                else:
                    waiting[future] = key
            for future in as_completed(waiting):
                land(waiting[future], future.result())
        finally:
            for future in waiting:
                future.cancel()
        shards: list[dict[str, Any]] = []
        for key, _ in tasks:
            for part, made in enumerate(notes[key]["shards"]):
                index = len(shards)
                entry = {"file": f"shard-{index:05d}.parquet", **made, "dropped": 0, "dropped_file": "", "task": key}
                link(self.store.task(key).with_suffix(f".{part:05d}.parquet"), folder / entry["file"])
                if part == 0:  # beside the first shard lies what the whole task dropped
                    entry |= {"dropped": notes[key]["dropped"], "dropped_file": f"dropped-{index:05d}.parquet"}
                    link(self.store.task(key).with_suffix(".dropped.parquet"), folder / entry["dropped_file"])
                shards.append(entry)
        totals = {name: sum(notes[key][name] for key, _ in tasks) for name in ("in", "out", "dropped")}
        return shards, {**totals, "funnel": merge_funnels(notes[key]["funnel"] for key, _ in tasks)}

    def submit_task(self, task: Task, stem: Path) -> Future[Any]:
        stem.parent.mkdir(parents=True, exist_ok=True)
        return self.workers.submit(
            remote, self.setup, pickle.dumps((run_task.__module__, run_task.__name__, (task, stem)))
        )

    def note_time(self, stage: Stage, seconds: float) -> None:
        """Timings lie beside the results, not in manifests, which say the same for every build."""
        path = self.plan.folder / "timings.json"
        known = orjson.loads(path.read_bytes()) if path.exists() else {}
        known[stage.fingerprint] = round(seconds, 2)
        write_atomic(path, orjson.dumps(known, option=orjson.OPT_INDENT_2))
