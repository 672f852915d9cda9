"""One table of tasks that come from several steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factory import assistant, user
from factory.instruct.task_table import described, task_table


def test_the_type_is_what_the_step_that_made_the_task_calls_it() -> None:
    task = {"prompt": user("Name a prime.\n\nbelow ten"), "completion": assistant("It is seven."), "meta": {}}
    assert described(task) == {"type": "", "instruction": "Name a prime.\n\nbelow ten", "output_words": 3}
    made = {"instruction": "Name a prime.", "type": "maths", "output_words": 99}
    assert described({**task, "meta": made}) == {**made, "output_words": 3}
    assert described({**task, "meta": {"kind": "question"}})["type"] == "question"


def test_every_record_stays_and_the_report_has_the_table(context: Callable[..., Any]) -> None:
    ctx, runtime = context()
    rows = [
        {"id": str(n), "meta": {"type": "maths"}, "prompt": user(f"Add {n}."), "completion": assistant("4")}
        for n in range(3)
    ]
    assert task_table.function(rows, ctx=ctx) == {}
    assert "| maths | 3 | 3 | 0 | 0 | 0 | add 3 |" in runtime.sections["Tasks"]
