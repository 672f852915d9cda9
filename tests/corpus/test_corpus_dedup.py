"""Duplicates, and parts drawn by number."""

from __future__ import annotations

import random
import time
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from factory import Context, Dataset, InputError, Unpaired, assistant, user
from factory.corpus.dedup.duplicates import dedup_exact, spaced
from factory.corpus.dedup.minhash import _number, dedup_minhash
from factory.corpus.dedup.minhash_index import minhash_index
from factory.corpus.mixing.draw import subsample, take
from factory.text.words import shingles

Documents = Callable[..., Dataset[Any]]
WORDS = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "spruce", "yew"]


def overlap(one: str, other: str, n: int = 5) -> float:
    a, b = shingles(one, n), shingles(other, n)
    return len(a & b) / len(a | b) if a | b else 0.0


def essay(seed: int, size: int = 80) -> str:
    drawn = random.Random(seed)
    return " ".join(f"{drawn.choice(WORDS)}{drawn.randrange(50)}" for _ in range(size))


def edited(text: str, seed: int, count: int) -> str:
    drawn, words = random.Random(seed), text.split()
    for _ in range(count):
        words[drawn.randrange(len(words))] = f"edit{drawn.random()}"
    return " ".join(words)


@pytest.mark.parametrize("step", [dedup_exact, dedup_minhash])
def test_three_equal_rows_leave_one(step: Any, documents: Documents, ctx: Context) -> None:
    drops = step.function(documents(["same text here"] * 3 + ["other text here"], 2), ctx=ctx)
    assert sorted(drops) == ["d1", "d2"]
    assert {drop.details["of"] for drop in drops.values()} == {"d0"}


@given(st.text(st.sampled_from(" \t\n\r\x0b\x1c\x85\xa0\u2028\u3000\u200be\u0301é한中"), max_size=12))
def test_runs_of_whitespace_are_one_blank(text: str) -> None:
    assert spaced(text) == " ".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize("step", [dedup_exact, dedup_minhash])
def test_texts_without_words_all_stay(step: Any, documents: Documents, ctx: Context) -> None:
    assert step.function(documents(["", "  ", "\n", ""]), ctx=ctx) == {}
    assert step.function(documents([]), ctx=ctx) == {}
    assert sorted(step.function(documents(["!!!", "???", "!!!"]), ctx=ctx)) == ["d2"]


def test_exact_looks_at_all_columns_and_at_case(
    store: Callable[..., Dataset[Any]], documents: Documents, ctx: Context
) -> None:
    rows = [
        {"id": str(n), "parents": [], "prompt": user("p"), "completion": assistant(a), "label": label, "meta": {"n": n}}
        for n, (a, label) in enumerate([("a  b", True), ("a b", True), ("a b", False), ("A b", True)])
    ]
    assert sorted(dedup_exact.function(store(rows, Unpaired), ctx=ctx)) == ["1"]
    assert sorted(dedup_exact.function(documents(["cafe\u0301", "café ", "x 1", "x 2"]), ctx=ctx)) == ["d1"]


def test_short_chinese_documents_all_stay(documents: Documents, ctx: Context) -> None:
    texts = [chr(0x4E00 + n) + chr(0x5E00 + 7 * n) for n in range(200)]
    assert dedup_minhash.function(documents(texts, 50), ctx=ctx) == {}


def chinese(seed: int, size: int) -> str:
    drawn = random.Random(seed)
    return "".join(chr(0x4E00 + drawn.randrange(3000)) for _ in range(size))


def test_distinct_chinese_documents_all_stay(documents: Documents, ctx: Context) -> None:
    texts = [chinese(n, 40 + n) for n in range(200)]
    assert dedup_minhash.function(documents(texts, 64), ctx=ctx) == {}


def test_chinese_pairs_that_differ_in_one_character_are_found(documents: Documents, ctx: Context) -> None:
    texts = [chinese(n, 200 + 5 * n) for n in range(40)]
    near = [text[: 3 * n] + "新" + text[3 * n + 1 :] for n, text in enumerate(texts)]
    drops = dedup_minhash.function(documents(texts + near, 32), ctx=ctx)
    assert {name: drop.details["of"] for name, drop in drops.items()} == {f"d{40 + n}": f"d{n}" for n in range(40)}


