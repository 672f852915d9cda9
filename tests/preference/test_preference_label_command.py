"""`factory label` as people run it: a process, its links, its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from factory.preference.labelling.store import Labels

pytestmark = pytest.mark.builds

RECIPE = """\
name: lab
targets:
  answers: {from: answers.jsonl}
  single: {from: single.jsonl}
  prompts: {from: prompts.jsonl}
  later: {from: later.jsonl}
  voted: {from: "label:answers"}
  ranked: {from: answers, steps: [rank: {votes: "label:answers"}]}
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose targets without votes are built."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "factory.toml").touch()
    (folder / "lab.yaml").write_text(RECIPE)
    (folder / "guide.md").write_text("# Be *fair*\n<script>alert(1)</script>")
    rows = {
        "answers": [
            {"prompt": f"Question {n}?", "completions": [f"one {n}", f"two {n}"], "scores": []} for n in range(3)
        ],
        "single": [{"prompt": "Alone?", "completions": ["Yes."], "scores": []}],
        "prompts": [{"prompt": "Why?"}],
        "later": [{"prompt": "When?", "completions": ["a", "b"], "scores": []}],
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    subprocess.run(command("build", "lab.yaml", "answers", "single", "prompts", "--quiet"), cwd=folder, check=True)
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "project", symlinks=True)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "factory.cli", *arguments]


@pytest.fixture
def run(project: Path) -> Run:
    def done(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*arguments), cwd=project, capture_output=True, text=True, timeout=60)

    return done


class Served:
    """A running `factory label`: what it printed until it was ready, and the links by name."""

    def __init__(self, project: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            command("label", "lab.yaml", "answers", "--no-open", *options),
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "USER": "whoever", "LOGNAME": "whoever"},
        )
        assert self.process.stdout is not None
        self.said = ""
        while "Ctrl-C" not in self.said:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            self.said += line
        self.links = dict(re.findall(r"^(\S+) +(http://\S+/\?token=\S+)$", self.said, re.MULTILINE))

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=20)
        return self.process.returncode, out, errors


@pytest.fixture
def label(project: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*options: str) -> Served:
        started.append(Served(project, *options))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.process.wait()


class Visitor:
    """A browser's jar of cookies, and its requests."""

    def __init__(self, link: str) -> None:
        self.base = link.partition("/?")[0]
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.page = self.opener.open(link).read().decode()

    def ask(self, path: str, body: Any = None, base: str = "") -> Any:
        headers = {"Content-Type": "application/json", "Origin": base or self.base}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request((base or self.base) + path, data, headers if body is not None else {})
        with self.opener.open(request) as answer:
            return json.loads(answer.read())

    def vote(self, choice: str) -> Any:
        return self.ask("/api/vote", {"view": self.ask("/api/next")["view"], "choice": choice, "seconds": 1})


