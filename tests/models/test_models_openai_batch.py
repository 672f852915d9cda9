"""The Batch API against a real server: what is submitted, what is polled again, and what is submitted again."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from serving import KEY

import factory
from factory import ModelError, Pending, Request, user
from factory.engine.project import enter_project
from factory.models import batch_state, open_model

Row = dict[str, Any]


def completed(row: Row, text: str | None = None) -> Row:
    said = text or "to " + row["body"]["messages"][-1]["content"]
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    return {"custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def failed(row: Row, status: int, message: str) -> Row:
    body = {"error": {"message": message}}
    return {"custom_id": row["custom_id"], "response": {"status_code": status, "body": body}, "error": None}


class BatchServer:
    """Files and batches as OpenAI has them; `work(rows, nth)` says how the nth batch ended: status, output, errors."""

    def __init__(self, work: Callable[[list[Row], int], tuple[str, list[Row], list[Row]]]) -> None:
        self.work = work
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Row] = {}
        self.done = threading.Event()
        self.done.set()
        self.lose_answer = False  # to the next batch that is made
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
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{name}/content", self.content)
        app.router.add_post("/v1/batches", self.create)
        app.router.add_get("/v1/batches", self.list)
        app.router.add_get("/v1/batches/{name}", self.retrieve)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def upload(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {KEY}":
            said = f"Incorrect API key provided: {request.headers['Authorization']}"
            return web.json_response({"error": {"message": said}}, status=401)
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "a.jsonl",
                                  "purpose": "batch", "status": "processed"})  # fmt: skip

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"], "created_at": 1, "status": "in_progress",
            "metadata": asked["metadata"],
        }  # fmt: skip
        if self.lose_answer:
            self.lose_answer = False
            assert request.transport
            request.transport.close()
        return web.json_response(self.batches[name])

    async def list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(self.batches.values())[::-1], "has_more": False})

    async def retrieve(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["name"])
        if batch is None:
            return web.json_response({"error": {"message": "no such batch"}}, status=404)
        if batch["status"] == "in_progress" and self.done.is_set():
            nth = int(batch["id"].split("_")[1])
            batch["status"], output, errors = self.work(self.rows(nth), nth)
            for name, rows in (("output_file_id", output), ("error_file_id", errors)):
                if rows:
                    batch[name] = f"file-{len(self.files)}"
                    self.files[batch[name]] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        return web.json_response(batch)

    async def content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["name"]])

    def rows(self, nth: int) -> list[Row]:
        """What was submitted in the nth batch."""
        content = self.files[self.batches[f"batch_{nth}"]["input_file_id"]]
        return [json.loads(line) for line in content.splitlines()]

    def questions(self, nth: int) -> list[str]:
        return [row["body"]["messages"][-1]["content"] for row in self.rows(nth)]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def all_well(rows: list[Row], nth: int) -> tuple[str, list[Row], list[Row]]:
    return "completed", [completed(row) for row in reversed(rows)], []


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., BatchServer]]:
    """Start a server; the project is an empty folder and the key is in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    before = factory.project_root()
    enter_project(tmp_path)
    servers: list[BatchServer] = []

    def start(work: Callable[[list[Row], int], tuple[str, list[Row], list[Row]]] = all_well) -> BatchServer:
        servers.append(BatchServer(work))
        return servers[-1]

    yield start
    enter_project(before)
    for server in servers:
        server.stop()


def ask(server: BatchServer, requests: list[Request], options: str = "") -> list[factory.Answer]:
    """One build's worth: open, ask, close."""
    session = open_model(uri=f"openai:tiny?base_url={server.url}&mode=batch&attempts=3{options}").open()
    try:
        return session.submit(requests).result(timeout=30)
    finally:
        session.close()


def questions(*numbers: int) -> list[Request]:
    return [Request(user(f"question {n}"), index=n, about=n) for n in numbers]


def left(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / ".factory" / "batches").glob("*"))


def test_a_group_is_one_batch(there, tmp_path):
    server = there()
    found = ask(server, questions(0, 1, 2))
    assert [answer.text for answer in found] == ["to question 0", "to question 1", "to question 2"]
    assert [answer.request.about for answer in found] == [0, 1, 2]
    assert (found[0].prompt_tokens, found[0].completion_tokens) == (7, 3)
    assert server.rows(0)[1] == {
        "custom_id": questions(1)[0].key(open_model(uri=f"openai:tiny?base_url={server.url}")),
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "tiny", "messages": user("question 1"), "max_tokens": 512},
    }
    assert left(tmp_path) == []


def test_come_back_later(there, tmp_path):
    server = there()
    server.done.clear()
    for _ in range(2):
        with pytest.raises(Pending, match="batch batch_0 of 2 requests is at the server; build again later"):
            ask(server, questions(0, 1), "&wait=0")
    server.done.set()
    assert [answer.text for answer in ask(server, questions(0, 1), "&wait=20")] == ["to question 0", "to question 1"]
    assert len(server.batches) == 1
    assert left(tmp_path) == []


