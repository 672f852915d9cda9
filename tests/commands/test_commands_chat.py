"""`factory chat`: turns, what is kept of them, and the words that begin with a slash."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from factory import Answer, Request, assistant, user

sys.path.insert(0, str(Path(__file__).parent))
from tiny_chat import make_tiny

if TYPE_CHECKING:
    from conftest import Lab, Said


class Counting:
    """An open model that says how many messages it was given, and notes them."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        self.asked += requests
        long = len(requests[0].messages) > 5
        answer = Answer("", "failed", "prompt too long") if long else Answer(f"{len(requests[0].messages)} messages")
        future: Future[list[Answer]] = Future()
        future.set_result([answer])
        return future

    def close(self) -> None:
        pass


def talked(*lines: str, system: str = "") -> tuple[Counting, list[list[str]]]:
    """What the model was given, turn by turn."""
    from factory.commands.chat import talk

    session = Counting()
    talk(session, iter(lines), system, Request([], 3, 0.5, max_tokens=9))
    return session, [[turn["content"] for turn in request.messages] for request in session.asked]


def test_every_turn_brings_what_was_said_before(capsys: pytest.CaptureFixture[str]) -> None:
    session, given = talked("one\n", "  \n", "two\n", "three")
    assert given == [["one"], ["one", "1 messages", "two"], ["one", "1 messages", "two", "3 messages", "three"]]
    assert capsys.readouterr().out.splitlines() == ["1 messages", "3 messages", "5 messages"]
    assert {(one.index, one.temperature, one.max_tokens) for one in session.asked} == {(3, 0.5, 9)}


def test_words_with_a_slash(capsys: pytest.CaptureFixture[str]) -> None:
    _, given = talked("one", "/reset", "two", "/system Be brief.", "three", "/rest", "/reset", "four", "/exit", "five")
    assert given == [["one"], ["two"], ["Be brief.", "three"], ["Be brief.", "four"]]
    assert "/rest: did you mean '/reset'?" in capsys.readouterr().err


def test_a_turn_that_fails_is_told_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    _, given = talked("one", "two", "three", "four", "/system", "five", system="Hm.")
    assert given[2] == ["Hm.", "one", "2 messages", "two", "4 messages", "three"]
    assert given[3] == ["Hm.", "one", "2 messages", "two", "4 messages", "four"]
    assert given[4] == ["five"]
    assert "no answer: prompt too long; /reset begins anew" in capsys.readouterr().err


@pytest.fixture
def typed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    def run(text: str, *args: str) -> Any:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return lab("chat", *args)

    return run


@pytest.mark.model
def test_a_model_answers_lines_that_are_piped_in(lab: Lab, typed: Callable[..., Said]) -> None:
    from factory.models import open_model

    make_tiny(lab.root / "tiny")
    said = typed("Hello?\nAnd now?\n", "./tiny", "--temperature", "0", "--max-tokens", "4")
    model = open_model(uri=str(lab.root / "tiny"))
    assert model is not None
    session = model.open()
    first = user("Hello?")
    (answer,) = session.submit([Request(first, temperature=0, max_tokens=4)]).result()
    turns = [*first, *assistant(answer.text), *user("And now?")]
    (then,) = session.submit([Request(turns, temperature=0, max_tokens=4)]).result()
    session.close()
    assert (said.code, said.out) == (0, f"{answer.text}\n{then.text}\n")


def test_a_target_is_found_by_its_name(lab: Lab, typed: Callable[..., Said]) -> None:
    # the toy's model is a folder with a config and nothing else: it is found, and then cannot be loaded
    said = typed("Hello?\n", "lab.yaml", "pairs")
    assert said.code == 2
    assert "'pairs' is no model but records" in said.err
    said = typed("Hello?\n", "modle")
    assert said.code == 2
    assert "no target 'modle' is built in this project, and as a model:" in said.err
    (model,) = lab.root.glob("build/lab/model/model")
    assert json.loads((model / "config.json").read_text())["records"] == 6
    said = typed("Hello?\n", "a", "b", "c")
    assert said.code == 2
    assert "one TARGET after its RECIPE, not 2: b c" in said.err


@pytest.mark.model
def test_a_target_answers_by_name_and_by_recipe(lab: Lab, typed: Callable[..., Said]) -> None:
    (model,) = lab.root.glob("build/lab/model/model")
    make_tiny(model)
    args = ("--temperature", "0", "--max-tokens", "4")
    by_name, by_recipe = typed("Hello?\n", "model", *args), typed("Hello?\n", "lab.yaml", "model", *args)
    assert by_name.code == by_recipe.code == 0
    assert by_name.out == by_recipe.out
    (lab.root / "build" / "other" / "model").mkdir(parents=True)
    (lab.root / "build" / "other" / "model" / "model").symlink_to(model)
    assert "several recipes have built 'model': lab, other; name the recipe, too" in typed("Hello?\n", "model").err
