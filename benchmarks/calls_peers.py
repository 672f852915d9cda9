"""The same questions through curator and distilabel, each as its documentation has it; run by `calls.py`.

    python calls_peers.py NAME URL COUNT

Runs in an environment that has the peer. 256 requests in flight, no cache to read from, no rate limits. Seconds and
CPU are those of the asking: imports and the making of the client are not counted. Prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(
    OPENAI_API_KEY="sk-none", CURATOR_VIEWER="0", CURATOR_DISABLE_RICH_DISPLAY="1", TELEMETRY_ENABLED="0",
    CURATOR_DISABLE_CACHE="1", HF_HUB_OFFLINE="1", DISTILABEL_LOG_LEVEL="WARNING",
)  # fmt: skip

IN_FLIGHT = 256
FILLER = " ".join(f"word{n}" for n in range(60))


def questions(count: int) -> list[str]:
    return [f"Question {number}. {FILLER}" for number in range(count)]


def curator(url: str, count: int) -> Callable[[], int]:
    """Its LLM class over a list of prompts."""
    import tiktoken

    # It counts tokens with a vocabulary that is downloaded; here with one of 256 bytes, which merges nothing.
    count_bytes = tiktoken.Encoding(
        "bytes", pat_str=r"\S+\s*", mergeable_ranks={bytes([one]): one for one in range(256)}, special_tokens={}
    )
    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: count_bytes
    from bespokelabs import curator as library

    parameters = {
        "base_url": url,
        "max_concurrent_requests": IN_FLIGHT,
        "max_requests_per_minute": 10_000_000,
        "max_tokens_per_minute": 10_000_000_000,
        "max_retries": 3,
        "require_all_responses": False,
    }
    model = library.LLM(model_name="tiny", backend="openai", backend_params=parameters)

    def ask() -> int:
        with tempfile.TemporaryDirectory() as folder:
            found = model(questions(count), working_dir=folder)
            rows = getattr(found, "dataset", found)
            return sum(bool(row["response"]) for row in rows)

    return ask


def distilabel(url: str, count: int) -> Callable[[], int]:
    """Its TextGeneration alone, batch after batch as a pipeline feeds it, without the pipeline's processes."""
    from distilabel.models import OpenAILLM
    from distilabel.steps.tasks import TextGeneration

    model = OpenAILLM(
        model="tiny", base_url=url, api_key="sk-none", timeout=300, generation_kwargs={"max_new_tokens": 512}
    )
    task = TextGeneration(llm=model, input_batch_size=IN_FLIGHT)
    task.load()

    def ask() -> int:
        rows = [{"instruction": text} for text in questions(count)]
        answers = 0
        for at in range(0, count, IN_FLIGHT):
            answers += sum(bool(row["generation"]) for row in next(task.process(rows[at : at + IN_FLIGHT])))
        return answers

    return ask


def main() -> None:
    name, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    output = os.dup(1)
    os.dup2(2, 1)  # peers print what they like
    ask = {"curator": curator, "distilabel": distilabel}[name](url, count)
    used = time.process_time()
    began = time.perf_counter()
    answers = ask()
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()  # getrusage counts what the parent had
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    found = {"count": answers, "seconds": seconds, "cpu": time.process_time() - used, "peak_mb": peak}
    os.write(output, json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    main()
