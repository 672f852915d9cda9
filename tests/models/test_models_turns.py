"""A model in this process that writes the user's turn, and the step that lives by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, Context, Request, assistant, digest, user
from factory.instruct.magpie import magpie
from factory.models import open_model
from factory.models.chat import encode_prompt

pytestmark = pytest.mark.model
SCENE = {"id": digest("scene"), "parents": ["s#1"], "text": "You help.", "meta": {}}


@pytest.fixture(scope="module")
def session(tiny_folder: Path) -> Iterator[Any]:
    opened = open_model(str(tiny_folder)).open(1)
    yield opened
    opened.close()


class Local:
    """A runtime that asks the session, a batch at a time."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.asked: list[Request] = []
        self.dropped: list[str] = []

    def ask(self, model: Any, requests: Iterable[Request], ahead: int | None, budget: Any = None) -> Iterator[Answer]:
        for request in requests:
            self.asked.append(request)
            yield from self.session.submit([request]).result()

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append(reason)

    def report(self, title: str, body: str) -> None: ...

    def alarm(self, says: str, examples: list[Any]) -> None: ...

    def tell(self, done: int, total: int, note: str) -> None: ...


def test_the_prompt_ends_where_the_user_begins(session: Any) -> None:
    talk = [{"role": "system", "content": "You help."}, *user("Hi"), *assistant("Yes?")]
    (answer,) = session.submit([Request(talk, turn="user", max_tokens=8, temperature=0.0)]).result()
    ids = encode_prompt(session._tokenizer, talk, "user")
    assert answer.prompt_tokens == len(ids)
    assert session._tokenizer.decode(ids).endswith("<|im_start|>user\n")


def test_keys_without_a_choice_of_turn_are_what_they_were(tiny_folder: Path) -> None:
    model = open_model(str(tiny_folder))
    assert Request(user("a")).key(model) == Request(user("a"), turn="assistant").key(model)
    assert Request(user("a")).key(model) != Request(user("a"), turn="user").key(model)


def test_magpie_over_a_model_that_knows_nothing(session: Any, tiny_folder: Path, tmp_path: Path) -> None:
    runtime = Local(session)
    ctx = Context("magpie", 0, 1, tmp_path, tmp_path, runtime)
    options = {"count": 3, "max_draws": 12, "min_yield": 0, "instruction_tokens": 12, "answer_tokens": 12}
    made = list(magpie.function([SCENE], ctx, open_model(str(tiny_folder)), **options))
    drawn = [request for request in runtime.asked if request.turn == "user"]
    assert len(drawn) == 12 or len(made) == 3
    assert len({request.index for request in drawn}) == len(drawn)
    answers = [request for request in runtime.asked if request.turn == "assistant"]
    assert len(made) + len(runtime.dropped) == len(drawn)
    assert len(answers) <= len(drawn)
