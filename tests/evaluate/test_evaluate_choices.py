"""Multiple choice against lm-evaluation-harness's definition, written down once more, one text at a time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from factory import CausalLM, Choice, Context, Drop, InputError, StepError, user
from factory.evaluate.choices import Asking, answered, by_continuation, by_letters, choices, letters
from factory.evaluate.measured import differences, subjects
from factory.evaluate.questions import checked, lettered
from factory.evaluate.shots import Shots
from factory.models.likelihood import Continuation, log_likelihoods

WORDS = ("a", "list", "holds", "items", "in", "order", "一个", "集合", "one", "three", "set,", "once", "3.14", "naïve")


def question(at: int, prompt: str, options: list[str], answer: int, subject: str = "") -> dict[str, Any]:
    meta = {"subject": subject} if subject else {}
    return {"id": f"q{at:03}", "prompt": user(prompt), "choices": options, "answer": answer, "meta": meta}


def questions(count: int) -> list[dict[str, Any]]:
    """Questions with two to five choices of unlike lengths, some ending in white space."""
    draw = random.Random(1)

    def said(least: int, most: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(least, most)))

    found = []
    for at in range(count):
        options = [said(1, 7) for _ in range(draw.randint(2, 5))]
        prompt = said(3, 15) + draw.choice(["?", "? ", "?\n", " 吗？"])
        found.append(question(at, prompt, options, draw.randrange(len(options)), f"s{at % 3}"))
    return found


class Harness:
    """What lm-evaluation-harness 0.4.13 computes: `_encode_pair` and `process_results` of multiple_choice."""

    def __init__(self, model: CausalLM) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.lm = AutoModelForCausalLM.from_pretrained(model.path)
        self.tokenizer = AutoTokenizer.from_pretrained(model.path)

    def told(self, record: dict[str, Any], context: str) -> list[float]:
        """The log-likelihood of each choice, padded on the right as there, which a causal model does not see."""
        import torch

        context, whole, after = context + record["prompt"][0]["content"], [], []
        spaces = len(context) - len(context.rstrip())
        for choice in record["choices"]:
            continuation = " " + choice
            if spaces:
                continuation = context[-spaces:] + continuation
            whole.append(self.tokenizer.encode(context[: len(context) - spaces] + continuation))
            after.append(whole[-1][len(self.tokenizer.encode(context[: len(context) - spaces])) :])
        padded = [ids[:-1] + [0] * (max(map(len, whole)) - len(ids)) for ids in whole]
        with torch.no_grad():
            logs = torch.log_softmax(self.lm(torch.tensor(padded)).logits.double(), -1)
        places = [range(len(ids) - 1 - len(new), len(ids) - 1) for ids, new in zip(whole, after, strict=True)]
        return [
            sum(float(row[at, token]) for at, token in zip(some, new, strict=True))
            for row, some, new in zip(logs, places, after, strict=True)
        ]

    def judged(self, record: dict[str, Any], context: str) -> tuple[bool, bool]:
        """(acc, acc_norm) of one record."""
        told = self.told(record, context)
        each = [one / float(len(choice)) for one, choice in zip(told, record["choices"], strict=True)]
        return told.index(max(told)) == record["answer"], each.index(max(each)) == record["answer"]


@pytest.fixture
def store(write_dataset: Any) -> Any:
    return lambda records: write_dataset(records, Choice)


def by_item(metrics: Any) -> dict[tuple[str, str], Any]:
    return {(one["of"], one["name"]): one for one in metrics}


@pytest.mark.model
@pytest.mark.parametrize(("count", "shots"), [(200, 0), (40, 2)])
def test_it_equals_the_harness(make_model: Any, context: Context, store: Any, count: int, shots: int) -> None:
    model, records, examples = make_model(), questions(count), questions(202)[200:]
    for one in examples:
        one["meta"] = {}
    asking = Asking("continuation", 1, " ", False, {"tutor": shots}, Shots("choices", examples))
    shown = "".join(f"{one['prompt'][0]['content']} {one['choices'][one['answer']]}\n\n" for one in examples[:shots])
    harness = Harness(model)

    def orders(record: Any) -> list[Continuation]:
        return asking.orders(harness.tokenizer, record, "tutor")[0]

    told = sorted(log_likelihoods(harness.lm, [one for record in records[:20] for one in orders(record)]))
    by_hand = [one for record in records[:20] for one in harness.told(record, shown)]
    assert [said for _, said in told] == pytest.approx(by_hand)
    items = answered(records, asking, {"tutor": model}, context)["tutor"]
    wanted = [harness.judged(record, shown) for record in records]
    assert [(one.right, one.right_by_length) for one in items] == wanted
    assert {acc for acc, _ in wanted} == {norm for _, norm in wanted} == {True, False}
    assert any(acc != norm for acc, norm in wanted)
    options = {"shots": shots, "examples": store(examples)} if shots else {}
    found = by_item(choices.function(store(records), context, {"tutor": model}, **options))
    assert found["tutor", "acc"]["value"] == sum(acc for acc, _ in wanted) / count
    assert found["tutor", "acc_norm"]["value"] == sum(norm for _, norm in wanted) / count


@pytest.mark.model
def test_letters_are_the_softmax_over_their_logits(
    make_model: Any, context: Context, store: Any, notebook: Any
) -> None:
    """C-Eval's way, by hand: the logits of A, B, C, … at the last place, turned by one, averaged as probabilities."""
    import torch

    model, records = make_model(), questions(30)
    harness = Harness(model)

    def probabilities(record: dict[str, Any], first: int) -> list[float]:
        options = record["choices"][first:] + record["choices"][:first]
        asked = lettered(record, first)["prompt"][0]["content"]
        assert asked.splitlines()[-len(options) - 1 : -1] == [f"{'ABCDE'[at]}. {one}" for at, one in enumerate(options)]
        prompt = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
        with torch.no_grad():
            logits = harness.lm(torch.tensor([harness.tokenizer.encode(prompt)])).logits[0, -1].double()
        given = torch.stack([logits[harness.tokenizer.encode(letter)[0]] for letter in "ABCDE"[: len(options)]])
        turned = torch.softmax(given, 0).tolist()
        return [turned[(at - first) % len(options)] for at in range(len(options))]

    asking = Asking("letter", 3, " ", True, {"tutor": 0})
    items = answered(records, asking, {"tutor": model}, context)["tutor"]  # type: ignore[arg-type]
    for record, item in zip(records, items, strict=True):
        orders = [probabilities(record, first) for first in range(min(3, len(record["choices"])))]
        assert item.chosen == tuple(one.index(max(one)) for one in orders)
        total = [sum(one) for one in zip(*orders, strict=True)]
        assert item.right == (total.index(max(total)) == record["answer"])
    options = {"form": "letter", "permute": 3, "chat": True}
    found = by_item(choices.function(store(records), context, {"tutor": model}, **options))
    assert found["tutor", "acc"]["value"] == sum(one.right for one in items) / 30
    assert found["tutor", "consistency"]["value"] == sum(len(set(one.chosen)) == 1 for one in items) / 30
    assert "letters chosen" in notebook.sections["Multiple choice"]


