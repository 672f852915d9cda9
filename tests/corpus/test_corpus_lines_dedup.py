"""Repeated lines and paragraphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import factory.corpus.dedup.matching as matching
from factory import Context, Dataset, InputError
from factory.corpus.dedup.dedup_lines import dedup_lines

Documents = Callable[..., Dataset[Any]]
Gone = dict[str, tuple[str, dict[str, Any]]]
LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MENU = "home news sport weather about us"


@pytest.fixture
def gone(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Gone:
    """Records dropped through the context: id → reason and details."""
    found: Gone = {}

    def drop(record: Any, reason: str, details: dict[str, Any]) -> None:
        assert record["id"] not in found
        found[record["id"]] = reason, details

    monkeypatch.setattr(ctx.runtime, "drop", drop)
    return found


def texts(dataset: Dataset[Any], ctx: Context, **options: Any) -> dict[str, str]:
    return {record["id"]: record["text"] for record in dedup_lines.function(dataset, ctx=ctx, **options)}


def test_the_first_stays_and_short_lines_are_left_alone(documents: Documents, ctx: Context, gone: Gone) -> None:
    held = [f"{MENU}\nOne.\n}}\n", f"  {MENU}  \nTwo.\n}}\n", f"Three.\n{MENU}\n{MENU}", f"{MENU.upper()}\n}}"]
    made = list(dedup_lines.function(documents(held, 2), ctx=ctx))
    assert [record["text"] for record in made] == [held[0], "Two.\n}\n", "Three.", held[3]]
    assert [record["meta"].get("a_step") for record in made] == [
        None,
        {"lines": 1, "characters": len(MENU) + 5},
        {"lines": 2, "characters": 2 * len(MENU) + 2},
        None,
    ]
    assert [record["id"] for record in made] == ["d0", "d1", "d2", "d3"]
    assert gone == {}


def test_what_is_left_with_nothing_is_dropped_and_names_where_it_stays(
    documents: Documents, ctx: Context, gone: Gone
) -> None:
    dataset = documents(["", "x", f"{MENU}\nlong enough to stay", f"{MENU}\n", f"{MENU}\nshort", "y"], 2)
    assert texts(dataset, ctx, min_chars=6).keys() == {"d0", "d1", "d2", "d5"}
    assert gone == {
        "d3": ("repeated lines", {"lines": 1, "characters": len(MENU) + 1, "left": 0, "of": "d2"}),
        "d4": ("repeated lines", {"lines": 1, "characters": len(MENU) + 1, "left": 5, "of": "d2"}),
    }


def test_boilerplate_goes_everywhere(documents: Documents, ctx: Context, gone: Gone) -> None:
    held = [f"{MENU}\ntext {n}" for n in range(3)] + ["said by two records in all", "said by two records in all"]
    held += ["\n".join(["many times in one record alone"] * 5)]
    assert list(texts(documents(held), ctx, keep="none", max_count=2).values()) == [
        "text 0",
        "text 1",
        "text 2",
        *held[3:],
    ]
    assert texts(documents(held), ctx, keep="none").keys() == {"d0", "d1", "d2", "d5"}
    assert gone["d3"] == ("repeated lines", {"lines": 1, "characters": 26, "left": 0})


def test_paragraphs_go_whole(documents: Documents, ctx: Context, gone: Gone) -> None:
    notice = "all rights are reserved here\nand everywhere else too"
    held = [f"a\n\n{notice}\n\nb", f"c\n \n{notice}\n\n\nd", f"e\n{notice}", f"{notice}\n\nf\n"]
    assert list(texts(documents(held), ctx, unit="paragraph").values()) == [held[0], "c\n\n\nd", held[2], "f\n"]
    assert gone == {}


def test_characters_are_words_where_words_are_not_spaced(documents: Documents, ctx: Context, gone: Gone) -> None:
    held = ["保留所有权利\n一", "二\n保留所有权利", "网站首页", "网站首页"]
    assert list(texts(documents(held), ctx).values()) == [held[0], "二", "网站首页", "网站首页"]


def test_max_count_needs_keep_none(documents: Documents, ctx: Context) -> None:
    with pytest.raises(InputError, match="goes with `keep: none`"):
        list(dedup_lines.function(documents(["a"]), ctx=ctx, max_count=2))


def test_the_report_has_the_commonest_line(documents: Documents, ctx: Context, gone: Gone) -> None:
    held = [f"{MENU} | more\n{n}" for n in range(5)] + ["a line that stands here twice\n" * 2]
    texts(documents(held, 2), ctx)
    [section] = ctx.runtime.sections.values()  # type: ignore[attr-defined]
    assert "5 of 12 lines (41.67%) went" in section
    assert f"| 5 | 5 | `{MENU} \\| more` |\n| 2 | 1 | `a line that stands here twice` |" in section


@LAW
@given(st.lists(st.lists(st.sampled_from(["a b", "A b", "b b c", "c", ""]), max_size=5), max_size=7), st.data())
def test_lines_are_as_a_set_would_leave_them(
    documents: Documents, ctx: Context, gone: Gone, monkeypatch: Any, rows: list[list[str]], data: Any
) -> None:
    """Whatever the shards and the ranges are."""
    monkeypatch.setattr(matching, "RANGE_KEYS", data.draw(st.integers(1, 9)))
    gone.clear()
    size, least = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([None, 1, 2]))
    dataset = documents(["\n".join(row) for row in rows], size)
    options = {"keep": "first"} if least is None else {"keep": "none", "max_count": least}
    found = texts(dataset, ctx, min_words=2, min_chars=0, **options)
    assert gone == {}
    seen: set[str] = set()
    records = Counter(line for row in rows for line in set(row))
    for row, text in zip(rows, found.values(), strict=True):
        expected = []
        for line in row:
            counts = len(line.split()) > 1
            if not line or (counts and (line in seen if least is None else records[line] > least)):
                continue
            seen.add(line)
            expected.append(line)
        assert [line for line in text.split("\n") if line] == expected
