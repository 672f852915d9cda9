"""Quotas of task types: which type a request asks for, and what becomes of types that nothing gets through of."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Answer, StepError, assistant, digest, text_of, user
from factory.instruct.pool import is_classification, type_of
from factory.instruct.quotas import Quotas, apportioned
from factory.instruct.self_instruct import self_instruct, wanted

run = self_instruct.function
shares = st.dictionaries(st.sampled_from("abcdefg"), st.floats(0.01, 50), min_size=1)


@given(shares, st.integers(0, 500))
def test_apportioned_to_the_last(given_shares, count):
    found = apportioned(given_shares, count)
    total = sum(given_shares.values())
    assert sum(found.values()) == count
    assert all(abs(found[name] - count * share / total) < 1 + 1e-6 for name, share in given_shares.items())


def test_numbers_that_sum_to_the_count_are_what_they_are():
    assert apportioned({"code": 100, "extract": 50, "chat": 7}, 157) == {"code": 100, "extract": 50, "chat": 7}
    assert apportioned({"a": 1, "b": 1, "c": 1}, 100) == {"a": 34, "b": 33, "c": 33}


def test_how_many_are_wanted():
    assert wanted(None, None) == 100
    assert wanted(30, {"code": 2, "chat": 1}) == 30
    assert wanted(None, {"code": 100, "chat": 50}) == 150
    assert wanted(None, {"code": 0.7, "chat": 0.3}) == 100


def answered(quotas, yields, draws=10_000):
    """Draws until there are no more: how often each type was asked for."""
    asked = Counter()
    waiting = []
    for draw in range(draws):
        name = quotas.next()
        if name is None:
            break
        asked[name] += 1
        waiting.append(name)
        if len(waiting) >= quotas.lookahead:
            done = waiting.pop(0)
            got = random.Random(draw).random() < yields[done] and not quotas.is_full(done)
            quotas.answered(1, int(got))
            if got:
                quotas.accept(done)
    return asked


def test_types_fill_evenly_whatever_their_yield():
    quotas = Quotas({"easy": 60, "hard": 30}, 8, 0.04)
    asked = answered(quotas, {"easy": 0.9, "hard": 0.3})
    assert quotas.accepted == {"easy": 60, "hard": 30}
    assert not quotas.short()
    assert 60 <= asked["easy"] < 60 / 0.9 + 25
    assert 30 <= asked["hard"] < 30 / 0.3 + 45


def test_a_hopeless_type_is_given_up():
    quotas = Quotas({"easy": 60, "never": 30}, 8, 0.04)
    asked = answered(quotas, {"easy": 0.9, "never": 0.0})
    assert quotas.given_up == {"never"}
    assert quotas.short() == {"never": 30}
    assert 74 <= asked["never"] <= 74 + 8


def a_seed(number, kind):
    instruction = f"{kind} seed {number} about {['ships', 'stars', 'rivers'][number % 3]}"
    return {
        "id": digest([kind, number]),
        "parents": [f"seeds.jsonl#{kind}{number}"],
        "prompt": user(instruction),
        "completion": assistant(f"answer {number}"),
        "meta": {"instruction": instruction, "input": "", "id": f"{kind}-{number:02d}"},
    }


SEEDS = [a_seed(number, kind) for kind in ("code", "open_qa", "classification") for number in range(6)]


def test_the_type_of_a_seed():
    def of(**meta):
        return type_of({"meta": meta})

    assert of(id="open_qa-07") == "open_qa"
    assert of(id="code_12") == "code"
    assert of(type="chat", id="code-07") == "chat"
    assert of(id="seed_task_3") == "seed_task"
    assert of(id="17") == of() == ""
    assert of(is_classification=True) == "classification"
    assert is_classification(SEEDS[-1])


def writer(request):
    draw = random.Random(request.key(MODEL))
    numbers = ", ".join(str(draw.randrange(1000)) for _ in range(4))
    said = " ".join(draw.sample(["ships", "stars", "rivers", "songs", "tools", "birds", "letters", "loops"], 5))
    asked = text_of(request.messages)
    if "classification tasks" in asked:
        return Answer(f" Is {said} good or bad?\nOutput: good\nInput: the {said}")
    return Answer(
        f" {draw.choice(['Sort', 'Name', 'Tell', 'Draw up', 'List'])} {said}.\nInput: none\nOutput: {numbers}"
    )


MODEL = None


@pytest.fixture(autouse=True)
def _model(model):
    global MODEL
    MODEL = model


def test_each_request_shows_and_asks_for_one_type(context, model):
    ctx, runtime = context(writer)
    made = list(run(SEEDS, ctx, model, types={"code": 20, "open_qa": 10, "classification": 5}, machine_shots=1))
    assert Counter(record["meta"]["type"] for record in made) == {"code": 20, "open_qa": 10, "classification": 5}
    words = {"code": "programming tasks", "open_qa": "questions of general knowledge", "classification": "labels"}
    for request in runtime.asked:
        asked = text_of(request.messages)
        assert words[request.about["type"]] in asked
        assert {type_of(task) for task in request.about["shown"]} == {request.about["type"]}
    told = runtime.sections["Self-instruct"]
    assert "| type | wanted | accepted |" in told
    assert "| code | 20 | 20 |" in told
    assert "| classification | 5 | 5 |" in told


def test_classification_is_written_label_first(context, model):
    ctx, runtime = context(writer)
    made = list(run(SEEDS, ctx, model, types={"classification": 8}))
    assert all("\nOutput: answer" in text_of(request.messages) for request in runtime.asked)
    assert all(text_of(r.messages).index("Output: ") < text_of(r.messages).index("Input: ") for r in runtime.asked)
    assert {text_of(record["completion"]) for record in made} == {"good"}
    assert all(text_of(record["prompt"]).endswith(record["meta"]["input"]) for record in made)
    assert all(record["meta"]["input"].startswith("the ") for record in made)


def test_without_quotas_classification_keeps_to_itself(context, model):
    ctx, runtime = context(writer)
    list(run(SEEDS, ctx, model, count=60))
    kinds = [{type_of(task) == "classification" for task in request.about["shown"]} for request in runtime.asked]
    assert all(len(kind) == 1 for kind in kinds)
    assert 0.2 < sum(kind == {True} for kind in kinds) / len(kinds) < 0.47  # a third of the seeds


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        ("a b c", True),
        ("a b c d", False),
        ("fish, birds, cats or dogs", True),
        ("鱼和鸟和猫咪", True),
        ("鱼和鸟和猫咪吗", False),
    ],
)
def test_what_can_be_a_label(context, model, output, kept):
    said = f" Are they fish or birds or cats or dogs?\nOutput: {output}\nInput: the garden"
    for seeds in (SEEDS[:6], SEEDS[12:]):  # where a model answers before the input, it is no more than that
        ctx, runtime = context(lambda request: Answer(said))
        assert len(list(run(seeds, ctx, model, count=1, max_requests=1))) == kept
        assert [reason for _, reason, _ in runtime.dropped] == ["output is no label"] * (not kept)


def test_more_of_a_type_than_wanted(context, model):
    ctx, _runtime = context(
        lambda request: Answer(
            writer(request).text + "\n\n5. Instruction:" + writer(request).text.replace(" Name ", " Give ").title()
        )
    )
    made = list(run(SEEDS, ctx, model, types={"code": 3, "open_qa": 3}, per_request=2))
    assert Counter(record["meta"]["type"] for record in made) == {"code": 3, "open_qa": 3}


def test_the_missing_types_are_named(context, model):
    def answer(request):
        return Answer(" A picture.\nOutput: x") if request.about["type"] == "open_qa" else writer(request)

    ctx, runtime = context(answer)
    made = list(run(SEEDS, ctx, model, types={"code": 20, "open_qa": 10}))
    assert len(made) == 20
    told = runtime.sections["Self-instruct"]
    assert "It ended short of 30: next to nothing of the missing types got through: open_qa." in told
    assert "Missing are 10 of open_qa." in told
    assert runtime.alarms[-1]["says"].startswith("ended at 20 of 30")


@pytest.mark.parametrize("pace", [1, 3])
def test_the_pace_of_answers_changes_no_type(context, model, pace):
    def result(pace):
        ctx, runtime = context(writer, pace=lambda: pace)
        return list(run(SEEDS, ctx, model, types={"code": 20, "open_qa": 10}, lookahead=8)), runtime

    fast, first = result(8)
    made, runtime = result(pace)
    assert made == fast
    assert runtime.dropped == first.dropped


def test_a_type_that_no_seed_has(context, model):
    ctx, _ = context()
    with pytest.raises(StepError, match="no seed task has the type 'cods'; did you mean 'code'"):
        list(run(SEEDS, ctx, model, types={"cods": 5}))
    with pytest.raises(StepError, match="types belongs to the default reading; alpaca is as it was published"):
        list(run(SEEDS, ctx, model, types={"code": 5}, reading="alpaca"))
