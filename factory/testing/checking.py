"""The calls: temporary projects are made, processes do the work in them, findings come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from factory import InputError, Step
from factory.errors import did_you_mean

from .report import Finding, Nonconformance, Report
from .stand import DROP_IN_FILE, OWN, SETTINGS

PATIENCE = 60.0  # seconds in which a step must be through with the hostile records
TURNS = (("first", "one"), ("second", "another/folder"))  # each in a folder of its own
HASH_SEEDS = {"first": "1", "second": "2"}
BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main(*sys.argv[2:])"
LOG_LINES = 4

Options = Mapping[str, Any]


def check_plugin(
    plugin: str | ModuleType | Path,
    *,
    options: Mapping[str, Options] | None = None,
    references: Mapping[str, Options] | None = None,
    records: Mapping[str, Sequence[Options]] | None = None,
    leave_out: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> Report:
    """Check every step of a plugin.

    plugin      a module or its name, or the path of a drop-in file
    options     step -> its options, as a recipe would say them; needed where one has no default
    references  step -> option -> what a Model or Dataset option means: a URI, or for a Dataset a list of records.
                `kit:echo` is a model that answers at once with words of the question
    records     step -> rows to try besides the kit's own
    leave_out   step -> why it is not checked here
    patience    seconds that a step may take

    Raises Nonconformance (an AssertionError) with one sentence for each failed check, InputError when a table names a
    step that the plugin does not bring. What could not be checked is in the report's `unchecked`.
    """
    path = Path(plugin) if isinstance(plugin, Path) or (isinstance(plugin, str) and plugin.endswith(".py")) else None
    if path is not None and not path.is_file():
        raise InputError(f"there is no plugin file '{path}'")
    named = getattr(plugin, "__name__", str(plugin))
    settings: dict[str, Any] = {"module": "" if path else named, "drop_in": path.stem if path else "", "steps": []}
    tables: dict[str, Mapping[str, Any]] = {
        "options": options or {},
        "references": references or {},
        "records": records or {},
        "leave_out": leave_out or {},
    }
    return _run(named, settings, tables, path, patience)


def check_step(
    step: Step,
    *,
    options: Options | None = None,
    references: Options | None = None,
    records: Sequence[Options] | None = None,
    patience: float = PATIENCE,
) -> Report:
    """Check one step, which need not be registered; it must stand at the top level of a module.

    The parameters are those of `check_plugin`, for this step alone.
    """
    module = sys.modules[step.function.__module__]
    attribute = next((name for name, value in vars(module).items() if value is step), "")
    if not attribute or not getattr(module, "__file__", None):
        said = "no other process can find it; define it at the top level of a module"
        raise Nonconformance(Report(step.name, [Finding(step.name, "pickling", "failed", said)]))
    found = [[module.__name__, str(module.__file__), attribute]]
    tables = {"options": options, "references": references, "records": records}
    mine = {name: {step.name: value} if value else {} for name, value in tables.items()}
    return _run(step.name, {"module": "", "drop_in": "", "steps": found}, mine, None, patience)


def check_source(
    uri: str, *, folder: str | Path = ".", plugin: str | ModuleType | Path | None = None, patience: float = PATIENCE
) -> Report:
    """Check what a URI opens, over the sample files in `folder`, which is copied as a project.

    plugin  what opens it, where that is not registered in a fresh process: as for `check_plugin`

    Pieces and rows must be the same in two processes and two folders, places relative and of the piece's files; the
    files emptied, cut in half and overwritten with noise must give drops or an InputError; the dataset is built
    serially and with local:2. Raises Nonconformance.
    """
    path = Path(plugin) if isinstance(plugin, Path) or (isinstance(plugin, str) and plugin.endswith(".py")) else None
    named = "" if plugin is None or path else getattr(plugin, "__name__", str(plugin))
    settings: dict[str, Any] = {"module": named, "drop_in": path.stem if path else "", "steps": [], "uri": uri}
    heard = Heard(Report(uri))
    with tempfile.TemporaryDirectory(prefix="factory-testing-") as made:
        for turn, place in TURNS:
            project = Path(made, place)
            _copy(Path(folder), project)
            _prepare(project, {**settings, "firsts": heard.firsts, "skip": []}, path)
            if died := _process("factory.testing.sampling", project, turn, patience, heard):
                heard.report.findings.append(died._replace(of=uri))
                break
    return _judged(heard.report)


def _copy(folder: Path, project: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"there is no folder '{folder}' with sample files")
    shutil.copytree(folder, project, ignore=shutil.ignore_patterns(".factory", "build", "__pycache__", ".git", ".venv"))


@dataclass
class Heard:
    """What the processes have told so far."""

    report: Report
    firsts: dict[str, Any] = field(default_factory=dict)  # case -> where the first turn left it
    steps: list[str] | None = None  # what is under test
    at: tuple[str, str] = ("", "start")  # step and check that was begun last

    def note(self, line: str) -> None:
        note = json.loads(line)
        if "outcome" in note:
            self.report.findings.append(Finding(**note))
        elif "begin" in note:
            self.at = note["begin"], note["check"]
        elif "done" in note:
            self.firsts[note["done"]] = note["at"]
        elif "seconds" in note:
            self.report.seconds[note["of"]] = note["seconds"]
        elif "steps" in note and self.steps is None:
            self.steps = note["steps"]


def _run(
    of: str, settings: dict[str, Any], tables: Mapping[str, Mapping[str, Any]], drop_in: Path | None, patience: float
) -> Report:
    heard = Heard(Report(of))
    left_out = tables.get("leave_out", {})
    heard.report.findings += [Finding(name, "everything", "unchecked", why) for name, why in left_out.items()]
    died: list[str] = []
    with tempfile.TemporaryDirectory(prefix="factory-testing-") as made:
        for turn, place in TURNS:
            while True:  # a step that ends its process is left out, and the others go on
                done = heard.report.seconds if turn == "first" else ()
                project, skip = Path(made, place), [*died, *done, *left_out]
                _prepare(project, {**settings, **tables, "firsts": heard.firsts, "skip": skip}, drop_in)
                fault = _process("factory.testing.trial", project, turn, patience, heard)
                if fault is None:
                    break
                heard.report.findings.append(fault._replace(of=fault.of or of))
                if not fault.of or fault.of in died:
                    return _judged(heard.report)
                died.append(fault.of)
            known = heard.steps or []
            for table, name in ((table, name) for table, rows in tables.items() for name in rows):
                if name not in known:
                    raise InputError(f"{table}: {of} brings no step '{name}'; {did_you_mean(name, known)}")
    return _judged(heard.report)


def _judged(report: Report) -> Report:
    if report.failures:
        raise Nonconformance(report)
    return report


def _prepare(project: Path, settings: dict[str, Any], drop_in: Path | None) -> None:
    """A project with the kit's plugin in it, and the one under test where that is a file."""
    plugins = project / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "zz_kit.py").write_text(DROP_IN_FILE, encoding="utf-8")
    if drop_in is not None:
        shutil.copyfile(drop_in, plugins / drop_in.name)
    found = {**settings, "paths": [folder for folder in sys.path if folder], "cwd": os.getcwd()}
    try:
        text = json.dumps(found)
    except (TypeError, ValueError) as error:
        raise InputError(f"options, references and records must be what JSON can say: {error}") from None
    (project / OWN).mkdir(exist_ok=True)
    (project / OWN / SETTINGS).write_text(text, encoding="utf-8")


