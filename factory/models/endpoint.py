"""One streaming window of requests at an endpoint: an event loop in a thread of its own, and no barrier anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from factory import Answer, ModelError, Request, user
from factory.errors import said

from .backoff import Backoff
from .completions import Refused, Retry
from .hedging import Hedging
from .jobs import Job, Reply
from .limits import Limits
from .transport import Transport
from .window import Window

if TYPE_CHECKING:
    from .openai_api import OpenAI

LIMITED = 5  # times `attempts` that a rate limit may turn a request away
LOOK_AGAIN = 60.0  # seconds after which a rate limit is asked again


class Endpoint:
    """A session (see `factory.engine.model.Session`) on one endpoint.

    A request waits for its next attempt outside the window, so fresh requests go on while others back off. Whose
    attempts are used up is a failed answer as long as the server answers others; the first time nothing does, one
    tiny request asks whether the server is well, and if it is not, everything ends with a ModelError.
    """

    batch = 1

    def __init__(self, model: OpenAI, key: str) -> None:
        self.sent = 0  # requests that went to the server: further attempts and copies count
        self._model, self._transport = model, Transport(model, key)
        self._name = f"{model.name} at {model.base_url}"
        self._window = Window(model.concurrency)
        self._limits = Limits(model.rpm, model.tpm)
        self._hedging = Hedging(model.hedge)
        self._ended: ModelError | None = None  # why no request can succeed
        self._answered = -1.0  # when a request last got through
        self._inbox: deque[Job] = deque()  # filled by any thread
        self._again: deque[Job] = deque()  # to be tried again, now
        self._doubtful: list[tuple[Job, str]] = []  # attempts used up, and nothing came through meanwhile
        self._open: set[Reply] = set()
        self._flying: dict[asyncio.Task[None], Job] = {}
        self._backoff = Backoff(model.backoff)
        self._stopping = False
        self._hungry = True  # whether the window has room and nothing is left to send
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"openai:{model.name}", daemon=True)
        self._thread.start()
        self._ready.wait()

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        """Answers in the order of `requests`, later. A ModelError in the future says that no request can succeed."""
        reply = Reply(len(requests))
        if not requests:
            reply.future.set_result([])
            return reply.future
        self._open.add(reply)
        self._inbox.extend([Job(request, reply, at) for at, request in enumerate(requests)])
        if self._hungry:  # read after the inbox was filled, and set by `_pump` before it looks there once more
            self._hungry = False
            self._loop.call_soon_threadsafe(self._pump)
        return reply.future

    def close(self) -> None:
        """Give up what is in flight and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with self._transport:
            self._ready.set()
            await self._stop.wait()
            self._stopping = True
            for task in (tasks := asyncio.all_tasks() - {asyncio.current_task()}):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for reply in list(self._open):
                reply.future.cancel()

    def _pump(self) -> None:
        """Send what the window and the limits let through."""
        if self._ended is not None:
            self._end(self._ended)
        while len(self._flying) < self._window.places and (job := self._next()) is not None:
            self._send(job)

    def _next(self) -> Job | None:
        """The job that may go now, or None; then somebody will pump again."""
        while not self._stopping:
            if self._backoff.held and (wait := self._backoff.held - self._loop.time()) > 0:
                self._later(wait)
                return None
            if self._again:
                job = self._again.popleft()
            elif self._inbox:
                job = self._inbox.popleft()
            else:
                self._hungry = True
                if not self._inbox:
                    return None
                continue
            if job.settled:
                continue
            if not self._limits.none:
                with contextlib.suppress(TypeError):  # `_ask` comes to the same, and says so
                    job.body, job.form = self._transport.body(job.request)
                job.guess = self._limits.guess(len(job.body), job.request.max_tokens)
                if (wait := self._limits.wait(job.guess, self._loop.time())) > 0:
                    self._again.appendleft(job)
                    self._later(wait)
                    return None
            self._spend(job)
            return job
        return None

    def _spend(self, job: Job) -> None:
        self.sent += 1
        self._limits.spend(job.guess, self._loop.time())
        job.mark = self._limits.sent, self._limits.spent

    def _later(self, wait: float) -> None:
        """Pump after `wait` seconds at the latest."""
        when = self._loop.time() + min(wait, LOOK_AGAIN)
        if self._timer is not None and not self._timer.cancelled() and self._timer.when() > self._loop.time():
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._pump)

    def _send(self, job: Job) -> None:
        """One more task, which goes on with further jobs as long as there are any and the window is not too full."""
        task = self._loop.create_task(self._work(job))
        self._flying[task] = job
        if self._hedging.on:
            self._hedging.watch(self._loop, self._hedge)

    async def _work(self, job: Job | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        while job is not None:
            now = self._loop.time()
            job.sent, job.began = now, job.began or now
            job.flying.append(task)
            full = bool(self._inbox or self._again) or len(self._flying) >= self._window.places
            result: Answer | Retry | Refused | None = None
            try:
                result = await self._ask(job)
            except asyncio.CancelledError:
                pass  # the other copy was faster, or the session ends: so does this task
            except ModelError as error:  # no request of its kind can be asked
                self._end(error)
            except Exception as error:
                trouble = self._transport.redaction.line(f"cannot be asked: {said(error)}")
                result = Answer(finish="failed", error=trouble)
            job.flying.remove(task)
            try:
                if result is not None and not job.settled:
                    self._landed(job, result, now, full)
            except Exception as error:  # a mistake of ours; nobody must wait for ever
                self._end(ModelError(f"{self._name}: {said(error)}"))
            job = None
            if not task.cancelling() and len(self._flying) <= self._window.places:
                job = self._next()
            if job is not None:
                self._flying[task] = job
                if len(self._flying) < self._window.places:  # it has grown
                    self._pump()
        del self._flying[task]
        self._pump()

    def _hedge(self) -> bool:
        """Send a second copy of what takes too long. Returns whether anything is still in flight."""
        now = self._loop.time()
        for job in self._hedging.late(self._flying.values(), now, self.sent):
            if self._limits.wait(job.guess, now) <= 0:
                job.hedged = True
                self._spend(job)
                self._send(job)
        return bool(self._flying)

    async def _ask(self, job: Job) -> Answer | Retry | Refused:
        if not job.body:
            job.body, job.form = self._transport.body(job.request)
        result, headers = await self._transport.post(job.request, job.body, job.form)
        if "x-ratelimit-remaining-requests" in headers or "x-ratelimit-remaining-tokens" in headers:
            self._limits.told(headers, *job.mark, self._loop.time())
        return result

    def _landed(self, job: Job, result: Answer | Retry | Refused, sent: float, full: bool) -> None:
        now = self._loop.time()
        if isinstance(result, Refused):
            self._end(result.error(self._model, bool(self._transport.key)))
        elif isinstance(result, Answer):
            self._answered = now
            self._backoff.answered()
            self._window.answered(sent, now, full)
            self._hedging.took(now - sent)
            if not self._limits.none:
                taken = result.prompt_tokens, result.completion_tokens
                self._limits.settle(job.guess, len(job.body), *taken, now)
            self._settle(job, result)
        elif result.reform:
            job.body = b""
            self._again.append(job)
        elif not job.flying:  # else the other copy may still succeed
            self._failed(job, result, sent, now)

    def _failed(self, job: Job, result: Retry, sent: float, now: float) -> None:
        """An attempt came to nothing: wait and try again, unless attempts are used up."""
        if result.refused:
            self._window.refused(now)
        if result.limited:
            job.limited += 1
            self._backoff.turned_away(sent, now, result.wait, self._window.places)
        else:
            job.tries += 1
        if job.tries >= self._model.attempts or job.limited >= LIMITED * self._model.attempts:
            self._give_up(job, result.trouble)
            return
        self._loop.call_later(self._backoff.pause(job.tries + job.limited, result.wait), self._retry, job)

    def _retry(self, job: Job) -> None:
        job.hedged = False
        self._again.append(job)
        self._pump()

    def _give_up(self, job: Job, trouble: str) -> None:
        """A request whose attempts are used up fails alone, if the server answers others."""
        tries = job.tries + job.limited
        if not self._transport.reached:
            hint = "is the server running, and is base_url right?"
            self._end(ModelError(f"{self._name} did not answer in {tries} attempts: {trouble}; {hint}"))
        elif self._answered >= job.began:
            self._settle(job, Answer(finish="failed", error=f"no answer in {tries} attempts: {trouble}"))
        else:
            self._doubtful.append((job, f"in {tries} attempts: {trouble}"))
            if len(self._doubtful) == 1:
                self._probe = self._loop.create_task(self._is_well())

    async def _is_well(self) -> None:
        """Ask something tiny, to tell requests that cannot be answered from a server that answers nothing."""
        question = Job(Request(user("Answer with one word: well?"), max_tokens=16), Reply(1), 0)
        self._spend(question)
        try:
            result: Any = await self._ask(question)
        except Exception as error:
            result = error
        doubtful, self._doubtful = self._doubtful, []
        if isinstance(result, Answer):
            self._answered = self._loop.time()
        if self._answered >= min(job.began for job, _ in doubtful):
            for job, what in doubtful:
                self._settle(job, Answer(finish="failed", error=f"no answer {what}"))
        else:
            self._end(ModelError(f"{self._name} did not answer {doubtful[0][1]}; nothing else got through either"))
        self._pump()

    def _settle(self, job: Job, answer: Answer) -> None:
        """Note an answer; with the last one of a group its future is done."""
        if job.settle(answer):
            self._open.discard(job.reply)
            if not job.reply.future.done():
                job.reply.future.set_result(job.reply.answers)

    def _end(self, error: ModelError) -> None:
        """No request can succeed: say so to all that wait, and to all that come."""
        self._ended = error
        for task in self._flying:
            task.cancel()
        self._again.clear()
        self._hungry = True
        while self._inbox or self._open:
            self._inbox.clear()
            for reply in list(self._open):
                self._open.discard(reply)
                if not reply.future.done():
                    reply.future.set_exception(error)
