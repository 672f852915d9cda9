"""`judge: {soft: true}` at servers that refuse to be asked for log-probabilities: heard without, and told once."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import factory
from factory import assistant, user
from factory.engine.project import enter_project, project_root

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from serving import Server

pytestmark = pytest.mark.builds
Refuses = Callable[[dict[str, Any]], str]  # a body -> what the server says to refuse it, or ""


def unknown_field(body: dict[str, Any]) -> str:
    return "logprobs is not supported by this model" if "logprobs" in body else ""


def no_reason(body: dict[str, Any]) -> str:
    return "bad request" if "logprobs" in body else ""


def some(body: dict[str, Any]) -> str:
    """As a server does that hands on to others."""
    return "unknown parameter" if "logprobs" in body and "Question 2" in str(body["messages"]) else ""


def everything(body: dict[str, Any]) -> str:
    return "no"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[factory.Result, Server]]]:
    """build(refuses) -> a build of four prompts with two answers each, and the server that judged them."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    servers: list[Server] = []
    before = project_root()

    def run(refuses: Refuses) -> tuple[factory.Result, Server]:
        async def handler(request: Any, body: dict[str, Any], nth: int) -> web.Response:
            if said := refuses(body):
                return web.json_response({"error": {"message": said}}, status=400)
            message = {"role": "assistant", "content": "A"}
            choice: dict[str, Any] = {"message": message, "finish_reason": "stop"}
            if "logprobs" in body:
                likely = [{"token": token, "logprob": math.log(p)} for token, p in (("A", 0.8), ("B", 0.1))]
                choice["logprobs"] = {"content": [{**likely[0], "top_logprobs": likely}]}
            return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})

        servers.append(Server(handler))
        uri = f"openai:judge?base_url={servers[-1].url}&backoff=0.01"
        (tmp_path / "factory.toml").touch()
        (tmp_path / "recipe.yaml").write_text(
            f'name: soft\ntargets:\n  judged: {{from: answers.jsonl, steps: [judge: {{model: "{uri}", soft: true}}]}}\n'
        )
        rows = [
            {"prompt": user(f"Question {n}?"), "completions": [assistant(f"a {n}"), assistant(f"b {n}")], "scores": []}
            for n in range(4)
        ]
        (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return factory.build(tmp_path / "recipe.yaml"), servers[-1]

    yield run
    enter_project(before)
    for server in servers:
        server.stop()


def said(result: factory.Result) -> list[Any]:
    records: list[Any] = list(result["judged"])  # type: ignore[arg-type]
    return [one for record in records for one in record["meta"]["comparisons"]]


def told(result: factory.Result) -> tuple[list[str], str]:
    """What the build says to look at, and the judges' section of its page."""
    folder = result.plan.targets["judged"].folder
    alarms = json.loads((folder / "alarms.json").read_text()) if (folder / "alarms.json").exists() else []
    (section,) = json.loads((folder / "sections.json").read_text())
    about = [alarm["says"] for alarm in alarms if "log-prob" in alarm["says"]]
    return about, section["body"]


@pytest.mark.parametrize("refuses", [unknown_field, no_reason])
def test_a_server_that_refuses_is_asked_without_and_that_is_told_once(build: Any, refuses: Refuses) -> None:
    result, server = build(refuses)
    assert [one["verdict"] for one in said(result)] == ["flip"] * 4, "A in both orders, heard without"
    (alarm,), section = told(result)
    assert "refuses to be asked for log-probabilities (status 400: " in alarm
    assert refuses({"logprobs": True}) in alarm
    assert "8 questions were asked without" in alarm
    assert "8 questions were asked without" in section
    assert sum("logprobs" in body for body in server.bodies) == 1, "one try"
    assert len(server.bodies) == 9


def test_stored_answers_alone_tell_the_same(build: Any, tmp_path: Path) -> None:
    result, server = build(unknown_field)
    assert "retry" not in result.plan.targets["judged"].manifest, "a refusal is final"
    command = [sys.executable, "-m", "factory.cli", "answers", "recipe.yaml", "judged"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(one["text"] == "A" for one in answers) == 8
    assert len(server.bodies) == 9


def test_a_server_that_refuses_some_is_heard_on_the_rest(build: Any) -> None:
    result, server = build(some)
    assert len(said(result)) == 4
    (alarm,), _ = told(result)
    assert "2 questions were asked without" in alarm
    assert sum("logprobs" in body for body in server.bodies) == 8
    assert len(server.bodies) == 10


def test_a_server_that_gives_them_is_not_complained_of(build: Any) -> None:
    result, server = build(lambda body: "")
    assert told(result)[0] == []
    assert len(server.bodies) == 8
    assert all("logprobs" in body for body in server.bodies)


def test_what_is_refused_either_way_is_no_matter_of_log_probabilities(build: Any) -> None:
    result, _ = build(everything)
    stage = result.plan.targets["judged"]
    assert stage.manifest["counts"]["out"] == 0
    alarms = stage.folder / "alarms.json"
    assert not alarms.exists() or "log-prob" not in alarms.read_text()
