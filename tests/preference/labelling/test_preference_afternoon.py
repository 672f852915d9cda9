"""An afternoon as a team spends it: build, label by keyboard with a kill in between, build again."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PENDING = 3  # exit code

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
    """label(recipe, *options) -> the process of `factory label` and each annotator's link."""
    started: list[subprocess.Popen[str]] = []

    def start(recipe: str, *options: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
        arguments = command("label", recipe, "answers", "--no-open", *options)
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
    waiting = run(project, "build", "lab.yaml")
    assert waiting.returncode == PENDING, waiting.stderr
    options = two_people()
    process, links = label("lab.yaml", *options)
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
            process, _ = label("lab.yaml", *options, "--keep-links")
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
    built = run(project, "build", "lab.yaml")
    assert built.returncode == 0, built.stderr
    chosen = {text(row["prompt"]): (text(row["chosen"]), text(row["rejected"])) for row in rows(project, "pairs")}
    assert chosen == {f"Question {n}?": (f"good {n}", f"bad {n}") for n in range(15)}
    raw = [row["value"] for row in rows(project, "agreed") if "raw" in row["name"]]
    assert raw
    assert raw[0] == 1.0


def test_the_recipe_of_preferences_on_the_embedded_model(project: Path, label: Any, visit: Any) -> None:
    """Sampled, graded and paired; then two people vote with the keyboard, one of them takes votes back, the server is
    killed; pairs and agreement are made of what they said."""
    for folder in ("recipes", "seeds"):
        shutil.copytree(ROOT / folder, project / folder)
    recipe = "recipes/preferences.yaml"
    waiting = run(project, "build", recipe)
    assert waiting.returncode == PENDING, waiting.stderr
    assert f"60 of 60 votes missing: run `factory label {recipe} answers`" in waiting.stdout + waiting.stderr
    assert [len(row["completions"]) for row in rows(project, "answers", "preferences")] == [4] * 10
    judged = rows(project, "pairs", "preferences")
    assert judged
    assert all(text(row["chosen"]) != text(row["rejected"]) for row in judged)
    exported = run(project, "export", recipe, "pairs", "pairs.jsonl", "--form", "trl")
    assert exported.returncode == 0, exported.stderr
    lines = (project / "pairs.jsonl").read_text().splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"prompt", "chosen", "rejected"}] * len(judged)

    options = [*two_people(), "--pairs", "best"]
    process, links = label(recipe, *options)
    pages = {name: visit(link) for name, link in links.items()}
    for turn in range(30):
        for name, page in pages.items():
            page.press(longer(page))
            if name == "ada" and turn in (3, 29):
                page.take_back()
                page.press(longer(page))
        if turn == 11:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process, _ = label(recipe, *options, "--keep-links")
    assert all(page.get_attribute("body", "data-state") == "end" for page in pages.values())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    built = run(project, "build", recipe)
    assert built.returncode == 0, built.stderr
    ranked = rows(project, "ranked", "preferences")
    assert sum(len(json.loads(row["meta"])["comparisons"]) for row in ranked) == 60
    human = rows(project, "human", "preferences")
    assert human
    assert all(len(text(row["chosen"])) > len(text(row["rejected"])) for row in human)
    assert {row["value"] for row in rows(project, "agreement", "preferences") if row["name"] == "raw"} == {1.0}


def longer(page: Any) -> str:
    """The key for the answer that is longer on the screen, if it is by far."""
    page.seen()
    left, right = (len(page.inner_text(f"[data-answer='{place}'] .text")) for place in (0, 1))
    return "1" if left > 1.2 * right else "5" if right > 1.2 * left else "3"


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=project, capture_output=True, text=True)


def two_people() -> list[str]:
    """Options of `factory label`: a port that is free, and two annotators who see every item."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return ["--port", port, "--annotator", "ada", "--annotator", "bob", "--overlap", "2", "--repeat-share", "0"]


def rows(project: Path, target: str, recipe: str = "lab") -> list[dict[str, Any]]:
    import pyarrow.parquet

    shards = sorted((project / "build" / recipe / target).glob("[0-9a-z]*.parquet"))
    return [
        row
        for path in shards
        if not path.name.startswith("dropped")
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]


def text(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1]["content"])