@pytest.mark.model
def test_equal_records_for_every_model_and_shots_for_one(
    make_model: Any, context: Context, store: Any, notebook: Any
) -> None:
    """A question that is too long under one tokenizer, or with the examples of one model, is measured for none."""
    long = question(900, "a list holds items " * 40, ["in order", "as text"], 0)
    models = {"fine": make_model(vocabulary=258), "coarse": make_model(seed=1, vocabulary=330)}
    options = {"shots": {"coarse": 2}, "examples": store(questions(9))}
    found = by_item(choices.function(store([long, *questions(20)[9:]]), context, models, **options))
    assert [(name, reason) for name, reason, _ in notebook.dropped] == [("q900", "too long")]
    assert notebook.dropped[0][2]["context"] == 512
    assert {one["meta"]["shots"] for key, one in found.items() if key[0] == "coarse"} == {2}
    assert found["fine", "acc"]["meta"]["shots"] == 0
    assert all(one["parents"] == [f"q{at:03}" for at in range(9, 20)] for one in found.values())
    for one in found.values():
        assert one["meta"]["low"] <= one["value"] <= one["meta"]["high"]
    section = notebook.sections["Multiple choice"]
    assert "chance reaches 0." in section
    assert "acc of coarse less that of fine" in section
    assert "| s0 |" in section


@settings(max_examples=30)
@given(st.data())
def test_turning_the_list_changes_no_question(data: st.DataObject) -> None:
    """Whatever the order, the letter that is right stands for the same choice, and probabilities go back to it."""
    many = data.draw(st.integers(2, 26))
    record = question(0, "Which?", [f"choice {at}" for at in range(many)], data.draw(st.integers(0, many - 1)))
    orders = data.draw(st.integers(1, many))
    logs = [data.draw(st.lists(st.floats(-50, 0), min_size=many, max_size=many)) for _ in range(orders)]
    for first in range(orders):
        asked = lettered(record, first)
        assert f"{asked['choices'][asked['answer']]}. choice {record['answer']}\n" in asked["prompt"][0]["content"]
    same = [[logs[0][(letter + first) % many] for letter in range(many)] for first in range(orders)]
    chosen = by_letters(record, same).chosen  # type: ignore[arg-type]
    assert {logs[0][one] for one in chosen} == {max(logs[0])}
    assert len(by_letters(record, logs).chosen) == orders  # type: ignore[arg-type]


