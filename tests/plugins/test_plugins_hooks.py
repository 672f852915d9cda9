"""Every hook, used by a plugin the way an author would: one test for each, named after it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import Dataset
from factory.hookspecs import hookspec  # noqa: F401  (the module must load alone)
from factory.plugins import open_uri, pm

ROOT = Path(__file__).parents[2]
Write = Callable[[str, str], Path]

HEADER = "import json\nfrom pathlib import Path\nimport factory\n\n@factory.hookimpl\n"
RECIPE = """
name: small
targets:
  words:
    from: words.jsonl
    steps: [{step}]
"""


@pytest.fixture
def build(project: Path, write: Write) -> Callable[..., factory.Result]:
    """Build one target with a plugin that holds one hook."""

    def made(hook: str, step: str = "normalize", source: str = "words.jsonl", **options: Any) -> factory.Result:
        write("plugins/one_hook.py", HEADER + hook)
        write("words.jsonl", '{"text": "one"}\n{"text": "two"}\n')
        recipe = RECIPE.format(step=step).replace("words.jsonl", source)
        return factory.build(write("recipe.yaml", recipe), **options)

    return made


def said(project: Path) -> list[Any]:
    """What the hook under test wrote down."""
    return [json.loads(line) for line in (project / "said.jsonl").read_text(encoding="utf-8").splitlines()]


NOTE = (
    "    with (factory.project_root() / 'said.jsonl').open('a') as file:\n        file.write(json.dumps({}) + '\\n')\n"
)


def texts_of(result: factory.Result) -> list[str]:
    made = result["words"]
    assert isinstance(made, Dataset)
    return [record["text"] for record in made]


def test_register_steps(build: Callable[..., factory.Result]) -> None:
    shout = "@factory.step\ndef shout(record: factory.Text) -> factory.Text:\n"
    shout += "    return {**record, 'text': record['text'].upper()}\n"
    result = build(f"def register_steps():\n    return [shout]\n\n{shout}", "shout")
    assert texts_of(result) == ["ONE", "TWO"]


def test_register_commands(project: Path, run: Callable[..., subprocess.CompletedProcess[str]], write: Write) -> None:
    """A command comes with an installed plugin: drop-in files are loaded once the command knows its recipe."""
    write("lib/greeting.py", "import click\n" + HEADER + "def register_commands(cli):\n    cli.add_command(greet)\n")
    with (project / "lib/greeting.py").open("a") as file:
        file.write("\n@click.command()\ndef greet():\n    'Say hello.'\n    click.echo('hello')\n")
    write("lib/greeting-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1\n")
    write("lib/greeting-1.dist-info/entry_points.txt", "[factory]\ngreeting = greeting\n")
    assert run("greet", PYTHONPATH="lib").stdout == "hello\n"


def test_open_dataset(build: Callable[..., factory.Result]) -> None:
    source = "def open_dataset(uri):\n    return Count(uri) if uri.startswith('count:') else None\n\n"
    source += "class Count(factory.Source):\n    kind = factory.Text\n"
    source += "    def pieces(self):\n        return [factory.Piece(self.uri, (self.uri,))]\n"
    source += "    def rows(self, piece):\n        for n in range(1, 4):\n"
    source += "            yield f'{self.uri}#{n}', {'text': f'number {n}'}\n"
    result = build(source, source="count:3")
    assert texts_of(result) == ["number 1", "number 2", "number 3"]
    made = result["words"]
    assert isinstance(made, Dataset)
    assert [record["parents"] for record in made] == [["count:3#1"], ["count:3#2"], ["count:3#3"]]


def test_save_dataset(build: Callable[..., factory.Result], project: Path) -> None:
    result = build(
        "def save_dataset(dataset, uri):\n    if not uri.endswith('.lines'):\n        return None\n"
        "    Path(uri).write_text(''.join(r['text'] + '\\n' for r in dataset))\n    return True\n"
    )
    assert pm.hook.save_dataset(dataset=result["words"], uri=str(project / "out.lines")) is True
    assert (project / "out.lines").read_text() == "one\ntwo\n"
    assert not pm.hook.save_dataset(dataset=result["words"], uri=str(project / "out.unknown"))


def test_save_model(build: Callable[..., factory.Result], project: Path) -> None:
    build(
        "def save_model(model, uri):\n    if not uri.endswith('.name'):\n        return None\n"
        "    Path(uri).write_text(model.uri)\n    return f'the name of a model in {Path(uri).name}'\n"
    )
    model = factory.Tokenizer("words", "1")
    assert pm.hook.save_model(model=model, uri=str(project / "out.name")) == "the name of a model in out.name"
    assert (project / "out.name").read_text() == "words"
    assert pm.hook.save_model(model=model, uri=str(project / "out.unknown")) is None


@pytest.mark.builds
def test_open_model(build: Callable[..., factory.Result]) -> None:
    """A model of a plugin answers a stream, whose stage runs in a process of its own and loads the plugin there."""
    parrot = """def open_model(uri):
    return Parrot(uri, uri) if uri.startswith('parrot:') else None

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

