"""Evol-Instruct over a function that answers: operations, rounds, and what is eliminated."""

from __future__ import annotations

from collections import Counter

import pytest

from factory import Answer, CausalLM, digest, text_of
from factory.instruct.evolve import BREADTH, DEPTH, HOW, OPERATIONS, OURS, empty, evolve, most_requests
from factory.instruct.faults import first_of

run = evolve.function
HARDER = ["if it has duplicates", "without a library", "in two languages", "for a blind reader", "with proof", "twice"]


def is_change(request):
    return request.messages[-1]["role"] == "assistant"


def evolver(request):
    """Adds a condition that fits the draw; answers tasks with a sentence."""
    said = request.messages[0]["content"]
    if not is_change(request):
        return Answer(f"One does it step by step: {digest(said)}.")
    task = said.split("\n")[1]
    return Answer(f" {task.rstrip('.')} {HARDER[request.index]} and {digest(task, 2)} in mind.")


def said(change, answer="One does it step by step, with care.", finish="stop"):
    return lambda request: Answer(change, finish) if is_change(request) else Answer(answer)


def reasons(runtime):
    return [reason for _, reason, _ in runtime.dropped]


def test_every_round_makes_a_task_from_the_last_one(context, seeds, model):
    ctx, runtime = context(evolver)
    made = list(run(iter(seeds), ctx, model, rounds=3, novelty=1))
    assert len(made) == 60
    assert len(runtime.asked) == most_requests(20, rounds=3) == 120
    first = made[:3]
    assert [record["meta"]["round"] for record in first] == [1, 2, 3]
    assert [record["parents"] for record in first] == [[seeds[0]["id"]]] * 3
    assert first[1]["meta"]["evolved_from"] == first[0]["id"]
    assert text_of(first[1]["prompt"]).startswith(text_of(first[0]["prompt"]).rstrip("."))
    assert runtime.dropped == []


def test_the_input_belongs_to_the_task(context, seeds, model):
    ctx, runtime = context(evolver)
    list(run(iter(seeds[1:2]), ctx, model))
    assert "<task>\nSeed task 1 asks about loops\n\nx = 1\n</task>" in runtime.asked[0].messages[0]["content"]


def test_operations_are_drawn_for_each_task(context, seeds, model):
    ctx, _ = context(evolver)
    made = list(run(iter(seeds), ctx, model, rounds=5, novelty=1))
    counts = Counter(record["meta"]["operation"] for record in made)
    assert set(counts) == set(OPERATIONS)
    assert max(counts.values()) < 40
    ctx, runtime = context(evolver)
    made = list(run(iter(seeds), ctx, model, operations=["reason"]))
    assert {record["meta"]["operation"] for record in made} == {"reason"}
    assert all(HOW["reason"] in text_of(request.messages) for request in runtime.asked if is_change(request))


def test_draws_depend_on_what_a_task_says_and_one_more_changes_no_other(context, seeds, model, one_more_seed):
    renumbered = [{**seed, "id": digest(["other", seed["id"]])} for seed in seeds]
    results = []
    for given in (seeds, renumbered, [one_more_seed, *seeds]):
        ctx, runtime = context(evolver)
        list(run(iter(given), ctx, model, rounds=2))
        results.append({digest([request.messages, request.index]) for request in runtime.asked})
    assert results[0] == results[1]
    assert results[0] < results[2]
    assert len(results[2] - results[0]) == 4


