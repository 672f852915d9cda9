"""Exact repeats of many tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import factory.corpus.dedup.matching as matching
from factory import Context, Dataset
from factory.corpus.dedup.substrings import dedup_substrings
from factory.text.words import words

Documents = Callable[..., Dataset[Any]]
Gone = dict[str, tuple[str, dict[str, Any]]]
LAW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


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
    return {record["id"]: record["text"] for record in dedup_substrings.function(dataset, ctx=ctx, **options)}


def essay(seed: int, size: int) -> str:
    drawn = random.Random(seed)
    return " ".join(f"w{drawn.randrange(10_000)}" for _ in range(size))


def staying(documents: Sequence[Sequence[str]], size: int) -> list[list[bool]]:
    """Which tokens stay, from the definition: windows in order, each compared with all before it."""
    first: dict[tuple[str, ...], tuple[int, int]] = {}
    stays = [[True] * len(tokens) for tokens in documents]
    for number, tokens in enumerate(documents):
        for at in range(len(tokens) - size + 1):
            earlier = first.setdefault(tuple(tokens[at : at + size]), (number, at))
            if earlier == (number, at):
                continue
            shared = max(0, earlier[1] + size - at) if earlier[0] == number else 0
            for token in range(at + shared, at + size):
                stays[number][token] = False
    return stays


SMALL = st.lists(st.text("ab", max_size=24).map(list), max_size=7)


@LAW
@given(SMALL, st.integers(2, 9), st.integers(1, 4), st.integers(4, 40))
@example([list("a" * 24), list("ab" * 12)], 5, 1, 3)
@example([list("abbabaabbaababba"), list("baababbaabbabaab")], 8, 1, 3)  # Thue and Morse
def test_exactly_the_tokens_of_the_definition_go(
    documents: Documents, ctx: Context, gone: Gone, monkeypatch: Any, held: Any, size: int, shard: int, keys: int
) -> None:
    monkeypatch.setattr(matching, "RANGE_KEYS", keys)
    dataset = documents([" ".join(tokens) for tokens in held], shard)
    found = [text.split() for text in texts(dataset, ctx, tokens=size, min_chars=0).values()]
    stays = staying(held, size)
    assert found == [[t for t, stay in zip(*pair, strict=True) if stay] for pair in zip(held, stays, strict=True)]
    assert gone == {}


@LAW
@given(SMALL, st.integers(2, 9))
def test_of_equal_windows_only_the_first_stays_whole(held: list[list[str]], size: int) -> None:
    """A law of the definition: windows that are whole in what is left are all different, but where two ends meet."""
    whole = []
    firsts: set[tuple[str, ...]] = set()
    for tokens, stays in zip(held, staying(held, size), strict=True):
        for at in range(len(tokens) - size + 1):
            window = tuple(tokens[at : at + size])
            if all(stays[at : at + size]):
                whole.append(window)
                assert window not in firsts  # it is the first of its kind
            firsts.add(window)
    assert len(whole) == len(set(whole))


def test_fifty_tokens_go_and_forty_nine_stay(documents: Documents, ctx: Context, gone: Gone) -> None:
    shared, other = essay(1, 50), essay(2, 49)
    held = [f"One. {shared}. Two, {other}.", f"Three: {shared.upper()}. Four.\n\nFive", f"Six {other} seven"]
    made = list(dedup_substrings.function(documents(held, 1), ctx=ctx))
    assert [record["text"] for record in made] == [held[0], "Three: Four.\n\nFive", held[2]]
    assert [record["meta"].get("a_step") for record in made] == [
        None,
        {"words": 50, "characters": len(shared) + 2},
        None,
    ]
    assert gone == {}


def test_long_repeats_go_whole_wherever_they_begin(documents: Documents, ctx: Context, gone: Gone) -> None:
    passage = essay(3, 700)
    held = [
        f"{essay(4, 60)} {passage} {essay(5, 60)}",
        f"{essay(6, 33)} {' '.join(passage.split()[11:590])} {essay(7, 20)}",
    ]
    assert texts(documents(held), ctx)["d1"] == f"{essay(6, 33)} {essay(7, 20)}"


def test_characters_are_tokens_where_words_are_not_spaced(documents: Documents, ctx: Context, gone: Gone) -> None:
    drawn = random.Random(1)
    passage = "".join(chr(0x4E00 + drawn.randrange(3000)) for _ in range(60))
    held = [f"起。{passage}终", f"再。{passage[5:56]}后", f"又{passage[5:54]}后"]
    assert list(texts(documents(held), ctx).values()) == [held[0], "再。后", held[2]]


def test_copies_are_dropped_and_name_the_first(documents: Documents, ctx: Context, gone: Gone) -> None:
    held = ["short", essay(8, 80), essay(8, 80), f"{essay(8, 80)} {essay(9, 20)}", f"{essay(8, 80)} {essay(11, 22)}"]
    assert texts(documents(held, 2), ctx, max_share=0.79).keys() == {"d0", "d1", "d4"}
    size = len(essay(8, 80))
    assert gone == {
        "d2": ("repeated text", {"words": 80, "characters": size, "left": 0, "of": "d1"}),
        "d3": ("repeated text", {"words": 80, "characters": size + 1, "left": len(essay(9, 20)), "of": "d1"}),
    }


def test_a_text_that_repeats_itself_keeps_its_beginning(documents: Documents, ctx: Context, gone: Gone) -> None:
    verse = essay(10, 60)
    found = texts(documents([f"{verse}\n" * 3, "la " * 400, "", "?!"]), ctx)
    assert found == {"d0": f"{verse}\n", "d1": " ".join(["la"] * 50) + " ", "d2": "", "d3": "?!"}
    assert words(found["d1"]) == ["la"] * 50


def test_the_report_has_the_commonest_passage_once(documents: Documents, ctx: Context, gone: Gone) -> None:
    held = [f"{essay(n, 30)} {essay(99, 120)}" for n in range(4)] + [f"{essay(98, 60)} 1 {essay(98, 60)}"]
    texts(documents(held, 2), ctx)
    [section] = ctx.runtime.sections.values()  # type: ignore[attr-defined]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "w" in line]
    assert [row.split(" | ")[0] for row in rows] == ["| 4", "| 2"]
    assert essay(99, 5) in rows[0]
