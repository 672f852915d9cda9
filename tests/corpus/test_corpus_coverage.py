"""Groups before and after filters."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factory import Context, Dataset, InputError
from factory.corpus.coverage import compare, coverage, source_of, values_of, wilson

Store = Callable[..., Dataset[Any]]


def rows(language: str, count: int, text: str = "a text", **meta: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{language}{n}",
            "parents": [f"data/{language}.jsonl#{n}"],
            "text": text,
            "meta": {"language": language, **meta},
        }
        for n in range(count)
    ]


def measured(metrics: Any) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for metric in metrics:
        found.setdefault(metric["of"], {})[metric["name"]] = metric["value"]
    return found


def test_a_rule_that_thins_out_a_group_is_flagged(store: Store, ctx: Context) -> None:
    before = rows("en", 400) + rows("zh", 100) + rows("th", 3)
    after = before[:380] + before[400:420] + before[500:501]
    found = measured(coverage.function(store(after), store(before), ctx))
    assert found["language: zh"] == {
        "before": 100, "after": 20, "kept_share": 0.2, "ratio": pytest.approx(0.2 / (401 / 503)), "flagged": 1
    }  # fmt: skip
    assert found["language: en"]["flagged"] == 0  # 1.19 times the overall share
    assert found["language: th"]["flagged"] == 0  # one of three is no evidence
    assert found["source: data/zh.jsonl"]["flagged"] == 1
    section = ctx.runtime.sections["Coverage"]  # type: ignore[attr-defined]
    assert "401 of 503 records, 79.7%." in section
    assert "Flagged: language zh (0.25), source data/zh.jsonl (0.25)." in section
    assert "| zh | 100 | 20 | 20.0% | 0.25 |" in section
    assert "| thinned out |" in section


def test_the_records_of_a_metric_are_its_parents(store: Store, ctx: Context) -> None:
    """So that the account of the stage closes: all was used."""
    made = list(coverage.function(store(rows("en", 5)), store(rows("en", 9)), ctx, by=[]))
    assert made[0]["parents"] == [f"en{n}" for n in range(5)]
    assert (made[0]["name"], made[0]["value"], made[0]["of"]) == ("records", 5.0, "all")
    assert len({metric["id"] for metric in made}) == len(made)


def test_filters_blind_to_a_group_are_seldom_flagged(store: Store, ctx: Context) -> None:
    drawn = random.Random(0)
    groups = [str(n) for n in range(100)]
    before = [{**row, "id": f"{n}-{at}"} for at, n in enumerate(groups * 40) for row in rows(n, 1)]
    after = [row for row in before if drawn.random() < 0.5]
    found = measured(coverage.function(store(after, size=999), store(before, size=999), ctx, by=["language"], top=200))
    assert sum(group.get("flagged", 0) for group in found.values()) <= 4


def test_groups_are_found_as_words_in_any_script(store: Store, ctx: Context) -> None:
    texts = ["She is a nurse.", "The NURSES met.", "Nursery rhymes", "他是中国人。", "a woman", "women"]
    before = [{"id": str(n), "parents": [f"{n}.txt"], "text": t, "meta": {}} for n, t in enumerate(texts)]
    groups = {"nurses": ["nurses?"], "china": ["中国"], "women": ["woman", "women"]}
    found = measured(coverage.function(store(before), store(before), ctx, by=[], groups=groups))
    counts = {name.removeprefix("named group: "): group["before"] for name, group in found.items() if name != "all"}
    assert counts == {"nurses": 2, "china": 1, "women": 2}


def test_small_groups_share_a_line_unless_flagged(store: Store, ctx: Context) -> None:
    before = [row for n in range(30) for row in rows(f"l{n:02}", 40 - (n == 29))]
    after = [row for row in before if not row["id"].startswith("l29")]
    found = measured(coverage.function(store(after, size=500), store(before, size=500), ctx, by=["language"], top=5))
    names = [f"language: {name}" for name in ("l00", "l01", "l02", "l03", "l04", "l29", "(24 others)")]
    assert list(found) == ["all", *names]
    assert found["language: (24 others)"]["before"] == 24 * 40
    assert found["language: l29"]["flagged"] == 1


def test_a_label_that_came_too_late_is_told(store: Store, ctx: Context) -> None:
    unlabelled = [{**row, "meta": {}} for row in rows("en", 4)]
    found = measured(coverage.function(store(rows("en", 4)), store(unlabelled), ctx, by=["language"]))
    assert found["language: en"] == {"before": 0, "after": 4, "flagged": 0}
    assert "No record before the filters has meta.language" in ctx.runtime.sections["Coverage"]  # type: ignore[attr-defined]


def test_empty_datasets(store: Store, ctx: Context) -> None:
    assert measured(coverage.function(store([]), store([]), ctx)) == {"all": {"records": 0.0}}
    found = measured(coverage.function(store([]), store(rows("en", 4)), ctx))
    assert found["language: en"]["kept_share"] == 0


def test_more_after_than_before() -> None:
    """Documents split in parts: shares of the dataset are compared."""
    group = compare("f", "g", 100, 50, (1000, 5000))
    assert group.ratio == pytest.approx(0.1)
    assert group.flagged
    assert not compare("f", "g", 100, 510, (1000, 5000)).flagged


@given(st.integers(1, 500), st.data())
def test_an_interval_holds_the_share(of: int, data: Any) -> None:
    count = data.draw(st.integers(0, of))
    low, high = wilson(count, of)
    assert 0 <= low <= count / of + 1e-12
    assert count / of - 1e-12 <= high <= 1
    wide = wilson(count, of, 0.999)
    assert wide[0] <= low
    assert high <= wide[1]


def test_wilson_is_the_published_one() -> None:
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(0, 20, 0.95) == pytest.approx((0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(
    ("record", "source"),
    [
        ({"parents": ["data/x.jsonl#17"]}, "data/x.jsonl"),
        ({"parents": ["data/notes/a.md"]}, "data/notes"),
        ({"parents": ["a.md"]}, "a.md"),
        ({"parents": ["0123456789abcdef"]}, "(none)"),
        ({"parents": ["x#1"], "meta": {"url": "https://user@Example.org:80/a/b"}}, "example.org"),
        ({"parents": ["x#1"], "meta": {"url": "no address"}}, "x"),
        ({"parents": ["0123456789abcdef"], "meta": {"path": "lib/json/x.py"}}, "lib/json"),
    ],
)
def test_where_a_record_is_from(record: Any, source: str) -> None:
    assert source_of(record) == source
    assert values_of(record, "source") == [source]


def test_values_of_lists_numbers_and_nothing() -> None:
    record: Any = {"parents": [], "meta": {"topics": ["a", "b"], "year": 1999, "none": None, "empty": []}}
    found = {field: values_of(record, field) for field in ("topics", "year", "none", "empty", "other")}
    none = ["(none)"]
    assert found == {"topics": ["a", "b"], "year": ["1999"], "none": none, "empty": none, "other": none}
    mixed: Any = {"parents": ["a.jsonl#1"], "meta": {"source": "web"}}
    assert values_of(mixed, "source") == ["web"]


def test_mistakes_are_said(store: Store, ctx: Context) -> None:
    data = store([])
    with pytest.raises(InputError, match=r"groups: bad: '\(' is no regular expression"):
        list(coverage.function(data, data, ctx, groups={"bad": ["("]}))
    with pytest.raises(InputError, match="'none' has no words"):
        list(coverage.function(data, data, ctx, groups={"none": []}))
    with pytest.raises(ValidationError):
        coverage.options(against="corpus", within=1.5)
