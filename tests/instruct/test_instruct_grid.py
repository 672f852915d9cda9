"""Grids over a function that answers: which cells are asked for, and what they give."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from pydantic import ValidationError

from factory import Answer, InputError, StepError, digest, text_of
from factory.instruct.grid import combinations, grid, most_requests, read_personas

run = grid.function
GRID = {"topic": ["rivers", "trains", "bread"], "level": ["easy", "hard"]}
WORDS = "amber basket candle desert engine forest garden harbour island jungle kettle lantern".split(" ")  # noqa: SIM905


def inventive(request):
    draw = random.Random(digest([request.messages, request.index]))
    if request.messages[-1]["role"] == "assistant":
        return Answer(f" Describe {' '.join(draw.sample(WORDS, 6))}.")
    return Answer(" ".join(draw.sample(WORDS, 5)) + ".")


def cells(made):
    return Counter(tuple(record["meta"]["cell"].values()) for record in made)


def test_every_combination_gives_a_task(context, seeds, model):
    ctx, runtime = context(inventive)
    made = list(run(seeds, ctx, model, attributes=GRID))
    assert cells(made) == Counter((topic, level) for topic in GRID["topic"] for level in GRID["level"])
    assert len(runtime.asked) == most_requests(20, attributes=GRID) == 12
    asked = runtime.asked[0].messages[0]["content"]
    assert all(f"- {name}: {value}" in asked for name, value in made[0]["meta"]["cell"].items())
    assert made[0]["parents"][0] in {seed["id"] for seed in seeds}
    section = runtime.sections["Grid"]
    assert "6 of 6 combinations have a task." in section
    assert "| topic | trains | 2 | 0 |" in section


def test_a_sample_takes_every_value_equally_often(context, seeds, model):
    wide = {name: [f"{name}{number}" for number in range(5)] for name in "abcdef"}
    ctx, _ = context(inventive)
    made = list(run(seeds, ctx, model, attributes=wide, count=20, novelty=1))
    for name, values in wide.items():
        assert Counter(record["meta"]["cell"][name] for record in made) == dict.fromkeys(values, 4)
    assert set(cells(made).values()) == {1}


def test_more_than_the_grid_has_means_more_for_each(context, seeds, model):
    ctx, runtime = context(inventive)
    made = list(run(seeds, ctx, model, attributes=GRID, count=18, novelty=1))
    assert set(cells(made).values()) == {3}
    keys = [digest([request.messages, request.index]) for request in runtime.asked]
    assert len(set(keys)) == len(keys)


def test_combinations_are_all_there_once(context):
    ctx, _ = context()
    found = [tuple(cell.values()) for cell in combinations({"a": list("xyz"), "b": list("uvwt"), "c": ["1"]}, ctx)]
    assert len(found) == len(set(found)) == 12
    huge = combinations({name: [str(number) for number in range(100)] for name in "abcdefgh"}, ctx)
    assert len({digest(next(huge)) for _ in range(200)}) == 200


def test_personas_are_one_more_attribute(context, seeds, model, tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('{"persona": "a baker in Ghent"}\n\n"a <|im_end|> pilot"\n{"text": "a baker in  Ghent"}\n')
    ctx, runtime = context(inventive)
    made = list(run(seeds, ctx, model, personas=file, attributes={"level": ["easy"]}))
    assert sorted(record["meta"]["cell"]["persona"] for record in made) == ["a <|im_end|> pilot", "a baker in Ghent"]
    asked = sorted(text_of(request.messages) for request in runtime.asked if len(request.messages) == 2)
    assert any("- the person who asks is this: a baker in Ghent" in text for text in asked)
    assert not any("<|im_end|>" in text for text in asked)


@pytest.mark.parametrize(
    ("content", "said"),
    [('"a"\n{"who": "b"}\n', r"p\.jsonl:2: expected a text"), ("a baker\n", r"p\.jsonl:1: this is not JSON"),
     ('"a"\n3\n', r"p\.jsonl:2: expected a text"), ("\n", r"p\.jsonl: there is no persona")],
)  # fmt: skip
def test_a_line_that_is_no_persona_is_named(tmp_path, content, said):
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(InputError, match=said):
        read_personas(tmp_path / "p.jsonl")


def test_a_task_like_a_seed_is_not_new(context, seeds, model):
    told = {"Task:": " Seed task 0 asks about lists"}
    ctx, runtime = context(lambda request: Answer(told.get(request.messages[-1]["content"], "x")))
    assert list(run(seeds, ctx, model, attributes=GRID, min_yield=0)) == []
    assert {reason for _, reason, _ in runtime.dropped} == {"not novel"}
    assert "0 of 6 combinations have a task." in runtime.sections["Grid"]


def test_a_model_that_repeats_the_prompt_is_told_apart(context, seeds, model):
    ctx, _ = context(lambda request: Answer("Write one task for an assistant that answers in writing."))
    with pytest.raises(StepError, match="words of the prompt"):
        list(run(seeds, ctx, model, attributes=GRID))


def test_what_cannot_be_done_is_said(context, seeds, model):
    ctx, _ = context()
    with pytest.raises(StepError, match="nothing to combine"):
        list(run(seeds, ctx, model))
    with pytest.raises(StepError, match="no seed tasks"):
        list(run([], ctx, model, attributes=GRID))
    with pytest.raises(ValidationError):
        grid.options.model_validate({"model": "m", "attributes": {"a": []}})
    grid.options.model_validate(json.loads('{"model": "m", "attributes": {"a": ["b"]}, "count": null}'))


def test_the_pace_of_answers_changes_nothing(context, seeds, model):
    results = []
    for pace in (1, 5, 64):
        ctx, _ = context(inventive, lambda pace=pace: pace)
        results.append(list(run(seeds, ctx, model, attributes=GRID, count=15)))
    assert results[0] == results[1] == results[2]
