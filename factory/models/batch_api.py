"""`openai:NAME?mode=batch`: requests by the file through OpenAI's Batch API, at half the price and within a day."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import orjson

from factory import Answer, ModelError, Pending, Request

from . import batch_state
from .completions import Forms, Refused, answer_in, body_of, message_of, wants_other_form
from .redaction import Redaction

if TYPE_CHECKING:
    import openai

    from .openai_api import OpenAI

MOST_REQUESTS = 50_000  # in one batch, by the API's documentation; 200 MB
MOST_BYTES = 190_000_000
FIRST_POLL, LONGEST_POLL = 0.2, 30.0  # seconds between looks at a batch; they grow by half each time
LISTED = 1000  # batches looked through for one whose id was never written down
ENDED = ("completed", "expired", "cancelled", "failed")
COME_LATER = ("token_limit_exceeded", "rate_limit_exceeded")  # too much is queued at the server already


class Batches:
    """A session (see `factory.engine.model.Session`) whose groups are batches.

    A batch that is at the server already, from a build that was killed or did not wait, is polled again. Rows that
    failed in passing or expired go into a further batch, alone. A group's future is done when all of its rows are
    answered. Its batches are forgotten when the session is closed: by then its answers are in the response cache.
    """

    batch = MOST_REQUESTS

    def __init__(self, model: OpenAI, key: str) -> None:
        import openai

        self._model, self._redaction, self._has_key = model, Redaction(key), bool(key)
        self._client = openai.OpenAI(
            api_key=key or "none", base_url=model.base_url, timeout=model.timeout, max_retries=model.attempts
        )
        self._errors = openai.OpenAIError
        self._forms = Forms()
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix=f"openai:{model.name}")
        self._until = None if model.wait is None else time.monotonic() + model.wait
        self._handed_out: list[Group] = []
        self.sent = 0  # requests that went to the server

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        """Answers in the order of `requests`. The future holds Pending when the server takes longer than `wait`."""
        future: Future[list[Answer]] = Future()
        self._pool.submit(self._serve, list(requests), future)
        return future

    def close(self) -> None:
        """Stop polling. Batches go on at the server, and are found again; those that were used are forgotten."""
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()
        for group in self._handed_out:
            for batch in group.fetched:
                batch_state.release(batch, group.wanted)  # rows of another group are still to be fetched
        self._handed_out.clear()

    def _serve(self, requests: list[Request], future: Future[list[Answer]]) -> None:
        group = Group(self, {request.key(self._model): request for request in requests})
        try:
            answers = group.answers_to_all()
        except InterruptedError:
            future.cancel()
        except (ModelError, Pending) as error:
            future.set_exception(error)
        except self._errors as error:
            future.set_exception(self._sentence(error))
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result([answers[request.key(self._model)] for request in requests])
            self._handed_out.append(group)

    def _sentence(self, error: openai.OpenAIError) -> ModelError:
        status = getattr(error, "status_code", None)
        said = self._redaction.line(str(getattr(error, "message", error)))
        if status in (401, 402, 403, 404, 429):
            return Refused(status, said).error(self._model, self._has_key)
        return ModelError(f"{self._model.name} at {self._model.base_url}: the Batch API failed: {said}")


class Group:
    """The rows of one group on their way through one or more batches."""

    def __init__(self, session: Batches, wanted: dict[str, Request]) -> None:
        self.session, self.wanted = session, wanted
        self.client = session._client
        self.answers: dict[str, Answer] = {}
        self.troubles: dict[str, str] = {}  # why a row has none yet
        self.fetched: list[batch_state.Batch] = []
        self.forms: dict[str, str | None] = {}  # how a row's schema was told
        self.reformed = False  # whether a schema has to be told in another way

    def answers_to_all(self) -> dict[str, Answer]:
        """Raises ModelError, Pending, openai's errors, and InterruptedError when the session is closed."""
        self.poll(list(self.adopted()), fresh=False)
        tries = 0
        while missing := [key for key in self.wanted if key not in self.answers]:
            if tries == self.session._model.attempts:
                for key in missing:
                    trouble = self.troubles.get(key, "it was never answered")
                    self.answers[key] = Answer(finish="failed", error=f"no answer in {tries} batches: {trouble}")
                break
            self.reformed = False
            self.poll([self.submitted(part) for part in self.parts(missing)], fresh=True)
            tries += not self.reformed
        return {key: self.with_request(key) for key in self.wanted}

    def with_request(self, key: str) -> Answer:
        answer = self.answers[key]
        tokens = answer.prompt_tokens, answer.completion_tokens
        return Answer(answer.text, answer.finish, answer.error, *tokens, self.wanted[key], logprobs=answer.logprobs)

    def adopted(self) -> Iterator[batch_state.Batch]:
        """Batches at the server that hold rows of this group."""
        lost = []
        for batch in batch_state.known(self.session._model.identity):
            if not self.wanted.keys().isdisjoint(batch.keys):
                if batch.id:
                    yield batch
                else:
                    lost.append(batch)
        if lost:
            tokens = {batch.token: batch for batch in lost}
            for number, there in enumerate(self.client.batches.list(limit=100)):
                found = tokens.pop((there.metadata or {}).get("factory", ""), None)
                if found:
                    found.id = there.id
                    batch_state.save(found)
                    yield found
                if not tokens or number >= LISTED:
                    break
            for batch in tokens.values():  # killed before it was made
                batch_state.release(batch)

    def parts(self, keys: list[str]) -> Iterator[list[tuple[str, bytes]]]:
        """Rows as lines of files that are not too large."""
        part: list[tuple[str, bytes]] = []
        size = 0
        model = self.session._model
        for key in keys:
            request = self.wanted[key]
            form = self.forms[key] = self.session._forms.of(request)
            body = body_of(request, model.name, model.official, form)
            row = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
            line = orjson.dumps(row) + b"\n"
            if part and (len(part) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
                yield part
                part, size = [], 0
            part.append((key, line))
            size += len(line)
        yield part

    def submitted(self, part: list[tuple[str, bytes]]) -> batch_state.Batch:
        batch = batch_state.new(self.session._model.identity, (key for key, _ in part))
        content = b"".join(line for _, line in part)
        file = self.client.files.create(file=(f"{batch.token}.jsonl", content), purpose="batch")
        # Not tried again by the client: an answer that was lost on its way may have made the batch.
        there = self.client.with_options(max_retries=0).batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"factory": batch.token},
        )
        batch.id = there.id
        batch_state.save(batch)
        self.session.sent += len(part)
        return batch

    def poll(self, batches: list[batch_state.Batch], fresh: bool) -> None:
        """Wait for batches and take what they answered. A batch that the server no longer knows answered nothing."""
        pause = FIRST_POLL
        while batches:
            for batch in list(batches):
                there = self.look(batch)
                if there is not None and there.status not in ENDED:
                    continue
                batches.remove(batch)
                self.fetched.append(batch)
                if there is not None:
                    self.take(there, live=fresh or pause > FIRST_POLL)
            if batches:
                self.wait(pause, batches)
                pause = min(pause * 1.5, LONGEST_POLL)

    def look(self, batch: batch_state.Batch) -> Any:
        import openai

        try:
            return self.client.batches.retrieve(batch.id)
        except openai.NotFoundError:
            return None

    def wait(self, pause: float, batches: list[batch_state.Batch]) -> None:
        until = self.session._until
        if until is not None and time.monotonic() + pause > until:
            rows = sum(len(batch.keys) for batch in batches)
            names = ", ".join(batch.id for batch in batches)
            raise Pending(f"batch {names} of {rows:,} requests is at the server; build again later")
        if self.session._closed.wait(pause):
            raise InterruptedError

    def take(self, there: Any, live: bool) -> None:
        """Read the files of a batch that ended.

        live  whether it ended while this build was waiting: one that somebody cancelled then ends the stage; found
              cancelled, what is missing of it is submitted again.
        """
        for name in (there.output_file_id, there.error_file_id):
            if name:
                for line in self.client.files.content(name).content.splitlines():
                    self.read(line)
        if there.status == "failed":
            problems = list(there.errors.data or []) if there.errors else []
            said = self.session._redaction.line("; ".join(str(one.message) for one in problems) or "no reason given")
            if not any(one.code in COME_LATER for one in problems):
                for batch in self.fetched:
                    if batch.id == there.id:
                        batch_state.release(batch)
                raise ModelError(f"{self.session._model.name}: the server refused batch {there.id}: {said}")
            self.wait(LONGEST_POLL, self.fetched[-1:])
        if there.status == "cancelled" and live:
            raise ModelError(f"{self.session._model.name}: batch {there.id} was cancelled; build again to go on")

    def read(self, line: bytes) -> None:
        """One line of a result file: {custom_id, response: {status_code, body} | null, error: {message} | null}."""
        try:
            row = orjson.loads(self.session._redaction.content(line))
            key, response = row["custom_id"], row.get("response")
            if key not in self.wanted or (key in self.answers and self.answers[key].ok):
                return
            if not response:
                self.troubles[key] = self.session._redaction.line(message_of(line))
                return
            status, body = int(response["status_code"]), orjson.dumps(response["body"])
        except (ValueError, LookupError, TypeError):
            return  # a line that is none; its row is missing
        request = self.wanted[key]
        form = self.forms.get(key)
        if form and wants_other_form(status, body) and self.session._forms.refused(request, form):
            self.reformed = True
            return
        result = answer_in(status, body, {}, request.stop)
        if isinstance(result, Refused):
            raise result.error(self.session._model, self.session._has_key)
        if isinstance(result, Answer):
            self.answers[key] = result
        else:
            self.troubles[key] = result.trouble
