"""Self-instruct over a function that answers: what is kept, what is dropped, and what a change costs."""

import random

import pytest
from pydantic import ValidationError

from factory import Answer, StepError, digest, text_of
from factory.instruct.self_instruct import most_requests, self_instruct
from factory.text.overlap import rouge_l
from factory.text.words import words

run = self_instruct.function


def prompts(runtime):
    return [digest([request.messages, request.index]) for request in runtime.asked]


def test_it_keeps_as_many_as_asked_for_and_no_two_alike(context, seeds, model):
    ctx, _ = context()
    made = list(run(seeds, ctx, model, count=30))
    assert len(made) == 30
    told = [words(record["meta"]["instruction"]) for record in [*seeds, *made]]
    assert all(rouge_l(told[a], told[b]) <= 0.7 for b in range(20, 50) for a in range(b))


def test_a_record_says_where_it_comes_from(context, seeds, model):
    ctx, runtime = context()
    made = list(run(seeds, ctx, model, count=5, shots=4))
    for record in made:
        asked = text_of(runtime.asked[record["meta"]["draw"]].messages)
        shown = {seed["id"] for seed in seeds if seed["meta"]["instruction"] + "\n" in asked}
        assert set(record["parents"]) == shown
        assert len(shown) == 4
        assert record["meta"]["model"] == "fake:writer"
        assert text_of(record["prompt"]) == record["meta"]["instruction"]
        assert record["meta"]["output_words"] == len(words(text_of(record["completion"])))


def test_the_request_ends_where_the_task_begins(context, seeds, model):
    ctx, runtime = context()
    list(run(seeds, ctx, model, count=1, shots=2, per_request=3, subject="ships"))
    request = runtime.asked[0]
    assert request.messages[-1] == {"role": "assistant", "content": "3. Instruction:"}
    assert "tasks about ships" in request.messages[0]["content"]
    assert request.stop == ("\n6. Instruction",)
    assert request.max_tokens == 3 * 200


def test_every_candidate_is_kept_or_dropped_with_a_reason(context, seeds, model):
    ctx, runtime = context()
    made = list(run(seeds, ctx, model, count=1000, max_requests=200))
    assert len(runtime.asked) == 200
    assert len(made) + len(runtime.dropped) == 200
    assert {reason for _, reason, _ in runtime.dropped} == {"cut off", "no output", "not novel"}
    ids = [record["id"] for record in made] + [record["id"] for record, _, _ in runtime.dropped]
    assert len(set(ids)) == len(ids)
    assert all(record["parents"] for record, _, _ in runtime.dropped)


def test_what_an_answer_can_do_wrong(context, seeds, model):
    slips = [
        ("", "failed"),
        (" **", "stop"),
        ("Sure.", "stop"),
        (" Hi.\nOutput: one two", "stop"),
        (" Describe the picture above in detail.\nInput: p.png\nOutput: It is red.", "stop"),
        (" Rewrite the following sentence.\nInput: none\nOutput: It is so.", "stop"),
        (" Who are you and why?\nOutput: As an AI language model, I am nobody.", "stop"),
        (" Name ten rivers here.\nOutput: " + "the Rhine and the Rhone. " * 9, "stop"),
        (" Name the longest river of Europe.\nOutput: The longest river of Europe, name.", "stop"),
        (" $ make me a sandwich\nOutput: Here it is.", "stop"),
        (" Write to a friend of yours.\nOutput: Dear [Your Name], hello.", "stop"),
        (" Seed task 0 asks about lists!\nOutput: Something else.", "stop"),
        (" Is this a copy or a task?\nOutput: " + text_of(seeds[0]["completion"]), "stop"),
    ]
    ctx, runtime = context(lambda request: Answer(*slips[request.index], error="no route"))
    assert list(run(seeds[:1], ctx, model, count=99, max_requests=len(slips))) == []
    assert [reason for _, reason, _ in runtime.dropped] == [
        "request failed",
        "no task found",
        "no output",
        "instruction too short",
        "beyond text",
        "input is missing",
        "refusal",
        "repeats itself",
        "echoes its question",
        "instruction starts with punctuation",
        "placeholder",
        "not novel",
        "copies an example",
    ]
    assert "not novel | 1" in runtime.sections["Self-instruct"]


def test_several_tasks_in_one_answer(context, seeds, model):
    answer = " Name a blue bird.\nOutput: The jay.\n\n5. Instruction: Who sails at night?\nOutput: Smug"
    ctx, runtime = context(lambda request: Answer(answer, "length"))
    made = list(run(seeds, ctx, model, count=2, max_requests=1, per_request=2))
    assert [text_of(record["completion"]) for record in made] == ["The jay."]
    assert [reason for _, reason, _ in runtime.dropped] == ["cut off"]


