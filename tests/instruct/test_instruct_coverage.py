"""What was accepted by type, verb and length; and the alarm when tasks become alike."""

import random

import pytest

from factory import Answer
from factory.instruct.coverage import Collapse, Coverage, opening, verb_of
from factory.instruct.self_instruct import self_instruct

run = self_instruct.function
THINGS = ["ships", "stars", "rivers", "songs", "maps", "tools", "birds", "letters", "numbers", "loops"]


def a_task(instruction, kind="", size=3):
    return {"id": instruction, "meta": {"instruction": instruction, "type": kind, "output_words": size}}


def test_how_instructions_begin():
    assert (verb_of("Write a poem."), opening("Write a poem.")) == ("write", "write a poem")
    assert (verb_of("写一首关于春天的诗"), opening("写一首关于春天的诗")) == ("写一", "写一首关于春")
    assert verb_of("!?") == ""


def test_the_table():
    coverage = Coverage()
    for size in (1, 5, 6, 20, 21, 60, 61, 600):
        coverage.add(a_task("Sort it.", "code", size))
    coverage.add(a_task("Name | it.", "chat"))
    for verb in "abcdef":
        coverage.add(a_task(f"{verb} it."))
    table = coverage.table({"code": 9, "maths": 4})
    assert "| type | wanted | accepted | ≤ 5 | 6–20 | 21–60 | > 60 | begin with |" in table
    assert "| code | 9 | 8 | 2 | 2 | 2 | 2 | sort 8 |" in table
    assert "| maths | 4 | 0 | 0 | 0 | 0 | 0 |  |" in table
    assert "| chat | 0 | 1 | 1 | 0 | 0 | 0 | name 1 |" in table
    assert "| any | 0 | 6 | 6 | 0 | 0 | 0 | a 1, b 1, c 1, d 1, e 1 and 1 others |" in table
    assert "wanted" not in coverage.table()


def various(seed, verbs, count):
    draw = random.Random(seed)
    return [a_task(f"{draw.choice(verbs)} {' '.join(draw.sample(THINGS, 6))} {n}") for n in range(count)]


def alarms(tasks, bound=0.5):
    collapse = Collapse(bound)
    return [(at, says) for at, task in enumerate(tasks, 1) for says, _ in collapse.add(task)]


VERBS = ["Sort", "Name", "Tell", "List", "Sum up"]


def test_varied_tasks_raise_no_alarm():
    assert [says for _, says in alarms(various(1, VERBS, 500)) if "begin" in says] == []


def test_one_verb_is_told_once():
    tasks = various(1, VERBS, 60) + various(2, ["Write"], 60)
    found = [entry for entry in alarms(tasks, 0.5) if "“write”" in entry[1]]
    assert len(found) == 1
    at, says = found[0]
    assert 60 + 24 <= at <= 60 + 28  # 26 of the latest 50
    assert says == "26 of the latest 50 tasks begin with “write”"


def test_too_few_tasks_say_nothing():
    assert alarms([a_task("Write it.")] * 29) == []
    assert len(alarms([a_task("Write it.")] * 30)) == 3  # the word, the three words, and near one another


def test_three_words_have_half_the_bound():
    tasks = various(1, VERBS, 40)
    for at in range(0, 40, 3):
        tasks[at] = a_task(f"Write a function {' '.join(random.Random(at).sample(THINGS, 7))}")
    said = [says for _, says in alarms(tasks, 0.6)]
    assert any("begin with “write a function”" in says for says in said)
    assert not any("begin with “write”" in says for says in said)


def test_the_bound_may_be_off():
    assert alarms([a_task("Write it.")] * 100, 0) == []


def test_a_run_that_collapses_says_so_while_it_runs(context, seeds, model):
    def answer(request):
        draw = random.Random(request.key(model))
        return Answer(f" Write {' '.join(draw.sample(THINGS, 7))}.\nOutput: {draw.randrange(10**6)}")

    ctx, runtime = context(answer)
    list(run(seeds, ctx, model, count=60))
    assert runtime.alarms[0]["says"].startswith(
        "made tasks that are alike: 30 of the latest 30 tasks begin with “write”"
    )
    assert len(runtime.alarms[0]["examples"]) == 3
    assert set(runtime.alarms[0]["examples"][0]) == {"id", "place", "text"}
    assert "begin with “write”" in runtime.notes[-1][2]
    assert "After 30 accepted ones: 30 of the latest 30 tasks begin with “write”." in runtime.sections["Self-instruct"]


@pytest.mark.parametrize("machine_shots", [0, 1])
def test_a_run_that_does_not_has_no_alarm(context, seeds, model, machine_shots):
    ctx, runtime = context()
    list(run(seeds, ctx, model, count=60, machine_shots=machine_shots, collapse=0.6))
    assert [alarm for alarm in runtime.alarms if "begin with" in alarm["says"]] == []
