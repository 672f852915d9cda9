"""The whole way of a question: window, budget, cache and client, against a real server with random latencies."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, Budget, Request, user
from factory.engine.asking import Asking
from factory.engine.responses import Responses
from factory.models import open_model

pytestmark = pytest.mark.builds


class Handler(BaseHTTPRequestHandler):
    """Answers `question N` with JSON, one in seven not; counts prompts."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = body["messages"][-1]["content"]
        self.asked.append(said)
        threading.Event().wait(random.random() * 0.02)
        number = int(said.split()[1])  # the schema is told behind it
        text = "I would rather not." if number % 7 == 0 else f'```json\n{{"n": {number},}}\n```'
        used = {"prompt_tokens": 10, "completion_tokens": 5 + number % 3}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        data = json.dumps({"choices": [choice], "usage": used}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *said: Any) -> None: ...


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody")
    Handler.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ask(url: str) -> Callable[..., tuple[list[Answer], Asking]]:
    def asked(store: Path, count: int, **more: Any) -> tuple[list[Answer], Asking]:
        model = open_model(uri=f"openai:tiny?base_url={url}&concurrency=16")
        asking = Asking(Responses(store), 2, lambda usage: None)
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        requests = (Request(user(f"question {n}"), max_tokens=20, schema=schema, about=n) for n in range(count))
        try:
            return list(asking.ask(model, requests, None, **more)), asking  # type: ignore[arg-type]
        finally:
            asking.close()
            asking.responses.close()

    return asked


def test_answers_are_read_and_those_that_cannot_be_are_paid_for_once(ask: Any, tmp_path: Path) -> None:
    answers, asking = ask(tmp_path / "r.sqlite", 200)
    assert [answer.request.about for answer in answers] == list(range(200))
    assert [answer.data for answer in answers] == [None if n % 7 == 0 else {"n": n} for n in range(200)]
    assert asking.usage.failed == {"not the JSON asked for": 29}
    assert asking.usage.again == 0
    again, asking = ask(tmp_path / "r.sqlite", 201)
    assert len(Handler.asked) == 201, "one more row, one more request; a draw that cannot be read stays what it is"
    assert [answer.data for answer in again[:200]] == [answer.data for answer in answers]
    assert (asking.usage.asked, asking.usage.replayed) == (1, 200)


def test_a_budget_ends_at_the_same_request_whatever_the_latencies(ask: Any, tmp_path: Path) -> None:
    ends = set()
    for attempt in range(3):
        answers, asking = ask(tmp_path / f"{attempt}.sqlite", 100, budget=Budget(max_tokens=900))
        ends.add(sum(not answer.over_budget for answer in answers))
        assert asking.usage.prompt_tokens + asking.usage.completion_tokens <= 900
    assert len(ends) == 1
    assert 40 < ends.pop() < 60