def test_a_row_more_is_submitted_alone_while_the_others_are_at_the_server(there):
    server = there()
    server.done.clear()
    with pytest.raises(Pending):
        ask(server, questions(1, 2), "&wait=0")
    server.done.set()
    assert [answer.text for answer in ask(server, questions(0, 1, 2))] == [f"to question {n}" for n in range(3)]
    assert [server.questions(nth) for nth in range(2)] == [["question 1", "question 2"], ["question 0"]]


def test_rows_of_another_group_are_kept_for_it(there, tmp_path):
    server = there()
    server.done.clear()
    with pytest.raises(Pending):
        ask(server, questions(0, 1, 2), "&wait=0")
    server.done.set()
    assert len(ask(server, questions(0, 1))) == 2
    assert len(left(tmp_path)) == 1
    assert ask(server, questions(2))[0].text == "to question 2"
    assert len(server.batches) == 1
    assert left(tmp_path) == []


def test_only_rows_that_failed_in_passing_or_expired_go_again(there):
    def troubled(rows: list[Row], nth: int) -> tuple[str, list[Row], list[Row]]:
        if nth:
            return all_well(rows, nth)
        expired = {"custom_id": rows[3]["custom_id"], "response": None,
                   "error": {"code": "batch_expired", "message": "not executed in time"}}  # fmt: skip
        errors = [failed(rows[1], 500, "worker died"), failed(rows[2], 400, f"bad row for {KEY}"), expired]
        return "expired", [completed(rows[0])], errors

    server = there(troubled)
    found = ask(server, questions(*range(5)))
    assert [answer.finish for answer in found] == ["stop", "stop", "failed", "stop", "stop"]
    assert found[2].error == "status 400: bad row for [key]"
    assert server.questions(1) == ["question 1", "question 3", "question 4"]
    assert len(server.batches) == 2


def test_attempts_end(there, tmp_path):
    def never(rows: list[Row], nth: int) -> tuple[str, list[Row], list[Row]]:
        return "completed", [completed(row) for row in rows[1:]], [failed(rows[0], 500, "worker died")]

    server = there(never)
    found = ask(server, questions(0, 1))
    assert found[1].ok
    assert found[0].error == "no answer in 3 batches: status 500: worker died"
    assert len(server.batches) == 3
    assert left(tmp_path) == []


def test_a_batch_whose_id_never_arrived_is_found_again(there, tmp_path):
    server = there()
    server.lose_answer = True
    with pytest.raises(ModelError, match="the Batch API failed"):
        ask(server, questions(0, 1))
    assert [answer.text for answer in ask(server, questions(0, 1))] == ["to question 0", "to question 1"]
    assert len(server.batches) == 1
    assert left(tmp_path) == []


def test_one_that_was_never_made_is_forgotten(there, tmp_path):
    server = there()
    model = open_model(uri=f"openai:tiny?base_url={server.url}")
    batch_state.new(model.identity, [questions(0)[0].key(model)])
    assert ask(server, questions(0))[0].ok
    assert left(tmp_path) == []


def test_a_batch_the_server_no_longer_knows_is_submitted_again(there):
    server = there()
    server.done.clear()
    with pytest.raises(Pending):
        ask(server, questions(0), "&wait=0")
    server.done.set()
    server.batches["batch_x"] = server.batches.pop("batch_0")
    server.batches["batch_y"] = {}
    assert ask(server, questions(0))[0].ok


def test_a_batch_the_server_refuses_ends_the_stage(there, tmp_path):
    server = there(lambda rows, nth: ("failed", [], []))
    with pytest.raises(ModelError, match="the server refused batch batch_0: no reason given"):
        ask(server, questions(0))
    assert left(tmp_path) == []


def test_a_schema_the_server_does_not_take_is_told_in_words(there):
    def plain(rows: list[Row], nth: int) -> tuple[str, list[Row], list[Row]]:
        if nth < 2:
            return "completed", [], [failed(row, 400, "unknown field response_format") for row in rows]
        return "completed", [completed(row, "{}") for row in rows], []

    server = there(plain)
    found = ask(server, [Request(user("a"), schema={"type": "object"})], "&attempts=1")
    assert found[0].text == "{}"
    assert "response_format" not in server.rows(2)[0]["body"]


def test_a_wrong_key_is_a_sentence_without_it(there, monkeypatch):
    server = there()
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "wrong")
    with pytest.raises(ModelError, match=r"status 401; check the environment variable OPENAI_API_KEY") as caught:
        ask(server, questions(0))
    assert KEY not in str(caught.value)


def test_what_is_on_disk_holds_neither_prompts_nor_the_key(there, tmp_path):
    server = there()
    server.done.clear()
    with pytest.raises(Pending):
        ask(server, questions(0), "&wait=0")
    (path,) = left(tmp_path)
    assert "question" not in path.read_text()
    assert KEY not in path.read_text()
