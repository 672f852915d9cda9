"""The OpenAI client against a real server that misbehaves in the ways servers do."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

import factory
from factory import ModelError, Request, user
from factory.models import open_model

KEY = "sk-test-0123456789abcdef"
Handler = Callable[[web.Request, dict[str, Any], int], Awaitable[web.StreamResponse]]


def completion(text: str | None, finish: str = "stop") -> web.Response:
    """A chat completion as servers send it."""
    return web.json_response(
        {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        }
    )


class Server:
    """An OpenAI-compatible server; `handler(request, body, nth)` answers, nth counts this prompt's tries."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.tries: dict[str, int] = {}
        self.now = self.most = 0
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(started,), daemon=True)
        self.thread.start()
        started.wait()

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.start())
        started.set()
        self.loop.run_forever()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("Authorization"))
        said = body["messages"][-1]["content"]
        self.tries[said] = self.tries.get(said, 0) + 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.handler(request, body, self.tries[said])
        finally:
            self.now -= 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Server]]:
    """Start a server with a handler; it is stopped after the test."""
    servers: list[Server] = []

    def start(handler: Handler) -> Server:
        servers.append(Server(handler))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Open a session on a server with the key in the environment; it is closed after the test."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    sessions: list[Any] = []

    def start(url: str, options: str = "backoff=0.01") -> Any:
        sessions.append(open_model(uri=f"openai:tiny?base_url={url}&{options}").open())
        return sessions[-1]

    yield start
    for session in sessions:
        session.close()


def answers(session: Any, requests: list[Request]) -> list[factory.Answer]:
    return [answer for future in [session.submit([r]) for r in requests] for answer in future.result(timeout=20)]


def requests(count: int, **options: Any) -> list[Request]:
    return [Request(user(f"question {n}"), index=n, about=n, **options) for n in range(count)]


async def echo(request: web.Request, body: dict[str, Any], nth: int) -> web.StreamResponse:
    return completion("to " + body["messages"][-1]["content"])


def test_answers_come_in_order_and_once(serve, ask):
    async def later_ones_first(request, body, nth):
        await asyncio.sleep(0.05 if body["messages"][-1]["content"].endswith("0") else 0)
        return await echo(request, body, nth)

    server = serve(later_ones_first)
    found = answers(ask(server.url), requests(40, temperature=0.7, max_tokens=99))
    assert [answer.text for answer in found] == [f"to question {n}" for n in range(40)]
    assert [answer.request.about for answer in found] == list(range(40))
    assert (found[0].finish, found[0].prompt_tokens, found[0].completion_tokens) == ("stop", 7, 3)
    assert len(server.bodies) == 40
    assert set(server.keys) == {f"Bearer {KEY}"}
    expected = {"model": "tiny", "messages": user("question 0"), "max_tokens": 99, "temperature": 0.7}
    assert next(body for body in server.bodies if body["messages"] == user("question 0")) == expected


def test_in_flight_is_bounded_and_reached(serve, ask):
    async def slow(request, body, nth):
        await asyncio.sleep(0.1)
        return await echo(request, body, nth)

    server = serve(slow)
    session = ask(server.url, "concurrency=32")
    assert session.batch == 1
    began = time.monotonic()
    assert len(answers(session, requests(64))) == 64
    assert time.monotonic() - began < 3.2  # one after another they take 6.4 s; two rounds of 0.1 s are ideal
    assert server.most == 32


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_a_passing_fault_is_asked_again(serve, ask, status):
    async def twice(request, body, nth):
        return await echo(request, body, nth) if nth > 2 else web.json_response({"error": "busy"}, status=status)

    server = serve(twice)
    assert [answer.text for answer in answers(ask(server.url), requests(3))] == [f"to question {n}" for n in range(3)]
    assert len(server.bodies) == 9


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(serve, ask, form):
    seen: list[float] = []

    async def limited(request, body, nth):
        seen.append(time.time())
        if nth > 1:
            return await echo(request, body, nth)
        value = "0.3" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
        return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": value})

    server = serve(limited)
    assert answers(ask(server.url), requests(1))[0].ok
    assert seen[1] - seen[0] >= (0.29 if form == "seconds" else 0.9)  # dates have whole seconds
    assert seen[1] - seen[0] < 3


def test_fresh_requests_go_on_while_one_waits(serve, ask):
    async def first_waits(request, body, nth):
        if nth == 1 and body["messages"][-1]["content"] == "question 0":
            return web.Response(status=429, headers={"Retry-After": "0.5"})
        return await echo(request, body, nth)

    server = serve(first_waits)
    session = ask(server.url, "concurrency=1")
    futures = [session.submit([request]) for request in requests(6)]
    assert all(future.result(timeout=20)[0].ok for future in futures[1:])
    assert not futures[0].done()  # the only place in flight was not held while it waited
    assert futures[0].result(timeout=20)[0].text == "to question 0"


def test_a_body_that_breaks_off_is_asked_again(serve, ask):
    async def broken(request, body, nth):
        if nth > 1:
            return await echo(request, body, nth)
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": [')
        request.transport.close()
        return response

    server = serve(broken)
    assert answers(ask(server.url), requests(2))[1].text == "to question 1"
    assert len(server.bodies) == 4


@pytest.mark.parametrize("body", [b'{"choices": [{"mess', b"[]", b'{"choices": []}', b"\xff", b"null"])
def test_what_is_no_completion_is_asked_again(serve, ask, body):
    async def malformed(request, _, nth):
        return await echo(request, _, nth) if nth > 1 else web.Response(body=body, content_type="application/json")

    server = serve(malformed)
    assert answers(ask(server.url), requests(1))[0].text == "to question 0"
    assert len(server.bodies) == 2