@dataclass(frozen=True)
class Parrot(factory.CausalLM):
    def open(self, threads=2):
        return Session()

class Session:
    batch, window = 1, 4
    def submit(self, requests):
        future = Future()
        future.set_result([factory.Answer(text=r.messages[-1]['content'] * 2) for r in requests])
        return future
    def close(self):
        pass

@factory.step
def repeat(records: Iterator[factory.Text], model: factory.CausalLM, ctx: factory.Context) -> Iterator[factory.Text]:
    asked = (factory.Request(messages=factory.user(r['text']), about=r) for r in records)
    for answer in ctx.ask(model, asked):
        yield factory.derive(answer.request.about, text=answer.text)

@factory.hookimpl
def register_steps():
    return [repeat]
"""
    assert texts_of(build(parrot, "{repeat: {model: 'parrot:grey'}}")) == ["oneone", "twotwo"]


def test_open_executor(build: Callable[..., factory.Result], project: Path) -> None:
    counting = "def open_executor(uri):\n    return Counting() if uri == 'counting' else None\n\n"
    counting += "from concurrent.futures import ThreadPoolExecutor\n"
    counting += "class Counting(ThreadPoolExecutor):\n    def submit(self, function, /, *arguments, **named):\n"
    counting += NOTE.format("function.__name__").replace("    ", "        ") + "\n"
    counting += "        return super().submit(function, *arguments, **named)\n"
    assert texts_of(build(counting, executor="counting")) == ["one", "two"]
    assert said(project) == ["remote"]
    with pytest.raises(factory.PluginError, match="no plugin opens the executor 'abacus'"):
        open_uri("executor", "abacus")


def test_before_build(build: Callable[..., factory.Result], project: Path) -> None:
    build("def before_build(plan):\n" + NOTE.format("[plan.recipe.name, len(plan.stages)]"))
    assert said(project) == [["small", 1]]


def test_after_task(build: Callable[..., factory.Result], project: Path) -> None:
    build("def after_task(stage, done, total, counts):\n" + NOTE.format("[stage.target, done, total, counts]"))
    assert said(project) == [["words", 1, 1, {"in": 2, "out": 2, "dropped": 0}]]


def test_after_stage(build: Callable[..., factory.Result], project: Path) -> None:
    hook = "def after_stage(stage, manifest, cached):\n" + NOTE.format(
        "[stage.target, manifest['counts']['out'], cached]"
    )
    build(hook)
    build(hook)
    assert said(project) == [["words", 2, False], ["words", 2, True]]


def test_log_metrics(build: Callable[..., factory.Result], project: Path) -> None:
    hook = "def log_metrics(stage, step, metrics):\n" + NOTE.format("[stage.target, step, metrics]")
    hook += "\nfrom collections.abc import Iterator\n@factory.step\n"
    hook += "def logs(dataset: factory.Dataset[factory.Text], ctx: factory.Context) -> Iterator[factory.Text]:\n"
    hook += "    for n, record in enumerate(dataset):\n        ctx.log(n, loss=1 / (n + 1))\n        yield record\n"
    hook += "\n@factory.hookimpl\ndef register_steps():\n    return [logs]\n"
    build(hook, "logs")
    assert said(project) == [["words", 0, {"loss": 1.0}], ["words", 1, {"loss": 0.5}]]


def test_after_build(build: Callable[..., factory.Result], project: Path) -> None:
    hook = "def after_build(plan, error):\n" + NOTE.format("[plan.recipe.name, error and str(error)]")
    hook += "\n@factory.step\ndef breaks(record: factory.Text) -> bool:\n    raise ValueError('no')\n"
    hook += "\n@factory.hookimpl\ndef register_steps():\n    return [breaks]\n"
    build(hook)
    with pytest.raises(factory.StepError):
        build(hook, "breaks")
    (well, failed) = said(project)
    assert well == ["small", None]
    assert failed[0] == "small"
    assert re.fullmatch(r"breaks failed on record \w+ from words\.jsonl#1: ValueError: no", failed[1])


def test_every_hook_has_a_test_named_after_it() -> None:
    specified = {name for name, value in vars(factory.hookspecs).items() if hasattr(value, "factory_spec")}
    assert specified == {name.removeprefix("test_") for name in globals()} & specified
    assert len(specified) >= 11
