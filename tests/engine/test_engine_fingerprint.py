"""What counts in a fingerprint: code, options, files and inputs; not layout, and not what stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from factory.engine.fingerprint import _spelled, reached

if TYPE_CHECKING:
    from conftest import Project

SOURCE = '''
"""A module."""
import os
class Thing:
    """A class."""
    size = 1
def act(x):
    "Say what."  # and why
    return f"{x + 1} things"
'''


@pytest.mark.parametrize(
    "same",
    [
        SOURCE.replace("# and why", "# and why not"),
        SOURCE.replace('"""A module."""', '"""Another\n\nsaying."""'),
        SOURCE.replace('    "Say what."  # and why\n', ""),
        SOURCE.replace('    """A class."""\n', ""),
        SOURCE.replace("import os\n", "import os\n\n\n# a comment\n\n"),
        SOURCE + "\n\n# the end",
        SOURCE.rstrip(),
        SOURCE.replace("size = 1", "size  =  (1)").replace("(1)", "1"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(same: str) -> None:
    assert _spelled(same.encode()) == _spelled(SOURCE.encode())


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.replace("x + 1", "x + 2"),
        SOURCE.replace("things", "thing"),
        SOURCE.replace("size = 1", "size = 2"),
        SOURCE.replace("import os", "import sys"),
        SOURCE.replace('return f"', 'return "'),
        SOURCE.replace("    size = 1\n", "").replace('A class."""', 'A class."""\nsize = 1'),
    ],
)
def test_code_counts(other: str) -> None:
    assert _spelled(other.encode()) != _spelled(SOURCE.encode())


def test_a_string_on_the_line_of_a_docstring_counts() -> None:
    one, other = (f'def f(): "doc"; return "{letter}"'.encode() for letter in "ab")
    assert _spelled(one) != _spelled(other)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Makes a package of these modules and imports its `steps`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_distribution").mkdir()

    def made(**modules: str) -> ModuleType:
        for module, text in {"__init__": "", **modules}.items():
            (tmp_path / "own_distribution" / f"{module}.py").write_text(text)
        return __import__("own_distribution.steps", fromlist=["act"])

    return made


def test_modules_of_the_same_distribution_count_and_others_do_not(package: Callable[..., ModuleType]) -> None:
    steps = "from . import words\nfrom own_distribution.numbers import one\nimport json, factory\n"
    steps += "def act(): import own_distribution.late"
    package(steps=steps, words="from .deep import x", numbers="one = 1", late="", deep="x = 1", apart="")
    found = reached("own_distribution.steps") - {"own_distribution"}
    assert found == {f"own_distribution.{name}" for name in ("steps", "words", "numbers", "late", "deep")}


def test_the_engine_does_not_count_and_rooms_do() -> None:
    found = reached("factory.corpus.dedup.duplicates")
    assert "factory.corpus.reshape" in found
    assert not any(name == "factory" or name.startswith("factory.engine") for name in found)


RECIPE = """
    seed: 1
    targets:
      texts: {from: a.jsonl, steps: [shout, short: {n: 5}]}
      once: {from: texts, steps: [one_of_each, short: {n: 4}]}
      drawn: {from: texts, steps: [invent: {count: 2}]}
      known: {from: texts, steps: [listed: {words: words.txt}]}
      counted: {from: [once, known], steps: [how_many]}
"""


@pytest.fixture
def built(project: Project) -> Project:
    """A project whose recipe has been built once."""
    project.lines("a.jsonl", "one", "two", "two", "three", "eleven")
    project.write("words.txt", "ONE\nTWO")
    project.recipe(RECIPE)
    assert len(project.build().stages) == 5
    return project


def test_building_again_runs_nothing_and_writes_nothing(built: Project) -> None:
    before = built.written()
    ran = built.build()
    assert (ran.stages, ran.tasks, len(ran.stored)) == ([], {}, 5)
    assert built.written() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    """Map: upper case."""', '    """Map: every letter as a capital."""'),
        ('    """Filter: at most n characters."""\n', ""),
        ("    return True\n", "\n    return True  # it is short enough\n\n"),
    ],
)
def test_editing_a_comment_a_docstring_or_blank_lines_reruns_nothing(built: Project, old: str, new: str) -> None:
    built.edit("plugins/toy.py", old, new)
    assert built.build().stages == []


def test_editing_code_reruns_the_stages_of_that_module(built: Project) -> None:
    built.write("plugins/other.py", OTHER)
    built.recipe(RECIPE + "      long: {from: texts, steps: [longer]}\n")
    assert built.build().stages == ["long: longer"]
    built.edit("plugins/other.py", "> 3", "> 4")  # of the same size, within the same second
    assert built.build().stages == ["long: longer"]
    assert [record["text"] for record in built.records("long")] == ["THREE"]
    built.edit("plugins/toy.py", ".upper()", ".lower()")
    assert len(built.build().stages) == 6, "longer, too, since its input is another"


OTHER = """
import factory

