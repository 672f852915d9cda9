"""A judge is asked about labelled pairs in both orders, and the page says whether to rely on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, Budget, CausalLM, Context, InputError, Model, Request, assistant, text_of, user
from factory.preference.calibrate import calibrate, most_requests

FRAME = re.compile(r"<answer(|-\d+)>\n(.*?)\n</answer\1>", re.S)
JUDGE = CausalLM("openai:oracle-2", identity="oracle")


class Answering:
    """A runtime whose model is a function of the two answers, in the order in which they are shown."""

    def __init__(self, says: Callable[[str, str], str | Answer]) -> None:
        self.says = says
        self.requests: list[Request] = []
        self.sections: dict[str, str] = {}
        self.alarms: list[str] = []
        self.dropped: list[tuple[Any, str]] = []

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None
    ) -> Iterator[Answer]:
        for request in requests:
            self.requests.append(request)
            (_, first), (_, second) = FRAME.findall(text_of(request.messages))
            said = self.says(first, second)
            yield replace(said if isinstance(said, Answer) else Answer(said), request=request)

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Any]:
        raise AssertionError("calibrate maps nothing")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record, reason))

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None:
        self.alarms.append(says)

    def tell(self, done: int, total: int, note: str) -> None: ...


Run = Callable[..., tuple[dict[str, float], Answering, list[Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def ran(records: list[Any], says: Callable[[str, str], str | Answer], **options: Any) -> Any:
        runtime = Answering(says)
        ctx = Context("calibrate", 0, 1, tmp_path, tmp_path, runtime)
        metrics = list(calibrate.function(records, ctx, JUDGE, draws=200, **options))
        return {one["name"]: one["value"] for one in metrics}, runtime, metrics

    return ran


def preference(number: int, **meta: Any) -> Any:
    """The chosen answer says right; two of three are the longer ones."""
    wrong = "wrong" if number % 3 else "wrong, and it goes on about it"
    return {
        "id": f"r{number}", "parents": [f"x#{number}"], "prompt": user(f"Question {number}"),
        "chosen": assistant(f"right, I say {number}"), "rejected": assistant(wrong), "meta": meta,
    }  # fmt: skip


def oracle(first: str, second: str) -> str:
    return "A" if "right" in first else "B"


def lengthy(first: str, second: str) -> str:
    return "A" if len(first) > len(second) else "B"


def test_a_judge_that_knows_is_found_to(run: Run) -> None:
    values, runtime, metrics = run([preference(n) for n in range(60)], oracle)
    assert values["accuracy"] == values["kappa"] == values["clear"] == 1.0
    assert (values["pairs"], values["longest"], values["flipped"]) == (60, pytest.approx(40 / 60), 0.0)
    assert runtime.alarms == []
    assert "is better than choosing the longer answer" in runtime.sections["Calibration"]
    assert runtime.sections["Calibration, drawn"].startswith("<svg")
    assert all(one["of"] == JUDGE.uri and one["parents"] == [f"r{n}" for n in range(60)] for one in metrics)
    assert metrics[1]["meta"]["cases"] == 60


def test_each_pair_is_asked_about_in_both_orders_and_the_label_is_not_told(run: Run) -> None:
    _, runtime, _ = run([preference(n) for n in range(10)], oracle)
    shown = [tuple(text for _, text in FRAME.findall(text_of(one.messages))) for one in runtime.requests]
    assert len(shown) == 20
    assert all(one == other[::-1] for one, other in zip(shown[::2], shown[1::2], strict=True))
    assert {"right" in first for first, _ in shown[::2]} == {True, False}  # which is asked about first is drawn
    assert not any("label" in text_of(one.messages) for one in runtime.requests)
    assert most_requests(10) == 20


def test_one_that_chooses_the_longest_is_warned_of(run: Run) -> None:
    values, runtime, _ = run([preference(n) for n in range(60)], lengthy)
    assert values["accuracy"] == values["longest"]
    assert values["longer"] == 1.0
    assert any("is not shown to be better than choosing the longer answer" in one for one in runtime.alarms)
    assert "is not shown to be better" in runtime.sections["Calibration"]


def test_one_that_says_first_flips_on_every_pair(run: Run) -> None:
    values, runtime, _ = run([preference(n) for n in range(40)], lambda first, second: "A")
    assert (values["flipped"], values["accuracy"], values["kappa"]) == (1.0, 0.5, 0.0)
    assert "clear" not in values
    assert any("first" in one and "longer" not in one for one in runtime.alarms)


def test_what_cannot_be_read_is_counted_apart(run: Run) -> None:
    values, runtime, _ = run([preference(n) for n in range(40)], lambda a, b: "Hm." if len(b) == 5 else oracle(a, b))
    assert 0 < values["unreadable"] < 1
    assert values["accuracy"] == 1.0
    assert any("gave no verdict that could be read" in one for one in runtime.alarms)
    values, runtime, _ = run([preference(1)], lambda a, b: "Hm.")
    assert (values["unreadable"], set(values)) == (1.0, {"pairs", "unreadable"})


def test_a_judge_of_the_family_that_wrote_the_answers_is_warned_of(run: Run) -> None:
    records = [preference(n, models=["oracle-1-mini", "openai:other"]) for n in range(30)]
    _, runtime, _ = run(records, oracle)
    (alarm,) = runtime.alarms
    assert alarm == (
        "openai:oracle-2 is of the family that wrote answers in 30 of 30 pairs (oracle-1-mini); models favour what "
        "they wrote themselves"
    )


def voted(number: int, *comparisons: dict[str, Any]) -> Any:
    answers = [assistant(text) for text in ("right", "wrong", "wrong, and long")]
    return {
        "id": f"c{number}", "parents": [], "prompt": user(f"Question {number}"), "completions": answers, "scores": [],
        "meta": {"comparisons": [{"by": "ann", "person": True, "aspect": "", **one} for one in comparisons],
                 "reference": "the truth"},
    }  # fmt: skip


def test_what_people_compared_are_the_labels(run: Run) -> None:
    records = [
        voted(
            n,
            {"first": 0, "second": 1, "verdict": "first"},
            {"first": 1, "second": 2, "verdict": "tie"},
            {"first": 0, "second": 2, "verdict": "second", "aspect": "honest"},
            {"first": 0, "second": 2, "verdict": "first", "person": False},
        )
        for n in range(5)
    ]
    values, runtime, metrics = run([*records, voted(9)], oracle)
    assert (values["pairs"], values["accuracy"]) == (10, 1.0)
    assert (values["kappa"], values["flipped"]) == (1.0, 0.5)  # a flip is neither, as people said
    assert [(record["id"], reason) for record, reason in runtime.dropped] == [("c9", "no label")]
    assert metrics[0]["parents"] == [f"c{n}" for n in range(5)]
    assert "the truth" in text_of(runtime.requests[0].messages)
    values, _, _ = run(records, oracle, aspect="honest")
    assert (values["pairs"], values["accuracy"]) == (5, 0.0)


def test_pairs_that_cannot_be_asked_about_are_dropped(run: Run) -> None:
    same = {**preference(0), "rejected": preference(0)["chosen"]}
    failing = Answer("", "failed", "budget used up")
    values, runtime, _ = run([same, preference(1)], lambda a, b: failing)
    assert values == {}
    assert [reason for _, reason in runtime.dropped] == ["equal answers", "budget used up"]
    assert all(record["parents"] == [f"r{n}"] for n, (record, _) in enumerate(runtime.dropped))
    assert "No pair was both labelled and judged" in runtime.sections["Calibration"]


def test_records_without_labels_are_an_error(run: Run) -> None:
    with pytest.raises(InputError, match="hold no labels; expected Preference, or Candidates"):
        run([{"id": "p", "parents": [], "prompt": user("Hello"), "meta": {}}], oracle)
