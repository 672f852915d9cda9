"""What a step may spend on asking models, decided in the order of its requests and of nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from ..errors import StepError
from .model import Answer, Model, Request

PICO = 1_000_000  # a USD a million tokens is this many millionths of a millionth of a USD a token
USD = 10**12  # costs are whole numbers of this part of a USD: sums of floats depend on their order
PER_MESSAGE, PER_REQUEST = 8, 64  # tokens a chat template adds, at most; a default system prompt has 30 to 50


class Budget(BaseModel):
    """Bounds on the requests, tokens (in and out) and cost of one step; None where there is none.

    Request k is sent when what the answers before it cost, plus the most that k itself can cost, is within the
    bounds: never more is spent, whatever comes back. After the first that is not sent, none is. Answers from the
    response cache count as if they were paid for, so the step's result does not depend on who paid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_requests: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)  # USD; for models whose prices are known


class Flight(Protocol):
    """A request on its way. One of the two is set when it has landed."""

    answer: Answer | None
    error: BaseException | None


class Ledger:
    """What is spent of a budget, and what is reserved for requests whose answers are not there yet."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.most_cost = round(budget.max_cost * USD) if budget.max_cost is not None else None
        self.requests = self.tokens = self.cost = 0  # of landed answers as they were, of others at their worst
        self.open: deque[tuple[Flight, Model, tuple[int, int]]] = deque()
        self.closed = False

    def admit(self, request: Request, model: Model, wait: Callable[[Ledger], None]) -> tuple[int, int] | None:
        """The most tokens (in, out) that a request can need, or None when it is beyond the budget.

        wait   until another of the answers that are not there yet (`open`) has landed
        """
        if self.closed:
            return None
        worst = worst_case(request)
        self._settle_first()
        while not self._fits(worst, model):
            if self.budget.max_requests is not None and self.requests >= self.budget.max_requests:
                break
            if not self._settle_landed():
                if not self.open:
                    break
                wait(self)
        else:
            return worst
        self.closed = True
        return None

    def enter(self, flight: Flight, model: Model, worst: tuple[int, int]) -> None:
        """Reserve what an admitted request may cost until its answer is there."""
        self.requests += 1
        self._spend(worst, model, 1)
        self.open.append((flight, model, worst))

    def _fits(self, worst: tuple[int, int], model: Model) -> bool:
        most, tokens = self.budget, self.tokens + sum(worst)
        if most.max_requests is not None and self.requests >= most.max_requests:
            return False
        if most.max_tokens is not None and tokens > most.max_tokens:
            return False
        return self.most_cost is None or self.cost + cost_of(worst, model, needed=True) <= self.most_cost

    def _spend(self, tokens: tuple[int, int], model: Model, sign: int) -> None:
        self.tokens += sign * sum(tokens)
        if self.most_cost is not None:
            self.cost += sign * cost_of(tokens, model, needed=True)

    def _settle_first(self) -> None:
        while self.open and landed(self.open[0][0]):
            self._settle(*self.open.popleft())

    def _settle_landed(self) -> bool:
        """Count what has landed at what it cost. False when nothing has since it was last looked."""
        there = [landed(flight) for flight, _, _ in self.open]  # one look: they land in another thread
        ready = [one for one, known in zip(self.open, there, strict=True) if known]
        self.open = deque(one for one, known in zip(self.open, there, strict=True) if not known)
        for one in ready:
            self._settle(*one)
        return bool(ready)

    def _settle(self, flight: Flight, model: Model, worst: tuple[int, int]) -> None:
        """A server that counts more than can be is charged what can be: else the order of arrival would decide."""
        answer = flight.answer
        used = (answer.prompt_tokens, answer.completion_tokens) if answer is not None else (0, 0)
        if answer is not None and answer.ok and not any(used):
            used = worst  # a server that does not count
        self._spend(worst, model, -1)
        self._spend((min(used[0], worst[0]), min(used[1], worst[1])), model, 1)


def landed(flight: Flight) -> bool:
    return flight.answer is not None or flight.error is not None


def worst_case(request: Request) -> tuple[int, int]:
    """(prompt, completion) tokens a request needs at most: no tokenizer makes more than one of a UTF-8 byte."""
    said = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in request.messages)
    return said + PER_MESSAGE * len(request.messages) + PER_REQUEST, request.max_tokens


def cost_of(tokens: tuple[int, int], model: Model, needed: bool = False) -> int:
    """What tokens (in, out) cost, in USD / 10^12; 0 where the prices are not known, unless they are needed."""
    if model.prices is None:
        if needed:
            raise StepError(unpriced(model.uri))
        return 0
    return sum(count * round(price * PICO) for count, price in zip(tokens, model.prices, strict=True))


def unpriced(name: str) -> str:
    """Why a budget of money cannot be kept."""
    return f"budget: max_cost needs the prices of '{name}', which are not known; give them, or bound max_tokens instead"
