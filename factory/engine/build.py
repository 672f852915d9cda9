"""Run a plan: skip what is stored, resume what is partly stored, run the rest."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..errors import InputError, Pending, did_you_mean
from ..plugins import load_plugins, open_uri, pm, unload_files
from .dataset import Dataset
from .model import Model
from .plan import make_plan
from .project import enter_project, file_hashes, find_project
from .recipe import read_recipe
from .runner import GUARD, Runner
from .stage import Plan, Stage, opened
from .store import Store, point, write_atomic

log = logging.getLogger("factory")


@dataclass
class Result:
    """What a build made. `result["corpus"]` is a Dataset, `result["tutor"]` a Model."""

    plan: Plan
    pending: dict[str, str] = field(default_factory=dict)  # target -> what it waits for

    def __getitem__(self, target: str) -> Dataset[Any] | Model:
        if target not in self.plan.targets:
            raise InputError(f"this build has no target '{target}'; it has {', '.join(self.plan.targets)}")
        stage = self.plan.targets[target]
        if stage.manifest is None:
            raise InputError(f"'{target}' is not built: {self.pending.get(target, 'it waits for another target')}")
        return opened(stage)

    def __iter__(self) -> Iterator[str]:
        return iter(self.plan.targets)

    @property
    def folder(self) -> Path:
        return self.plan.folder


def load_project(recipe: Path, store: Path | None = None) -> Store:
    """Enter the project of a recipe: its folder, its plugins, its store."""
    root = find_project(recipe)
    enter_project(root)
    unload_files(root / "plugins")  # another project's in this process, or edited since
    load_plugins(root / "plugins")
    found = Store(store.resolve() if store else root / ".factory")
    file_hashes.load(found.root / "files.json")
    return found


def build(
    recipe: str | Path,
    targets: str | Sequence[str] = (),
    *,
    executor: str = "serial",
    processes: int = 1,
    sharded: bool = False,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    store: str | Path | None = None,
) -> Result:
    """Bring the targets of a recipe up to date, and nothing else.

    targets    names; all of them when empty
    executor   serial, local:N, ray:ADDRESS, or what a plugin opens
    processes  of a stage that trains, each with a GPU or threads of its own; a step of the weights sees as many records
               as in one. `bake_off` takes one
    sharded    split the weights over the processes (FSDP), for a model that one GPU cannot hold
    limit      records taken of each source, and the most a `count` option may say
    overrides  `target.step.option=value` settings
    Raises a FactoryError (see factory.errors); what was finished before stays.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # a worker that imports the script which started it would build, too, and wait for its own driver
        raise InputError("factory.build was called while a worker imports your script; " + GUARD)
    targets = (targets,) if isinstance(targets, str) else targets
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit is {limit!r}; expected a whole number from 1")
    path = Path(recipe)
    found = load_project(path, Path(store) if store else None)
    plan = make_plan(read_recipe(path, overrides), found, tuple(targets), limit)
    return run(plan, executor, processes, sharded)


def stored(
    recipe: str | Path,
    target: str,
    *,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    store: str | Path | None = None,
) -> Dataset[Any] | Model:
    """What an up-to-date target is, without building anything; the project of the recipe is entered.

    limit, overrides, store  as they were for `build`
    Raises InputError when the target is unknown or not built as the recipe has it now.
    """
    path = Path(recipe)
    found = load_project(path, Path(store) if store else None)
    plan = make_plan(read_recipe(path, overrides), found, (), limit)
    return opened(complete(plan, target))


def complete(plan: Plan, target: str) -> Stage:
    """The last stage of a built target. Raises InputError when it is unknown or not built."""
    if target not in plan.targets:
        raise InputError(f"no target '{target}'; {did_you_mean(target, plan.targets)}")
    stage = plan.targets[target]
    if stage.manifest is None:
        hint = "; if it was built with --limit or --set, say them here, too"
        raise InputError(f"'{target}' is not built yet: factory build {plan.recipe.path} {target}{hint}")
    return stage


def run(plan: Plan, executor: str = "serial", processes: int = 1, sharded: bool = False) -> Result:
    """Run a plan's stages in order. What waits for something from outside is left open, the rest goes on.

    Raises InputError for weights that are to be split over one process.
    """
    if sharded and processes == 1:
        raise InputError(
            "--sharded splits weights over processes, and there is one; add --processes 2, or as many as GPUs"
        )
    plan.store.prepare()
    plan.store.remember(plan.recipe.path.resolve())
    result = Result(plan)
    error: BaseException | None = None
    pm.hook.before_build(plan=plan)
    open_stages: set[str] = set()
    try:
        with open_uri("executor", executor) as workers:
            runner = Runner(plan, workers, executor, processes, sharded)
            for stage in plan.stages:
                if {needed.fingerprint for needed in stage.needs} & open_stages:
                    open_stages.add(stage.fingerprint)
                    continue
                try:
                    says = _source_awaits(stage)
                    if says and stage.calls:
                        raise Pending(says)
                    runner.bring_up_to_date(stage)
                    if says:  # an empty dataset, which an option may name; what is made from it waits
                        result.pending[stage.target] = says
                except Pending as awaited:
                    open_stages.add(stage.fingerprint)
                    result.pending[stage.target] = str(awaited)
    except BaseException as caught:
        error = caught
        raise
    finally:
        publish(plan)
        pm.hook.after_build(plan=plan, error=error or (Pending(_awaited(result)) if result.pending else None))
    return result


def _source_awaits(stage: Stage) -> str:
    """What the sources that a target is made from wait for. One that is read for an option only may well be empty."""
    read = [one.source for one in stage.inputs if one.source is not None]
    if stage.source is not None and stage.target != stage.source.uri:
        read.append(stage.source)
    return next((source.awaited for source in read if source.awaited), "")


def _awaited(result: Result) -> str:
    return "; ".join(f"{target}: {what}" for target, what in result.pending.items())


def publish(plan: Plan) -> None:
    """build/RECIPE/TARGET -> the artifact, for every target that is complete."""
    for name, stage in plan.targets.items():
        if stage.manifest is not None:
            point(plan.folder / name, stage.folder)
        elif (plan.folder / name).is_symlink() and not (plan.folder / name).exists():
            (plan.folder / name).unlink()  # what it named was removed
    if file_hashes.fresh:
        write_atomic(plan.store.root / "files.json", orjson.dumps(file_hashes.known))
        file_hashes.fresh = False
