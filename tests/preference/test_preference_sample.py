"""Several answers to each prompt, asked through the engine's own cache, window and budgets."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, Budget, CausalLM, Context, Model, Request, StepError, assistant, text_of, user
from factory.engine.asking import Asking
from factory.engine.responses import Responses
from factory.preference.sample import MOST, most_requests, sample

run = sample.function
ASKED: list[tuple[str, Request]] = []


@dataclass(frozen=True)
class Voice(CausalLM):
    """A model that says one of `words` things to a prompt, drawn by the request's key; some fail or are cut."""

    words: int = 1000
    fate: Callable[[Request], str] = lambda request: "stop"

    def open(self, threads: int = 2) -> Voice:
        return self

    batch = 1

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        future: Future[list[Answer]] = Future()
        future.set_result([self.answer(request) for request in requests])
        return future

    def answer(self, request: Request) -> Answer:
        ASKED.append((self.uri, request))
        fate = self.fate(request)
        if fate == "failed":
            return Answer("", fate, "status 400: no", 5, 0)
        said = f"{self.uri} says {random.Random(request.key(self)).randrange(self.words)}"
        return Answer("" if fate == "empty" else f"  {said}\n", "stop" if fate == "empty" else fate, "", 5, 4)

    def close(self) -> None: ...


class Room:
    """The engine's side of a context: its own asking, and lists of what the step says."""

    def __init__(self, folder: Path) -> None:
        self.responses = Responses(folder / "responses.sqlite")
        self.asking = Asking(self.responses, 1, lambda usage: None)
        self.dropped: list[tuple[Any, str, dict[str, Any]]] = []
        self.sections: dict[str, str] = {}

    def ask(self, model: Model, requests: Any, ahead: int | None, budget: Budget | None = None) -> Iterator[Answer]:
        return self.asking.ask(model, requests, ahead, budget)

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record, reason, details))

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def reasons(self, record: Any) -> list[str]:
        return [reason for one, reason, _ in self.dropped if one["id"] == record["id"]]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[tuple[Context, Room]]:
    ASKED.clear()
    runtime = Room(tmp_path)
    yield Context("sample", 0, 1, tmp_path, tmp_path, runtime), runtime
    runtime.asking.close()
    runtime.responses.close()


def prompts(count: int) -> list[Any]:
    return [
        {"id": f"p{at}", "parents": [f"a.jsonl#{at}"], "prompt": user(f"Question {at}?"), "meta": {"topic": at % 3}}
        for at in range(count)
    ]


def voice(name: str = "toy:a", **how: Any) -> Voice:
    return Voice(name, name, **how)


