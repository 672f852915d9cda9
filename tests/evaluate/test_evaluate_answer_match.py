"""Answers against references: the measures by their first definitions, the step with a model that answers by rote."""

from __future__ import annotations

import re
import string
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rote import Rote

from factory import Context, InputError, StepError, assistant, user
from factory.evaluate.answer_match import answer_match
from factory.evaluate.asking import count_requests
from factory.evaluate.matching import exact_match, extracted, f1, last_number, normalised, rouge_l


def pairs(*rows: tuple[str, str], subject: str = "") -> list[dict[str, Any]]:
    meta = {"subject": subject} if subject else {}
    return [
        {"id": f"p{at}", "prompt": user(asked), "completion": assistant(answer), "meta": meta}
        for at, (asked, answer) in enumerate(rows)
    ]


TOWNS = pairs(("Capital of France?", "Paris"), ("Capital of Peru?", "Lima."), ("Capital of Ghana?", "Accra"))
BASE = Rote(
    "base", known={"Capital of France?": "It is Paris.", "Capital of Peru?": "the Lima!", "Capital of Ghana?": ""}
)
TUNED = Rote("tuned", known={"Capital of France?": "paris", "Capital of Peru?": "Lima", "Capital of Ghana?": "Accra"})


def squad(text: str) -> str:
    """`normalize_answer` of SQuAD's evaluation script, in its four moves."""
    lower = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", lower).split())


ASCII = st.text(st.sampled_from(string.ascii_letters + string.digits + string.punctuation + "  \n"), max_size=40)
SAID = st.one_of(ASCII, st.lists(st.sampled_from(["a", "the", "Paris,", "is", "in", "France."])).map(" ".join))


@given(SAID, SAID)
def test_the_measures_of_squad(answer: str, reference: str) -> None:
    assert normalised(answer) == squad(answer)
    assert exact_match(answer, reference) == (squad(answer) == squad(reference))
    one, other = squad(answer).split(), squad(reference).split()
    common = sum((Counter(one) & Counter(other)).values())
    wanted = 2 * common / (len(one) + len(other)) if one and other else float(one == other)
    assert f1(answer, reference) == pytest.approx(wanted)


@given(SAID, SAID)
def test_rouge_is_that_of_rouge_score(answer: str, reference: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    wanted = RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    assert rouge_l(answer, reference) == pytest.approx(wanted)


def test_chinese_is_measured_by_characters() -> None:
    assert exact_match("“北京”。", "北京") == 1
    assert f1("首都是北京。", "北京") == pytest.approx(2 * (2 / 5) * 1 / (2 / 5 + 1))
    assert rouge_l("首都是北京", "北京") == pytest.approx(2 * (2 / 5) / (2 / 5 + 1))
    assert f1("首都是北京", "上海") == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 + 4 = 7.", "7"),
        ("It costs $1,250.50 in all", "1250.5"),
        ("-3", "-3"),
        ("from -$4", "-4"),
        ("5-3", "3"),
        ("1, 2, 3", "3"),
        ("1,2,3", "3"),
        ("12,000,000", "12000000"),
        ("about .5", "0.5"),
        ("共１８个", "18"),
        ("18.00", "18"),
        ("in 1999.", "1999"),
    ],
)
def test_the_last_number(text: str, number: str) -> None:
    assert last_number(text) == Decimal(number)


def test_no_number_is_none() -> None:
    assert last_number("none at all, -") is None


def test_what_is_extracted() -> None:
    last = re.compile(r"#### (\S+)")
    assert extracted("#### 3\nno, #### 4", last) == "4"
    assert extracted("4", last) is None
    assert extracted("is it B or C", re.compile("[A-D]")) == "C"
    assert extracted("as it is", None) == "as it is"


def by_item(metrics: Any) -> dict[tuple[str, str], float]:
    return {(one["of"], one["name"]): one["value"] for one in metrics}


def test_two_models_on_equal_records(context: Context, write_dataset: Any, notebook: Any) -> None:
    metrics = list(answer_match.function(write_dataset(TOWNS), context, {"base": BASE, "tuned": TUNED}))
    found = by_item(metrics)
    assert found["base", "exact_match"] == pytest.approx(1 / 3)
    assert found["tuned", "exact_match"] == 1
    assert found["base", "f1"] == pytest.approx((2 * (1 / 3) / (4 / 3) + 1 + 0) / 3)
    assert metrics[0]["parents"] == ["p0", "p1", "p2"]
    assert metrics[1]["meta"]["low"] <= metrics[1]["value"] <= metrics[1]["meta"]["high"]
    section = notebook.sections["Answers against references"]
    assert "| Capital of Peru? | Lima. | ✓ the Lima! | ✓ Lima |" in section
    assert "| Capital of Ghana? | Accra | (nothing) | ✓ Accra |" in section
    assert "exact_match of tuned less that of base: +0.667" in section


