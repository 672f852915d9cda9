"""Magpie over a function that answers, and over a tiny model that writes both turns."""

from __future__ import annotations

import random

import pytest

from factory import Answer, StepError, digest, text_of
from factory.instruct.magpie import magpie, most_requests

run = magpie.function
THINGS = "rivers lists ships bread stars letters loops birds songs maps trains wood".split(" ")  # noqa: SIM905
VERBS = "Explain Compare Describe Sort Count Draw Name Check Invent Collect".split(" ")  # noqa: SIM905


def scenes(*texts):
    return [{"id": digest(text), "parents": ["s#1"], "text": text, "meta": {}} for text in texts or ["You help."]]


def is_users_turn(request):
    return request.turn == "user"


def talkative(request):
    draw = random.Random(digest([request.messages, request.index, request.turn]))
    if is_users_turn(request):
        return Answer(f"{draw.choice(VERBS)} {' '.join(draw.sample(THINGS, 5))} for me.")
    return Answer(" ".join(draw.sample(THINGS, 6)) + ".")


def test_the_model_writes_the_users_turn_and_then_its_own(context, model):
    ctx, runtime = context(talkative)
    made = list(run(scenes("You help.", "You teach."), ctx, model, count=5))
    assert len(made) == 5
    first, second = (request for request in runtime.asked if request.turn == "user" and request.index == 0)
    assert first.messages == [{"role": "system", "content": "You help."}]
    assert second.messages == [{"role": "system", "content": "You teach."}]
    answered = [request.messages for request in runtime.asked if request.turn == "assistant"]
    assert made[0]["prompt"] in answered
    assert [record["parents"] for record in made[:2]] == [[scene["id"]] for scene in scenes("You help.", "You teach.")]
    assert {message["role"] for record in made for message in record["prompt"]} == {"user"}


def test_a_scene_that_comes_again_is_another_draw(context, model):
    ctx, runtime = context(talkative)
    list(run(scenes("a b c", "a b c", "d e f"), ctx, model, count=6))
    asked = [(text_of(request.messages), request.index) for request in runtime.asked if is_users_turn(request)]
    assert len(set(asked)) == len(asked)
    assert ("a b c", 2) in asked


def test_the_system_message_can_stay(context, model):
    ctx, _ = context(talkative)
    made = list(run(scenes(), ctx, model, count=1, keep_system=True))
    assert [message["role"] for message in made[0]["prompt"]] == ["system", "user"]


def test_raising_count_asks_only_for_more(context, model):
    keys = []
    for count in (5, 12):
        ctx, runtime = context(talkative)
        made = list(run(scenes(), ctx, model, count=count, lookahead=4))
        keys.append(([digest([r.messages, r.index, r.turn]) for r in runtime.asked], [r["id"] for r in made]))
    assert set(keys[0][0]) < set(keys[1][0])
    assert keys[1][1][:5] == keys[0][1]


def test_the_pace_of_answers_changes_nothing(context, model):
    results = []
    for pace in (1, 5, 64):
        ctx, _ = context(talkative, lambda pace=pace: pace)
        results.append(list(run(scenes(), ctx, model, count=9)))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("users", "answer", "reason"),
    [
        (Answer("Hi"), "", "instruction too short"),
        (Answer("Sort the list by", "length"), "", "cut off"),
        (Answer("Describe the picture above in words."), "", "beyond text"),
        (Answer("I'm sorry, I cannot answer that."), "", "refusal"),
        (Answer("", "failed", "no route"), "", "request failed"),
        (Answer("Sure, I sort lists for you."), "", "speaks as the assistant"),
        (Answer("I am Alex. How can I assist you?"), "", "speaks as the assistant"),
        (Answer("You are an AI assistant. Sort lists."), "", "is a system message"),
        (Answer("You said that lists are slow. Why?"), "", "speaks of an earlier turn"),
        (Answer("Sort these by size: 2, 1."), "As an AI, I sort nothing.", "refusal"),
    ],
)
def test_what_is_unsound_is_dropped(context, model, users, answer, reason):
    ctx, runtime = context(lambda request: users if is_users_turn(request) else Answer(answer))
    assert list(run(scenes(), ctx, model, count=3, max_draws=1, min_yield=0)) == []
    assert [one for _, one, _ in runtime.dropped] == [reason]
    assert "max_draws = 1 was reached" in runtime.sections["Magpie"]


def test_the_same_task_again_is_not_new_and_not_answered(context, model):
    ctx, runtime = context(lambda request: Answer("Sort these: 2, 1." if is_users_turn(request) else "They are 1, 2."))
    assert len(list(run(scenes(), ctx, model, count=3, max_draws=9))) == 1
    assert [reason for _, reason, _ in runtime.dropped] == ["not novel"] * 8
    assert len(runtime.asked) == 10


def test_a_hopeless_run_is_stopped(context, model):
    ctx, runtime = context(lambda request: Answer("Hm"))
    with pytest.raises(StepError, match="instruction too short: Hm"):
        list(run(scenes(), ctx, model, count=1000))
    assert len(runtime.asked) < 120
    assert most_requests(1, count=1000) == 16000


def test_the_budget_ends_it_with_what_there_is(context, model):
    asked = []

    def answers(request):
        asked.append(request)
        return talkative(request) if len(asked) <= 20 else Answer(finish="failed", error="budget used up")

    ctx, runtime = context(answers, lambda: 1)
    made = list(run(scenes(), ctx, model, count=1000))
    assert len(made) == 10
    assert "budget is used up" in runtime.sections["Magpie"]


def test_there_must_be_a_text(context, model):
    ctx, runtime = context(talkative)
    with pytest.raises(StepError, match="there is no text to begin from"):
        list(run(scenes(" "), ctx, model))
    assert [reason for _, reason, _ in runtime.dropped] == ["no words"]