def test_every_prompt_gets_n_answers_at_the_temperatures_in_turn(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    made = list(run(iter(prompts(5)), ctx, voice(), n=3, temperatures=[0.5, 1.5]))
    assert [one["parents"] for one in made] == [[f"p{at}"] for at in range(5)]
    for one in made:
        assert len(one["completions"]) == 3
        assert one["scores"] == []
        assert one["meta"]["temperatures"] == [0.5, 1.5, 0.5]
        assert one["meta"]["models"] == ["toy:a"] * 3
        assert one["meta"]["draws"] == [1, 1, 1]
        assert one["meta"]["topic"] == int(one["parents"][0][1:]) % 3
    assert [request.index for _, request in ASKED] == [0, 1, 2] * 5
    assert runtime.dropped == []
    assert most_requests(5, n=3) == len(ASKED)


def test_a_completion_that_came_along_is_a_reference_and_no_candidate(room: tuple[Context, Room]) -> None:
    ctx, _ = room
    known = {**prompts(1)[0], "completion": assistant("Seven."), "meta": {"models": ["old"], "comparisons": [1]}}
    (one,) = run(iter([known]), ctx, voice(), n=2)
    assert one["meta"]["reference"] == "Seven."
    assert "Seven." not in map(text_of, one["completions"])
    assert "comparisons" not in one["meta"]
    assert one["meta"]["models"] == ["toy:a"] * 2


def test_equal_prompts_are_new_draws_and_a_larger_n_asks_only_for_more(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    twice = [prompts(1)[0], {**prompts(1)[0], "id": "again"}]
    first, second = run(iter(twice), ctx, voice(), n=2)
    assert not set(map(text_of, first["completions"])) & set(map(text_of, second["completions"]))
    asked = len(ASKED)
    more = list(run(iter(twice), ctx, voice(), n=5))
    assert len(ASKED) == asked + 6
    assert [one["completions"][:2] for one in more] == [first["completions"], second["completions"]]
    assert runtime.asking.usage.replayed == 4


def test_answers_that_are_equal_but_for_spacing_are_one(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    made = list(run(iter(prompts(40)), ctx, voice(words=3), n=4))
    dropped = [record for record, reason, _ in runtime.dropped if reason == "same answer"]
    for one in made:
        said = list(map(text_of, one["completions"]))
        assert len(set(said)) == len(said) >= 2
        assert all(text == text.strip() for text in said)
        assert sum(one["meta"]["draws"]) == 4
    few = [details for record, reason, details in runtime.dropped if reason == "too few different answers"]
    assert len(made) + len(few) == 40
    assert all(details == {"different": 1, "answers": {"same answer": 3}} for details in few)
    assert len(dropped) + sum(len(one["completions"]) for one in made) + len(few) == 160


def test_what_was_cut_failed_or_is_empty_is_no_candidate(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    fates = ["stop", "length", "failed", "empty", "stop"]
    (one,) = run(iter(prompts(1)), ctx, voice(fate=lambda request: fates[request.index]), n=5)
    assert len(one["completions"]) == 2
    assert [reason for _, reason, _ in runtime.dropped] == ["cut off", "request failed", "empty answer"]
    assert runtime.dropped[1][2] == {"error": "status 400: no"}
    assert ["completion" in record for record, _, _ in runtime.dropped] == [True, False, True]
    assert runtime.dropped[0][0]["meta"] == {"model": "toy:a", "temperature": 1.0}
    assert all(record["parents"] == ["p0"] for record, _, _ in runtime.dropped)
    (kept,) = run(iter(prompts(1)), ctx, voice(fate=lambda request: fates[request.index]), n=5, keep_cut=True)
    assert len(kept["completions"]) == 3
    assert runtime.sections["Sampled answers"].splitlines()[-1] == "| `toy:a` | 1 | 2 | 1 | 14 | 1 | 0 |"


@pytest.mark.parametrize(
    ("fate", "reason"),
    [("failed", "request failed"), ("length", "too few different answers"), ("empty", "too few different answers")],
)
def test_a_prompt_without_answers_says_why(room: tuple[Context, Room], fate: str, reason: str) -> None:
    ctx, runtime = room
    assert list(run(iter(prompts(1)), ctx, voice(fate=lambda request: fate), n=3)) == []
    assert runtime.reasons(prompts(1)[0]) == [reason]


def test_an_empty_prompt_is_not_asked(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    empty = {**prompts(1)[0], "prompt": user(" \n")}
    assert len(list(run(iter([empty, *prompts(3)[1:]]), ctx, voice(), n=2))) == 2
    assert runtime.reasons(empty) == ["empty prompt"]
    assert len(ASKED) == 4


def test_several_models_answer_in_turn(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    models = [voice("toy:a"), voice("toy:b"), voice("toy:c")]
    made = list(run(iter(prompts(7)), ctx, models, n=5, temperatures=[0.2, 0.9]))
    assert len(made) == 7
    for one in made:
        assert one["meta"]["models"] == ["toy:a", "toy:b", "toy:c", "toy:a", "toy:b"]
        assert one["meta"]["temperatures"] == [0.2, 0.2, 0.2, 0.9, 0.9]
        assert [text_of(answer).split()[0] for answer in one["completions"]] == one["meta"]["models"]
    assert "35 candidates of 35 answers." in runtime.sections["Sampled answers"]


def test_several_models_stream_and_hold_few_prompts(
    room: tuple[Context, Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompts that are drawn and not answered stay bounded by how far ahead a model may draw."""
    ctx, _ = room
    monkeypatch.setattr(Model, "ahead", 8)
    monkeypatch.setattr("factory.engine.asking.GROWTH", 0)
    drawn = 0

    def source() -> Iterator[Any]:
        nonlocal drawn
        for record in prompts(100):
            drawn += 1
            yield record

    most = 0
    for done, _ in enumerate(run(source(), ctx, [voice("toy:a"), voice("toy:b")], n=4), start=1):
        most = max(most, drawn - done)
    assert done == drawn == 100
    assert most <= 4


def test_models_that_share_a_budget_spend_it_prompt_by_prompt(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    models = [voice("toy:a"), voice("toy:b")]
    made = list(run(iter(prompts(400)), ctx, models, n=2, budget=Budget(max_requests=400)))
    assert len(ASKED) == 400
    assert len(made) >= 130
    gone = [reason for record, reason, _ in runtime.dropped if record["id"].startswith("p")]
    assert set(gone) == {"budget used up"}
    assert len(made) + len(gone) == 400


def test_one_model_ends_its_budget_with_whole_prompts_or_those_that_have_enough(room: tuple[Context, Room]) -> None:
    ctx, runtime = room
    made = list(run(iter(prompts(6)), ctx, voice(), n=4, budget=Budget(max_requests=10)))
    assert [len(one["completions"]) for one in made] == [4, 4, 2]
    assert [reason for _, reason, _ in runtime.dropped] == ["budget used up"] * 3


def test_options_that_cannot_be_met_are_refused(room: tuple[Context, Room]) -> None:
    ctx, _ = room
    with pytest.raises(StepError, match="gives no answer to some of 2 models"):
        list(run(iter([]), ctx, [voice(), voice()], n=1, least=1))
    with pytest.raises(StepError, match="gives no answer to some of 0 models"):
        list(run(iter([]), ctx, [], n=1, least=1))
    with pytest.raises(StepError, match=r"no prompt can have 3 different answers \(least\) of 2"):
        list(run(iter([]), ctx, voice(), n=2, least=3))
    assert sample.options.model_validate({"model": ["tutor", "openai:x"], "n": MOST}).model_dump()["n"] == MOST
    assert sample.references == {"model": CausalLM}
