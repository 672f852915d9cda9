"""The kit's work in a process of its own: builds steps through the real engine and tells what it saw, line by line.

The first turn builds every step serially, twice in one process. The second, another process with another hash seed
and another project folder, stops each build half-way, resumes all of them at once in two worker processes, and
compares the bytes with the first's. Only where they differ are more builds made, to say why.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import factory
from factory import FactoryError, PromptCompletion, Record, Result, Step, Text
from factory.engine.build import load_project
from factory.plugins import DROP_IN, pm

from . import hostile
from .declared import check_declaration, check_hooks, options_of
from .outcome import difference, faults
from .report import Finding
from .stand import GIVEN, OWN, SETTINGS, STOPPED, loose_steps

WHOLE = ("generate", "train")  # kinds that may say in a sentence of their own that a dataset does not suit them
VARIANTS = (Text, PromptCompletion)  # what a step that takes any Record is tried on
COMBINED = "all.yaml"


@dataclass(frozen=True)
class Case:
    """One step over one dataset: `variant` is the record type, or `empty`."""

    step: Step
    variant: str
    recipe: Path

    @property
    def name(self) -> str:
        return self.recipe.stem


class Trial:
    """The steps under test in one project folder, and a file to which findings go as soon as they are known."""

    def __init__(self, folder: Path, turn: str) -> None:
        self.folder, self.turn = folder, turn
        self.settings = json.loads((folder / OWN / SETTINGS).read_text(encoding="utf-8"))
        load_project(folder / "recipe.yaml")
        if pm.has_plugin("factory.report") and self.settings["module"] != "factory.report":
            pm.unregister(name="factory.report")  # nobody reads these pages
        self.notes = (folder / OWN / f"{turn}.jsonl").open("a", encoding="utf-8")
        self.read: set[str] = set()  # datasets that are in the store

    def tell(self, **note: Any) -> None:
        self.notes.write(json.dumps(note) + "\n")
        self.notes.flush()

    def find(self, finding: Finding) -> None:
        self.tell(**finding._asdict())

    def passed(self, step: Step, check: str) -> None:
        self.find(Finding(step.name, check, "passed"))

    def failed(self, step: Step, check: str, said: str) -> None:
        self.find(Finding(step.name, check, "failed", said))

    def unchecked(self, step: Step, check: str, said: str) -> None:
        self.find(Finding(step.name, check, "unchecked", said))

    def module(self) -> Any:
        name = self.settings["module"] or (self.settings["drop_in"] and DROP_IN + self.settings["drop_in"])
        return importlib.import_module(name) if name else None

    def steps(self) -> list[Step]:
        """What is under test, without the steps that ended this process before."""
        return [step for step in self.brought() if step.name not in self.settings["skip"]]

    def brought(self) -> list[Step]:
        module = self.module()
        steps = getattr(module, "register_steps", None)
        return loose_steps() if module is None else list(steps()) if steps else []

    def first(self) -> None:
        module = self.module()
        if module is not None:
            for finding in check_hooks(module, self.settings["drop_in"] or self.settings["module"]):
                self.find(finding)
        self.tell(steps=[step.name for step in self.brought()])
        for step in self.steps():
            self.tell(begin=step.name, check="hostile input")
            for finding in check_declaration(step):
                self.find(finding)
            cases = self.prepare(step, self.find)
            started = time.monotonic()
            for case in cases:
                if folder := self.sound(case):
                    self.tell(done=case.name, of=step.name, at=str(folder))
            self.tell(seconds=round(time.monotonic() - started, 2), of=step.name)

    def folder_of(self, case: Case, **how: Any) -> Path:
        result = build(case.recipe, **how)
        return result.plan.targets["checked"].folder

    def sound(self, case: Case) -> Path | None:
        """Build a case for the first time and look at what came out. Where it lies, if it is worth a second look."""
        step, empty = case.step, case.variant.startswith("empty")
        check = "empty dataset" if empty else "hostile input"
        try:
            result = build(case.recipe)
        except Exception as error:
            self.refused(step, check, error, case)
            return None
        self.passed(step, check)
        if step.kind.value not in ("train", "transform"):
            wrong = list(faults(result, step))
            for name, said in wrong:
                self.failed(step, name, said)
            if not wrong:
                for name in ("ids", "parents", "nothing vanishes", "reasons"):
                    self.passed(step, name)
        if empty:
            return None
        self.mutates(case, result)
        folder = result.plan.targets["checked"].folder
        if said := difference(folder, self.folder_of(case, store=self.folder / ".second")):
            self.failed(step, "state", f"built twice in one process, {said}; it keeps something from run to run")
            return None
        self.passed(step, "state")
        return folder

    def refused(self, step: Step, check: str, error: Exception, case: Case) -> None:
        said = str(error).replace("\n", " ")
        named = not isinstance(error, FactoryError)
        said = f"{type(error).__name__}: {said}" if named else said
        own = not named and f"{step.name} failed" not in said and "a step lost them" not in said
        if own and step.kind.value in WHOLE and "process died" not in said:
            self.unchecked(step, check, f"the step refuses the kit's {case.variant} records: {said}")
        else:
            self.failed(step, check, said)

    def mutates(self, case: Case, result: Result) -> None:
        """Call a step that sees one record at a time on copies: neither record nor options may change."""
        step = case.step
        if step.kind.value not in ("filter", "map", "flat map") or step.references:
            return
        call = result.plan.targets["checked"].calls[0]
        checked = step.options.model_validate(call.options)
        options = {name: getattr(checked, name) for name in step.options.model_fields}
        if step.context:
            home = self.folder / "direct"
            options[step.context] = factory.Context(step.name, 0, 1, home, home, Nothing())
        before = copy.deepcopy({name: value for name, value in options.items() if name != step.context})
        for record in result["given"]:  # type: ignore[union-attr]
            known = copy.deepcopy(record)
            try:
                made = step.function(record, **options)
                if step.kind.value == "flat map":
                    list(made)
            except Exception:  # a Drop; anything else was seen in the build
                pass
            if repr(record) != repr(known):
                name = next(name for name in known if repr(record.get(name)) != repr(known[name]))
                about = known["parents"][0].partition("#")[2]
                said = f"it changed '{name}' of the record it was given ('{about}'); return a new one: {{**record, …}}"
                self.failed(step, "input unchanged", said)
                return
            if (now := {name: options[name] for name in before}) != before:
                name = next(name for name in before if now[name] != before[name])
                self.failed(step, "input unchanged", f"it changed its option '{name}', which the next record sees")
                return
        self.passed(step, "input unchanged")

    def prepare(self, step: Step, find: Callable[[Finding], None]) -> list[Case]:
        """Write the datasets and recipes for a step, and say what cannot be checked."""
        options, missing = options_of(step, self.settings["options"].get(step.name, {}), Path(self.settings["cwd"]))
        if missing:
            find(Finding(step.name, "options", "failed", missing))
            return []
        given = dict(self.settings["references"].get(step.name, {}))
        needed = {name for name in step.references if step.options.model_fields[name].is_required()}
        for name, kind in step.references.items():
            if name in given:
                continue
            if name in needed and kind is factory.Dataset and step.kind.value != "transform":
                given[name] = list(hostile.records_of(_plain(step.takes)).values())[4:16]
            elif name in needed:
                said = f"it needs a {kind.__name__}; pass references={{'{step.name}': {{'{name}': …}}}}"
                find(Finding(step.name, "everything that runs it", "unchecked", said))
                return []
            else:
                said = f"the option '{name}', a {kind.__name__}, was left out; pass it in references="
                find(Finding(step.name, f"with {name}", "unchecked", said))
        if step.kind.value == "transform":
            find(Finding(step.name, "everything that runs it", "unchecked", "a model is made of a model by a recipe"))
            return []
        least = {name: value for name, value in given.items() if name in needed}
        found = list(self.cases(step, "", options, least, find))
        if given != least:
            found += self.cases(step, "-with", options, given, find)
        return found

    def cases(
        self, step: Step, how: str, options: dict[str, Any], given: dict[str, Any], find: Callable[[Finding], None]
    ) -> Iterator[Case]:
        mine = self.settings["records"].get(step.name, [])
        several = VARIANTS if step.kind.value != "train" else VARIANTS[:1]  # each of these has a process of its own
        for kind in several if step.takes is Record else (step.takes,):
            names = set(kind_columns(kind))
            records = {f"given {number}": row for number, row in enumerate(mine, 1) if names <= set(row)}
            try:
                records |= hostile.records_of(kind)
            except TypeError as error:
                said = f"{error}, for which the kit has no values; pass records="
                find(Finding(step.name, "hostile input", "unchecked", said))
            yield self.case(step, kind.__name__ + how, kind, records, options, given)
        yield self.case(step, "empty" + how, _plain(step.takes), {}, options, given)

    def case(
        self, step: Step, variant: str, kind: Any, records: dict[str, Any], options: dict[str, Any],
        references: dict[str, Any],
    ) -> Case:  # fmt: skip
        name = f"{step.name}-{variant}"
        targets: dict[str, Any] = {}
        for option, value in references.items():
            if isinstance(value, list):
                rows = dict(enumerate(value))
                targets[f"kit_{option}"] = {"from": self.write(f"{step.name}.{option}", kind_of(value), rows)}
                value = f"kit_{option}"
            options = {**options, option: value}
        mine = self.settings["records"].get(step.name) and records
        given = f"{name}" if mine else kind.__name__ if records else f"no {kind.__name__}"  # shared: read once for all
        targets["given"] = {"from": self.write(given, kind, records)}
        targets["checked"] = {"from": "given", "steps": [{step.name: options} if options else step.name]}
        recipe = self.folder / OWN / f"{name}.yaml"
        recipe.write_text(json.dumps({"name": name, "targets": targets}), encoding="utf-8")
        return Case(step, variant, recipe)

    def write(self, name: str, kind: Any, records: dict[Any, Any]) -> str:
        path = self.folder / "given" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            return f"{GIVEN}{path.name}"
        lines = [json.dumps(kind.__name__), *(json.dumps([str(case), row]) for case, row in records.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return f"{GIVEN}{path.name}"

    def second(self) -> None:
        """Stop, resume in two processes, compare with the first turn."""
        firsts: dict[str, str] = self.settings["firsts"]
        cases = [case for step in self.steps() for case in self.prepare(step, lambda _: None) if case.name in firsts]
        stopped = {case.name for case in cases if self.stopped(case)}
        together = self.together(cases)
        for case in cases:
            self.tell(begin=case.step.name, check="a second process")
            self.compare(case, Path(firsts[case.name]), together.get(case.name), case.name in stopped)

    def stopped(self, case: Case) -> bool:
        """Build until the first task of the step is done, then fail as a kill would."""
        self.tell(begin=case.step.name, check="resume")
        targets = json.loads(case.recipe.read_text(encoding="utf-8"))["targets"]
        if (given := targets["given"]["from"]) not in self.read:  # another case has read it
            build(case.recipe, target="given")
            self.read.add(given)
        try:
            build(case.recipe, executor="kit:stop:1")
        except FactoryError as error:
            return STOPPED in str(error)
        return False

    def together(self, cases: list[Case]) -> dict[str, Path]:
        """Resume every case in one build with two workers: case -> what it made. One pool costs seconds, many more."""
        targets: dict[str, Any] = {}
        numbered = {
            number: case
            for number, case in enumerate(cases)
            if '"given"' not in json.dumps(self.settings["options"].get(case.step.name))  # it would be renamed
        }
        for number, case in numbered.items():
            names = json.loads(case.recipe.read_text(encoding="utf-8"))["targets"]
            text = json.dumps(names)
            for name in names:
                text = text.replace(f'"{name}"', f'"c{number}_{name}"')
            targets |= json.loads(text)
        if not targets:
            return {}
        (self.folder / OWN / COMBINED).write_text(json.dumps({"name": "all", "targets": targets}), encoding="utf-8")
        watch = Watch(self)
        pm.register(watch)
        try:
            ends = build(self.folder / OWN / COMBINED, executor="local:2").plan.targets
        except Exception:  # each is built alone below, and says so itself
            return {}
        finally:
            pm.unregister(watch)
        return {case.name: ends[f"c{number}_checked"].folder for number, case in numbered.items()}

    def compare(self, case: Case, first: Path, resumed: Path | None, stopped: bool) -> None:
        step = case.step
        try:
            resumed = resumed or self.folder_of(case, executor="local:2")
            if not (seen := difference(first, resumed)):
                for check in ("same bytes in another process", "same bytes with local:2"):
                    self.passed(step, check)
                if stopped:
                    self.passed(step, "resume")
                else:
                    self.unchecked(step, "resume", "it runs in one piece, so there is nothing to resume at")
                return
            alone = difference(first, self.folder_of(case, store=self.folder / ".alone"))
            if alone:
                said = f"with another PYTHONHASHSEED, process and folder, {alone}"
                self.failed(step, "same bytes in another process", said)
                return
            spread = difference(first, self.folder_of(case, store=self.folder / ".spread", executor="local:2"))
            if spread:
                self.failed(step, "same bytes with local:2", f"serially and in two workers, {spread}")
            else:
                self.failed(step, "resume", f"stopped after one task and resumed, {seen}")
        except Exception as error:
            self.refused(step, "same bytes with local:2", error, case)


class Watch:
    """Says which step a build of many is at, so that one which takes too long is told by name."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    @factory.hookimpl
    def after_stage(self, stage: Any) -> None:
        self.trial.tell(begin=f"a step after {stage.label}", check="local:2")

    @factory.hookimpl
    def after_task(self, stage: Any) -> None:
        self.trial.tell(begin=stage.calls[-1].step if stage.calls else "", check="local:2")


class Nothing:
    """The runtime behind a context when a step is called by hand: a drop is heard and forgotten."""

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise factory.StepError(f"a step that sees one record at a time has no ctx.{name}")


def build(recipe: Path, target: str = "", executor: str = "serial", store: Path | None = None) -> Result:
    return factory.build(recipe, target or (), executor=executor, store=store)


def kind_columns(kind: Any) -> list[str]:
    from factory.engine.records import columns

    return columns(kind)


def kind_of(rows: list[dict[str, Any]]) -> Any:
    """The record type with the most columns among those that every row has."""
    from factory.engine.records import RECORD_TYPES

    fits = [kind for kind in RECORD_TYPES.values() if all(set(kind_columns(kind)) <= set(row) for row in rows)]
    return max(fits, key=lambda kind: len(kind_columns(kind)))


def _plain(kind: Any) -> Any:
    return Text if kind is Record else kind


def main(folder: str, turn: str) -> None:
    """`first` or `second`, in the project that the kit has made."""
    try:
        trial = Trial(Path(folder), turn)
        getattr(trial, turn)()
        trial.tell(end=True)
    except FactoryError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
