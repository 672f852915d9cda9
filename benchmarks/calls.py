"""Calling an API: ours against a plain aiohttp loop, curator and distilabel on one local server, in one run.

    python benchmarks/calls.py --count 5000 --peers PYTHON
    python benchmarks/calls.py --count 200000 --subjects build --profiles fixed     memory over a long run

The server runs in a process of its own and answers after 200 ms, or after a log-normal time with that median. Each
subject asks `count` different questions with at most 256 in flight, in a process of its own: `aiohttp` is 256 workers
that do nothing but post and read; `session` is a model's session alone; `build` is a factory build, each answer
stored before it is used. Rounds are paired: every subject once, then every subject again; the median counts. Seconds
and CPU are of the asking alone, without imports and start. PYTHON is an interpreter with curator and distilabel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

IN_FLIGHT = 256
LATENCY = 0.2  # seconds, the median
SIGMA = 1.0  # of the logarithm: 1 in 100 takes over 2 s
OURS = ("aiohttp", "session", "build")
PEERS = ("curator", "distilabel")
NUMBER = re.compile(rb"Question (\d+)\.")
FILLER = " ".join(f"word{n}" for n in range(60))
ANSWER = "An answer of about the usual length. " * 6


def question(number: int) -> str:
    """What is asked: 500 bytes, each time something else."""
    return f"Question {number}. {FILLER}"


class Answering(asyncio.Protocol):
    """HTTP as far as is needed: the server must not be what limits the rate."""

    waits = (LATENCY,)  # seconds, by the question's number: every subject meets the same slow ones

    def connection_made(self, transport: Any) -> None:
        self.transport, self.held = transport, b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.held) < end + 4 + length:
                return
            asked = NUMBER.search(self.held, end)  # curator's first request is no question of ours
            wait = self.waits[int(asked[1]) % len(self.waits) if asked else 0]
            self.held = self.held[end + 4 + length :]
            asyncio.get_running_loop().call_later(wait, self.answer)

    def answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(REPLY)


def reply() -> bytes:
    """A chat completion as OpenAI sends it."""
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "tiny",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ANSWER, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 130, "completion_tokens": 40, "total_tokens": 170},
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


REPLY = reply()


def serve(profile: str) -> None:
    """Serve until killed; the port is the first line printed."""

    async def forever() -> None:
        if profile == "lognormal":
            rng = random.Random(7)
            Answering.waits = tuple(LATENCY * rng.lognormvariate(0, SIGMA) for _ in range(9973))
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(forever())


def peak_mb() -> float:
    """Megabytes of memory at the most; what the parent had does not count, as it does in getrusage."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measured(act: Callable[[], int]) -> dict[str, Any]:
    """Answers, seconds, CPU seconds and peak of memory of what `act` does."""
    began, used = time.perf_counter(), time.process_time()
    count = act()
    return {
        "count": count,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - used,
        "peak_mb": peak_mb(),
    }


def aiohttp(url: str, count: int) -> dict[str, Any]:
    """As little as a program can do: workers that post, read and parse."""
    import aiohttp
    import orjson

    async def ask() -> int:
        numbers, answers = iter(range(count)), 0
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as http:

            async def work() -> None:
                nonlocal answers
                for number in numbers:
                    messages = [{"role": "user", "content": question(number)}]
                    body = orjson.dumps({"model": "tiny", "messages": messages, "max_tokens": 512})
                    async with http.post(f"{url}/chat/completions", data=body) as response:
                        found = orjson.loads(await response.read())
                    answers += found["choices"][0]["message"]["content"] == ANSWER

            await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return answers

    return measured(lambda: asyncio.run(ask()))


def session(url: str, count: int) -> dict[str, Any]:
    """A model's session alone, with 1,024 requests submitted ahead."""
    from factory import Request, user
    from factory.models import open_model

    opened = open_model(uri=f"openai:tiny?base_url={url}&concurrency={IN_FLIGHT}").open()
    room, answers = threading.Semaphore(1024), [0]
    sizes: list[int] = []

    def land(future: Future[list[Any]]) -> None:
        answers[0] += future.result()[0].text == ANSWER
        room.release()

    def ask() -> int:
        began = time.monotonic()
        for number in range(count):
            room.acquire()
            opened.submit([Request(user(question(number)), index=number)]).add_done_callback(land)
            if time.monotonic() - began < 1.0:
                sizes.append(opened._window.places)
        for _ in range(1024):
            room.acquire()
        return answers[0]

    found = measured(ask)
    found["window"] = [max(sizes, default=0), opened._window.places]
    opened.close()
    return found


