"""Duplicates, and parts drawn by number."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from factory import Context, Dataset, InputError, Unpaired, assistant, user
from factory.corpus.draw import subsample, take
from factory.corpus.duplicates import dedup_exact
from factory.corpus.minhash import TokenNumbers, choose_bands, dedup_minhash, jaccard, proposed, shingle_hashes
from factory.text.words import is_unspaced, shingles

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


def test_word_problems_that_differ_in_numbers_stay(documents: Documents, ctx: Context) -> None:
    texts = [f"Ann has {n} apples and buys {n * 7} more. How many has she?" for n in range(200)]
    assert dedup_minhash.function(documents(texts, 50), ctx=ctx) == {}


def test_similarity_does_not_chain(documents: Documents, ctx: Context) -> None:
    """Neighbours are near duplicates, the ends have nothing in common: more than the first must stay."""
    words = [f"w{n}" for n in range(400)]
    texts = [" ".join(words[start : start + 100]) for start in range(0, 300, 5)]
    drops = dedup_minhash.function(documents(texts, 7), ctx=ctx)
    assert 10 <= len(texts) - len(drops) <= 40
    check_law(texts, drops, 0.8)


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


def test_chinese_edits_are_found(documents: Documents, ctx: Context) -> None:
    drawn = random.Random(1)
    texts = ["".join(chr(0x4E00 + drawn.randrange(3000)) for _ in range(300)) for _ in range(20)]
    near = [text[:150] + "新" + text[151:] for text in texts]
    assert len(dedup_minhash.function(documents(texts + near, 10), ctx=ctx)) == 20


@given(st.text("ab 1é中文!", max_size=60), st.text("ab 1é中文!", max_size=60), st.integers(1, 6))
def test_shingles_are_those_of_the_text_room(one: str, other: str, n: int) -> None:
    assume(is_unspaced(one) == is_unspaced(other))  # `shingles` joins words by a blank and characters by none
    numbers = TokenNumbers()
    exact = jaccard(shingle_hashes(one, n, numbers), shingle_hashes(other, n, numbers))
    assert exact == pytest.approx(overlap(one, other, n))


def test_bands_are_as_long_as_recall_allows() -> None:
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.95, 1.0):
        bands, rows = choose_bands(threshold, 128)
        assert bands * rows <= 128
        assert proposed(threshold, bands, rows) >= 0.98
    assert choose_bands(0.8, 128) == (18, 7)


def test_what_the_threshold_means_is_reported(documents: Documents, ctx: Context) -> None:
    dedup_minhash.function(documents(["a", "b"]), ctx=ctx)
    (section,) = ctx.runtime.sections.values()  # type: ignore[attr-defined]
    assert "| 0.8 | 0.986 |" in section


def test_options_out_of_range_are_named(documents: Documents, ctx: Context) -> None:
    with pytest.raises(InputError, match="threshold must be above 0"):
        dedup_minhash.function(documents(["a"]), ctx=ctx, threshold=1.5)
    with pytest.raises(InputError, match="n must not be negative"):
        take.function(documents(["a"]), n=-1)


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