@pytest.mark.parametrize("machine_shots", [0, 2])
def test_the_pace_of_answers_changes_nothing(context, seeds, model, machine_shots):
    def result(pace):
        ctx, runtime = context(pace=pace)
        options = {"count": 40, "lookahead": 8, "machine_shots": machine_shots}
        return list(run(seeds, ctx, model, **options)), runtime

    draw = random.Random(5)
    fast, first = result(lambda: 8)
    for pace in (lambda: 1, lambda: draw.randint(1, 8)):
        made, runtime = result(pace)
        assert made == fast
        assert runtime.dropped == first.dropped
        assert prompts(runtime) == prompts(first)[: len(runtime.asked)]


def test_accepted_tasks_are_shown_once_they_are_old_enough(context, seeds, model):
    ctx, runtime = context()
    made = {record["meta"]["draw"]: record for record in run(seeds, ctx, model, count=30, lookahead=4, machine_shots=1)}
    told = {draw: record["meta"]["instruction"] for draw, record in made.items()}
    seen = 0
    for draw, request in enumerate(runtime.asked):
        shown = [
            old for old, instruction in told.items() if f"Instruction: {instruction}\n" in text_of(request.messages)
        ]
        assert all(old <= draw - 4 for old in shown)
        seen += len(shown)
        if draw in made:
            assert {made[old]["id"] for old in shown} <= set(made[draw]["parents"])
    assert seen > 20


def test_one_more_seed_changes_few_requests(context, seeds, model, one_more_seed):
    def asked(pool):
        ctx, runtime = context()
        list(run(pool, ctx, model, count=10_000, max_requests=300, machine_shots=0))
        return prompts(runtime)

    before, after = asked(seeds), asked([*seeds, one_more_seed])
    new = len(set(after) - set(before))
    assert 20 < new < 70  # 3 of 21 draws show it: 43 of 300
    moved = [{**seed, "id": digest([seed["id"], "moved"])} for seed in reversed(seeds)]
    assert set(asked(moved)) == set(before)


def test_a_higher_count_only_adds(context, seeds, model):
    def result(count):
        ctx, runtime = context()
        return list(run(seeds, ctx, model, count=count)), prompts(runtime)

    (few, asked_few), (many, asked_many) = result(10), result(30)
    assert many[:10] == few
    assert asked_many[: len(asked_few)] == asked_few


def test_equal_prompts_are_new_draws(context, seeds, model):
    ctx, runtime = context()
    list(run(seeds[:3], ctx, model, count=1000, max_requests=50))
    assert len(set(prompts(runtime))) == 50
    assert max(request.index for request in runtime.asked) > 3


def test_a_hopeless_run_is_stopped_with_a_diagnosis(context, seeds, model):
    ctx, runtime = context(lambda request: Answer(" Describe this image for me.\nInput: x\nOutput: A cat."))
    with pytest.raises(StepError) as error:
        list(run(seeds, ctx, model, count=100))
    assert 74 <= len(runtime.asked) <= 74 + 32  # 0.96 ** 74 is below 0.05
    assert "after 74 requests 0 of 74 candidates were accepted" in str(error.value)
    assert "74  beyond text: Describe this image for me. x → A cat. (phrase image)" in str(error.value)


def test_it_ends_short_with_a_word(context, seeds, model):
    ctx, runtime = context()
    made = list(run(seeds, ctx, model, count=100, max_requests=20))
    assert 0 < len(made) < 100
    assert "It ended short of 100: max_requests = 20 was reached." in runtime.sections["Self-instruct"]


def test_without_seeds_there_is_nothing_to_continue(context, model):
    ctx, _ = context()
    with pytest.raises(StepError, match="no seed tasks"):
        list(run([], ctx, model))


@pytest.mark.parametrize("option", ["count", "shots", "per_request", "lookahead", "max_requests", "max_tokens"])
def test_options_that_must_be_positive(option):
    self_instruct.options.model_validate({"model": "m", option: 1})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        self_instruct.options.model_validate({"model": "m", option: 0})


def test_the_forecast_of_requests():
    assert most_requests(70, count=100, per_request=1, max_requests=None, novelty=0.7) == 800
    assert most_requests(70, count=100, per_request=5) == 160
    assert most_requests(70, count=2) == 40
    assert most_requests(70, count=100, max_requests=9) == 9
