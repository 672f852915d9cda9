"""A context whose runtime asks a plain function, in any pace the law allows, and closes its account."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, Budget, CausalLM, Context, Model, PromptCompletion, Request, assistant, digest, user

MODEL = CausalLM("fake:writer", identity="fake:writer")
VERBS = ["Sort", "Explain", "Count", "Rewrite", "Compare", "Invent", "Name", "Check", "Draw up", "Translate"]
THINGS = [
    "lists",
    "loops",
    "ships",
    "recipes",
    "stars",
    "letters",
    "rivers",
    "numbers",
    "birds",
    "songs",
    "maps",
    "tools",
]
WAYS = ["by age", "in one line", "for a child", "with an example", "from memory", "in two columns", "as a poem"]


def writer(request: Request) -> Answer:
    """Continues the list with a task drawn from the request alone; one in ten has a slip."""
    draw = random.Random(request.key(MODEL))
    said = f" {draw.choice(VERBS)} {draw.randint(2, 99)} {draw.choice(THINGS)} {draw.choice(WAYS)}."
    answer = " ".join(draw.sample(THINGS + WAYS, 4))
    slip = draw.randrange(10)
    if slip == 0:
        return Answer(said, "length")
    if slip == 1:
        return Answer(f"{said}\nOutput:")
    return Answer(f"{said}\nInput: none\nOutput: {answer}.")


class Paced:
    """A runtime. `pace` says how many requests are drawn ahead of the answer that is consumed next; `ahead` at most."""

    def __init__(self, answer: Callable[[Request], Answer], pace: Callable[[], int] = lambda: 1 << 30) -> None:
        self.answer, self.pace = answer, pace
        self.asked: list[Request] = []
        self.within: list[bool] = []  # whether each was within its budget
        self.dropped: list[tuple[Any, str, dict[str, Any]]] = []
        self.sections: dict[str, str] = {}
        self.alarms: list[dict[str, Any]] = []
        self.notes: list[tuple[int, int, str]] = []

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Answer]:
        pending: deque[tuple[Request, bool]] = deque()
        for request in requests:
            self.asked.append(request)
            self.within.append(budget is None or budget.max_requests is None or len(self.asked) <= budget.max_requests)
            pending.append((request, self.within[-1]))
            while len(pending) >= max(1, min(ahead or 64, self.pace())):
                yield self._taken(*pending.popleft())
        while pending:
            yield self._taken(*pending.popleft())

    def _taken(self, request: Request, within: bool) -> Answer:
        answer = self.answer(request) if within else Answer("", "failed", "budget used up")
        return replace(answer, request=request)

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Any]:
        raise AssertionError("no step of this room maps")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record, reason, details))

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None:
        self.alarms.append({"says": says, "examples": examples})

    def tell(self, done: int, total: int, note: str) -> None:
        self.notes.append((done, total, note))


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., tuple[Context, Paced]]:
    """(context, runtime) over a function Request -> Answer."""

    def made(answer: Callable[[Request], Answer] = writer, pace: Callable[[], int] = lambda: 1 << 30) -> Any:
        runtime = Paced(answer, pace)
        return Context("a_step", 0, 1, tmp_path, tmp_path, runtime), runtime

    return made


@pytest.fixture
def model() -> CausalLM:
    return MODEL


@pytest.fixture
def seeds() -> list[PromptCompletion]:
    return [a_seed(number) for number in range(20)]


def a_seed(number: int) -> Any:
    instruction, given = f"Seed task {number} asks about {THINGS[number % 12]}", "x = 1" if number % 2 else ""
    prompt = f"{instruction}\n\n{given}" if given else instruction
    return {
        "id": digest(["seed", number]),
        "parents": [f"seeds.jsonl#{number}"],
        "prompt": user(prompt),
        "completion": assistant(f"Seed answer number {number}"),
        "meta": {"instruction": instruction, "input": given},
    }


@pytest.fixture
def one_more_seed() -> Any:
    return a_seed(1000)
