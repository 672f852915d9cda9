"""`factory steps` and `factory plugins`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import factory
from factory.plugins import all_steps, pm

if TYPE_CHECKING:
    from conftest import Lab


def test_steps_are_listed_with_kind_and_summary(lab: Lab) -> None:
    said = lab("steps")
    assert said.code == 0
    rows = {line.split()[0]: line for line in said.lines}
    assert {"normalize", "dedup_minhash", "shout", "toy_train"} <= set(rows)
    assert "map" in rows["shout"]
    assert "Map: upper case." in rows["shout"]


def test_one_step_is_explained_with_its_options(lab: Lab) -> None:
    said = lab("steps", "ask_toy")
    assert said.lines[0] == "ask_toy: stream, Iterator[Text] → Iterator[PromptCompletion]"
    assert "Stream that asks a model n times for each text." in said.out
    assert [line.split() for line in said.lines[-3:]] == [
        ["model", "CausalLM", "required"],
        ["n", "int", "1"],
        ["budget", "Budget", "|", "None", "null"],
    ]
    said = lab("steps", "ask_toys")
    assert (said.code, said.err) == (2, "no step named 'ask_toys'; did you mean 'ask_toy'?\n")


def test_steps_as_json(lab: Lab) -> None:
    found = lab("steps", "--json").json
    assert found["short"]["options"] == [{"name": "n", "type": "int", "default": "3"}]
    assert found["short"] == lab("steps", "short", "--json").json
    assert found["short"]["kind"] == "filter"


def test_steps_of_a_plugin_that_is_one_module(lab: Lab) -> None:
    module = ModuleType("single")
    exec("import factory\ndef alone(record: factory.Text) -> bool: ...\nalone = factory.step(alone)", module.__dict__)
    module.__dict__["register_steps"] = factory.hookimpl(lambda: [module.alone])
    sys.modules["single"] = module
    pm.register(module, "single")
    all_steps.cache_clear()
    try:
        said = lab("steps")
        assert any(line.startswith("alone") for line in said.lines)
    finally:
        pm.unregister(module)
        del sys.modules["single"]
        all_steps.cache_clear()


def test_plugins_are_listed_with_steps_and_hooks(lab: Lab) -> None:
    said = lab("plugins")
    assert "factory.corpus" in said.lines
    rows = {row["plugin"]: row for row in lab("plugins", "--json").json}
    toy = rows[str((lab.root / "plugins" / "toy.py").resolve())]
    assert "shout" in toy["steps"]
    assert toy["hooks"] == ["open_model"]
    assert rows["factory.backends"]["hooks"] == ["open_executor"]


def test_a_broken_plugin_is_named(lab: Lab) -> None:
    path = lab.write("plugins/broken.py", "import factory\n\nthis is no Python\n")
    for command in (["plugins"], ["steps"], ["build", "lab.yaml"]):
        said = lab(*command)
        assert (said.code, said.out) == (2, "")
        assert said.err == f"{path.resolve()}:3: SyntaxError: invalid syntax (broken.py, line 3)\n"
