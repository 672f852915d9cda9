"""How a stage asks models: through the response cache, within its budgets, many at a time, answers in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

from .budget import Budget, Flight, Ledger, landed
from .model import BUDGET, Answer, Model, Request, Session
from .responses import Responses
from .structured import delivered
from .usage import Usage

# A step draws `model.ahead` requests before it gets the first answer, and then up to GROWTH + 1 after each: a rule for
# fresh and for resumed runs, since a step may drop records while it draws, and sees draws and answers in an order that
# must not depend on what is stored. Answers are handed out in order, so a slow one holds up all behind it; what keeps
# the model busy meanwhile is how far ahead was drawn, up to MOST_AHEAD bytes of requests and of answers they may get.
GROWTH = 3
MOST_AHEAD = 64 << 20
OVERHEAD = 2048  # bytes of objects for each request
TELL = 0.2  # seconds between news
LAST_ANSWERS = 60.0  # seconds that answers may take which nobody waits for any more


class Asked:
    """A request on its way, or landed: then it has an answer, or what the session raised."""

    __slots__ = ("answer", "error", "fresh")

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer
        self.error: BaseException | None = None
        self.fresh = answer is None


class Asking:
    """Open models of one stage, the cache in front of them, what was spent, and the order of the answers."""

    def __init__(
        self,
        responses: Responses,
        threads: int,
        tell: Callable[[Usage], None],
        stored_only: Callable[[Model, Request, Answer], None] | None = None,
    ) -> None:
        """stored_only: nothing is asked; the function gets each answer, those that are not stored as failed ones"""
        self.responses, self.threads, self.tell, self.stored_only = responses, threads, tell, stored_only
        self.sessions: dict[str, Session] = {}
        self.ledgers: dict[Budget, Ledger] = {}
        self.usage = Usage()
        self.told = 0.0
        self.landing = threading.Condition()

    def session(self, model: Model) -> Session:
        key = f"{type(model).__name__}:{model.uri}:{model.identity}"
        if key not in self.sessions:
            self.sessions[key] = model.open(self.threads)
        return self.sessions[key]

    def close(self) -> None:
        """Close the models, once what they said is stored: some forget at the end what they need not give again."""
        self.responses.flush()
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Answer]:
        """Answers in the order of the requests.

        Requests are grouped by position, `session.batch` to a group, and the misses of a group are asked together:
        the composition of a batch depends on positions and on what is stored, which a kill does not change, since a
        batch is stored in one transaction. Equal budgets of one stage are one: its requests are counted together.
        """
        ledger = self.ledgers.setdefault(budget, Ledger(budget)) if budget is not None else None
        line = _Line(self, model, ledger)
        pending: deque[tuple[Request, Asked, int]] = deque()
        taken = weight = 0

        def take() -> Answer:
            nonlocal taken, weight
            request, asked, bytes_ahead = pending.popleft()
            taken += 1
            weight -= bytes_ahead
            return self._take(line, request, asked)

        try:
            for request in requests:
                bytes_ahead = _weight(request)
                weight += bytes_ahead
                pending.append((request, line.submit(request), bytes_ahead))
                while pending and not _may_draw(len(pending), taken, weight, model, ahead):
                    yield take()
            while pending:
                yield take()
        except GeneratorExit:
            # The step has enough, but an API is still answering. That is paid for, and asked when `count` is raised.
            if ahead is not None and line.open and line.open.batch == 1:
                self.wait(lambda: all(landed(asked) for _, asked, _ in pending), LAST_ANSWERS)
            raise
        finally:
            self.tell(self.usage)

    def _take(self, line: _Line, request: Request, asked: Asked) -> Answer:
        if not landed(asked):
            # Not "when it is not there yet": that depends on timing, and so would the batches of an in-process model.
            if any(asked is held for _, _, held in line.group):
                line.flush()
            self.wait(lambda: landed(asked))
        if asked.error is not None:
            raise asked.error
        assert asked.answer is not None
        answer = delivered(asked.answer, request)
        self.usage.add(answer, line.model, asked.fresh)
        asked.fresh = False  # equal requests on their way are paid once
        if self.stored_only is not None and not answer.over_budget:
            self.stored_only(line.model, request, asked.answer)
        if time.monotonic() - self.told > TELL:
            self.told = time.monotonic()
            self.tell(self.usage)
        return answer

    def wait(self, until: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait for answers that land in other threads."""
        with self.landing:
            self.landing.wait_for(until, seconds)

    def tell_waiting(self) -> None:
        with self.landing:
            self.landing.notify_all()