def test_an_answer_that_takes_too_long_is_asked_again(serve, ask):
    async def stuck(request, body, nth):
        if nth == 1:
            await asyncio.sleep(30)
        return await echo(request, body, nth)

    server = serve(stuck)
    assert answers(ask(server.url, "timeout=0.2&backoff=0.01"), requests(1))[0].text == "to question 0"


def test_attempts_end(serve, ask):
    async def down(request, body, nth):
        return web.json_response({"error": {"message": f"overloaded, {KEY}"}}, status=503)

    server = serve(down)
    with pytest.raises(ModelError, match=r"did not answer in 3 attempts: status 503: overloaded") as caught:
        answers(ask(server.url, "attempts=3&backoff=0.01"), requests(1))
    assert KEY not in str(caught.value)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("status", "says"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "the model's name"), (307, "base_url")]
)
def test_a_refusal_ends_everything_at_once(serve, ask, status, says):
    async def refuse(request, body, nth):
        said = f"no such key: {request.headers['Authorization']}"
        return web.json_response({"error": {"message": said}}, status=status)

    server = serve(refuse)
    session = ask(server.url, "concurrency=2")
    futures = [session.submit([request]) for request in requests(50)]
    for future in futures:
        with pytest.raises(ModelError, match=says) as caught:
            future.result(timeout=20)
        assert KEY not in str(caught.value)
        assert "Bearer [key]" in str(caught.value)
        assert server.url in str(caught.value)
    assert len(server.bodies) <= 4  # those in flight when the first was refused


def test_no_credit_left_is_not_asked_again(serve, ask):
    async def poor(request, body, nth):
        return web.json_response({"error": {"message": "quota", "code": "insufficient_quota"}}, status=429)

    server = serve(poor)
    with pytest.raises(ModelError, match="no credit left"):
        answers(ask(server.url), requests(1))
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_row_the_server_cannot_take_fails_alone(serve, ask, status):
    async def picky(request, body, nth):
        if body["messages"][-1]["content"] == "question 1":
            return web.json_response({"error": {"message": f"bad row for {KEY}"}}, status=status)
        return await echo(request, body, nth)

    server = serve(picky)
    found = answers(ask(server.url), requests(3))
    assert [answer.finish for answer in found] == ["stop", "failed", "stop"]
    assert found[1].error == f"status {status}: bad row for [key]"
    assert found[1].text == ""
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("text", "said", "finish", "expected"),
    [
        ("half an ans", "length", "length", "half an ans"),
        ("", "stop", "failed", "empty answer"),
        (" \n", "stop", "failed", "empty answer"),
        (None, "length", "failed", "empty answer (length)"),
        ("something", "content_filter", "failed", "refused: content filter"),
        ("one\n###\ntwo", "stop", "stop", "one\n"),
    ],
)
def test_how_an_answer_finishes(serve, ask, text, said, finish, expected):
    async def say(request, body, nth):
        return completion(text, said)

    [answer] = answers(ask(serve(say).url), requests(1, stop=("###",)))
    assert (answer.finish, answer.text if answer.ok else answer.error) == (finish, expected)


def test_a_server_that_is_not_there(serve, ask):
    server = serve(echo)
    session = ask(server.url, "attempts=2&backoff=0.01")
    server.stop()
    server.stop = lambda: None
    with pytest.raises(ModelError, match=r"tiny at http://127.0.0.1:\d+/v1 did not answer in 2 attempts.*base_url"):
        answers(session, requests(1))


def test_closing_gives_up_what_is_in_flight(serve, ask):
    async def forever(request, body, nth):
        await asyncio.sleep(60)
        return completion("late")

    server = serve(forever)
    session = ask(server.url)
    future = session.submit(requests(1))
    while not server.bodies:
        time.sleep(0.001)
    session.close()
    assert future.cancelled()
    session.close()  # again is harmless


def test_the_key_is_nowhere(serve, ask):
    server = serve(echo)
    session = ask(server.url)
    model = session._model
    assert KEY not in repr(model) + model.identity + model.uri + repr(session)
    assert KEY.encode() not in pickle.dumps(model)
    assert pickle.loads(pickle.dumps(model)) == model


def test_identity_is_the_endpoint_and_the_name(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://there/v1/")
    one, other = open_model(uri="openai:a/b:free?concurrency=4"), open_model(uri="openai:a/b:free?timeout=9")
    assert one.identity == other.identity == "openai:a/b:free at http://there/v1"
    assert (one.concurrency, other.timeout) == (4, 9.0)
    assert open_model(uri="openai:a/b:free?base_url=http://here/v1").identity.endswith("http://here/v1")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("openai:", "names no model"),
        ("openai:m?concurency=3", "did you mean 'concurrency'"),
        ("openai:m?concurrency=0", "a whole number above 0"),
        ("openai:m?timeout=soon", "a number above 0"),
        ("openai:m?base_url=there", "expected http"),
        ("openai:m?base_url=http://me:secret@there/v1", "environment variable"),
        (f"openai:m?api_key={KEY}", "no option 'api_key'"),
    ],
)
def test_a_wrong_uri_is_a_sentence(uri, says):
    with pytest.raises(ModelError, match=says) as caught:
        open_model(uri=uri)
    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_key_is_a_sentence(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set"):
        open_model(uri="openai:m").open()
    with pytest.raises(ModelError, match="MY_KEY is not set"):
        open_model(uri="openai:m?base_url=http://127.0.0.1:1/v1&key_env=MY_KEY").open()
