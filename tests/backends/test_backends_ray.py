"""`ray:ADDRESS` on real clusters: nodes that are hosts of their own (Linux namespaces) and see one folder.

Each host has its own network, host name, process numbers and /tmp/ray, joined to the first by a virtual cable. A host
ends with its first process, and with this one, so nothing is left behind. Needs root and Debian's iproute2.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

import factory
from factory.backends import open_executor

BIN = Path(sys.executable).parent
HEAD = "10.73.0.1"
PORT = "6379"
URI = f"ray:{HEAD}:{PORT}"
MEMORY = "100000000"  # bytes of a node's object store
NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTEST_"))},
    "RAY_USAGE_STATS_ENABLED": "0",
}


def until(what: str, found: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Wait for something to come true, and say what it was if it does not."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < deadline:
        if seen := found():
            return seen
        pause.wait(0.05)
    raise AssertionError(f"{what}: not within {seconds:g} s")


class Host:
    """A machine: namespaces that live as long as their first process, which lives as long as our end of its pipe."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.holder = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "cat"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.first: psutil.Process = until(f"the first process of host {name}", self.child, 20)
        own = folder / f"ray-{name}"
        own.mkdir()
        Path("/tmp/ray").mkdir(exist_ok=True)
        self.do("hostname", name)
        self.do("mount", "--bind", str(own), "/tmp/ray")
        self.do("ip", "link", "set", "lo", "up")

    def child(self) -> psutil.Process | None:
        if self.holder.poll() is not None:
            assert self.holder.stderr is not None
            why = self.holder.stderr.read().decode().strip()
            pytest.fail(f"a test host needs root and the right to make namespaces (CAP_SYS_ADMIN): {why}")
        children = psutil.Process(self.holder.pid).children()
        return children[0] if children and children[0].name() == "cat" else None

    def inside(self, command: tuple[str, ...], cwd: Path) -> list[str]:
        return ["nsenter", "--target", str(self.first.pid), "--all", f"--wdns={cwd}", *command]

    def do(self, *command: str, code: int = 0, seconds: float = 120, cwd: Path = Path()) -> str:
        """Run a command on this host to its end. Returns what it printed, errors included."""
        run = subprocess.run(
            self.inside(command, cwd.resolve()), timeout=seconds, env=ENVIRONMENT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert run.returncode == code, f"{self.name}: {' '.join(command)}: exit {run.returncode}\n{run.stdout}"
        return run.stdout

    def start(self, *command: str, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.inside(command, cwd.resolve()), env=ENVIRONMENT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def die(self) -> None:
        """Every process of the host ends at once by SIGKILL: the power is cut."""
        if self.first.is_running():
            family = self.processes()
            self.first.kill()
            _, alive = psutil.wait_procs(family, timeout=20)
            assert not alive
        self.holder.kill()
        self.holder.communicate()

    def processes(self) -> list[psutil.Process]:
        space = os.readlink(f"/proc/{self.first.pid}/ns/pid")
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                if os.readlink(f"/proc/{process.pid}/ns/pid") == space:
                    found.append(process)
        return found


class Cluster:
    """A head, where builds are started, and the nodes that join it. One CPU each."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("ip") is None:
            pytest.fail("the Ray tests join hosts by `ip link`: install Debian's iproute2")
        self.folder, self.hosts = folder, [Host("head", folder)]
        self.head = self.hosts[0]
        self.head.do("ip", "address", "add", f"{HEAD}/32", "dev", "lo")
        self.node(self.head, "--head", "--port", PORT, "--node-ip-address", HEAD, "--include-dashboard=false")

    def node(self, host: Host, *options: str, environment: tuple[str, ...] = ()) -> None:
        ray = ("env", *environment, str(BIN / "ray"), "start", *options)
        host.do(*ray, "--num-cpus=1", "--object-store-memory", MEMORY, "--disable-usage-stats")

    def join(self, name: str, *environment: str) -> Host:
        """A new host, wired to the head, whose node is up."""
        host = Host(name, self.folder)
        address = f"10.73.0.{len(self.hosts) + 1}"
        self.hosts.append(host)
        ends = (self.head.first.pid, host.first.pid)
        names = ("netns", str(ends[0]), "type", "veth", "peer", "name", "wire", "netns", str(ends[1]))
        subprocess.run(["ip", "link", "add", "name", name, *names], check=True, timeout=30)
        for end, wire, own, other in ((self.head, name, HEAD, address), (host, "wire", address, HEAD)):
            end.do("ip", "address", "add", own, "peer", other, "dev", wire)
            end.do("ip", "link", "set", "dev", wire, "up")
        self.node(host, "--address", f"{HEAD}:{PORT}", "--node-ip-address", address, environment=environment)
        return host

    def close(self) -> None:
        for host in reversed(self.hosts):
            host.die()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head and one node, b."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.join("b")
        yield made
    finally:
        made.close()


TASKS = """
    import operator, os, sys, time
    import factory
    from factory.backends import open_executor

    with open_executor(sys.argv[1]) as ray:
        many = [ray.submit(operator.mul, n, n) for n in range(300)]
        assert [future.result(60) for future in many] == [n * n for n in range(300)]
        meet = "import pathlib, socket, time; here = pathlib.Path(%r); (here / socket.gethostname()).touch()\\n"
        meet = meet % os.getcwd() + "while len(list(here.iterdir())) < 2: time.sleep(.05)"
        for future in [ray.submit(exec, meet) for _ in range(2)]:
            future.result(60)
        assert set(os.listdir()) == {"head", "b"}

        error = ray.submit(int, "many").exception(60)
        assert type(error) is ValueError and str(error) == "invalid literal for int() with base 10: 'many'", error
        error = ray.submit(exec, "raise __import__('factory').StepError('step x: no')").exception(60)
        assert type(error) is factory.StepError and str(error) == "step x: no", error
        error = ray.submit(os._exit, 9).exception(60)
        assert type(error) is factory.StepError and str(error).startswith("a task was begun 4 times"), error

        held = [ray.submit(time.sleep, 600) for _ in range(4)]
        assert all(future.cancel() for future in held)
        assert ray.submit(operator.add, 2, 3).result(60) == 5, "a cancelled task keeps no worker busy"

        path = ray.submit(eval, "__import__('sys').path").result(60)
        assert os.getcwd() not in path, path
    begun = time.monotonic()
    try:
        with open_executor("ray:auto") as ray:
            held = [ray.submit(time.sleep, 600) for _ in range(4)]
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert all(future.cancelled() for future in held)
        assert time.monotonic() - begun < 60
    try:
        ray.submit(abs, 1)
    except RuntimeError as error:
        assert "after shutdown" in str(error)
    print("all is well")
"""


@pytest.mark.slow
def test_tasks_run_on_every_node_and_their_errors_come_back(cluster: Cluster, tmp_path: Path) -> None:
    said = cluster.head.do(sys.executable, "-P", "-c", textwrap.dedent(TASKS), URI, cwd=tmp_path)
    assert said == "all is well\n", "Ray prints nothing of its own"


HELD = """
    import signal, sys, time
    from pathlib import Path
    from factory.backends import open_executor

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored

    mark = "import pathlib, socket, time; pathlib.Path(%r, socket.gethostname()).touch(); time.sleep(600)" % sys.argv[2]
    ray = open_executor(sys.argv[1])
    tasks = [ray.submit(exec, mark) for _ in range(2)]
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_tasks_end_when_the_driver_does(cluster: Cluster, tmp_path: Path, signal_number: signal.Signals) -> None:
    def busy() -> list[psutil.Process]:
        return [process for host in cluster.hosts for process in host.processes() if "ray::run" in title(process)]

    driver = cluster.head.start(sys.executable, "-c", textwrap.dedent(HELD), URI, str(tmp_path), cwd=tmp_path)
    inner: list[psutil.Process] = []
    try:
        until("a task on each node", lambda: len(list(tmp_path.iterdir())) == 2 or driver.poll() is not None)
        assert driver.poll() is None, driver.communicate()
        assert len(busy()) == 2
        inner = psutil.Process(driver.pid).children(recursive=True)
        inner[0].send_signal(signal_number)  # nsenter's child
        driver.wait(60)
        until("the tasks end", lambda: not busy(), 30)
    finally:
        for process in [*inner, driver]:  # one that did not end would hold the pipe
            with contextlib.suppress(psutil.Error):
                process.kill()
        driver.communicate()


def title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


LOST = """
    import logging, sys, threading, time
    from factory.backends import open_executor

    told = threading.Event()

    class Told(logging.Handler):
        def emit(self, record):
            print(record.getMessage())
            told.set()

    logging.getLogger("factory").addHandler(Told())
    mark = "import pathlib, socket, time; host = socket.gethostname(); pathlib.Path(%r, host).touch()\\n" % sys.argv[2]
    with open_executor(sys.argv[1]) as ray:
        tasks = [ray.submit(exec, mark + "time.sleep(host == 'lost' and 600)") for _ in range(30)]
        assert [task.result(120) for task in tasks] == [None] * 30
        assert told.wait(120)
"""


@pytest.mark.slow
def test_tasks_of_a_lost_node_are_begun_again_and_it_is_told(cluster: Cluster, tmp_path: Path) -> None:
    lost = cluster.join("lost")
    driver = cluster.head.start(sys.executable, "-c", textwrap.dedent(LOST), URI, str(tmp_path), cwd=tmp_path)
    until("a task on the node", lambda: (tmp_path / "lost").exists() or driver.poll() is not None)
    lost.die()
    said, told = driver.communicate(timeout=240)
    assert driver.returncode == 0, told
    assert said == "the Ray node lost is gone; what it was at is begun again elsewhere\n"


PLUGIN = '''
"""Notes on which hosts it runs, and can be told to stop in the middle on one of them."""
import socket
import threading
import time
from pathlib import Path

from typing import Literal

import factory
from factory import Text


@factory.step
def noted(record: Text, at: Literal["first", "last"]) -> bool:
    """Keep everything."""
    root, host = factory.project_path("."), socket.gethostname()
    (root / "ran" / f"{at}-{host}").touch()
    if (root / "hold" / f"{at}-{host}").exists():
        (root / "held" / f"{at}-{host}").touch()
        threading.Event().wait()
    deadline = time.monotonic() + 60
    while list((root / "hold").glob(f"{at}-*")) and not list((root / "held").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)  # the tasks are so short that the other hosts would else do them all
    return True


@factory.hookimpl
def register_steps():
    return [noted]
'''

RECIPE = """
name: spread
targets:
  clean:
    from: data/*.jsonl
    steps:
      - normalize
      - noted: {at: first}
      - gopher_quality: {min_words: 5}
  corpus:
    from: clean
    steps:
      - dedup_minhash: {threshold: 0.7}
      - noted: {at: last}
      - dedup_exact
"""


def project(root: Path) -> Path:
    """Twenty-four files of thirty texts, every third a near-copy of an earlier one."""
    rng = random.Random(5)
    words = [
        f"{a}{b}" for a in ("an", "be", "co", "du", "el", "fo", "the", "of") for b in ("ra", "ne", "tik", "lo", "su")
    ]
    texts: list[str] = []
    for number in range(720):
        if number % 3 == 2:
            text = rng.choice(texts).split()
            text[rng.randrange(len(text))] = "changed"
        else:
            text = ["the", "of", "and", *rng.choices(words, k=rng.randint(60, 90))]
        texts.append(" ".join(text))
    for folder in ("plugins", "data", "ran", "hold", "held"):
        (root / folder).mkdir(parents=True)
    for number in range(24):
        rows = [orjson.dumps({"text": text}) for text in texts[number * 30 : number * 30 + 30]]
        (root / "data" / f"{number:02d}.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    (root / "plugins" / "noted.py").write_text(PLUGIN)
    (root / "spread.yaml").write_text(RECIPE)
    return root


def results(root: Path) -> dict[str, str]:
    """Every file of artifacts and tasks and the hash of its bytes; of memos the names alone.

    A pickle says twice or once what stands in memory twice or once: that depends on whether a kernel was compiled.
    """
    store = root / ".factory"
    return {
        path.relative_to(store).as_posix(): "" if kind == "memo" else hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in ("artifacts", "tasks", "memo")
        for path in sorted((store / kind).rglob("*"))
        if path.is_file() and path.suffix != ".tmp"  # what a killed task left half-written
    }


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = project(tmp_path_factory.mktemp("serial"))
    subprocess.run([str(BIN / "factory"), "build", "spread.yaml"], cwd=root, env=ENVIRONMENT, check=True, timeout=120)
    found = results(root)
    assert sum(name.startswith("memo/") for name in found) >= 24, "each shard was signed"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["first", "last"])
def test_a_node_dies_in_mid_build_and_the_bytes_are_those_of_serial(
    cluster: Cluster, serial: dict[str, str], tmp_path: Path, moment: str
) -> None:
    """`first`: while the texts are read and cleaned; `last`: after both nodes have signed, while drops are applied."""
    root = project(tmp_path / "project")
    victim = cluster.join(f"victim-{moment}")
    (root / "hold" / f"{moment}-{victim.name}").touch()
    build = cluster.head.start(str(BIN / "factory"), "build", "spread.yaml", "--executor", URI, cwd=root)
    until("a task held on the node", lambda: list((root / "held").iterdir()) or build.poll() is not None)
    assert build.poll() is None, build.communicate()
    manifests = len(list(root.glob(".factory/artifacts/*/manifest.json")))
    victim.die()
    said, told = build.communicate(timeout=180)
    assert build.returncode == 0, told
    assert "ray" not in said.lower(), "standard output is for results"
    hosts = {path.name.partition("-")[2] for path in (root / "ran").iterdir()}
    assert victim.name in hosts
    assert hosts & {"head", "b"}
    assert manifests == {"first": 0, "last": 1}[moment], "it died in the middle"
    assert results(root) == serial


def changed(folder: Path) -> None:
    shutil.copytree(Path(factory.__file__).parent, folder / "factory", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "factory" / "corpus" / "draw.py").open("a") as file:
        file.write("CHANGED = True\n")


def missing(folder: Path) -> None:
    (folder / "factory").mkdir(parents=True)
    (folder / "factory" / "__init__.py").write_text("raise ModuleNotFoundError('No module named factory')\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            changed,
            r"the Ray node changed has dataset-factory \S+ \(\w+\) \(here .*; every node needs the same, or results",
        ),
        (
            missing,
            r"a Ray node lacks a package \(ModuleNotFoundError: No module named fact",
        ),
    ],
)
def test_a_node_without_what_is_installed_here_is_refused_in_one_sentence(
    cluster: Cluster, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path / "other")
    odd = cluster.join(make.__name__, f"PYTHONPATH={tmp_path / 'other'}")
    try:
        root = project(tmp_path / "project")
        build = cluster.head.start(str(BIN / "factory"), "build", "spread.yaml", "--executor", URI, cwd=root)
        _, told = build.communicate(timeout=120)
    finally:
        odd.die()
    assert build.returncode == 2, told
    assert re.search(said, told.splitlines()[-1]), told
    assert "Traceback" not in told


