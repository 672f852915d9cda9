"""Backtranslation over a function that answers: texts as completions."""

from __future__ import annotations

import pytest

from factory import Answer, CausalLM, digest, text_of
from factory.instruct.backtranslate import backtranslate, most_requests, score_in

run = backtranslate.function
BREAD = (
    "Mix 500 g of flour with 350 ml of water, a pinch of yeast and two spoons of salt. Let the dough rest overnight in "
    "a cool place, fold it in the morning, and bake the bread for forty minutes at 230 degrees."
)
JUDGE = CausalLM("fake:judge", identity="fake:judge")


def a_text(text=BREAD):
    return {"id": digest(text), "parents": ["t#1"], "text": text, "meta": {}}


def said(request, instruction="How do I bake bread without kneading the dough?", score="Score: 5"):
    return Answer(score if "Begin with `Score:`" in request.messages[0]["content"] else instruction)


def test_the_text_is_the_completion(context, model):
    ctx, runtime = context(said)
    (made,) = run(iter([a_text(f"\n{BREAD}\n")]), ctx, model)
    assert text_of(made["prompt"]) == "How do I bake bread without kneading the dough?"
    assert text_of(made["completion"]) == BREAD
    assert made["parents"] == [a_text(f"\n{BREAD}\n")["id"]]
    assert len(runtime.asked) == most_requests(1) == 1
    assert f"<text>\n{BREAD}\n</text>" in runtime.asked[0].messages[0]["content"]


@pytest.mark.parametrize(
    ("text", "instruction", "reason"),
    [
        ("x.", "", "too short"),
        ("...", "", "no words"),
        ("a b " * 2000, "", "too long"),
        (BREAD, "Bake.", "instruction too short"),
        (BREAD, "Write down what the text says about bread.", "instruction points at its text"),
        (BREAD, "Find out what was asked for: bread.", "words of the prompt"),
        (BREAD, "Who was the first man on Mars?", "instruction is not about its text"),
        (BREAD, BREAD, "echoes its question"),
        ("I am sorry, but I cannot help with that. " + BREAD, "How do I bake bread?", "refusal"),
    ],
)
def test_a_text_is_dropped_with_the_reason_of_its_instruction(context, model, text, instruction, reason):
    ctx, runtime = context(lambda request: Answer(instruction))
    assert list(run(iter([a_text(text)]), ctx, model)) == []
    assert runtime.dropped[-1][:2] == (a_text(text), reason)


def test_an_instruction_that_is_cut_off_is_not_kept(context, model):
    ctx, runtime = context(lambda request: Answer("How do I bake bread when", "length"))
    assert list(run(iter([a_text()]), ctx, model)) == []
    assert runtime.dropped[-1][1] == "cut off"


@pytest.mark.parametrize(("score", "reason"), [("Score: 3", "score too low"), ("Good.", "no score")])
def test_curation_drops_what_scores_low(context, model, score, reason):
    ctx, runtime = context(lambda request: said(request, score=score))
    assert list(run(iter([a_text()]), ctx, model, judge=JUDGE)) == []
    assert runtime.dropped[-1][1] == reason
    ctx, runtime = context(said)
    (made,) = run(iter([a_text()]), ctx, model, judge=JUDGE)
    assert made["meta"]["score"] == 5
    assert "| 5 | 1 |" in runtime.sections["Backtranslation"]


def test_two_texts_with_one_instruction_are_one(context, model):
    ctx, runtime = context(said)
    assert len(list(run(iter([a_text(), a_text(BREAD + " Eat.")]), ctx, model))) == 1
    assert [reason for _, reason, _ in runtime.dropped] == ["not novel"] * 2


@pytest.mark.parametrize(
    ("text", "score"),
    [("Score: 4", 4), ("**Score:** 5/5", 5), (" 3\nbecause", 3), ("评分：2", 2), ("I give a score of 4.", 4),
     ("12", None), ("the best of 5 texts", None), ("Score: 7", None), ("", None)],
)  # fmt: skip
def test_score_in(text, score):
    assert score_in(text) == score
