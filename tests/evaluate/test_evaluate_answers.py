"""Which prompts are asked, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Answer, CausalLM, Context, InputError, Request, text_of, user
from factory.evaluate.answers import answers, choose, count_requests


@dataclass(frozen=True)
class Parrot(CausalLM):
    """Answers with the prompt, shouted; asked to count it fails, asked for a module it has nothing to say."""

    def open(self, threads: int = 2) -> Any:
        return self

    def close(self) -> None:
        pass

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        said = text_of(requests[0].messages)
        failed = Answer(finish="failed", error="no numbers")
        answer = failed if "Count" in said else Answer("" if "module" in said else said.upper())
        future: Future[list[Answer]] = Future()
        future.set_result([answer])
        return future


def test_every_record_is_asked_or_dropped(context: Context, records: Any, write_dataset: Any, notebook: Any) -> None:
    models: dict[str, CausalLM] = {"before": Parrot("a"), "after": Parrot("b")}
    made = list(answers.function(write_dataset(records), context, models, n=5, max_tokens=9))
    assert all(request.temperature == 0 and request.max_tokens == 9 for request in notebook.asked)
    assert len(notebook.asked) == 10
    reasons = [reason for _, reason, _ in notebook.dropped]
    assert sorted(reasons) == ["empty answer"] * 2 + ["not asked"] + ["request failed"] * 2
    assert [name for name, reason, _ in notebook.dropped if reason == "not asked"] == ["0005"]
    assert [record["meta"]["model"] for record in made] == ["before", "after"] * 3
    for record in made:
        assert record["completion"][0]["content"] == text_of(record["prompt"]).upper()
        assert record["parents"][0] in {"0000", "0001", "0003"}
    report = notebook.sections["Answers before and after"]
    assert "> A list holds items in order." in report
    assert "> WHAT IS A LIST?" in report
    assert "> (failed: no numbers)" in report


@given(st.lists(st.text(max_size=3), min_size=1, max_size=30), st.integers(1, 6))
def test_the_choice_is_of_distinct_prompts_and_hardly_moves(prompts: list[str], n: int) -> None:
    dataset: Any = [{"id": str(at), "prompt": user(prompt)} for at, prompt in enumerate(prompts)]
    chosen = choose(dataset, n)
    assert len(chosen) == min(n, len(set(prompts)))
    assert len({prompts[int(one)] for one in chosen}) == len(chosen)
    assert len(chosen - choose([*dataset, {"id": "new", "prompt": user("something new")}], n)) <= 1  # type: ignore[list-item]


def test_the_plan_knows_how_many_calls() -> None:
    assert answers.requests is count_requests
    assert count_requests(100, n=3) == 6
    assert count_requests(2, n=3) == 4


def test_nothing_to_ask_is_an_error(context: Context, records: Any, write_dataset: Any) -> None:
    with pytest.raises(InputError, match="models is empty"):
        next(answers.function(write_dataset(records), context, {}))


@pytest.mark.model
def test_a_real_model_answers(make_model: Any, context: Context, records: Any, write_dataset: Any) -> None:
    model = make_model()
    dataset = write_dataset(records)
    made = list(answers.function(dataset, context, {"before": model, "after": model}, n=2, max_tokens=8))
    texts = [text_of(record["completion"]) for record in made]
    assert len(texts) == 4
    assert texts[0::2] == texts[1::2]