def test_a_failed_request_takes_the_record_from_all(context: Context, write_dataset: Any, notebook: Any) -> None:
    records = [*TOWNS, {"id": "new", "prompt": user("Capital of Oz?"), "completion": assistant("Emerald City")}]
    known = {"Capital of Oz?": "Emerald City", **TUNED.known}
    found = by_item(
        answer_match.function(write_dataset(records), context, {"base": BASE, "tuned": Rote("tuned", known=known)})
    )
    assert notebook.dropped == [("new", "request failed", {"model": "base", "error": "overloaded"})]
    assert found["tuned", "exact_match"] == 1


def test_numbers_and_an_expression(context: Context, write_dataset: Any, notebook: Any) -> None:
    records = pairs(("1 + 1?", "It is #### 2"), ("900 + 100?", "#### 1,000"), ("3 + 4?", "#### seven"))
    model = Rote("m", known={"1 + 1?": "2 or 3, so #### 2.0", "900 + 100?": "1000", "3 + 4?": "#### 7"})
    dataset = write_dataset(records)
    plain = by_item(answer_match.function(dataset, context, {"m": model}, compare="number"))
    assert plain == {("m", "exact_match"): 1.0}
    assert notebook.dropped == [("p2", "no number in the reference", {})]
    strict = by_item(answer_match.function(dataset, context, {"m": model}, compare="number", extract="#### (.*)"))
    assert strict == {("m", "exact_match"): 0.5}
    assert "no match of extract" in notebook.sections["Answers against references"]


def test_examples_are_turns_before_the_prompt(context: Context, write_dataset: Any, notebook: Any) -> None:
    """Those of the subject first, and the prompt itself is none of them; a model may be shown none."""
    law, art = pairs(("Law?", "Yes"), subject="law"), pairs(("Art?", "No"), ("Art, too?", "No"), subject="art")
    records = [{**record, "id": f"e{at}"} for at, record in enumerate([*law, *art])]
    known = {"Art?": "No", "Art, too?": "No", "Law?": "Yes"}
    models = {"shown": Rote("shown", known=known), "not": Rote("not", known=known)}
    dataset = write_dataset(records)
    list(answer_match.function(dataset, context, models, shots={"shown": 1}, examples=dataset, stop=["\n"]))
    asked = [[turn["content"] for turn in request.messages] for request in notebook.asked]
    assert asked[:3] == [["Art?", "No", "Law?"], ["Art, too?", "No", "Art?"], ["Art?", "No", "Art, too?"]]
    assert asked[3:] == [["Law?"], ["Art?"], ["Art, too?"]]
    assert all(request.stop == ("\n",) and request.temperature == 0 for request in notebook.asked)


def test_what_cannot_be_is_one_sentence(context: Context, write_dataset: Any, notebook: Any) -> None:
    dataset, models = write_dataset(TOWNS), {"base": BASE}
    with pytest.raises(InputError, match="models is empty"):
        next(answer_match.function(dataset, context, {}))
    with pytest.raises(InputError, match=r"extract is no regular expression: .*position 0"):
        next(answer_match.function(dataset, context, models, extract="("))
    with pytest.raises(InputError, match="shots needs `examples`"):
        next(answer_match.function(dataset, context, models, shots=2))
    blank = write_dataset(pairs(("Capital of France?", " "), (" ", "Paris")))
    with pytest.raises(StepError, match=r"^answer_match: none of 2 records has a reference to compare answers with$"):
        next(answer_match.function(blank, context, models))
    assert [reason for _, reason, _ in notebook.dropped] == ["empty reference", "empty prompt"]
    with pytest.raises(StepError, match=r"no record was answered by every model; 'deaf' says: overloaded"):
        next(answer_match.function(dataset, context, {"deaf": Rote("deaf")}))


def test_the_plan_knows_how_many_calls() -> None:
    assert answer_match.requests is count_requests
    assert count_requests(10, models={"a": 1, "b": 2, "c": 3}) == 30


@pytest.mark.model
def test_a_prompt_longer_than_the_context_is_dropped(
    make_model: Any, context: Context, write_dataset: Any, records: Any, notebook: Any
) -> None:
    long = {"id": "long", "prompt": user("xyz " * 200), "completion": assistant("1")}
    found = list(answer_match.function(write_dataset([*records, long]), context, {"m": make_model()}, max_tokens=4))
    assert [(name, reason, details["error"]) for name, reason, details in notebook.dropped] == [
        ("long", "request failed", "prompt too long")
    ]
    assert found[0]["meta"]["records"] == len(records)
