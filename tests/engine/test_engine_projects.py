"""Projects that one process builds one after the other know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project


def test_a_file_of_one_name_is_another_one_in_another_project(new_project: Callable[[], Project]) -> None:
    """Its record type, too: a reader that was kept from the first would find no column that it looks for."""
    first, second = new_project(), new_project()
    first.write("rows.jsonl", '{"text": "one"}\n')
    second.write("rows.jsonl", '{"prompt": "Name a river.", "completion": "The Rhine."}\n')
    for project, columns in ((first, {"text"}), (second, {"prompt", "completion"})):
        project.recipe("targets: {t: {from: rows.jsonl}}")
        project.build()
        (record,) = project.records("t")
        assert record.keys() - {"id", "parents", "meta"} == columns