def test_the_pace_of_answers_changes_nothing(context, seeds, model):
    results = []
    for pace in (1, 3, 64):
        ctx, _ = context(evolver, lambda pace=pace: pace)
        results.append(list(run(iter(seeds), ctx, model, rounds=3)))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("change", "answer", "reason"),
    [
        (" Seed task 0 asks about lists.", "", "nothing gained"),
        (" Asks task 0 about lists seed?", "", "nothing gained"),
        (" Changed task: rewrite this task so that it is new.", "", "words of the prompt"),
        (" I'm sorry, but I cannot answer that.", "", "refusal"),
        (" Sort", "", "instruction too short"),
        (" Sort the numbers by hand.", "I am sorry, but I cannot help with that.", "refusal"),
        (" Sort the numbers by hand.", "That is hard, sorry.", "cannot answer"),
        (" Sort the numbers by hand.", "It is what it is.", "nothing but stop words"),
        (" Sort the numbers by hand.", "Sort the numbers by hand.", "echoes its question"),
    ],
)
def test_elimination(context, seeds, model, change, answer, reason):
    ctx, runtime = context(said(change, answer))
    assert list(run(iter(seeds[:1]), ctx, model)) == []
    (candidate, first, _), (dropped, second, _) = runtime.dropped
    assert first == second == reason
    assert candidate["parents"] == [seeds[0]["id"]]
    assert dropped is seeds[0]


def test_what_is_cut_off_is_never_kept(context, seeds, model):
    ctx, runtime = context(said(" Sort the numbers by hand and", finish="length"))
    assert list(run(iter(seeds[:1]), ctx, model)) == []
    assert len(runtime.asked) == 1
    ctx, runtime = context(
        lambda request: Answer("Sort the numbers by hand.", "stop" if is_change(request) else "length")
    )
    assert list(run(iter(seeds[:1]), ctx, model)) == []
    assert reasons(runtime) == ["cut off", "cut off"]


def test_an_eliminated_task_is_tried_again_from_where_it_was(context, seeds, model):
    def answers(request):
        return Answer("Nope") if is_change(request) and request.index == 1 else evolver(request)

    ctx, runtime = context(answers)
    made = list(run(iter(seeds[:1]), ctx, model, rounds=3, novelty=1))
    assert [record["meta"]["round"] for record in made] == [1, 3]
    assert made[1]["meta"]["evolved_from"] == made[0]["id"]
    assert reasons(runtime) == ["instruction too short"]  # and the given task is a parent, so it is not dropped


def test_a_judge_says_whether_anything_was_gained(context, seeds, model):
    judge = CausalLM("fake:judge", identity="fake:judge")
    for verdict, wanted in (("No.", []), ("Yes, the same.", ["nothing gained"]), ("Hm", ["no verdict"])):

        def answers(request, verdict=verdict):
            return Answer(verdict) if "Begin with `yes`" in text_of(request.messages) else evolver(request)

        ctx, runtime = context(answers)
        made = list(run(iter(seeds[:1]), ctx, model, judge=judge))
        assert len(made) == 1 - len(wanted)
        assert reasons(runtime) == wanted * 2


def test_a_task_like_an_accepted_one_is_not_new(context, seeds, model):
    ctx, runtime = context(said(" Sort these numbers by hand: 3, 1, 2.", "They are 1, 2 and 3, in that order."))
    made = list(run(iter(seeds[:2]), ctx, model))
    assert len(made) == 1
    assert reasons(runtime) == ["not novel", "not novel"]


def test_a_budget_ends_it_and_the_rest_is_dropped(context, seeds, model):
    asked = []

    def answers(request):
        asked.append(request)
        return evolver(request) if len(asked) <= 4 else Answer(finish="failed", error="budget used up")

    ctx, runtime = context(answers, lambda: 1)
    made = list(run(iter(seeds), ctx, model, novelty=1))
    assert len(made) == 2
    assert len(runtime.dropped) == 18
    assert all(reason == "budget used up" and record in seeds for record, reason, _ in runtime.dropped)


def test_the_report_counts_operations(context, seeds, model):
    ctx, runtime = context(evolver)
    list(run(iter(seeds), ctx, model, operations=["deepen"], novelty=1))
    assert "| deepen | 20 | 0 |" in runtime.sections["Evolve"]


def test_every_phrase_that_gives_the_prompt_away_stands_in_one():
    prompts = DEPTH + BREADTH + "Changed task: Other task: new task given task original task task above"
    assert all(first_of([phrase], prompts) for phrase in OURS)


@pytest.mark.parametrize("answer", ["Yes", "No.", "42", "是", "Sorry is an English word. " * 30, "x"])
def test_short_answers_are_answers(answer):
    assert empty(answer) is None
