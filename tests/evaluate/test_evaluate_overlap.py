"""Training records against evaluation sets: every way of being like an item, in every record type, and the sentence."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from factory import (
    Candidates,
    Choice,
    Context,
    Conversation,
    InputError,
    Preference,
    Prompt,
    StepError,
    Text,
    Unpaired,
    assistant,
    build,
    user,
)
from factory.evaluate.overlap import check_overlap
from factory.evaluate.overlap_search import HOW, plain, said, units
from factory.text.words import ngrams, shingles

QUESTION = "Which river runs through the old harbour town that the merchants of the north founded after the long war?"
ANSWER = "The quiet river of the south, which the boats follow every morning before the market begins."
CHINESE = "这座古老的港口城市是北方商人在那场漫长的战争之后建立的，请问哪一条河流穿过它并且在南方流入大海？"
OTHER = "How many eggs does one need for a cake of this size?"
SHORT = "What is 12 times 12?"


def pair(name: str, question: str, answer: str) -> dict[str, Any]:
    return {"id": name, "parents": [f"{name}.jsonl#1"], "prompt": user(question), "completion": assistant(answer)}


EXAM = [pair("long", QUESTION, ANSWER), pair("short", SHORT, "144"), pair("zh", CHINESE, "长河")]
CLEAN = [pair(f"clean{at}", f"{OTHER} ({at})", f"About {at} of them.") for at in range(5)]


def told(context: Context, train: Any, exam: Any, **options: Any) -> dict[str, tuple[str, str]]:
    """record -> (how, item)"""
    drops = check_overlap.function(train, context, {"exam": exam}, drop=True, **options)
    assert all(drop.reason == "in an evaluation set" and drop.details["set"] == "exam" for drop in drops.values())
    return {name: (drop.details["how"], drop.details["of"]) for name, drop in drops.items()}


def test_the_same_the_near_and_those_with_a_run_of_words(context: Context, write_dataset: Any, notebook: Any) -> None:
    train = [
        *CLEAN,
        pair("same", f"  {QUESTION.upper()} ", ANSWER),  # as a whole
        pair("asked", QUESTION[:-1], "I do not know."),  # the question with another answer
        pair("brief", "what is 12  times 12", "It is 144."),  # too short for any run
        pair("near", QUESTION.replace("long war", "long peace"), "No idea at all."),
        pair("run", "He said: " + " ".join(QUESTION.split()[3:17]) + " it seems, and more of other things.", "Yes."),
        pair("chinese", "请写一句话。" + CHINESE[2:34] + "……", "好的"),
        pair("part", "What is 12 times 12 and how does one come to such a number by hand?", "Slowly."),
    ]
    found = told(context, write_dataset(train, size=4), write_dataset(EXAM, size=2))
    assert found == {
        "same": ("exact", "long"),
        "asked": ("exact", "long"),
        "brief": ("exact", "short"),
        "near": ("near", "long"),
        "run": ("n-gram", "long"),
        "chinese": ("n-gram", "zh"),
    }
    section = notebook.sections["Overlap with evaluation sets"]
    assert "| exam | 3 | 3 | 1 | 2 |" in section
    assert "| near, 0.8" in section
    assert told(context, write_dataset(train), write_dataset(EXAM), near=None)["near"] == ("n-gram", "long")
    assert "run" not in told(context, write_dataset(train), write_dataset(EXAM), ngram=15)
    assert "chinese" not in told(context, write_dataset(train), write_dataset(EXAM), characters=40)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Text, {"text": f"Notes\n{QUESTION} So be it."}),
        (Prompt, {"prompt": user(QUESTION)}),
        (Conversation, {"messages": [*user("Hello"), *assistant("Hi"), *user(QUESTION), *assistant("?")]}),
        (Preference, {"prompt": user(OTHER), "chosen": assistant(QUESTION), "rejected": assistant("no")}),
        (Preference, {"prompt": user(OTHER), "chosen": assistant("no"), "rejected": assistant(QUESTION)}),
        (Unpaired, {"prompt": user(QUESTION), "completion": assistant("no"), "label": True}),
        (Candidates, {"prompt": user(OTHER), "completions": [assistant("no"), assistant(QUESTION)], "scores": []}),
        (Choice, {"prompt": user(OTHER), "choices": ["no", QUESTION], "answer": 0}),
    ],
)
def test_all_text_of_every_type_counts(context: Context, write_dataset: Any, kind: Any, fields: dict[str, Any]) -> None:
    train = write_dataset([{"id": "it", **fields}], kind)
    assert list(told(context, train, write_dataset(EXAM))) == ["it"]
    assert list(told(context, write_dataset(EXAM[:1]), train)) == ["long"]  # the other way round


def test_records_are_told_by_their_places_in_every_portion(context: Context, write_dataset: Any) -> None:
    """Items and records are read 1,024 at a time; those behind the first portion are found as themselves."""
    draw = random.Random(2)
    items = [" ".join(f"w{draw.randrange(10**6)}" for _ in range(24)) for _ in range(1030)]
    exam = [{"id": f"e{at}", "text": text} for at, text in enumerate(items)]
    ways = {"exact": items[1025].upper(), "near": f"{items[1026]} more", "n-gram": f"or {items[1027][:120]} and so on"}
    train = [{"id": f"t{at}", "text": f"nothing {at}"} for at in range(1030)] + [
        {"id": how, "text": text} for how, text in ways.items()
    ]
    found = told(context, write_dataset(train, Text, size=5000), write_dataset(exam, Text, size=5000))
    assert found == {"exact": ("exact", "e1025"), "near": ("near", "e1026"), "n-gram": ("n-gram", "e1027")}


def test_one_sentence_stops_the_build(context: Context, write_dataset: Any) -> None:
    train = write_dataset([*CLEAN, pair("brief", SHORT, "144")])
    with pytest.raises(StepError) as error:
        check_overlap.function(train, context, {"exam": write_dataset(EXAM), "b": write_dataset(CLEAN[:1])}, near=None)
    assert str(error.value) == (
        "check_overlap: 2 of 6 records overlap with the evaluation sets 'b' (1), 'exam' (1): 2 exact, such as 'clean0' "
        "(clean0.jsonl#1), which is 'clean0' (clean0.jsonl#1) of 'b' (exact). Write `drop: true` to leave such out, "
        "`allow: true` to keep them"
    )


def test_allowed_overlap_is_told_of_and_kept(context: Context, write_dataset: Any, notebook: Any) -> None:
    train, exam = write_dataset([*CLEAN, pair("brief", SHORT, "144")]), write_dataset(EXAM)
    assert check_overlap.function(train, context, [exam], allow=True) == {}
    assert notebook.alarms[0].startswith("trains on 1 of 6 records overlap with the evaluation set '1' (1): 1 exact")
    assert "| exact | 'brief' (brief.jsonl#1) |" in notebook.sections["Overlap with evaluation sets"]


def test_nothing_alike_is_nothing(context: Context, write_dataset: Any, notebook: Any) -> None:
    assert check_overlap.function(write_dataset(CLEAN), context, write_dataset(EXAM)) == {}
    assert check_overlap.function(write_dataset([]), context, write_dataset(EXAM)) == {}
    assert notebook.alarms == []


def test_what_cannot_be(context: Context, write_dataset: Any) -> None:
    train, blank = write_dataset(CLEAN), write_dataset([pair("blank", " ", "\n")])
    with pytest.raises(InputError, match="there is no evaluation set"):
        check_overlap.function(train, context, [])
    with pytest.raises(InputError, match="give one of the two"):
        check_overlap.function(train, context, [train], drop=True, allow=True)
    for empty in (blank, write_dataset([])):
        with pytest.raises(StepError, match="the evaluation set 'exam' has no text"):
            check_overlap.function(train, context, {"all": write_dataset(EXAM), "exam": empty})


def test_signs_inside_a_formula_count() -> None:
    assert plain("What is 2 + 2?") != plain("What is 2 - 2?")
    assert plain(" “Who—he?” ") == plain("who—he")
    assert plain("？！") == plain("?!")


def test_units_are_the_whole_and_the_question() -> None:
    assert units(EXAM[1]) == [f"{SHORT}\n\n144", SHORT]
    assert units({"id": "a", "prompt": user(SHORT)}) == [SHORT]
    assert units({"id": "a", "meta": {"text": "no"}, "text": " "}) == []
    assert said({"prompt": user("a"), "choices": ["b", "c"], "answer": 1}) == "a\n\nb\n\nc"


def edited(draw: random.Random, words: list[str], count: int) -> list[str]:
    """The words with so many of them replaced."""
    found = list(words)
    for at in draw.sample(range(len(found)), count):
        found[at] = f"other{draw.randrange(1000)}"
    return found


def test_decisions_are_those_of_the_definition(context: Context, write_dataset: Any) -> None:
    """Runs of 13 words and Jaccard similarities as sets of Python strings have them."""
    draw = random.Random(5)
    items = [[f"word{draw.randrange(400)}" for _ in range(draw.randint(8, 60))] for _ in range(30)]
    train = []
    for at in range(200):
        words = draw.choice(items)
        if at % 2:
            begin = draw.randrange(len(words))
            words = [f"other{at}"] * draw.randrange(9) + words[begin : begin + draw.randint(10, 16)] + [f"x{at}"] * 5
        else:
            words = edited(draw, words, draw.randint(0, 3))
        train.append({"id": f"t{at:03}", "text": " ".join(words)})
    exam = [{"id": f"e{at:02}", "text": " ".join(words)} for at, words in enumerate(items)]

    def alike(text: str, item: str) -> str:
        if text == item:
            return "exact"
        one, other = shingles(text), shingles(item)
        if len(one & other) / len(one | other) >= 0.8:
            return "near"
        return "n-gram" if {*ngrams(text.split(), 13)} & {*ngrams(item.split(), 13)} else ""

    wanted = {}
    for record in train:
        ways = {alike(record["text"], item["text"]) for item in exam} - {""}
        if ways:
            wanted[record["id"]] = min(ways, key=HOW.index)
    found = told(context, write_dataset(train, Text, size=64), write_dataset(exam, Text, size=7))
    assert {name: how for name, (how, _) in found.items()} == wanted
    assert set(wanted.values()) == set(HOW)
    assert 60 < len(wanted) < 190


RECIPE = """
name: exam
evaluation: [exam]
targets:
  exam: {from: held_out.jsonl}
  tasks:
    from: train.jsonl
    steps:
      - check_overlap%s
"""


@pytest.mark.builds
def test_a_recipe_that_would_train_on_its_exam_stops(tmp_path: Path) -> None:
    """The recipe's `evaluation:` is what the step is given; what it drops lies beside what it keeps."""
    (tmp_path / "held_out.jsonl").write_text('{"prompt": "Name a river.", "completion": "Elbe"}\n')
    (tmp_path / "train.jsonl").write_text(
        '{"prompt": "Name a town.", "completion": "Ulm"}\n{"prompt": "name a RIVER", "completion": "Oder"}\n'
    )
    recipe = tmp_path / "exam.yaml"
    recipe.write_text(RECIPE % "")
    with pytest.raises(
        StepError, match=r"1 of 2 records .* \(train.jsonl#2\), which is .* \(held_out.jsonl#1\) of '1'"
    ):
        build(recipe)
    recipe.write_text(RECIPE % ": {drop: true}")
    built = build(recipe)
    assert [record["prompt"][0]["content"] for record in built["tasks"]] == ["Name a town."]
