"""Grounded questions and answers over a function that answers, and what becomes of each document."""

import random

import pytest

from factory import Answer, digest, text_of
from factory.instruct.from_documents import from_documents, most_requests
from factory.instruct.grounding import question_in
from factory.instruct.passages import beginning

run = from_documents.function

BIRDS = {"wren": "five grams", "stork": "three kilograms", "eagle": "six kilograms", "robin": "twenty grams"}


def documents(names=BIRDS):
    text = "The {0} is a bird of our gardens. A grown {0} weighs about {1}, and it feeds on insects and seeds."
    return [
        {"id": digest(name), "parents": [f"birds#{name}"], "text": text.format(name, BIRDS[name]), "meta": {}}
        for name in names
    ]


def is_question(request):
    return request.messages[-1]["content"] == "Question:"


def expert(request):
    said = request.messages[0]["content"]
    bird = next(name for name in BIRDS if name in said)
    if is_question(request):
        return Answer(f" What does a grown {bird} {['weigh', 'feed on and need'][request.index % 2]}?")
    return Answer(
        f" A grown {bird} weighs about {BIRDS[bird]}." if "weigh?" in said else " It feeds on insects and seeds."
    )


def answering(question, answer, finish="stop"):
    return lambda request: Answer(question) if is_question(request) else Answer(answer, finish)


def test_a_record_is_a_question_with_its_answer_and_its_document(context, model):
    ctx, _ = context(expert)
    made = list(run(iter(documents()), ctx, model))
    assert [text_of(record["prompt"]) for record in made] == [f"What does a grown {bird} weigh?" for bird in BIRDS]
    assert text_of(made[0]["completion"]) == "A grown wren weighs about five grams."
    assert [record["parents"] for record in made] == [[document["id"]] for document in documents()]
    assert made[0]["meta"] == {
        "instruction": "What does a grown wren weigh?",
        "input": "",
        "kind": "question",
        "number": 0,
        "model": "fake:writer",
        "support": 1.0,
    }


def test_the_passage_can_be_part_of_the_prompt(context, model):
    ctx, _ = context(expert)
    made = list(run(iter(documents()), ctx, model, context=True))
    assert text_of(made[0]["prompt"]) == documents()[0]["text"] + "\n\nWhat does a grown wren weigh?"


def test_the_answer_is_asked_with_question_and_passage(context, model):
    ctx, runtime = context(expert)
    list(run(iter(documents()), ctx, model, per_document=2))
    assert len(runtime.asked) == most_requests(len(BIRDS), per_document=2) == 16
    asked = [request.messages[0]["content"] for request in runtime.asked if not is_question(request)]
    assert "Question: What does a grown wren weigh?" in asked[0]
    assert documents()[0]["text"] in asked[0]


def test_the_pace_of_answers_changes_nothing(context, model):
    draw = random.Random(3)
    results = []
    for pace in (lambda: 64, lambda: 1, lambda: draw.randint(1, 9)):
        ctx, runtime = context(expert, pace)
        made = list(run(iter(documents()), ctx, model, per_document=2))
        results.append((made, sorted(digest([request.messages, request.index]) for request in runtime.asked)))
    assert results[0] == results[1] == results[2]
    assert [record["parents"][0] for record in results[0][0]] == [one["id"] for one in documents() for _ in range(2)]


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (" A wren.", "", "not a question"),
        (" Why?", "", "not a question"),
        (" What does the text say about the wren?", "", "question points at its passage"),
        (" Who wrote Faust?", "", "question is not about its passage"),
        (" What does it weigh?", " Shakespeare wrote many comedies.", "not supported by its passage"),
        (" What does it weigh?", " I'm sorry, but I do not know.", "refusal"),
        (" What does it weigh?", " Its weight is not mentioned.", "passage does not say"),
        (" What does it weigh?", " The passage says five grams.", "answer points at its passage"),
        (" What does it weigh?", " What does it weigh?", "echoes its question"),
    ],
)
def test_rejected_candidates_and_their_documents_are_dropped(context, model, question, answer, reason):
    ctx, runtime = context(answering(question, answer))
    document = documents(["wren"])[0]
    assert list(run(iter([document]), ctx, model)) == []
    (candidate, first, _), (dropped, second, _) = runtime.dropped
    assert first == second == reason
    assert candidate["parents"] == [document["id"]]
    assert dropped is document


def test_a_cut_answer_is_never_kept(context, model):
    ctx, runtime = context(answering(" What does it weigh?", " A grown wren weighs about five grams. It", "length"))
    assert list(run(iter(documents(["wren"])), ctx, model)) == []
    assert [reason for _, reason, _ in runtime.dropped] == ["cut off", "cut off"]


def test_a_failed_request_is_a_reason(context, model):
    ctx, runtime = context(lambda request: Answer(finish="failed", error="no route"))
    assert list(run(iter(documents(["wren"])), ctx, model)) == []
    assert [(reason, details) for _, reason, details in runtime.dropped] == [
        ("request failed", {"error": "no route"})
    ] * 2


def test_a_document_with_one_good_question_is_not_dropped(context, model):
    ctx, runtime = context(answering(" What does a wren weigh?", " It weighs about five grams."))
    document = documents(["wren"])[0]
    assert len(list(run(iter([document]), ctx, model, per_document=3))) == 1
    assert [reason for _, reason, _ in runtime.dropped] == ["not novel", "not novel"]
    assert len({record["id"] for record, _, _ in runtime.dropped} | {document["id"]}) == 3


def test_a_document_without_words_is_not_asked_about(context, model):
    ctx, runtime = context(expert)
    empty = {"id": "e", "parents": ["x"], "text": " \n—", "meta": {}}
    assert list(run(iter([empty]), ctx, model)) == []
    assert runtime.dropped == [(empty, "no words", {})]
    assert runtime.asked == []


def test_a_list_keeps_its_first_number(context, model):
    ctx, _ = context(
        answering(" What does a wren weigh?", "**Answer:** 1. About five grams.\n2. A grown wren, that is.")
    )
    made = list(run(iter(documents(["wren"])), ctx, model))
    assert text_of(made[0]["completion"]) == "1. About five grams.\n2. A grown wren, that is."


def test_leading_words_about_the_passage_are_taken_off(context, model):
    ctx, _ = context(answering(" What does a wren weigh?", " According to the passage, it weighs about five grams."))
    made = list(run(iter(documents(["wren"])), ctx, model))
    assert text_of(made[0]["completion"]) == "It weighs about five grams."


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (" What is it?", "What is it?"),
        ("\n\n**Question:** What is it? Answer: a bird.", "What is it?"),
        ('1. "What is it?"', "What is it?"),
        ("Q: 这是什么？", "这是什么？"),
        ("A bird.", ""),
        ("", ""),
    ],
)
def test_question_in(text, question):
    assert question_in(text) == question


def test_a_long_passage_ends_with_a_sentence():
    assert beginning("One two. Three four. Five six.", 22) == "One two. Three four."
    assert beginning("short", 22) == "short"
    assert beginning("x" * 30, 10) == "x" * 10
    assert beginning("一二三。四五六。七八九。", 9) == "一二三。四五六。"