def test_word_problems_that_differ_in_numbers_stay(documents: Documents, ctx: Context) -> None:
    texts = [
        f"Ann has {n} apples and buys {n * 7} more at {n + 3} cents each. How many has she now, and what did she pay?"
        for n in range(1000)
    ]
    assert dedup_minhash.function(documents(texts, 256), ctx=ctx) == {}


def test_similarity_does_not_chain(documents: Documents, ctx: Context) -> None:
    """Neighbours are near duplicates (J .81), the ends have nothing in common: more than the first must stay."""
    words = [f"w{n}" for n in range(800)]
    texts = [" ".join(words[start : start + 104]) for start in range(0, 600, 10)]
    assert overlap(texts[0], texts[1]) == pytest.approx(0.818, abs=0.001)
    drops = dedup_minhash.function(documents(texts, 7), ctx=ctx)
    assert 20 <= len(texts) - len(drops) <= 40
    check_law(texts, drops, 0.8)


def test_odd_documents_are_decided_rightly(documents: Documents, ctx: Context) -> None:
    line = "".join(essay(n, 500).replace(" ", "") for n in range(400))[:1_000_000]
    spaced = essay(7, 200_000)[:1_000_000]
    texts = ["", "word", "", "word", "Word", "other", " \n ", line, spaced, line, spaced + " end", "word word"]
    drops = dedup_minhash.function(documents(texts, 4), ctx=ctx)
    assert {name: drop.details["of"] for name, drop in drops.items()} == {
        "d3": "d1", "d4": "d1", "d9": "d7", "d10": "d8",
    }  # fmt: skip


def test_the_longest_the_newest_or_the_best_stays(store: Callable[..., Dataset[Any]], ctx: Context) -> None:
    text = essay(3, 200)
    rows = [
        {"id": name, "parents": ["x"], "text": text + more, "meta": meta}
        for name, more, meta in [
            ("a", "", {"date": "2024-05-01", "score": 1}),
            ("b", " and more of it", {"date": "2025-01-01T10:00:00", "score": 0.5}),
            ("c", " end", {"score": 7}),
            ("d", "", {}),
        ]
    ]
    for options, kept in (({}, "a"), ({"keep": "longest"}, "b"), ({"keep": "newest"}, "b"),
                          ({"keep": "best", "by": "score"}, "c")):  # fmt: skip
        drops = dedup_minhash.function(store(rows, size=2), ctx=ctx, **options)
        assert {drop.details["of"] for drop in drops.values()} == {kept}
        assert len(drops) == 3
    with pytest.raises(InputError, match="keep: best needs `by`"):
        dedup_minhash.function(store(rows), ctx=ctx, keep="best")


def test_a_date_without_a_zone_means_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    dates = ["2024-05-01T12:00:00", "2024-05-01T13:00:00+00:00", "0001-01-01", 10**400, "soon", None]
    found = []
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            found.append([_number({"date": date}, "date") for date in dates])
    time.tzset()
    assert found[0][1] - found[0][0] == 3600
    assert found[0][3:] == [float("-inf")] * 3
    assert found[1:] == found[:1] * 2


def test_an_index_of_nothing_finds_nothing(documents: Documents, ctx: Context) -> None:
    index = replace(minhash_index.function(Dataset([]), ctx=ctx), uri="none")
    assert dedup_minhash.function(documents([essay(1), essay(2)]), ctx=ctx, index=index) == {}


def test_one_corpus_is_deduplicated_against_another(documents: Documents, ctx: Context) -> None:
    old, new = documents([essay(n) for n in range(10)], 4), [essay(n) for n in range(5, 15)]
    drops = dedup_minhash.function(documents([*new, new[-1]], 3), ctx=ctx, against=old)
    assert {name: drop.details["of"] for name, drop in drops.items()} == {
        **{f"d{n}": f"d{n + 5}" for n in range(5)},  # of the other one
        "d10": "d9",
    }
    twice = documents([essay(1), essay(1), essay(1)])
    assert set(dedup_minhash.function(documents([essay(1)]), ctx=ctx, against=twice)) == {"d0"}


