"""An afternoon as a team spends it: build, label by keyboard with a kill in between, build again."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

RECIPE = """\
name: lab
targets:
  answers: {from: answers.jsonl}
  ranked: {from: answers, steps: [rank: {votes: "label:answers", least: 2}]}
  pairs: {from: ranked, steps: [pair]}
  agreed: {from: ranked, steps: [agreement]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Question {n}?", "completions": [f"bad {n}", f"good {n}"], "scores": []} for n in range(15)]
    (tmp_path / "factory.toml").touch()
    (tmp_path / "lab.yaml").write_text(RECIPE)
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "factory.cli", *arguments]


@pytest.fixture
def label(project: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, str]]]]:
    """label(*options) -> the process of `factory label` and each annotator's link."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
        arguments = command("label", "lab.yaml", "answers", "--no-open", *options)
        process = subprocess.Popen(arguments, cwd=project, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        return process, dict(re.findall(r"^(\S+) +(http://\S+/\?token=\S+)$", said, re.MULTILINE))

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_votes_of_two_people_become_pairs(project: Path, label: Any, visit: Any) -> None:
    def build() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command("build", "lab.yaml"), cwd=project, capture_output=True, text=True)

    waiting = build()
    assert waiting.returncode == 3, waiting.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options = ["--port", str(free.getsockname()[1]), "--annotator", "ada", "--annotator", "bob"]
    options += ["--overlap", "2", "--repeat-share", "0"]
    process, links = label(*options)
    pages = {name: visit(link) for name, link in links.items()}
    assert set(pages) == {"ada", "bob"}
    for turn in range(15):
        if turn == 8:
            process.send_signal(signal.SIGKILL)
            process.wait()
        views = {name: page.seen() for name, page in pages.items()}
        for page in pages.values():
            _, left = page.asked()
            page.keyboard.press("1" if left.startswith("good") else "5")
        if turn == 8:
            process, _ = label(*options, "--keep-links")
        for name, page in pages.items():
            page.after(views[name])
        if turn == 3:
            pages["ada"].take_back()
            pages["ada"].press("2" if pages["ada"].asked()[1].startswith("good") else "4")
    assert all(page.get_attribute("body", "data-state") == "end" for page in pages.values())
    page = pages["bob"]
    page.goto(page.url + "agreement")
    page.wait_for_selector("#findings .figures")
    assert "30 comparisons" in page.inner_text("#findings")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    built = build()
    assert built.returncode == 0, built.stderr
    chosen = {text(row["prompt"]): (text(row["chosen"]), text(row["rejected"])) for row in rows(project, "pairs")}
    assert chosen == {f"Question {n}?": (f"good {n}", f"bad {n}") for n in range(15)}
    raw = [row["value"] for row in rows(project, "agreed") if "raw" in row["name"]]
    assert raw
    assert raw[0] == 1.0


def rows(project: Path, target: str) -> list[dict[str, Any]]:
    import pyarrow.parquet

    shards = sorted((project / "build" / "lab" / target).glob("[0-9a-z]*.parquet"))
    return [
        row
        for path in shards
        if not path.name.startswith("dropped")
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]


def text(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1]["content"])