@pytest.mark.parametrize("uri", ["ray", "ray:", "ray:host", "ray:6379", "ray:host:", "ray:host:http", "ray:/tmp/ray:1"])
def test_an_address_is_a_host_and_a_port(uri: str) -> None:
    with pytest.raises(factory.InputError, match=rf"^executor '{uri}': expected ray:auto .* or ray:HOST:PORT$"):
        open_executor(uri)


def test_where_no_cluster_is_one_sentence_says_so() -> None:
    with socket.socket() as bound:  # it does not listen
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(factory.InputError, match=r"no answer \(Connection refused\); `ray start --head .* starts"):
            open_executor(f"ray:127.0.0.1:{port}")
    with pytest.raises(factory.InputError, match="no answer"):
        open_executor("ray:no-such-host.invalid:6379")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_what_is_no_cluster_is_told_at_once(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.recv(100)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(factory.InputError, match="what listens there is no Ray cluster"):
            open_executor(f"ray:127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_without_ray_the_error_says_how_to_install_it() -> None:
    script = (
        "import sys; sys.modules['ray'] = None\nfrom factory.backends import open_executor\nopen_executor('ray:auto')"
    )
    run = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert "executor 'ray:auto' needs Ray: pip install 'dataset-factory[ray]'" in run.stderr
