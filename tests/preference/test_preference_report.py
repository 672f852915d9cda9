"""The report of a build of preferences: tables of what was measured that a person can read."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import factory
from factory import assistant, user
from factory.engine.project import enter_project, project_root

pytestmark = pytest.mark.builds
PEOPLE, JUDGES = ["ada", "grace", "joan", "mary", "rosa", "vera"], ["openai:big", "openai:small"]
RECIPE = """
name: measured
targets:
  answers: {from: answers.jsonl}
  agreed: {from: answers, steps: [agreement: {draws: 100}]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    before = project_root()
    (tmp_path / "factory.toml").touch()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    rows = [compared(number) for number in range(40)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    enter_project(tmp_path)
    yield tmp_path
    enter_project(before)


def compared(number: int) -> dict[str, Any]:
    """Three answers to a prompt, which six people and two judges compared."""
    draw = random.Random(number)
    said = [
        {"by": by, "person": by in PEOPLE, "aspect": "", "first": first, "second": second,
         "verdict": draw.choice(["first", "first", "second", "tie"]), "left": draw.choice([first, second]),
         "seconds": 4.0, "at": "2026-01-01T00:00:00.000+00:00"}
        for by in (*PEOPLE, *JUDGES) for first, second in combinations(range(3), 2)
    ]  # fmt: skip
    answers = [assistant(f"Answer {place} " + "word " * draw.randint(1, 9)) for place in range(3)]
    meta = {"models": [f"m{place}" for place in range(3)], "comparisons": said}
    return {"prompt": user(f"Question {number}?"), "completions": answers, "scores": [], "meta": meta}


def tables(page: str) -> list[tuple[list[str], list[list[str]]]]:
    """The head and the rows of each table among the results."""
    part = page.partition('id="results"')[2].partition("</section>")[0]
    found = []
    for table in re.findall(r"<table>.*?</table>", part, re.DOTALL):
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        found.append((cells[0], cells[1:]))
    return found


def test_what_agreement_measured_can_be_read(project: Path) -> None:
    result = factory.build(project / "recipe.yaml")
    measured: list[Any] = list(result["agreed"])  # type: ignore[arg-type]
    found = tables((project / "build" / "measured" / "report.html").read_text())
    assert len(measured) > 50
    filled = [cell for _, rows in found for row in rows for cell in row[1:] if cell != "–"]
    assert len(filled) == len(measured), "each value once"
    for head, rows in found:
        assert len(head) <= 9
        assert sum(cell != "–" for row in rows for cell in row) >= 0.7 * len(rows) * len(head)
        assert "change" not in head, "nothing was changed"
    assert not any({"ada", "m0"} <= {row[0] for row in rows} for _, rows in found), "people and models apart"


def test_a_value_stands_with_its_interval(project: Path) -> None:
    result = factory.build(project / "recipe.yaml")
    measured: list[Any] = list(result["agreed"])  # type: ignore[arg-type]
    one = next(row for row in measured if (row["name"], row["of"]) == ("alpha_ordinal", "everyone"))
    told = [one["value"], one["meta"]["low"], one["meta"]["high"]]
    value, low, high = (f"{round(number, 2) + 0:.2f}".replace("-", "−") for number in told)
    cells = {
        cell
        for _, rows in tables((project / "build" / "measured" / "report.html").read_text())
        for row in rows
        for cell in row
    }
    assert f"{value} ({low} to {high})" in cells


def test_before_and_after_keep_their_change(project: Path) -> None:
    (project / "plugins").mkdir()
    (project / "plugins" / "quality.py").write_text(
        "import factory\n"
        "from collections.abc import Iterator\n"
        "from factory import Candidates, Dataset, Metric, derive\n"
        "@factory.step\n"
        "def quality(dataset: Dataset[Candidates]) -> Iterator[Metric]:\n"
        "    one = next(iter(dataset))\n"
        "    yield derive(one, name='perplexity', value=20.0, of='before')\n"
        "    yield derive(one, name='perplexity', value=10.0, of='after')\n"
        "@factory.hookimpl\n"
        "def register_steps():\n"
        "    return [quality]\n"
    )
    (project / "recipe.yaml").write_text(RECIPE + "  quality: {from: answers, steps: [quality]}\n")
    factory.build(project / "recipe.yaml", ["quality"])
    found = tables((project / "build" / "measured" / "report.html").read_text())
    assert found == [(["metric", "before", "after", "change"], [["perplexity", "20", "10", "−10 (−50.0 %)"]])]


def pairs_told(project: Path, policy: str, records: list[dict[str, Any]]) -> str:
    """The section about pairs, as text."""
    (project / "answers.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (project / "pairs.yaml").write_text(
        "name: pairs\ntargets:\n  answers: {from: answers.jsonl}\n"
        f"  pairs: {{from: answers, steps: [pair: {{policy: {policy}}}]}}\n"
    )
    factory.build(project / "pairs.yaml")
    page = (project / "build" / "pairs" / "report.html").read_text()
    part = page.partition("<h3>Pairs</h3>")[2].partition("<h3>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", part).split())


def scored(number: int, scores: list[float], lengths: list[int]) -> dict[str, Any]:
    answers = [assistant("abcdefghij"[place] * length) for place, length in enumerate(lengths)]
    return {"prompt": user(f"Question {number}?"), "completions": answers, "scores": scores, "meta": {}}


def test_pairs_of_prompts_are_counted_with_why_others_have_none(project: Path) -> None:
    records = [scored(n, [1.0, 2.0 + n], [5, 9]) for n in range(6)]
    records += [scored(6, [1.0, 2.0], [9, 5]), scored(7, [2.0, 2.0], [3, 4]), scored(8, [1.0, 3.0], [4, 4])]
    said = pairs_told(project, "best_worst", records)
    assert said.startswith("8 pairs of 8 of 9 prompts.")
    assert "no pair, since times tie 1" in said
    assert "margin of the scores 1 1.75 2.5 4.25 6" in said
    assert "The chosen answer is the longer one in 86% of pairs (6 of 7; 1 equally long)." in said
    assert "pairs of a prompt" not in said, "each gave one"


def test_all_pairs_tell_how_many_each_prompt_gave(project: Path) -> None:
    records = [scored(n, [1.0, 2.0, 3.0], [3, 4, 5]) for n in range(3)] + [scored(3, [1.0, 1.0, 2.0], [3, 4, 5])]
    said = pairs_told(project, "all_pairs", records)
    assert said.startswith("11 pairs of 4 of 4 prompts.")
    assert "pairs of a prompt prompts 2 1 3 3" in said
    assert "no pair, since times tie 1" in said


def test_where_nothing_made_a_pair_the_reasons_are_told(project: Path) -> None:
    said = pairs_told(project, "best_worst", [scored(n, [1.0, 1.0], [3, 4]) for n in range(3)])
    assert said == "0 pairs of 0 of 3 prompts. no pair, since times tie 3"
