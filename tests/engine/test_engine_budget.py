"""Budgets: never more is spent than they say, and what is sent depends on the order of the requests alone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import Answer, Budget, CausalLM, Request, StepError, user
from factory.engine.asking import Asking
from factory.engine.budget import worst_case
from factory.engine.responses import Responses

COSTS: dict[str, tuple[int, int]] = {}  # question -> tokens (in, out) its answer takes
LATENCY = [0.0]


class Paying(CausalLM):
    """Answers after a random time, and counts what the test wants."""

    def open(self, threads: int = 2) -> Till:  # type: ignore[override]
        return Till(int(self.uri.partition(" ")[2] or 1))


class Till:
    def __init__(self, batch: int) -> None:
        self.batch, self.sent = batch, []
        self.pool = ThreadPoolExecutor(8 if batch == 1 else 1)
        SENT.append(self.sent)

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        texts = [request.messages[0]["content"] for request in requests]
        self.sent.append(texts)
        pause = random.random() * LATENCY[0]
        return self.pool.submit(self.answers, texts, pause)

    def answers(self, texts: list[str], pause: float) -> list[Answer]:
        threading.Event().wait(pause)
        return [Answer(text, "stop", "", *COSTS[text]) for text in texts]

    def close(self) -> None:
        self.pool.shutdown()


SENT: list[list[list[str]]] = []


def run(folder: Path, model: CausalLM, requests: Sequence[Request], budget: Budget) -> list[Answer]:
    asking = Asking(Responses(folder / "responses.sqlite"), 2, lambda usage: None)
    try:
        return list(asking.ask(model, iter(requests), None, budget))
    finally:
        asking.close()
        asking.responses.close()


def expected(requests: Sequence[Request], budget: Budget) -> int:
    """How many are sent: one after the other, each only if its worst case still fits."""
    spent = 0
    for number, request in enumerate(requests):
        worst, used = worst_case(request), COSTS[request.messages[0]["content"]]
        if budget.max_requests is not None and number >= budget.max_requests:
            return number
        if budget.max_tokens is not None and spent + sum(worst) > budget.max_tokens:
            return number
        if budget.max_cost is not None and (spent + worst[0] + worst[1]) * 1e-6 > budget.max_cost + 1e-15:
            return number
        spent += min(used[0], worst[0]) + min(used[1], worst[1])
    return len(requests)


@settings(max_examples=40, deadline=None)
@given(
    used=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 50)), min_size=1, max_size=25),
    most=st.integers(1, 2500),
    kind=st.sampled_from(["max_tokens", "max_cost", "max_requests"]),
    batch=st.sampled_from([1, 1, 4]),
    stored=st.integers(0, 25),
)
def test_what_is_sent_depends_on_the_order_of_the_requests_alone(
    used: list[tuple[int, int]], most: int, kind: str, batch: int, stored: int
) -> None:
    """Whatever the latencies, the batches, and what is stored already."""
    LATENCY[0] = 0.004
    COSTS.update({f"q {number}": (max(1, tokens[0]), tokens[1]) for number, tokens in enumerate(used)})
    requests = [Request(user(f"q {number}"), max_tokens=40) for number in range(len(used))]
    limit = {"max_tokens": most, "max_cost": most * 1e-6, "max_requests": 1 + most // 100}[kind]
    budget = Budget(**{kind: limit})  # type: ignore[arg-type]
    model = Paying(f"m {batch}", identity=f"m {batch}", prices=(1.0, 1.0))
    with TemporaryDirectory() as name:
        folder = Path(name)
        if stored:
            run(folder, model, requests[:stored], Budget(max_requests=stored))
        SENT.clear()
        answers = run(folder, model, requests, budget)
        many = expected(requests, budget)
        assert [answer.over_budget for answer in answers] == [False] * many + [True] * (len(requests) - many)
        assert [answer.ok for answer in answers[:many]] == [True] * many
        assert all(answer.error == "budget used up" and not answer.ok for answer in answers[many:])
        asked = [text for groups in SENT for group in groups for text in group]
        assert len(asked) == len(set(asked)) <= many
        again = run(folder, model, requests, budget)
        assert [answer.over_budget for answer in again] == [answer.over_budget for answer in answers]


def test_requests_go_out_together_while_their_worst_cases_fit(tmp_path: Path) -> None:
    LATENCY[0] = 0.2
    COSTS.update({f"q {number}": (10, 10) for number in range(20)})
    requests = [Request(user(f"q {number}"), max_tokens=40) for number in range(20)]
    started = time.monotonic()
    run(tmp_path, Paying("m", identity="m"), requests, Budget(max_tokens=20 * sum(worst_case(requests[10]))))
    assert time.monotonic() - started < 1.5  # one after the other they would take 2 s on average


def test_a_server_that_counts_nothing_is_charged_the_worst(tmp_path: Path) -> None:
    LATENCY[0] = 0.0
    COSTS.update({f"q {number}": (0, 0) for number in range(9)})
    requests = [Request(user(f"q {number}"), max_tokens=40) for number in range(9)]
    worst = sum(worst_case(requests[0]))
    answers = run(tmp_path, Paying("m", identity="m"), requests, Budget(max_tokens=3 * worst + 5))
    assert [answer.over_budget for answer in answers] == [False] * 3 + [True] * 6


def test_two_questions_of_one_step_share_its_budget(tmp_path: Path) -> None:
    COSTS.update(dict.fromkeys("abcdef", (1, 1)))
    asking = Asking(Responses(tmp_path / "responses.sqlite"), 2, lambda usage: None)
    budget, model = Budget(max_requests=4), Paying("m", identity="m")

    def second() -> Iterator[Request]:
        for answer in asking.ask(model, [Request(user(text)) for text in "abc"], 1, budget):
            if answer.ok:
                yield Request(user(chr(ord(answer.text) + 3)))

    answers = list(asking.ask(model, second(), 1, budget))
    asking.close()
    asking.responses.close()
    assert [answer.over_budget for answer in answers] == [False, False]
    assert asking.usage.failed == {"budget used up": 1}


def test_money_needs_prices(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="max_cost needs the prices of 'm'"):
        run(tmp_path, Paying("m", identity="m"), [Request(user("q"))], Budget(max_cost=1))