def test_from_links_to_a_dataset_of_votes(label: Callable[..., Served], run: Run, project: Path) -> None:
    served = label("--annotator", "ana", "--annotator", "bob", "--overlap", "2", "--guidelines", "guide.md")
    assert list(served.links) == ["ana", "bob"]
    assert "6 of 6 votes missing, each pair by 2 people" in served.said
    assert "warning" not in served.said
    ana, bob = (Visitor(link) for link in served.links.values())
    assert "<html" in ana.page
    shown = ana.ask("/api/next")
    assert (shown["name"], shown["title"]) == ("ana", "answers")
    assert "<em>fair</em>" in shown["guidelines_html"]
    assert "<script" not in shown["guidelines_html"]
    assert ana.ask("/api/agreement")["title"] == "answers"
    for _ in range(3):
        ana.vote("1")
        last = bob.vote("both_bad")
    assert last["next"]["done"] is True
    code, out, errors = served.end()
    assert (code, errors) == (0, "")
    assert "labels/answers" in out
    assert run("build", "lab.yaml", "voted", "ranked").returncode == 0
    rows = json.loads(run("show", "lab.yaml", "ranked", "--json").stdout)["sample"]
    assert len(rows) == 3
    assert {one["by"] for one in rows[0]["meta"]["comparisons"]} == {"ana", "bob"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_while_a_page_is_open(label: Callable[..., Served], number: int) -> None:
    served = label()
    assert list(served.links) == ["whoever"]  # nobody was named: whoever is at the keyboard
    visitor = Visitor(served.links["whoever"])
    visitor.vote("3")
    assert served.end(number)[0] == 0


def test_a_second_start_makes_new_links_and_lets_open_pages_go_on(label: Callable[..., Served]) -> None:
    first = label("--annotator", "ana")
    visitor = Visitor(first.links["ana"])
    visitor.vote("2")
    first.end()
    second = label()  # those who were invited before
    assert list(second.links) == ["ana"]
    assert "2 of 3 votes missing" in second.said
    base = second.links["ana"].partition("/?")[0]
    assert visitor.ask("/api/next", base=base)["progress"]["mine"] == 1
    with pytest.raises(urllib.error.HTTPError, match="401"):
        Visitor(base + "/?" + first.links["ana"].partition("/?")[2])
    second.end()
    third = label("--keep-links", "--sign-out", "--annotator", "ana", "--annotator", "eve")
    assert list(third.links) == ["eve"]
    assert "the link of before" in third.said
    base = third.links["eve"].partition("/?")[0]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        visitor.ask("/api/next", base=base)
    assert "<html" in Visitor(base + "/?" + second.links["ana"].partition("/?")[2]).page


def test_beyond_loopback_it_warns(label: Callable[..., Served]) -> None:
    served = label("--host", "0.0.0.0")
    _, _, errors = served.end()
    assert "over plain HTTP" in errors
    assert label("--host", "0.0.0.0", "--public", "https://labels.example.org/").end()[2] == ""


def test_links_of_a_proxy_begin_with_its_address(label: Callable[..., Served], project: Path) -> None:
    served = label("--public", "https://labels.example.org/", "--annotator", "ana")
    assert "ana  https://labels.example.org/?token=" in served.said


def test_a_port_that_is_taken_is_told(label: Callable[..., Served], run: Run) -> None:
    port = next(iter(label().links.values())).partition("/?")[0].rpartition(":")[2]
    done = run("label", "lab.yaml", "answers", "--no-open", "--port", port)
    assert done.returncode == 2
    assert f"cannot listen at 127.0.0.1, port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_votes_are_written_and_read(label: Callable[..., Served], run: Run, project: Path) -> None:
    served = label("--annotator", "ana")
    Visitor(served.links["ana"]).vote("5")
    served.end()
    for name in ("votes.csv", "votes.json", "votes.jsonl"):
        done = run("label", "lab.yaml", "answers", "--export", name)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"1 vote written to {name}\n"
        assert (project / name).stat().st_size > 0
    shutil.copy(project / "later.jsonl", project / "answers.jsonl")  # out of date: the votes can still be had
    assert "is not built yet" in run("label", "lab.yaml", "answers").stderr
    assert run("label", "lab.yaml", "answers", "--export", "again.csv").returncode == 0
    assert (project / "again.csv").read_bytes() == (project / "votes.csv").read_bytes()


def test_votes_of_elsewhere_are_taken_in(label: Callable[..., Served], run: Run, project: Path) -> None:
    served = label("--annotator", "ana")
    Visitor(served.links["ana"]).vote("5")
    served.end()
    assert run("label", "lab.yaml", "answers", "--export", "votes.csv").returncode == 0
    (project / "labels").rename(project / "elsewhere")
    assert run("label", "lab.yaml", "answers", "--import", "votes.csv").returncode == 0
    with Labels.open(project / "labels" / "answers") as here, Labels.open(project / "elsewhere" / "answers") as there:
        assert here.votes() == there.votes() != []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["later"], "'later' is not built yet: factory build lab.yaml later"),
        (["answer"], "no target 'answer'; did you mean 'answers'?"),
        (["prompts"], "'prompts' gives Prompt; people compare Candidates"),
        (["single"], "'single' has no record with two answers to compare"),
    ],
)
def test_what_cannot_be_labelled_is_told_in_a_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    done = run("label", "lab.yaml", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--annotator", ""],
        ["--annotator", "a\nb"],
        ["--gold-share", "0.6", "--repeat-share", "0.6"],
        ["--public", "labels.example.org"],
        ["--guidelines", "nowhere.md"],
        ["--host", "no.such.host.invalid"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_are_told(run: Run, options: list[str]) -> None:
    done = run("label", "lab.yaml", "answers", "--no-open", *options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
