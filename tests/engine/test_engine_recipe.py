"""Recipes: read with line numbers, every mistake at once, as `file:line: sentence` with the nearest right word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from factory import InputError, PluginError, RecipeError
from factory.engine.recipe import is_name, read_recipe

if TYPE_CHECKING:
    from conftest import Project

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["eight_mistakes", "other_mistakes"])
def test_every_mistake_is_told_at_once_and_nothing_is_written(project: Project, name: str) -> None:
    """To write a golden file anew, delete it and run this test twice."""
    project.lines("a.jsonl", "one")
    project.lines("data/a.jsonl", "one")
    path = project.write("recipe.yaml", (GOLDEN / f"{name}.yaml").read_text())
    there = sorted(project.root.rglob("*"))
    with pytest.raises(RecipeError) as caught:
        project.build("recipe.yaml")
    said = str(caught.value).replace(str(path), "recipe.yaml") + "\n"
    golden = GOLDEN / f"{name}.txt"
    if not golden.exists():
        golden.write_text(said)
        pytest.fail(f"{golden} was missing and is written: read it")
    assert said == golden.read_text()
    assert sorted(project.root.rglob("*")) == there
    assert caught.value.exit_code == 2


def recipe_of(project: Project, options: str) -> dict[str, Any]:
    path = project.recipe(f"targets: {{t: {{from: a, steps: [step: {options}]}}}}")
    return read_recipe(path).targets["t"].calls[0].options


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("[no, en, on, off, y]", ["no", "en", "on", "off", "y"]),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("1_000", 1000),
        ("012", 12),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("null", None),
        ("~", None),
        ("'3'", "3"),
        ('"no"', "no"),
        ("1.5.2", "1.5.2"),
        ("-.inf", float("-inf")),
    ],
)
def test_scalars_follow_yaml_1_2(project: Project, written: str, read: Any) -> None:
    value = recipe_of(project, f"{{x: {written}}}")["x"]
    assert value == read
    assert type(value) is type(read)


def test_lines_of_steps_and_options_are_known(project: Project) -> None:
    path = project.recipe("""\
        targets:
          t:
            from:
              - a
              - b
            steps:
              - plain
              - other:
                  x: 1
                  y: 2
    """)
    target = read_recipe(path).targets["t"]
    assert (target.line, target.source_lines) == (2, (4, 5))
    assert [call.line for call in target.calls] == [7, 8]
    assert [target.calls[1].line_of(option) for option in ("x", "y", "z")] == [9, 10, 8]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("targets: {a: [}", 1, "this is not YAML"),
        ("targets:\n\tx: 1\n", 2, "this is not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "this is not YAML"),
        ("targets: \x00", 1, "this is not YAML"),
        ("", 1, "a recipe needs 'targets:'"),
        ("just text", 1, "a recipe needs 'targets:'"),
        ("- a\n- b\n", 1, "a recipe needs 'targets:'"),
        ("name: x\n", 1, "a recipe needs 'targets:'"),
        ("targets: {}\n", 1, "a recipe needs 'targets:'"),
        ("targets:\n", 1, "a recipe needs 'targets:'"),
        ("targets: [a]\n", 1, "a recipe needs 'targets:'"),
        ("targets: &all {a: *all}\n", 1, "this is not YAML"),
    ],
)
def test_what_is_no_recipe(project: Project, text: str, line: int, said: str) -> None:
    path = project.write("r.yaml", text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}:{line}: {said}")


def test_a_recipe_that_is_not_there_or_cannot_be_read(project: Project) -> None:
    project.recipe("targets: {a: {from: b}}", "recipe.yaml")
    with pytest.raises(InputError, match=r"did you mean 'recipe\.yaml'"):
        read_recipe(project.root / "recpie.yaml")
    with pytest.raises(InputError, match="is a folder; name the recipe file"):
        read_recipe(project.root)
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(project.write("bytes.yaml", b"targets: \xff"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("texts.short.n", "expected target.step.option=value"),
        ("short.n=3", "expected target.step.option=value"),
        ("text.short.n=3", "no target 'text'; did you mean 'texts'?"),
        ("texts.shot.n=3", "'texts' has no step 'shot'; did you mean 'short'?"),
        ("texts.short.n=[", "the value is not YAML"),
        ("texts.short.n=&a [*a]", "the value is not YAML"),
        ("texts.short.n={a: 1, a: 2}", "'a' is given twice, first on line 1; keep one"),
        ("texts.short.m=3", "short has no option 'm'"),
        ("texts.short.n=many", "short: option 'n' must be a valid integer"),
    ],
)
def test_mistakes_in_settings_from_the_command_line(project: Project, override: str, said: str) -> None:
    project.lines("a.jsonl", "one")
    project.recipe("targets: {texts: {from: a.jsonl, steps: [short]}}")
    with pytest.raises((InputError, RecipeError)) as caught:
        project.build(overrides=[override])
    assert said in str(caught.value)
    assert not (project.root / ".factory").exists()


def test_settings_are_written_as_in_the_recipe(project: Project) -> None:
    path = project.recipe("targets: {t: {from: a, steps: [step: {x: 1}, other]}}")

    def options(*overrides: str) -> list[dict[str, Any]]:
        return [call.options for call in read_recipe(path, overrides).targets["t"].calls]

    assert options("t.step.x=no") == [{"x": "no"}, {}]
    assert options("t.other.y=[1, a]") == [{"x": 1}, {"y": [1, "a"]}]
    assert options("t.other.deep.r=8", "t.other.deep.s=") == [{"x": 1}, {"deep": {"r": 8, "s": None}}]


def test_a_limit_holds_for_sources_and_counts(project: Project) -> None:
    for name in "ab":
        project.lines(f"data/{name}.jsonl", *"123456")
    project.recipe("targets: {t: {from: data/*.jsonl}, drawn: {from: t, steps: [invent: {count: 50}]}}")
    project.build(limit=3)
    assert [record["text"] for record in project.records("t")] == ["1", "2", "3"]
    assert project.result
    assert project.result.plan.targets["drawn"].calls[0].options["count"] == 3
    assert project.plan().targets["t"].fingerprint != project.plan(limit=3).targets["t"].fingerprint


def test_only_the_targets_named_and_what_they_need_are_built(project: Project) -> None:
    project.lines("a.jsonl", "one")
    project.recipe("""
        targets:
          a: {from: a.jsonl, steps: [shout]}
          b: {from: a, steps: [halves]}
          c: {from: a, steps: [short]}
    """)
    assert project.build("r.yaml", "b").stages == ["a: read → shout", "b: halves"]
    assert project.result
    assert list(project.result) == ["a", "b"]
    with pytest.raises(InputError, match="this build has no target 'c'"):
        project.result["c"]
    with pytest.raises(InputError, match="no target 'd'; known: a, b, c"):
        project.build("r.yaml", "d")
    assert sorted(path.name for path in (project.root / "build" / "r").iterdir() if path.is_symlink()) == ["a", "b"]


def test_words_of_targets_and_uris() -> None:
    assert all(map(is_name, ("corpus", "round_2", "x")))
    assert not any(map(is_name, ("Corpus", "a.jsonl", "./corpus", "hf:a/b", "", "2x", "a-b")))


def test_two_plugins_with_a_step_of_one_name_are_both_named(project: Project) -> None:
    text = "import factory\n@factory.step\ndef shout(record: factory.Text) -> bool: return True\n"
    path = project.write("plugins/loud.py", text + "@factory.hookimpl\ndef register_steps(): return [shout]\n")
    project.lines("a.jsonl", "one")
    project.recipe("targets: {t: {from: a.jsonl, steps: [shout]}}")
    with pytest.raises(PluginError, match="two plugins register a step named 'shout'") as caught:
        project.build()
    assert str(path) in str(caught.value)
    assert str(project.root / "plugins" / "toy.py") in str(caught.value)
