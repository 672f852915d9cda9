"""What the kit brings into its temporary projects: the plugin under test, hostile records, two executors, a model.

kit:given/Text.jsonl   a source of any record type; the first line of the file names the type
kit:stop:N             an executor that runs N tasks and then fails, as a killed build would
kit:echo               a model that answers at once with words of the question
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import factory
from factory import Answer, CausalLM, Model, Piece, Request, Row, Source, Step, StepError, project_path, text_of
from factory.plugins import DROP_IN, pm

P = ParamSpec("P")
T = TypeVar("T")

OWN = ".kit"  # the folder of a project where the kit keeps its own: settings, recipes, notes
SETTINGS = "settings.json"
GIVEN = "kit:given/"
STOPPED = "stopped by the kit"
PIECES = 3  # of every dataset, so that there are shards to lose, to swap and to resume at
DROP_IN_FILE = '''"""The plugin under test, and what it is tested with."""

from pathlib import Path

from factory.testing.stand import bring, open_dataset, open_executor, open_model, register_steps

bring(Path(__file__).parents[1])
'''

_loose: list[Step] = []


def bring(project: Path) -> None:
    """Make what is under test known in this process. A project's drop-in file calls this, so workers do as well."""
    settings = json.loads((project / OWN / SETTINGS).read_text(encoding="utf-8"))
    sys.path += [folder for folder in settings["paths"] if folder not in sys.path]
    _loose.clear()
    if name := settings["module"]:
        module = importlib.import_module(name)
        if not pm.is_registered(module):
            pm.register(module, name)
    for name, file, attribute in settings["steps"]:
        _loose.append(getattr(_loaded(name, file), attribute))


def _loaded(name: str, file: str) -> ModuleType:
    """A module by its name, from the file it was loaded from where it is; test modules are in no package."""
    if name in sys.modules:
        return sys.modules[name]
    try:
        known = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        known = None
    if known is not None and known.origin == file:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise factory.PluginError(f"{name}: {file} cannot be loaded as a module")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loose_steps() -> list[Step]:
    return list(_loose)


@factory.hookimpl
def register_steps() -> list[Step]:
    known = {id(step) for plugin in pm.get_plugins() if (bring := _registers(plugin)) for step in bring()}
    return [step for step in _loose if id(step) not in known]


def _registers(plugin: Any) -> Callable[[], list[Step]] | None:
    mine = getattr(plugin, "__name__", "").startswith(DROP_IN + "zz_")
    return None if mine else getattr(plugin, "register_steps", None)


class Given(Source):
    """The kit's records, in pieces. A record's place ends with the name of its case: `given/Text.jsonl#empty text`."""

    def __init__(self, uri: str) -> None:
        from factory.engine.records import RECORD_TYPES

        super().__init__(uri)
        self.place = uri.removeprefix("kit:")
        self.lines = project_path(self.place).read_text(encoding="utf-8").splitlines()
        self.kind = RECORD_TYPES[json.loads(self.lines[0])]

    def pieces(self) -> list[Piece]:
        count = len(self.lines) - 1
        if not count:
            return []
        ends = [1 + count * number // PIECES for number in range(PIECES + 1)]
        return [
            Piece(factory.digest(self.lines[start:end]), (self.place,), (start, end)) for start, end in pairwise(ends)
        ]

    def rows(self, piece: Piece) -> Iterator[Row]:
        for line in self.lines[slice(*(piece.detail or (1, 1)))]:
            case, fields = json.loads(line)
            yield f"{self.place}#{case}", fields


@factory.hookimpl
def open_dataset(uri: str) -> Source | None:
    return Given(uri) if uri.startswith(GIVEN) else None


class Stopping(Executor):
    """Runs the first tasks at once; the next one fails, and the build with it."""

    def __init__(self, most: int) -> None:
        self.left = most

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self.left -= 1
        try:
            if self.left < 0:
                raise StepError(STOPPED)
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@factory.hookimpl
def open_executor(uri: str) -> Executor | None:
    return Stopping(int(uri.removeprefix("kit:stop:"))) if uri.startswith("kit:stop:") else None


@dataclass(frozen=True)
class Echo(CausalLM):
    """A model that continues with words of what it is asked, drawn by a generator seeded with the request's key."""

    def open(self, threads: int = 2) -> Echoing:
        return Echoing(self)


class Echoing:
    """An open Echo."""

    batch = 1

    def __init__(self, model: Echo) -> None:
        self.model = model

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        future: Future[list[Answer]] = Future()
        future.set_result([self.answer(request) for request in requests])
        return future

    def answer(self, request: Request) -> Answer:
        drawn = random.Random(request.key(self.model))
        words = text_of(request.messages)[:2000].split() or ["nothing"]
        said = " ".join(drawn.choices(words, k=min(12, request.max_tokens)))
        return Answer(f" {said}?", ("stop", "stop", "length")[drawn.randrange(3)])

    def close(self) -> None:
        pass


@factory.hookimpl
def open_model(uri: str) -> Model | None:
    return Echo(uri, uri) if uri == "kit:echo" else None