def test_the_letters_are_asked_for_in_the_language_of_the_question() -> None:
    english, chinese = question(0, "Which city? ", ["a", "b"], 0), question(1, "哪个城市是首都？", ["甲", "乙"], 0)
    assert lettered(english)["prompt"][0]["content"] == "Which city?\nA. a\nB. b\nAnswer:"
    assert lettered(chinese, 1)["prompt"][0]["content"] == "哪个城市是首都？\nA. 乙\nB. 甲\n答案："


def test_probabilities_are_averaged_not_votes() -> None:
    """Two orders lean a little to choice 0, one is sure of choice 1."""
    record: Any = question(0, "Which?", ["no", "yes"], 1)
    result = by_letters(record, [[-0.6, -0.8], [-0.8, -0.6], [-9.0, 0.0]])
    assert result.right
    assert result.chosen == (0, 0, 1)
    assert "| right | 33% | 67% |" in letters([record], {"tutor": [result]})


def test_norm_divides_by_characters() -> None:
    record: Any = question(0, "Which?", ["aa", "bbbbbbbb"], 1)
    result = by_continuation(record, [-2.0, -4.0])
    assert (result.right, result.right_by_length) == (False, True)


@pytest.mark.parametrize(
    ("broken", "form", "reason"),
    [
        ({"answer": 4}, "continuation", "answer is none of the choices"),
        ({"answer": -1}, "continuation", "answer is none of the choices"),
        ({"choices": ["yes"], "answer": 0}, "continuation", "one choice"),
        ({"choices": [], "answer": 0}, "continuation", "no choices"),
        ({"choices": [str(at) for at in range(27)]}, "letter", "more choices than letters"),
        ({"choices": ["yes", " "]}, "continuation", "empty choice"),
        ({"prompt": user(" \n")}, "continuation", "empty prompt"),
    ],
)
def test_what_is_wrong_with_a_question_is_one_reason(broken: dict[str, Any], form: Any, reason: str) -> None:
    with pytest.raises(Drop) as fault:
        checked({**question(0, "Which?", ["yes", "no"], 0), **broken}, form)
    assert fault.value.reason == reason


def test_twenty_seven_choices_can_be_continued() -> None:
    checked(question(0, "Which?", [str(at) for at in range(27)], 26), "continuation")


@pytest.mark.model
def test_no_record_is_one_sentence(make_model: Any, context: Context, store: Any) -> None:
    models = {"tutor": make_model()}
    with pytest.raises(StepError, match=r"^choices: no record can be measured: there are no records$"):
        next(choices.function(store([]), context, models))
    wrong = [question(at, "Which?", ["yes"], 0) for at in range(3)]
    with pytest.raises(StepError, match=r"^choices: no record can be measured: 3 one choice$"):
        next(choices.function(store(wrong), context, models))


def test_options_that_cannot_be(context: Context, store: Any) -> None:
    dataset, models = store(questions(3)), {"tutor": CausalLM("tutor")}
    bad = store([question(0, "Which?", ["yes"], 0)])
    for options, said in (
        ({"models": {}}, "models is empty"),
        ({"permute": 2}, "it needs form: letter"),
        ({"shots": 5}, "shots needs `examples`"),
        ({"shots": {"tutro": 1}, "examples": dataset}, "'tutro', which is none of the models; did you mean 'tutor'"),
        ({"shots": 1, "examples": bad}, "the example 'q000' cannot be shown: one choice"),
    ):
        with pytest.raises(InputError, match=said):
            next(choices.function(dataset, context, **{"models": models, **options}))
    with pytest.raises(ValidationError, match="'continuation' or 'letter'"):
        choices.options.model_validate({"models": {"a": "tutor"}, "form": "cloze"})


def test_examples_are_of_the_subject_and_never_the_question() -> None:
    records = questions(12)
    shots = Shots("choices", records)
    assert [one["id"] for one in shots.before(records[0], 3)] == ["q003", "q006", "q009"]
    assert [one["id"] for one in shots.before(records[0], 5)] == ["q001", "q002", "q003", "q004", "q005"]
    with pytest.raises(StepError, match="12 examples before 'q000' and `examples` has 11; give more examples or fewer"):
        shots.before(records[0], 12)


def test_tables_say_which_difference_may_be_chance() -> None:
    found = {"base": {"acc": [0.0] * 40}, "much": {"acc": [1.0] * 40}, "some": {"acc": [1.0, *[0.0] * 39]}}
    lines = differences(found, "acc").splitlines()
    assert lines[0] == "- acc of much less that of base: +1.000 (+1.000 to +1.000)."
    assert lines[1].endswith("which may be chance.")
    records = [question(at, "?", ["a", "b"], 0, "law" if at else "art") for at in range(40)]
    table = subjects(records, found, "acc")
    assert "| law | 39 | 0.000 | 1.000 | 0.000 |" in table
    assert "| mean of subjects |  | 0.000 | 1.000 | 0.500 |" in table
