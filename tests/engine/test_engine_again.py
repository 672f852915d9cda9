"""Stages with failed requests: used as they are, and asked again by the next build, these requests and no others."""

from __future__ import annotations

from typing import Any

import pytest

from factory.engine.forecast import forecast

pytestmark = pytest.mark.builds

RECIPE = """\
    targets:
      pairs:
        from: a.jsonl
        steps: [ask_toy: {model: "toy:m"}]
      tuned:
        from: pairs
        steps: [toy_train]
    """


@pytest.fixture
def failed(project: Any) -> Any:
    """A project that was built while one of four questions could not be answered."""
    project.lines("a.jsonl", "one", "two", "unanswerable", "four")
    project.recipe(RECIPE)
    project.build()
    return project


def texts(project: Any) -> list[str]:
    return [record["prompt"][0]["content"] for record in project.records("pairs")]


def manifest(project: Any, target: str) -> dict[str, Any]:
    found: dict[str, Any] = project.result.plan.targets[target].manifest
    return found


def test_a_stage_with_failed_requests_is_finished_and_marked(failed: Any) -> None:
    assert texts(failed) == ["one", "two", "four"]
    assert manifest(failed, "pairs")["retry"] == 1
    requests = manifest(failed, "pairs")["requests"]
    assert requests == {
        "answers": 4, "prompt_tokens": 10, "completion_tokens": 30, "usd": None, "failed": {"no idea": 1},
    }  # fmt: skip
    assert "retry" not in manifest(failed, "tuned")
    pairs, tuned = forecast(failed.plan())[-2:]
    assert (pairs.state, pairs.calls, tuned.state) == ("retries", 1, "stored")


def test_the_next_build_asks_only_these_again(failed: Any) -> None:
    before = failed.artifacts()
    ran = failed.build()
    assert failed.read("asked.txt") == ["one", "two", "unanswerable", "four", "unanswerable"]
    assert ran.asked == {"pairs": (1, 3)}
    assert ran.stages == ["pairs: ask_toy"]
    assert failed.artifacts() == before, "nothing came of it, so nothing is another"
    assert "tuned: toy_train" in ran.stored


def test_what_comes_of_it_reaches_everything_that_is_made_from_it(failed: Any) -> None:
    failed.write("mended.txt", "")
    ran = failed.build()
    assert texts(failed) == ["one", "two", "unanswerable", "four"]
    assert ran.stages == ["pairs: ask_toy", "tuned: toy_train"]
    assert "retry" not in manifest(failed, "pairs")
    assert b'"records": 4' in (failed.result["tuned"].path / "config.json").read_bytes()
    again = failed.build()
    assert (again.stages, again.asked) == ([], {})
    assert failed.read("asked.txt").count("unanswerable") == 2


def test_it_stays_as_it_was_while_the_model_cannot_be_had(failed: Any, caplog: pytest.LogCaptureFixture) -> None:
    before = failed.artifacts()
    failed.write("down.txt", "")
    ran = failed.build()
    assert ran.stages == []
    assert "stays as it was, without these: the toy is out of order" in caplog.text
    assert failed.artifacts() == before
    assert manifest(failed, "pairs")["retry"] == 1


def test_a_build_killed_while_it_asked_again_loses_nothing(failed: Any) -> None:
    before = failed.artifacts()
    plan = failed.result.plan
    stage = plan.targets["pairs"]
    plan.store.set_aside(stage.fingerprint)
    (stage.folder / "torn").mkdir(parents=True)
    failed.write("down.txt", "")
    failed.build()
    assert failed.artifacts() == before


def test_what_the_model_declines_is_not_asked_again(project: Any) -> None:
    project.lines("a.jsonl", "one", "for ever unanswerable")
    project.recipe(RECIPE)
    project.build()
    assert "retry" not in manifest(project, "pairs")
    assert manifest(project, "pairs")["requests"]["failed"] == {"refused": 1}
    assert project.build().stages == []


def test_a_budget_ends_a_stage_cleanly(project: Any) -> None:
    project.lines("a.jsonl", *"abcdef")
    project.recipe(RECIPE.replace('"toy:m"', '"toy:dear", budget: {max_requests: 4}'))
    assert [row.calls for row in forecast(project.plan())][-2:] == [None, 0]
    project.build()
    assert texts(project) == list("abcd")
    assert [row["details"]["error"] for row in project.dropped("pairs")] == ["budget used up"] * 2
    assert "retry" not in manifest(project, "pairs")
    requests = manifest(project, "pairs")["requests"]
    assert (requests["answers"], requests["failed"]) == (4, {"budget used up": 2})
    assert requests["usd"] == round((4 * 1 + 40 * 2) / 1e6, 6)
    project.edit("r.yaml", "max_requests: 4", "max_cost: 0.00115")
    project.build()
    assert len(texts(project)) == 3, "each took 1 + 10 tokens, and might have taken 73 + 512"
    project.edit("r.yaml", "max_cost: 0.00115", "max_cost: 1")
    project.build()
    assert len(texts(project)) == 6
    assert sorted(project.read("asked.txt")) == list("abcdef"), "what was paid for is not asked again"


def test_a_budget_of_money_needs_prices(project: Any) -> None:
    project.lines("a.jsonl", "a")
    project.recipe(RECIPE.replace('"toy:m"', '"toy:m", budget: {max_cost: 1}'))
    with pytest.raises(Exception, match=r"r.yaml:4: ask_toy: budget: max_cost needs the prices of 'toy:m'"):
        project.plan()