def _may_draw(pending: int, taken: int, weight: int, model: Model, ahead: int | None) -> bool:
    """Whether another request is drawn before the next answer is handed out: a rule of numbers, not of time."""
    if ahead is not None:
        return pending < max(1, ahead)
    return pending < model.ahead or (pending < model.ahead + GROWTH * taken and weight < MOST_AHEAD)


def _weight(request: Request) -> int:
    """About how many bytes a request and its answer take while they wait."""
    return OVERHEAD + 4 * request.max_tokens + sum(len(message["content"]) for message in request.messages)


class _Line:
    """The requests of one `ask`, on their way into groups."""

    def __init__(self, asking: Asking, model: Model, ledger: Ledger | None) -> None:
        self.asking, self.model, self.ledger = asking, model, ledger
        self.open: Session | None = None
        self.position = 0
        self.group: list[tuple[str, Request, Asked]] = []
        self.flying: dict[str, Asked] = {}  # key -> its answer on the way

    def submit(self, request: Request) -> Asked:
        """Send a request, or find its answer in the cache. The model is opened at the first miss."""
        worst = None
        if self.ledger is not None:
            worst = self.ledger.admit(request, self.model, self.wait_for_one)
            if worst is None:
                return Asked(Answer(finish="failed", error=BUDGET))
        key = request.key(self.model)
        asked = self.flying.get(key)  # one look: it may land in another thread meanwhile
        if asked is None:
            asked = self._stored_or_sent(key, request)
        else:
            self.asking.usage.replayed += 1
        if self.ledger is not None and worst is not None:
            self.ledger.enter(asked, self.model, worst)
        self.position += 1
        if self.open and self.position % self.open.batch == 0:
            self.flush()
        return asked

    def _stored_or_sent(self, key: str, request: Request) -> Asked:
        usage = self.asking.usage
        if (stored := self.asking.responses.get(key)) is not None:
            usage.replayed += 1
            return Asked(stored)
        if self.asking.stored_only is not None:
            return Asked(Answer(finish="failed", error="not stored"))
        self.open = self.open or self.asking.session(self.model)
        usage.asked += 1
        asked = self.flying[key] = Asked()
        self.group.append((key, request, asked))
        return asked

    def wait_for_one(self, ledger: Ledger) -> None:
        """Wait for one of the answers that a budget's room depends on; what is not sent yet goes last."""
        mine = {id(asked) for _, _, asked in self.group}
        sent: list[Flight] = [flight for flight, _, _ in ledger.open if id(flight) not in mine]
        if not sent:
            self.flush()
            sent = [flight for flight, _, _ in ledger.open]
        self.asking.wait(lambda: any(landed(flight) for flight in sent))

    def flush(self) -> None:
        """Send what waits in the group."""
        if not self.group:
            return
        assert self.open is not None
        group, self.group = self.group, []
        self.open.submit([request for _, request, _ in group]).add_done_callback(lambda done: self.land(group, done))

    def land(self, group: list[tuple[str, Request, Asked]], done: Future[list[Answer]]) -> None:
        """Have a group's answers stored, then hand them out."""
        try:
            answers = done.result()
            landing = [(key, request, answer) for (key, request, _), answer in zip(group, answers, strict=True)]
        except BaseException as error:
            self.hand_out(group, [], error)
            return
        self.asking.responses.keep(self.model, landing, lambda error: self.hand_out(group, answers, error))

    def hand_out(
        self, group: list[tuple[str, Request, Asked]], answers: list[Answer], error: BaseException | None
    ) -> None:
        for place, (key, _, asked) in enumerate(group):
            if error is None:
                asked.answer = answers[place]
            else:
                asked.error = error
            if error is None:
                self.flying.pop(key, None)
        self.asking.tell_waiting()