@factory.step
def longer(record: factory.Text) -> bool:
    return len(record["text"]) > 3

@factory.hookimpl
def register_steps():
    return [longer]
"""


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("n: 4", "n: 3", ["once: one_of_each → short", "counted: how_many"]),
        ("count: 2", "count: 3", ["drawn: invent"]),
        ("seed: 1", "seed: 2", ["drawn: invent", "counted: how_many"]),  # the steps that have a context may draw
        ("n: 5", "n: 50", 5),
        ("n: 5", "n: 5.0", []),
        ("[shout, short: {n: 5}]", "[short: {n: 5}, shout]", 5),
    ],
)
def test_changing_one_option_reruns_that_stage_and_what_depends_on_it(
    built: Project, old: str, new: str, again: list[str] | int
) -> None:
    built.edit("r.yaml", old, new)
    ran = built.build().stages
    assert sorted(ran) == sorted(again) if isinstance(again, list) else len(ran) == again


def test_a_default_written_out_reruns_nothing(built: Project) -> None:
    built.edit("r.yaml", "[one_of_each, short: {n: 4}]", "[one_of_each, {short: {n: 4}}]")
    built.edit("r.yaml", "[shout, ", "[{shout: {}}, ")
    assert built.build().stages == []


def test_the_content_of_a_file_that_an_option_names_counts(built: Project) -> None:
    built.write("words.txt", "ONE\nTWO")
    assert built.build().stages == [], "the same content, written anew"
    built.write("words.txt", "THREE")
    assert built.build().stages == ["known: listed", "counted: how_many"]
    assert [record["text"] for record in built.records("known")] == ["THREE"]


def test_going_back_finds_what_was_built_before(built: Project) -> None:
    built.edit("r.yaml", "n: 4", "n: 3")
    built.build()
    built.edit("r.yaml", "n: 3", "n: 4")
    assert built.build().stages == []


def test_one_file_more_among_a_hundred_is_one_task_a_stage(project: Project) -> None:
    for number in range(100):
        project.write(f"data/{number}.txt", f"document {number}")
    project.recipe("""
        targets:
          texts: {from: data/*.txt, steps: [shout]}
          more: {from: texts, steps: [measure, no_x]}
          once: {from: more, steps: [one_of_each, short: {n: 50}]}
    """)
    first = project.build()
    assert first.tasks["texts: read → shout"] == first.tasks["more: measure → no_x"] > 20
    project.write("data/100.txt", "another one")
    second = project.build()
    assert second.tasks == {"texts: read → shout": 1, "more: measure → no_x": 1, "once: one_of_each → short": 1}
    assert len(project.records("once")) == 101


@pytest.mark.builds
def test_a_row_more_asks_the_model_only_what_it_was_not_asked(project: Project) -> None:
    project.lines("a.jsonl", "one", "two", "two", "unanswerable")
    project.recipe("targets: {pairs: {from: a.jsonl, steps: [ask_toy: {model: 'toy:a', n: 2}]}}")
    assert project.build().asked == {"pairs": (6, 2)}, "an equal prompt with an equal index is asked once"
    assert sorted(project.read("asked.txt")) == ["one", "one", "two", "two", "unanswerable", "unanswerable"]
    assert [record["prompt"][0]["content"] for record in project.records("pairs")] == ["one"] * 2 + ["two"] * 4
    (failed,) = project.dropped("pairs")
    assert (failed["reason"], failed["details"]) == ("no answer", {"error": "no idea"})
    assert (project.root / "closed.txt").exists()
    project.lines("a.jsonl", "zero", "one", "two", "two")
    project.recipe("targets: {pairs: {from: a.jsonl, steps: [ask_toy: {model: 'toy:a', n: 3}]}}")
    assert project.build().asked == {"pairs": (5, 7)}
    assert project.read("asked.txt")[6:] == ["zero", "zero", "zero", "one", "two"]


def test_two_projects_of_one_process_with_a_plugin_file_of_one_name(new_project: Callable[[], Project]) -> None:
    one, other = new_project(), new_project()
    other.edit("plugins/toy.py", ".upper()", ".title()")
    for project in (one, other):
        project.lines("a.jsonl", "one")
        project.recipe("targets: {texts: {from: a.jsonl, steps: [shout]}}")
        project.build()
    assert (one.records("texts")[0]["text"], other.records("texts")[0]["text"]) == ("ONE", "One")
    assert one.plan().targets["texts"].fingerprint != other.plan().targets["texts"].fingerprint
