"""The page of agreement beside the labelling screen: it tells people about themselves and unblinds nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import assistant, user
from factory.preference.comparisons import item_key
from factory.preference.labelling.findings import findings
from factory.preference.labelling.store import Item, Labels

NAMES = ("Anastasia", "Bartholomew", "Eveline")
SECRETS = (*NAMES, "tutor-of-ours", "another-model", "openai:secret-judge")


def items(count: int) -> Iterator[Item]:
    for number in range(count):
        prompt, completions = (
            user(f"Question {number}?"),
            [assistant(f"one {number}"), assistant(f"number two {number}")],
        )
        yield Item(item_key(prompt, completions), prompt, completions, models=["tutor-of-ours", "another-model"])


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[Labels]:
    with Labels.open(tmp_path) as opened:
        opened.fill(items(12))
        opened.configure(overlap=3, repeat_share=0.0)
        yield opened


def vote(labels: Labels, name: str, votes: int) -> None:
    """Always for the first of the completions, whichever side it stands on."""
    labels.invite(name)
    for _ in range(votes):
        view = labels.next(name)
        assert view is not None
        labels.vote(name, view.view, "2" if view.shown[0] == 0 else "4", seconds=3.0)


def judged(labels: Labels) -> dict[str, list[dict[str, Any]]]:
    said = {"by": "openai:secret-judge", "person": False, "aspect": "", "first": 0, "second": 1, "verdict": "second"}
    return {item.key: [said] for item in labels.items()}


def test_there_is_a_page_before_the_first_vote(labels: Labels) -> None:
    page = findings(labels, "answers")("Anastasia")
    assert page["title"] == "answers"
    assert [section["note"] for section in page["sections"]] == ["Nothing was compared yet."]


def test_nobody_else_is_named(labels: Labels) -> None:
    for name in NAMES:
        vote(labels, name, 8)
    page = findings(labels, "answers", judged(labels))
    seen = {}
    for name in NAMES:
        told = json.dumps(page(name), ensure_ascii=False)
        assert not [secret for secret in SECRETS if secret in told]
        assert "style=" not in told  # the page's policy would take it away
        [seen[name]] = {number for number in (1, 2, 3) if f"person {number} (you)" in told}
        assert "judge 1" in told
    assert len(set(seen.values())) == 3


def test_figures_are_those_of_the_votes(labels: Labels) -> None:
    for name in NAMES:
        vote(labels, name, 12)
    page = findings(labels, "answers", judged(labels))("Eveline")
    tables = {section["title"]: section["table"] for section in page["sections"]}
    people = dict(zip(tables["Agreement"]["columns"], tables["Agreement"]["rows"][0], strict=True))
    assert (people["who"], people["raters"]) == ("people", "3")
    assert people["raw"].startswith("1.00")
    [judge] = tables["Judges against people"]["rows"]
    assert judge[:3] == ["judge 1", "most people", "12"]
    assert judge[3].startswith("0 %")


def test_a_page_loaded_again_knows_what_was_said_since(labels: Labels) -> None:
    page = findings(labels, "answers")
    vote(labels, "Anastasia", 2)
    assert "2 comparisons" in page("Anastasia")["sections"][0]["note"]
    vote(labels, "Bartholomew", 3)
    assert "5 comparisons" in page("Anastasia")["sections"][0]["note"]
    labels.undo("Bartholomew")
    assert "4 comparisons" in page("Anastasia")["sections"][0]["note"]


def test_someone_without_a_vote_sees_the_others(labels: Labels) -> None:
    vote(labels, "Anastasia", 2)
    labels.invite("Eveline")
    told = json.dumps(findings(labels, "answers")("Eveline"))
    assert "(you)" not in told
    assert "person 1" in told