STEP = '''
"""Ask a question about every record, and note what that took."""
import json, sys, time
from collections.abc import Iterator
import factory
from factory import Context, Model, PromptCompletion, Request, Text, assistant, derive, user

@factory.step
def asked(records: Iterator[Text], ctx: Context, model: Model) -> Iterator[PromptCompletion]:
    """One question a record."""
    sys.path.insert(0, {folder!r})
    from calls import measured, resident_mb
    resident, made = [], []
    def requests():
        for record in records:
            yield Request(user(record["text"]), about=record)
    def answers():
        for number, answer in enumerate(ctx.ask(model, requests())):
            if number % {every} == 0:
                resident.append(resident_mb())
            yield answer
    began, used = time.perf_counter(), time.process_time()
    count = 0
    for answer in answers():
        count += answer.ok
        yield derive(answer.request.about, prompt=user(answer.request.about["text"]), completion=assistant(answer.text))
    found = measured(lambda: count)
    found["seconds"] = time.perf_counter() - began
    found["cpu"] = time.process_time() - used
    found["resident_mb"] = resident
    open({note!r}, "w").write(json.dumps(found))

@factory.hookimpl
def register_steps():
    return [asked]
'''


def build(url: str, count: int) -> dict[str, Any]:
    """A recipe with one step that asks; what it took is noted by the step, around its loop."""
    with tempfile.TemporaryDirectory() as name:
        folder, note = Path(name), Path(name) / "note.json"
        (folder / "plugins").mkdir()
        step = STEP.format(folder=str(Path(__file__).parent), every=max(1, count // 10), note=str(note))
        (folder / "plugins" / "asked.py").write_text(step)
        with (folder / "rows.jsonl").open("w") as file:
            file.writelines(json.dumps({"text": question(number)}) + "\n" for number in range(count))
        model = f"openai:tiny?base_url={url}&concurrency={IN_FLIGHT}"
        recipe = folder / "recipe.yaml"
        recipe.write_text(f"targets:\n  rows:\n    from: rows.jsonl\n    steps:\n      - asked: {{model: '{model}'}}\n")
        code = f"import factory; factory.build({str(recipe)!r})"
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(note.read_text())
        return found


def run(name: str, url: str, count: int, peers: str | None) -> dict[str, Any]:
    """One subject in a process of its own."""
    if name in PEERS:
        command = [str(peers), str(Path(__file__).with_name("calls_peers.py")), name, url, str(count)]
    else:
        command = [sys.executable, __file__, "--one", name, "--url", url, "--count", str(count)]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-none", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(profile: str, subjects: list[str], given: argparse.Namespace) -> None:
    """Every subject, `rounds` times in turn, on one server; the medians and the ratios."""
    server = subprocess.Popen([sys.executable, __file__, "--serve", profile], stdout=subprocess.PIPE, text=True)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in subjects}
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        for _ in range(given.rounds):
            for name in subjects:
                count = min(given.count, given.peer_count) if name in PEERS else given.count
                rounds[name].append(run(name, url, count, given.peers))
    finally:
        server.kill()
        server.wait()
    print(f"\n{profile}: median latency {LATENCY * 1000:.0f} ms, {IN_FLIGHT} in flight, {given.rounds} rounds")
    rates: dict[str, float] = {}
    cpus: dict[str, float] = {}
    for name, found in rounds.items():
        rates[name] = statistics.median(one["count"] / one["seconds"] for one in found)
        cpus[name] = statistics.median(1000 * one["cpu"] / one["count"] for one in found)
        lost = sum(min(given.count, given.peer_count) if name in PEERS else given.count for _ in found) - sum(
            one["count"] for one in found
        )
        peak = max(one["peak_mb"] for one in found)
        print(
            f"{name:12} {rates[name]:8.0f} requests/s {cpus[name]:7.3f} CPU s per 1,000 {peak:7.0f} MB peak"
            + (f" {lost} lost" if lost else "")
        )
        for key in ("window", "resident_mb"):
            if key in found[-1]:
                print(f"{'':12} {key}: {' '.join(f'{value:.0f}' for value in found[-1][key])}")
    for name in ("session", "build"):
        for other in ("aiohttp", *PEERS):
            if name in rates and other in rates:
                print(
                    f"{name} is {rates[name] / rates[other]:.2f} times {other}, "
                    f"CPU {cpus[name] / cpus[other]:.2f} of its"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="questions")
    parser.add_argument("--peer-count", type=int, default=3000, help="questions that peers are asked at the most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profiles", nargs="+", default=["fixed", "lognormal"], choices=["fixed", "lognormal"])
    parser.add_argument("--subjects", nargs="+", choices=[*OURS, *PEERS])
    parser.add_argument("--peers", help="a Python with bespokelabs-curator and distilabel[openai]")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=OURS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    elif given.one:
        print(json.dumps(globals()[given.one](given.url, given.count)))
    else:
        subjects = given.subjects or [*OURS, *(PEERS if given.peers else ())]
        for profile in given.profiles:
            compare(profile, subjects, given)


if __name__ == "__main__":
    main()
