"""Builds against a server that fails as real ones do: no row lost, none twice, nothing asked again, no key anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from serving import KEY, completion

pytestmark = pytest.mark.builds
IN_FLIGHT = 64
STEP = '''
"""Ask every record its text."""
from collections.abc import Iterator
import factory
from factory import Context, Model, PromptCompletion, Request, Text, assistant, derive, user

@factory.step
def asked(records: Iterator[Text], ctx: Context, model: Model) -> Iterator[PromptCompletion]:
    """One question a record."""
    for answer in ctx.ask(model, (Request(user(record["text"]), about=record) for record in records)):
        if answer.finish == "stop":
            said = assistant(answer.text)
            yield derive(answer.request.about, prompt=user(answer.request.about["text"]), completion=said)
        elif answer.finish == "length":
            ctx.drop(answer.request.about, "cut off")
        else:
            ctx.drop(answer.request.about, "not answered", error=answer.error)

@factory.hookimpl
def register_steps():
    return [asked]
'''
BUILD = """
import json, sys, factory
result = factory.build(sys.argv[1])
stage = result.plan.targets["rows"]
kept = [row["completion"][0]["content"] for row in result["rows"]]
dropped = [[row["reason"], row["details"], row["record"]] for row in result.plan.store.dropped(stage.fingerprint)]
print("RESULT" + json.dumps([kept, dropped]))
"""
PASSING = ("busy", "busy for a while", "broken", "reset", "hang", "truncated", "no json", "no choices", "slow")
LASTING = ("cut off", "empty", "refused", "poison")


def fault(question: str) -> str:
    """What happens to a question: one in three has a fault that passes, one in twenty one that lasts."""
    rng = random.Random(question)
    kind = rng.random()
    if kind < 0.001:
        return "slow"
    return rng.choice(PASSING[:-1]) if kind < 0.33 else rng.choice(LASTING) if kind < 0.38 else "none"


async def faulty(request: web.Request, body: dict[str, Any], nth: int) -> web.StreamResponse:
    """Passing faults come at the first try, half of them at the second too."""
    question = body["messages"][-1]["content"]
    kind = fault(question) if question.startswith("question") else "none"
    if kind in PASSING and (nth > 2 or (nth == 2 and random.Random(question + "again").random() < 0.5)):
        kind = "none"
    await asyncio.sleep(0.005)
    if kind == "busy":
        return web.json_response({"error": {"message": f"rate limit of {KEY}"}}, status=429)
    if kind == "busy for a while":
        return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "0.05"})
    if kind in ("broken", "poison"):
        return web.json_response({"error": {"message": f"worker of {KEY} died"}}, status=500)
    if kind in ("hang", "slow"):
        await asyncio.sleep(60)
    if kind in ("reset", "truncated"):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        if kind == "truncated":
            await response.prepare(request)
            await response.write(b'{"choices": [')
        assert request.transport
        request.transport.abort() if kind == "reset" else request.transport.close()
        return response
    if kind == "no json":
        return web.Response(text='{"choices": [{"mess')
    if kind == "no choices":
        return web.json_response({"choices": []})
    if kind == "refused":
        return web.json_response({"error": {"message": f"bad row, {KEY}"}}, status=400)
    if kind == "empty":
        return completion("")
    return completion(f"to {question}", "length" if kind == "cut off" else "stop")


class Project:
    """A folder with rows and a recipe that asks them."""

    def __init__(self, root: Path, url: str, options: str = "") -> None:
        self.root, self.recipe = root, root / "r.yaml"
        (root / "plugins").mkdir(parents=True)
        (root / "plugins" / "asked.py").write_text(STEP)
        model = f"openai:tiny?base_url={url}&concurrency={IN_FLIGHT}&timeout=2&backoff=0.01{options}"
        self.recipe.write_text(
            f"targets:\n  rows:\n    from: rows.jsonl\n    steps:\n      - asked: {{model: '{model}'}}\n"
        )

    def rows(self, count: int) -> None:
        lines = (json.dumps({"text": f"question {number}"}) + "\n" for number in range(count))
        (self.root / "rows.jsonl").write_text("".join(lines))

    def start(self, **environment: str) -> subprocess.Popen[str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "FACTORY"))}
        return subprocess.Popen(
            [sys.executable, "-c", BUILD, str(self.recipe)],
            cwd=self.root,
            env={**known, "OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def build(self, timeout: float = 100) -> tuple[list[str], list[Any], str]:
        """Answers that were kept, what was dropped, and all that was printed."""
        process = self.start()
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == 0, err[-3000:]
        kept, dropped = json.loads(out.split("RESULT")[1])
        return kept, dropped, out.split("RESULT")[0] + err

    def all_bytes(self) -> bytes:
        """Everything that a build left behind, file names too."""
        paths = [path for path in self.root.rglob("*") if path.is_file() and path.name != "r.yaml"]
        return b"".join(str(path).encode() + path.read_bytes() for path in paths)


def check(count: int, kept: list[str], dropped: list[Any]) -> None:
    """Every row once: kept, dropped for what its answer was, or failed because the server never answered it."""
    expected = {n: fault(f"question {n}") for n in range(count)}
    assert sorted(kept) == sorted(f"to question {n}" for n, kind in expected.items() if kind not in LASTING)
    reasons = Counter(reason for reason, _, _ in dropped)
    kinds = Counter(kind for kind in expected.values() if kind in LASTING)
    assert reasons == Counter({"cut off": kinds["cut off"], "not answered": kinds.total() - kinds["cut off"]})
    errors = Counter(json.dumps(details) for reason, details, _ in dropped if reason == "not answered")
    assert sum(n for text, n in errors.items() if "bad row, [key]" in text) == kinds["refused"]
    assert sum(n for text, n in errors.items() if "empty answer" in text) == kinds["empty"]
    assert sum(n for text, n in errors.items() if "no answer in 6 attempts" in text) == kinds["poison"]
    assert len({json.dumps(record) for _, _, record in dropped}) == len(dropped)


def faults_and_a_kill(serve: Any, root: Path, count: int, after: int) -> None:
    server = serve(faulty)
    project = Project(root, server.url)
    project.rows(count)
    process = project.start()
    while len(server.bodies) < after and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    asked = {body["messages"][-1]["content"] for body in server.bodies}
    assert len(asked) < count
    before = len(server.bodies)
    kept, dropped, said = project.build(timeout=1500)
    check(count, kept, dropped)
    assert KEY not in said
    assert KEY.encode() not in project.all_bytes()

    good = {f"question {n}" for n in range(count) if fault(f"question {n}") in ("none", "cut off")}
    again = Counter(body["messages"][-1]["content"] for body in server.bodies[before:])
    assert max((server.tries[question] for question in good), default=0) <= 2
    assert len([question for question in good & asked if again[question]]) <= IN_FLIGHT, "what was in flight, no more"

    mark = len(server.bodies)
    project.rows(count + 1)
    kept, dropped, _ = project.build(timeout=1500)
    check(count + 1, kept, dropped)
    fresh = {body["messages"][-1]["content"] for body in server.bodies[mark:]}
    lasting = {f"question {n}" for n in range(count) if fault(f"question {n}") in ("poison", "refused", "empty")}
    assert {f"question {count}"} <= fresh - {"Answer with one word: well?"} <= {f"question {count}"} | lasting


def test_every_row_is_accounted_for_and_none_is_asked_twice(serve, tmp_path):
    faults_and_a_kill(serve, tmp_path / "project", 300, 150)


@pytest.mark.slow
def test_the_same_with_20_000_rows(serve, tmp_path):
    faults_and_a_kill(serve, tmp_path / "project", 20_000, 9_000)


def test_a_row_more_is_a_request_more(serve, tmp_path):
    async def echo(request: web.Request, body: dict[str, Any], nth: int) -> web.StreamResponse:
        return completion("to " + body["messages"][-1]["content"])

    server = serve(echo)
    project = Project(tmp_path / "project", server.url)
    project.rows(300)
    assert len(project.build()[0]) == 300
    project.rows(301)
    assert len(project.build()[0]) == 301
    assert len(server.bodies) == 301


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_the_key_is_in_nothing_that_a_build_leaves_behind(serve, tmp_path, status):
    """Though the server repeats it, in the headers' form and in the forms JSON and URLs give it."""

    async def telling(request: web.Request, body: dict[str, Any], nth: int) -> web.StreamResponse:
        if body["messages"][-1]["content"] == "question 0":
            return completion(f"your key is {KEY}, or " + KEY.replace("/", "%2F").replace("+", "%2B"))
        code = "insufficient_quota" if status == 429 else "x"
        error = {"message": f"no: {request.headers['Authorization']}", "code": code}
        spelled = json.dumps({"error": error}).replace("/", "\\/")
        await asyncio.sleep(0.05)
        return web.Response(body=spelled.encode(), status=status, content_type="application/json")

    server = serve(telling)
    project = Project(tmp_path / "project", server.url, "&attempts=2")
    project.rows(3)
    process = project.start(FACTORY_TRACE="1")
    out, err = process.communicate(timeout=60)
    left = project.all_bytes() + out.encode() + err.encode()
    assert server.bodies
    assert (process.returncode != 0) is (status != 500)
    for spelling in (KEY, KEY.replace("/", "\\/"), "0123456789", KEY.replace("/", "%2F").replace("+", "%2B")):
        assert spelling.encode() not in left
    if status != 500:
        assert b"[key]" in err.encode()