def _process(module: str, project: Path, turn: str, patience: float, heard: Heard) -> Finding | None:
    """Run one turn, reading its notes as they come; what ended it too early, if something did."""
    notes, log = project / OWN / f"{turn}.jsonl", project / OWN / f"{turn}.log"
    environment = {**os.environ, "PYTHONHASHSEED": HASH_SEEDS[turn]}
    command = [sys.executable, "-P", "-c", BOOT.format(module=module), json.dumps(sys.path), str(project), turn]
    notes.unlink(missing_ok=True)  # of a try that ended early
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=project, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
            start_new_session=True,
        )  # fmt: skip
    taken, late = 0, time.monotonic() + patience
    heard.at = ("", "start")
    try:
        while True:
            code = child.poll()
            lines = notes.read_text(encoding="utf-8").split("\n")[:-1] if notes.exists() else []
            for line in lines[taken:]:
                heard.note(line)
                late = time.monotonic() + patience
            taken = len(lines)
            if code is not None:
                break
            if time.monotonic() > late:
                return Finding(*heard.at, "failed", f"it took more than {patience:g} s over the kit's records")
            try:
                child.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)  # its workers, too
            child.wait()
    if code == 0:
        return None
    said = " ".join(log.read_text(encoding="utf-8", errors="replace").split("\n")[-LOG_LINES:]).strip()
    return Finding(*heard.at, "failed", f"its process ended with status {code}: {said}")
