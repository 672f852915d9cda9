"""Whole builds from outside: a real command line in processes of its own, a real HTTP server, and what lies on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

HERE = Path(__file__).parent
FACTORY = Path(sys.executable).with_name("factory")
WORDS = (  # noqa: SIM905
    "amber basket candle desert engine forest garden harbour island jungle kettle lantern meadow needle orchard pepper "
    "quarry ribbon saddle temple umbrella valley window yellow zebra anchor bridge copper dragon ember falcon glacier "
    "hollow indigo jasper kernel linen marble nectar oyster paddle quiver raven silver timber velvet willow yonder"
).split(" ")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "FACTORY"))},
    "NO_PROXY": "127.0.0.1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Call:
    """One request as the server saw it; `ended` is when its answer was written, or could not be."""

    body: str  # hash of the request's body
    prompt: str
    began: float
    ended: float | None = None


class Answering(ThreadingHTTPServer):
    """An OpenAI-compatible server. What it answers is fixed by the body, after 10 to 60 ms, also fixed by the body."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mutex = threading.Lock()
        self.calls: list[Call] = []
        self.latency = (0.01, 0.06)  # seconds
        self.write: Callable[[str, random.Random], str] = plausible

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def begin(self, body: bytes, prompt: str) -> Call:
        call = Call(hashlib.blake2b(body, digest_size=12).hexdigest(), prompt, time.monotonic())
        with self.mutex:
            self.calls.append(call)
        return call

    def end(self, call: Call) -> None:
        with self.mutex:
            call.ended = time.monotonic()

    def since(self, mark: int = 0) -> list[Call]:
        with self.mutex:
            return list(self.calls[mark:])

    def busy(self, count: int) -> bool:
        """Whether `count` calls have begun in all and one of them is not answered yet."""
        with self.mutex:
            return len(self.calls) >= count and any(call.ended is None for call in self.calls)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Answering

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        prompt = "\n\n".join(message["content"] for message in json.loads(body)["messages"])
        call = self.server.begin(body, prompt)
        try:
            rng = random.Random(call.body)
            time.sleep(rng.uniform(*self.server.latency))  # what is under test
            choice = {"message": {"role": "assistant", "content": self.server.write(prompt, rng)}}
            said = json.dumps({"choices": [{**choice, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
        finally:
            self.server.end(call)

    def log_message(self, format: str, *args: Any) -> None: ...


def prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def plausible(prompt: str, rng: random.Random) -> str:
    """What a model might say: a task where a list of tasks ends, a question about a text, else a sentence or two."""
    if prompt.endswith("Instruction:"):
        return f" Describe the {prose(rng, 7)}.\nInput: none\nOutput: {prose(rng, 9).capitalize()}."
    spoken_of = [word for word in re.findall("[a-z]+", prompt.lower()) if word in WORDS]
    words = [rng.choice(spoken_of or WORDS) for _ in range(8)]
    if prompt.endswith("Question:"):
        return f" What do the {words[0]}, the {words[1]} and the {words[2]} have in common?"
    if rng.random() < 0.3:
        return prose(rng, rng.randint(8, 14)).capitalize() + "."
    return " ".join(words).capitalize() + "."


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    answering = Answering()
    threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield answering
    answering.shutdown()
    answering.server_close()


@dataclass
class Run:
    """A `factory` command that runs in a session of its own, its output in files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def stdout(self) -> str:
        return self.out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self.err.read_text(errors="replace")

    def wait(self, timeout: float = 240) -> int:
        return self.process.wait(timeout)

    def ended_within(self, seconds: float) -> bool:
        """Whether it ended by itself before the seconds were over."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_until(self, happens: Callable[[], bool], timeout: float = 90) -> None:
        """Until something can be seen to happen, while the build still runs."""
        end = time.monotonic() + timeout
        while not happens():
            assert time.monotonic() < end, f"waited {timeout} s\n{self.stderr}"
            assert self.process.poll() is None, f"it ended before that: {self.process.returncode}\n{self.stderr}"
            time.sleep(0.002)

    def kill_group(self) -> float:
        """SIGKILL to everything in its session; the moment it was sent."""
        moment = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return moment

    def interrupt(self) -> None:
        """What Ctrl-C does on a terminal: SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


@contextlib.contextmanager
def as_on_a_terminal() -> Iterator[None]:
    """Processes started here hear Ctrl-C, also when the tests run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Project:
    """A project folder and the commands run in it."""

    def __init__(self, root: Path, recipe: str = "recipe.yaml") -> None:
        self.root, self.recipe = root, recipe
        self.runs = 0

    def start(self, *arguments: str, **environment: str) -> Run:
        self.runs += 1
        logs = self.root.parent / f"{self.root.name}-logs"
        logs.mkdir(exist_ok=True)
        out, err = (logs / f"{self.runs:03}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr, as_on_a_terminal():
            process = subprocess.Popen(
                [str(FACTORY), *arguments],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**ENVIRONMENT, **environment},
                start_new_session=True,
            )
        return Run(process, out, err)

    def start_build(self, *arguments: str, **environment: str) -> Run:
        return self.start("build", self.recipe, *arguments, **environment)

    def do(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run a command to its end. Returns what it printed."""
        run = self.start(*arguments, **environment)
        assert run.wait() == code, f"{arguments}: exit {run.process.returncode}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def build(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """A build that succeeds; its JSON summary."""
        summary: dict[str, Any] = json.loads(self.do("build", self.recipe, "--json", *arguments, **environment))
        return summary

    def states(self, *arguments: str) -> dict[str, list[str]]:
        """stored, resumes or runs -> the stages, by `factory plan`."""
        found: dict[str, list[str]] = {}
        for row in json.loads(self.do("plan", self.recipe, "--json", *arguments)):
            found.setdefault(row["state"], []).append(f"{row['target']}: {row['label']}")
        return found

    @property
    def store(self) -> Path:
        return self.root / ".factory"

    def manifests(self) -> dict[str, dict[str, Any]]:
        """fingerprint -> manifest of every complete artifact."""
        return {
            path.parent.name: json.loads(path.read_bytes())
            for path in sorted(self.store.glob("artifacts/*/manifest.json"))
        }

    def rows(self, target: str) -> list[dict[str, Any]]:
        """The records of a target as stored, meta parsed."""
        return list(stored_rows(self.root / "build" / self.name / target))

    @property
    def name(self) -> str:
        for line in (self.root / self.recipe).read_text().splitlines():
            if line.startswith("name:"):
                return line.split()[1]
        raise AssertionError("the recipe has no name")

    def dropped(self, target: str) -> list[dict[str, Any]]:
        """The dropped records of every stage of a target as it is now, details, record and meta parsed."""
        folder = (self.root / "build" / self.name / target).resolve()
        found: list[dict[str, Any]] = []
        while True:
            manifest = json.loads((folder / "manifest.json").read_bytes())
            if manifest["target"] != target:
                return found
            for entry in manifest["shards"]:
                rows = pq.read_table(folder / entry["dropped_file"]).to_pylist()
                found += [{**row, **{k: json.loads(row[k]) for k in ("details", "record", "meta")}} for row in rows]
            if not manifest["inputs"]:
                return found
            folder = folder.parent / manifest["inputs"][0]

    def stores(self, pattern: str) -> bool:
        """Whether the store holds a file of this pattern."""
        return any(self.store.glob(pattern))


def stored_rows(folder: Path) -> Iterator[dict[str, Any]]:
    for entry in json.loads((folder / "manifest.json").read_bytes())["shards"]:
        for row in pq.read_table(folder / entry["file"]).to_pylist():
            yield {**row, "meta": json.loads(row["meta"])}


def bytes_of_artifacts(project: Project) -> dict[str, bytes]:
    """Every file of every complete artifact but the training log, which says when things were measured."""
    return {
        path.relative_to(project.store).as_posix(): path.read_bytes()
        for fingerprint in project.manifests()
        for path in sorted((project.store / "artifacts" / fingerprint).rglob("*"))
        if path.is_file() and path.name != "metrics.jsonl"
    }


def check_same(project: Project, reference: dict[str, bytes]) -> None:
    """The artifacts are byte for byte the reference's, and nothing half-written is among them."""
    found = bytes_of_artifacts(project)
    assert sorted(found) == sorted(reference)
    assert [name for name in found if found[name] != reference[name]] == []
    assert [name for name in found if name.endswith(".tmp")] == []
    for fingerprint, manifest in project.manifests().items():
        for entry in manifest["shards"]:
            for name in filter(None, (entry["file"], entry["dropped_file"])):
                assert (project.store / "artifacts" / fingerprint / name).is_file()


def check_accounts(project: Project) -> None:
    """Law 3, from the files alone: every id that came into a stage was kept, dropped, or made into something."""
    manifests = project.manifests()
    ids: dict[str, set[str]] = {}
    for fingerprint in manifests:
        ids[fingerprint] = set()
        for name in (entry["file"] for entry in manifests[fingerprint]["shards"] if entry["file"]):
            found = pq.read_table(project.store / "artifacts" / fingerprint / name, columns=["id"]).column("id")
            assert not ids[fingerprint] & set(found.to_pylist()), "ids are unique in a dataset"
            ids[fingerprint] |= set(found.to_pylist())
    for fingerprint, manifest in manifests.items():
        folder = project.store / "artifacts" / fingerprint
        came_in = set().union(*(ids[one] for one in manifest["inputs"]))
        known = set().union(*(ids[one] for one in above(manifests, fingerprint)))
        kept, dropped, used = ids[fingerprint], set(), set()
        for entry in manifest["shards"]:
            for name in filter(None, (entry["file"], entry["dropped_file"])):
                for row in pq.read_table(folder / name, columns=["id", "parents"]).to_pylist():
                    used |= set(row["parents"]) if row["id"] not in came_in else set()
                    dropped |= {row["id"]} if name == entry["dropped_file"] else set()
                    unknown = [one for one in row["parents"] if one not in known and "#" not in one and "/" not in one]
                    assert not unknown, (manifest["steps"], row)
        assert not kept & dropped, manifest["steps"]
        counts = manifest["counts"]
        assert (len(kept), len(dropped)) == (counts["out"], counts["dropped"]), manifest["steps"]
        for line in manifest["funnel"]:
            assert line["in"] + line["made"] == line["out"] + line["parted"] + sum(line["reasons"].values()), line
        if not manifest["type"].endswith(("LM", "Model")):  # what trains has used all it did not drop
            assert came_in - kept - dropped - used == set(), manifest["steps"]


def above(manifests: dict[str, dict[str, Any]], fingerprint: str) -> set[str]:
    """Every stage that this one was made from, directly or not."""
    found: set[str] = set()
    todo = list(manifests[fingerprint]["inputs"])
    while todo:
        if (one := todo.pop()) not in found:
            found.add(one)
            todo += manifests[one]["inputs"]
    return found


def check_sent(calls: list[Call], reference: list[Call], kills: list[float], at_most: int) -> int:
    """Nothing was asked but what the reference asked, and twice only what was under way when a kill came.

    at_most  requests that can be on their way to or from the server at one moment
    Returns how many requests were sent again.
    """
    wanted, sent = Counter(call.body for call in reference), Counter(call.body for call in calls)
    assert set(sent) == set(wanted)
    flying: Counter[str] = Counter()
    for moment in kills:
        # An answer written just before may not have reached the disk: half a second covers a busy machine.
        under_way = {
            call.body for call in calls if call.began <= moment + 0.2 and (call.ended or moment) >= moment - 0.5
        }
        flying.update(under_way)
    again = sent - wanted
    assert again - flying == Counter(), [call.prompt for call in calls if call.body in again - flying]
    assert again.total() <= at_most * len(kills)
    return again.total()


def ends(processes: list[psutil.Process], timeout: float = 10) -> list[psutil.Process]:
    """The processes that are still there after `timeout` seconds; one that only waits to be reaped is gone."""

    def alive() -> list[psutil.Process]:
        found = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    end = time.monotonic() + timeout
    while (left := alive()) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def write_documents(folder: Path, files: int = 12, rows: int = 8) -> None:
    """Files of texts of two paragraphs; some are short, long, equal or nearly equal."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        rng = random.Random(number)
        lines = []
        for row in range(rows):
            words = 3 if row == 5 else 90 if row == 6 else rng.randint(18, 26)
            text = f"{prose(rng, words).capitalize()}. \n\n{prose(rng, words // 2).capitalize()}."
            if row == 7:  # nearly the first text of all
                text = f"{prose(random.Random(-1), 40)}.\n\nNumber {number // 4}."
            lines.append(json.dumps({"text": text, "topic": rng.choice(WORDS)}))
        (folder / f"part-{number:02}.jsonl").write_text("\n".join(lines) + "\n")


def write_seeds(path: Path, count: int = 6) -> None:
    rng = random.Random(7)
    rows = [{"instruction": f"Describe the {prose(rng, 4)}.", "output": prose(rng, 9)} for _ in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with a byte-level tokenizer and a chat template, in Hugging Face form."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory, server: Answering) -> Callable[..., Project]:
    """A fresh project under the name given, with one of the recipes that have a step of every kind."""
    base = tmp_path_factory.mktemp("every_kind")

    def made(name: str, recipe: str = "recipe.yaml", tiny: Path | None = None, **sizes: int) -> Project:
        root = base / name
        shutil.copytree(HERE / "every_kind", root, ignore=shutil.ignore_patterns("__pycache__", "*.yaml"))
        text = (HERE / "every_kind" / recipe).read_text()
        (root / recipe).write_text(text.replace("PORT", str(server.port)))
        write_documents(root / "documents", **sizes)
        write_seeds(root / "seeds.jsonl")
        if tiny:
            shutil.copytree(tiny, root / "tiny")
        return Project(root, recipe)

    return made


@pytest.fixture(scope="session")
def checks() -> Any:
    """What these tests assert about a project, in one place."""

    class Checks:
        same = staticmethod(check_same)
        accounts = staticmethod(check_accounts)
        sent = staticmethod(check_sent)
        artifacts = staticmethod(bytes_of_artifacts)
        ends = staticmethod(ends)

    return Checks


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project with a store, so that its folder is one."""
    (tmp_path / "project" / ".factory").mkdir(parents=True)
    return Project(tmp_path / "project")
