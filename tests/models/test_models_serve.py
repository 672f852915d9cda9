"""Whole builds against a server that is not ours: `transformers serve`, with a tiny random Llama behind it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from factory import Request, user
from factory.models import open_model

pytestmark = [pytest.mark.slow, pytest.mark.model]

BIN = Path(sys.executable).parent
START = 180.0  # seconds until the server must answer
ANSWERED = '"POST /v1/chat/completions HTTP/1.1" 200'
NOT_JSON = "not the JSON asked for"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "FACTORY", "HF_"))},
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1",
    "OMP_NUM_THREADS": "1",
}
STORIES = [
    f"The lighthouse at Westpoint was built in 18{year} by the engineer Ida Holm. Its lamp burns oil and is seen from "
    f"{year} miles away, even when the fog lies on the bay and the horn has to sound all night."
    for year in (41, 52, 63, 74)
]
RECIPE = """
name: served
targets:
  tasks:
    from: seeds.jsonl
    steps:
      - self_instruct: {{model: "{model}", max_requests: 24, max_tokens: 24, min_yield: 0}}
  grounded:
    from: documents.jsonl
    steps:
      - from_documents: {{model: "{model}", kinds: [question, extraction], per_document: 2, structured: true,
                          question_tokens: 24, answer_tokens: 24}}
"""


@dataclass
class Serving:
    """A running `transformers serve`."""

    process: subprocess.Popen[bytes]
    log: Path
    model: Path
    url: str = ""

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def answered(self) -> int:
        return self.said.count(ANSWERED)

    @property
    def uri(self) -> str:
        return f"openai:{self.model}?base_url={self.url}/v1&concurrency=4&timeout=60"

    def wait(self) -> None:
        """Until it answers at the port that the system gave it, which its log tells."""
        end = time.monotonic() + START
        while not self.is_well():
            assert self.process.poll() is None, f"the server ended: {self.process.returncode}\n{self.said}"
            assert time.monotonic() < end, f"the server does not answer after {START:g} s\n{self.said}"
            time.sleep(0.1)

    def is_well(self) -> bool:
        if not self.url and (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", self.said)):
            self.url = found[1]
        if not self.url:
            return False
        # `/v1/models` is no sign of health: it lists the hub's cache, and fails where there is none.
        with contextlib.suppress(OSError):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{self.url}/health", timeout=5) as response:
                return bool(json.load(response)["status"] == "ok")
        return False

    def stop(self) -> None:
        """End it with everything it started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)