def test_an_index_stands_for_what_it_was_made_of(documents: Documents, ctx: Context) -> None:
    old, new = documents([essay(n) for n in range(10)], 4), documents([essay(n) for n in range(5, 15)], 3)
    made = minhash_index.function(old, ctx=ctx)
    index = replace(made, uri="old")
    assert dedup_minhash.function(new, ctx=ctx, index=index) == dedup_minhash.function(new, ctx=ctx, against=old)
    with pytest.raises(InputError, match="has shingles of 5, not of 4"):
        dedup_minhash.function(new, ctx=ctx, index=index, ngram=4)
    with pytest.raises(InputError, match=r"finds a pair at 0\.3 with probability"):
        dedup_minhash.function(new, ctx=ctx, index=index, threshold=0.3)


def check_law(texts: list[str], drops: Any, threshold: float) -> None:
    """Every dropped record is as similar to a kept, earlier one as it says, and no less than the threshold."""
    for name, drop in drops.items():
        kept = drop.details["of"]
        assert kept not in drops
        assert int(kept[1:]) < int(name[1:])
        exact = overlap(texts[int(name[1:])], texts[int(kept[1:])])
        assert exact >= threshold
        assert drop.details["jaccard"] == pytest.approx(exact)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 12)), max_size=14),
    st.sampled_from([0.5, 0.8, 1.0]),
)
def test_laws_of_near_duplicates(
    documents: Documents, ctx: Context, rows: list[tuple[int, int, int]], threshold: float
) -> None:
    texts = [edited(essay(seed), edit, count) for seed, edit, count in rows]
    drops = dedup_minhash.function(documents(texts), ctx=ctx, threshold=threshold)
    check_law(texts, drops, threshold)
    assert drops == dedup_minhash.function(documents(texts, 1), ctx=ctx, threshold=threshold)  # shards do not matter
    kept = [text for n, text in enumerate(texts) if f"d{n}" not in drops]
    assert len(kept) == len(set(kept))


def test_pairs_above_the_threshold_are_found(documents: Documents, ctx: Context) -> None:
    texts = [essay(n, 200) for n in range(60)]
    near = [edited(text, n, 3) for n, text in enumerate(texts)]
    true = {f"d{60 + n}" for n in range(60) if overlap(texts[n], near[n]) >= 0.8}
    drops = dedup_minhash.function(documents(texts + near, 20), ctx=ctx)
    assert len(true) >= 50
    assert len(true & set(drops)) >= 0.95 * len(true)
    assert set(drops) <= true


def test_what_the_threshold_means_is_reported(documents: Documents, ctx: Context) -> None:
    dedup_minhash.function(documents(["a", "b"]), ctx=ctx)
    (section,) = ctx.runtime.sections.values()  # type: ignore[attr-defined]
    assert "16 bands of 6" in section
    assert "| 0.8 | 0.992 |" in section


def test_a_record_that_stands_for_much_of_the_corpus_is_told_of(documents: Documents, ctx: Context) -> None:
    dedup_minhash.function(documents([essay(1)] * 5 + [essay(n) for n in range(2, 40)], 10), ctx=ctx)
    (section,) = ctx.runtime.sections.values()  # type: ignore[attr-defined]
    assert "- `d0`: 4" in section


def test_options_out_of_range_are_named() -> None:
    for wrong in ({"threshold": 1.5}, {"recall": 1}, {"ngram": 0}, {"permutations": 0}, {"keep": "last"}):
        with pytest.raises(ValidationError):
            dedup_minhash.options(**wrong)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        take.options(n=-1)


def test_take_keeps_the_first(documents: Documents) -> None:
    assert sorted(take.function(documents(["a", "b", "c", "d"]), n=2)) == ["d2", "d3"]
    assert take.function(documents(["a"]), n=5) == {}


def test_subsample_is_random_and_stable(documents: Documents, ctx: Context) -> None:
    texts = [str(n) for n in range(200)]
    drops = subsample.function(documents(texts, 50), n=40, ctx=ctx)
    kept = {f"d{n}" for n in range(200)} - set(drops)
    assert len(kept) == 40
    assert kept != {f"d{n}" for n in range(40)}
    grown = subsample.function(documents([*texts, "one", "more"], 7), n=40, ctx=ctx)
    assert len(kept & set(grown)) <= 2
    assert subsample.function(documents(texts), n=0, ctx=ctx).keys() == {f"d{n}" for n in range(200)}
