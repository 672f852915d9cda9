"""Win rates by hand-made verdicts, length control against statsmodels, and a judge that loves length."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rote import Rote

from factory import Candidates, Context, InputError, Prompt, assistant, build, text_of, user
from factory.evaluate.length_control import controlled, fit
from factory.evaluate.side_by_side import side_by_side
from factory.evaluate.win_rate import win_rate
from factory.preference.labelling.store import Labels, items_of
from factory.preference.standing import Standing


def compared(at: int, verdict: str, first: str = "base", second: str = "tuned", **more: Any) -> dict[str, Any]:
    """A record of two answers with one comparison; `more` goes into it."""
    said = {"by": "judge", "person": False, "aspect": "", "first": 0, "second": 1, "verdict": verdict, **more}
    return {
        "id": f"r{at:03}",
        "prompt": user(f"Question {at}?"),
        "completions": [assistant("short"), assistant("a longer answer")],
        "scores": [],
        "meta": {"names": [first, second], "comparisons": [said]},
    }


def by_item(metrics: Any) -> dict[tuple[str, str], Any]:
    return {(one["of"], one["name"]): one for one in metrics}


@pytest.fixture
def store(write_dataset: Any) -> Any:
    return lambda records: write_dataset(records, Candidates)


def test_wins_ties_and_flips(context: Context, store: Any, notebook: Any) -> None:
    """(win + ½ tie) / n; a flip is a tie, an unreadable verdict is none, and the side of the model does not count."""
    verdicts = ["second"] * 4 + ["first"] * 2 + ["tie", "flip", "both_good", "both_bad", "unreadable", "skip"]
    records = [compared(at, verdict) for at, verdict in enumerate(verdicts)]
    records += [compared(20, "first", "tuned", "base"), {**compared(21, "first"), "meta": {"names": ["base", "tuned"]}}]
    found = by_item(win_rate.function(store(records), context))
    assert {of for of, _ in found} == {"tuned against base"}
    assert found["tuned against base", "win_rate"]["value"] == (5 + 4 / 2) / 11
    assert found["tuned against base", "flips"]["value"] == 1 / 11
    assert len(found["tuned against base", "win_rate"]["parents"]) == 11
    meta = found["tuned against base", "win_rate"]["meta"]
    assert 0.3 < meta["low"] < 7 / 11 < meta["high"] < 0.95
    assert [(name, reason) for name, reason, _ in notebook.dropped] == [
        ("r010", "unreadable verdicts"),
        ("r011", "unreadable verdicts"),
        ("r021", "not compared"),
    ]
    assert "| tuned against base | judge | 5 | 2 | 1 | 1 | 1 | 1 | 1 | 1 |" in notebook.sections["Win rates"]
    assert "under 30 records" in notebook.sections["Win rates"]


def test_judges_are_averaged_and_people_flip_nothing(context: Context, store: Any) -> None:
    record = compared(0, "second")
    others = [
        {"by": "other", "person": False, "first": 0, "second": 1, "verdict": "flip"},
        {"by": "ann", "person": True, "first": 0, "second": 1, "verdict": "second"},
        {"by": "ann", "person": True, "first": 0, "second": 1, "verdict": "first", "check": "gold"},
        {"by": "judge", "aspect": "harmless", "first": 0, "second": 1, "verdict": "first"},
    ]
    record["meta"]["comparisons"] += others
    found = by_item(win_rate.function(store([record]), context))
    assert found["tuned against base", "win_rate"]["value"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["tuned against base", "flips"]["value"] == 0.5
    harmless = by_item(win_rate.function(store([record]), context, aspect="harmless"))
    assert harmless["tuned against base", "win_rate"]["value"] == 0


def test_equal_answers_are_a_tie_whatever_a_judge_says(context: Context, store: Any) -> None:
    record = {**compared(0, "second"), "completions": [assistant("same"), assistant("same")]}
    assert next(win_rate.function(store([record]), context))["value"] == 0.5


def test_several_models_and_the_names_of_sample(context: Context, store: Any) -> None:
    record = compared(0, "first")
    record["completions"].append(assistant("third"))
    said = record["meta"]["comparisons"][0]
    record["meta"] = {
        "models": ["a", "b", "c"],
        "comparisons": [said, {**said, "second": 2, "verdict": "second"}, {**said, "first": 1, "second": 2}],
    }
    found = by_item(win_rate.function(store([record]), context))
    assert {of: one["value"] for (of, name), one in found.items() if name == "win_rate"} == {
        "b against a": 0.0,
        "c against a": 1.0,
    }
    found = by_item(win_rate.function(store([record]), context, against="c", of=["b"]))
    assert [(of, one["value"]) for (of, name), one in found.items() if name == "win_rate"] == [("b against c", 1.0)]


def test_what_cannot_be(context: Context, store: Any, notebook: Any) -> None:
    with pytest.raises(InputError, match="no answer is of 'tunde'; did you mean 'tuned'"):
        next(win_rate.function(store([compared(0, "first")]), context, against="tunde"))
    assert list(win_rate.function(store([compared(0, "unreadable")]), context)) == []
    assert notebook.alarms == ["measured nothing: none of 1 records has a readable comparison of two models"]


@pytest.mark.builds  # statsmodels takes seconds to import
def test_length_control_is_the_logistic_regression_of_statsmodels() -> None:
    """With halves for ties, by quasi-likelihood; the ridge moves the third digit at most."""
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    longer = rng.normal(20, 60, 300)
    x = np.tanh(longer / longer.std())
    p = 1 / (1 + np.exp(-(-0.4 + 1.5 * x)))
    wins = np.where(rng.random(300) < 0.1, 0.5, (rng.random(300) < p).astype(float))
    wanted = sm.GLM(wins, sm.add_constant(x), family=sm.families.Binomial()).fit().params
    assert fit(wins, x, np.ones((1, 300)))[0] == pytest.approx(wanted, abs=2e-3)
    twice = sm.GLM(wins, sm.add_constant(x), family=sm.families.Binomial(), freq_weights=np.arange(300) % 3).fit()
    assert fit(wins, x, np.arange(300)[None] % 3.0)[0] == pytest.approx(twice.params, abs=2e-3)


def test_a_judge_that_only_measures_length_is_seen_through() -> None:
    """It says the longer one, nine times of ten, and the model's answers are longer: of equal length, it is a toss."""
    draw = random.Random(1)
    longer = [draw.gauss(80, 60) for _ in range(600)]
    wins = [float((size > 0) == (draw.random() < 0.9)) for size in longer]
    found = controlled(wins, longer)
    assert sum(wins) / 600 > 0.75
    assert found.value == pytest.approx(0.5, abs=0.12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high < sum(wins) / 600


@pytest.mark.parametrize("wins", [[1.0] * 40, [0.0] * 40, [0.5] * 40, [1.0] * 20 + [0.0] * 20])
@pytest.mark.parametrize("longer", [[0.0] * 40, [5.0] * 40, [9.0] * 20 + [-9.0] * 20])
def test_length_control_of_what_is_parted_stays_finite(wins: list[float], longer: list[float]) -> None:
    found = controlled(wins, longer, draws=50)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.high <= 1
    if len(set(longer)) == 1:
        assert found.value == pytest.approx(sum(wins) / 40, abs=1e-6)


def test_side_by_side_makes_candidates(context: Context, write_dataset: Any, notebook: Any) -> None:
    records = [
        {"id": f"p{at}", "prompt": user(asked), "completion": assistant(f"own {at}")}
        for at, asked in enumerate(["one", "two", "none", " "])
    ]
    models = {
        "base": Rote("b", known={"one": "1", "two": "2", "none": " "}),
        "tuned": Rote("t", known={"one": "I", "two": "2", "none": "0"}),
    }
    made = list(side_by_side.function(write_dataset(records), context, models))
    assert [[text_of(one) for one in record["completions"]] for record in made] == [["1", "I"], ["2", "2"]]
    assert made[0]["meta"] == {"models": ["b", "t"], "names": ["base", "tuned"], "reference": "own 0"}
    assert made[0]["parents"] == ["p0"]
    assert made[0]["scores"] == []
    assert [(name, reason) for name, reason, _ in notebook.dropped] == [("p3", "empty prompt"), ("p2", "empty answer")]
    alone = list(side_by_side.function(write_dataset(records), context, {"base": models["base"]}, reference=True))
    assert alone[0]["meta"]["names"] == ["base", "reference"]
    assert text_of(alone[0]["completions"][1]) == "own 0"
    assert "reference" not in alone[0]["meta"]


def test_pairs_of_such_candidates_keep_whose_answers_they_are() -> None:
    standing = Standing(compared(0, "second"))
    assert standing.of_answers(1, 0) == {"names": ["tuned", "base"]}
    assert "names" not in standing.kept_meta()


def test_one_model_alone_has_nothing_beside_it(context: Context, write_dataset: Any) -> None:
    dataset, rote = write_dataset([], Prompt), Rote("m")
    for models, reference, said in (
        ({}, False, "models is empty"),
        ({"m": rote}, False, "name two, or write `reference: true`"),
        ({"reference": rote}, True, "'reference' is the name of the records' own completions"),
    ):
        with pytest.raises(InputError, match=said):
            next(side_by_side.function(dataset, context, models, reference=reference))


PLUGIN = '''
"""Models that write one or three words, and judges that go by the place or by the length."""
import re
from concurrent.futures import Future
import factory


class Toy(factory.CausalLM):
    def open(self, threads=2):
        return self

    batch = 1

    def close(self):
        pass

    def submit(self, requests):
        future = Future()
        future.set_result([factory.Answer(self.said(factory.text_of(one.messages))) for one in requests])
        return future

    def said(self, asked):
        if self.uri.startswith("toy:writes"):
            return {"toy:writes-one": "Elbe", "toy:writes-three": "The river Elbe"}[self.uri]
        first, second = re.findall(r"<answer>\\n(.*?)\\n</answer>", asked, re.S)
        return "A]]" if self.uri == "toy:first" or len(first) > len(second) else "B]]"


@factory.hookimpl
def open_model(uri):
    return Toy(uri, uri) if uri.startswith("toy:") else None
'''
RECIPE = """
name: won
targets:
  questions: {from: questions.jsonl}
  answered:
    from: questions
    steps:
      - side_by_side: {models: {one: "toy:writes-one", three: "toy:writes-three"}}
  judged:
    from: answered
    steps:
      - judge: {model: ["toy:first", "toy:longer"]}
  won: {from: judged, steps: [win_rate]}
  reviewed: {from: answered, steps: [rank: {votes: "label:answered"}, win_rate]}
"""


@pytest.mark.builds
def test_judged_and_reviewed_in_a_recipe(tmp_path: Path) -> None:
    """A judge that takes what is shown first has flipped each time, half a win; one that takes the longer, a whole."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "toys.py").write_text(PLUGIN)
    (tmp_path / "questions.jsonl").write_text("".join(f'{{"prompt": "Name river {at}."}}\n' for at in range(3)))
    (tmp_path / "won.yaml").write_text(RECIPE)
    built = build(tmp_path / "won.yaml")
    found = by_item(built["won"])
    assert found["three against one", "win_rate"]["value"] == 0.75
    assert found["three against one", "flips"]["value"] == 0.5
    assert "factory label" in built.pending["reviewed"]

    labels = Labels.open(tmp_path / "labels" / "answered")
    labels.fill(items_of(built["answered"]))  # type: ignore[arg-type]
    labels.configure(repeat_share=0.0)
    labels.invite("ann")
    for _ in range(3):  # she takes what the first model wrote, on whichever side it stands
        view = labels.next("ann")
        assert view is not None
        labels.vote("ann", view.view, "1" if view.shown[0] == 0 else "5", seconds=2.0)
    labels.close()
    found = by_item(build(tmp_path / "won.yaml")["reviewed"])
    assert {name: one["value"] for (_, name), one in found.items()} == {"win_rate": 0.0}