@pytest.fixture(scope="module")
def serving(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The tiny model of this room, served: it samples, as chat models do, and never ends at once."""
    from transformers import GenerationConfig

    folder = tmp_path_factory.mktemp("serving")
    shutil.copytree(tiny_folder, folder / "model")
    GenerationConfig(eos_token_id=2, pad_token_id=0, do_sample=True, min_new_tokens=8).save_pretrained(folder / "model")
    command = [str(BIN / "transformers"), "serve", str(folder / "model"), "--host", "127.0.0.1", "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--device", "cpu", "--default-seed", "7"],
            cwd=folder,
            env={**ENVIRONMENT, "HF_HOME": str(folder / "hub")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    running = Serving(process, folder / "log", folder / "model")
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@dataclass
class Built:
    """A project that was built once, and how many answers the server gave for it."""

    folder: Path
    answered: int

    def manifest(self, target: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "build" / "served" / target / "manifest.json").read_bytes())
        return found

    def rows(self, target: str, kind: str) -> list[dict[str, Any]]:
        files = sorted((self.folder / "build" / "served" / target).glob(f"{kind}-*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]


def build(folder: Path, serving: Serving) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(BIN / "factory"), "build", "served.yaml"],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}\n{serving.said}"
    return done


@pytest.fixture(scope="module")
def built(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("project")
    (folder / "factory.toml").touch()
    (folder / "served.yaml").write_text(RECIPE.format(model=serving.uri))
    seeds = [
        {"id": f"code-{n}", "instruction": f"Task {n} of a list", "instances": [{"input": "", "output": f"Done {n}"}]}
        for n in range(4)
    ]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    (folder / "documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in STORIES))
    before = serving.answered
    build(folder, serving)
    return Built(folder, serving.answered - before)


def test_every_request_is_answered_and_accounted_for(serving: Serving, built: Built) -> None:
    tasks, grounded = (built.manifest(target)["requests"] for target in ("tasks", "grounded"))
    assert tasks["answers"] == 24, serving.said
    assert grounded["answers"] >= 2 * len(STORIES), serving.said
    assert built.answered == tasks["answers"] + grounded["answers"], "what the server says it answered"
    assert tasks["failed"] == {}, serving.said
    assert set(grounded["failed"]) <= {NOT_JSON}, serving.said
    for used in (tasks, grounded):
        assert used["prompt_tokens"] > 50 * used["answers"]
        assert 8 * used["answers"] <= used["completion_tokens"] <= 24 * used["answers"]


@pytest.mark.parametrize("target", ["tasks", "grounded"])
def test_nonsense_is_rejected_with_reasons(serving: Serving, built: Built, target: str) -> None:
    manifest = built.manifest(target)
    kept, dropped = built.rows(target, "shard"), built.rows(target, "dropped")
    reasons = manifest["funnel"][-1]["reasons"]
    assert sum(reasons.values()) == len(dropped) > 0, serving.said
    assert {row["reason"] for row in dropped} == set(reasons)
    assert "request failed" not in reasons, serving.said
    assert len(kept) + len(dropped) >= (24 if target == "tasks" else 2 * len(STORIES))


def test_the_page_tells_the_tokens(built: Built) -> None:
    used = built.manifest("tasks")["requests"]
    sections = json.loads((built.folder / "build" / "served" / "tasks" / "sections.json").read_text())
    told = "\n".join(section["body"] for section in sections)
    assert f"in 24 requests ({len(built.rows('tasks', 'shard')) / 24:.2f} a request)" in told
    assert f"{used['prompt_tokens']:,} tokens in and {used['completion_tokens']:,} out" in told


def test_building_again_asks_nothing(serving: Serving, built: Built) -> None:
    before = serving.answered
    build(built.folder, serving)
    assert serving.answered == before
    shutil.rmtree(built.folder / "build")
    shutil.rmtree(built.folder / ".factory" / "artifacts")
    build(built.folder, serving)
    assert serving.answered == before, "answers are in the response cache"
    assert built.manifest("tasks")["requests"]["answers"] == 24


def test_tokens_lengths_and_stops_are_the_servers(serving: Serving) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(serving.model)
    messages = user("What is a list in Python?")
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    session = open_model(uri=serving.uri).open()
    try:
        long, whole, *stopped = session.submit(
            [
                Request(messages, max_tokens=8),
                Request(messages, max_tokens=1000),
                *(Request(messages, index=n, max_tokens=200, stop=("e", "a")) for n in range(4)),
            ]
        ).result(timeout=120)
    finally:
        session.close()
    assert [answer.error for answer in (long, whole)] == ["", ""], serving.said
    assert (long.finish, whole.finish) == ("length", "stop")
    assert {answer.prompt_tokens for answer in (long, whole, *stopped)} == {len(tokenizer(prompt)["input_ids"])}
    assert long.completion_tokens == 8 < whole.completion_tokens < 1000
    assert not any(letter in answer.text for answer in stopped for letter in "ea")


def test_a_schema_reaches_the_model_though_the_server_passes_over_response_format(serving: Serving) -> None:
    schema = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}
    messages = user("What is a list in Python?")
    session = open_model(uri=serving.uri).open()
    try:
        asked = [Request(messages, max_tokens=8), Request(messages, max_tokens=8, schema=schema)]
        plain, told = session.submit(asked).result(timeout=120)
    finally:
        session.close()
    assert "Ignoring unsupported fields in the request: {'response_format'}" in serving.said
    assert told.prompt_tokens > plain.prompt_tokens
