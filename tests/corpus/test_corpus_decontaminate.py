"""Evaluation items in training data."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import factory.corpus.dedup.decontaminate as room
from factory import Choice, Context, Dataset, InputError, PromptCompletion, assistant, user
from factory.corpus.dedup.decontaminate import decontaminate
from factory.text.words import ngrams, words

Documents = Callable[..., Dataset[Any]]
Store = Callable[..., Dataset[Any]]
LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def essay(seed: int, size: int) -> str:
    drawn = random.Random(seed)
    return " ".join(f"w{drawn.randrange(10_000)}" for _ in range(size))


def part(text: str, start: int, size: int) -> str:
    return " ".join(text.split()[start : start + size])


@pytest.fixture
def items(store: Store) -> Callable[..., Dataset[Any]]:
    """Texts as evaluation items; ids are NAME0, NAME1, …"""

    def stored(name: str, *texts: str, size: int = 2) -> Dataset[Any]:
        return store(
            [{"id": f"{name}{n}", "parents": [], "text": t, "meta": {}} for n, t in enumerate(texts)], size=size
        )

    return stored


def section(ctx: Context) -> str:
    [text] = ctx.runtime.sections.values()  # type: ignore[attr-defined]
    return str(text)


def test_thirteen_words_are_a_hit_and_twelve_are_none(documents: Documents, items: Any, ctx: Context) -> None:
    item, other = essay(1, 40), essay(2, 40)
    held = [
        f"before, {part(item, 7, 13).upper().replace(' ', ', ')}; after",
        f"before {part(item, 7, 12)} after",
        f"{part(item, 0, 12)} gap {part(item, 12, 12)}",
        f"{part(other, 0, 39)} {part(item, 0, 13)}",
    ]
    drops = decontaminate.function(
        documents(held), {"maths": items("m", "x", other), "facts": items("f", item)}, ctx=ctx
    )
    assert {name: (d.reason, d.details) for name, d in drops.items()} == {
        "d0": ("contaminated", {"of": "f0", "set": "facts", "ngram": part(item, 7, 13), "share": round(1 / 28, 4)}),
        "d3": (
            "contaminated",
            {"of": "m1", "set": "maths", "ngram": drops["d3"].details["ngram"], "share": round(27 / 28, 4)},
        ),
    }
    assert drops["d3"].details["ngram"] in other
    told = section(ctx)
    assert "2 of 4 records contain evaluation items" in told
    assert "| maths | 2 | 1 | 50.00% | 1 | 0 | 0 |" in told
    assert "| facts | 1 | 1 | 100.00% | 1 | 0 | 0 |" in told
    assert "| `f0` | facts | 2 |" in told  # also in d3, which m1 has more of


def test_short_items_are_sought_whole_and_very_short_ones_as_whole_texts(
    documents: Documents, items: Any, ctx: Context
) -> None:
    ten, three = essay(3, 10), "two plus two"
    held = [f"say {ten} now", f"say {part(ten, 0, 9)} now", "Two plus two?", "it is two plus two", "what is it"]
    drops = decontaminate.function(documents(held), [items("a", ten, three, "?!")], ctx=ctx)
    assert {name: (d.details["of"], d.details["set"], d.details["ngram"]) for name, d in drops.items()} == {
        "d0": ("a0", "1", ten),
        "d2": ("a1", "1", three),
    }
    assert "| 1 | 3 | 2 | 66.67% | 2 | 1 | 0 |" in section(ctx)


def test_items_without_spaces_have_longer_ngrams_of_characters(documents: Documents, items: Any, ctx: Context) -> None:
    drawn = random.Random(4)
    item = "".join(chr(0x4E00 + drawn.randrange(3000)) for _ in range(60))
    held = [f"起，{item[5:31]}终", f"起{item[5:30]}终", f"{item[5:18]} x", item[50:]]
    sets = {"zh": items("z", item, item[:20], item[50:])}
    assert decontaminate.function(documents(held), sets, ctx=ctx).keys() == {"d0", "d3"}
    assert decontaminate.function(documents(held), sets, ctx=ctx, characters=13).keys() == {"d0", "d1", "d2", "d3"}


def test_a_share_of_an_item_may_be_asked_for(documents: Documents, items: Any, ctx: Context) -> None:
    item = essay(5, 22)  # ten 13-grams
    held = [part(item, 0, 13), part(item, 0, 16), part(item, 0, 17), item]
    drops = decontaminate.function(documents(held), [items("i", item)], ctx=ctx, min_share=0.5)
    assert {name: drop.details["share"] for name, drop in drops.items()} == {"d2": 0.5, "d3": 1.0}


def test_ngrams_of_many_documents_are_ignored_and_told(documents: Documents, items: Any, ctx: Context) -> None:
    phrase, rest = essay(6, 13), essay(7, 30)
    held = [f"{phrase} {n}" for n in range(4)] + [f"{part(rest, 0, 14)} {phrase}"]
    sets = {"qa": items("q", f"{phrase} {rest}", phrase)}
    assert len(decontaminate.function(documents(held, 2), sets, ctx=ctx)) == 5
    drops = decontaminate.function(documents(held, 2), sets, ctx=ctx, max_documents=4)
    assert {name: drop.details["of"] for name, drop in drops.items()} == {"d4": "q0"}
    assert drops["d4"].details["share"] == round(2 / 30, 4)
    told = section(ctx)
    assert f"| `{phrase}` | 5 | ignored: in more than 4 |" in told
    assert "| qa | 2 | 1 | 50.00% | 1 | 0 | 1 |" in told


def test_records_and_items_of_other_types(store: Store, ctx: Context) -> None:
    question = essay(8, 20)
    choice = {"id": "c", "parents": [], "prompt": user(question), "choices": ["a", "b"], "answer": 0, "meta": {}}
    pairs = [
        {"id": str(n), "parents": [], "prompt": user(text), "completion": assistant("ok"), "meta": {}}
        for n, text in enumerate(["hello", f"Answer: {question}"])
    ]
    drops = decontaminate.function(store(pairs, PromptCompletion), {"c": store([choice], Choice)}, ctx=ctx)
    assert {name: drop.details["of"] for name, drop in drops.items()} == {"1": "c"}


def test_nothing_to_look_for(documents: Documents, items: Any, ctx: Context) -> None:
    assert decontaminate.function(documents([]), {"a": items("a")}, ctx=ctx) == {}
    assert decontaminate.function(documents(["x", "", "y"]), {"a": items("a", "", "!")}, ctx=ctx) == {}
    with pytest.raises(InputError, match="names no evaluation set"):
        decontaminate.function(documents(["x"]), {}, ctx=ctx)


SMALL = st.lists(st.text("ab", max_size=12).map(" ".join), max_size=6)


@LAW
@given(SMALL, SMALL, st.integers(1, 5), st.integers(1, 6), st.sampled_from([None, 1, 2]), st.sampled_from([0, 0.4, 1]))
def test_records_are_dropped_as_defined(
    documents: Documents, items: Any, ctx: Context, monkeypatch: Any,
    held: list[str], sought: list[str], n: int, least: int, most: int | None, share: float,
) -> None:  # fmt: skip
    monkeypatch.setattr(room, "PAIRS", 3)

    def grams(text: str) -> set[tuple[str, ...]]:
        return set(ngrams(words(text), min(n, len(words(text))))) if text else set()

    def contains(text: str, gram: tuple[str, ...]) -> bool:
        tokens = tuple(words(text))
        return tokens == gram if len(gram) < min(n, least) else gram in ngrams(tokens, len(gram))

    every = {gram for item in sought for gram in grams(item)}
    counts = {gram: sum(contains(text, gram) for text in held) for gram in every}
    ignored = {gram for gram, count in counts.items() if most is not None and count > most}
    expected = {}
    for number, text in enumerate(held):
        shares = []
        for item, said in enumerate(sought):
            wanted = grams(said) - ignored
            if (hits := sum(contains(text, gram) for gram in wanted)) and hits / len(wanted) >= share:
                shares.append((-hits / len(wanted), item))
        if shares:
            expected[f"d{number}"] = (f"i{min(shares)[1]}", round(-min(shares)[0], 4))
    drops = decontaminate.function(
        documents(held), [items("i", *sought)], ctx=ctx, ngram=n, min_words=least, max_documents=most, min_share=share
    )
    assert {name: (drop.details["of"], drop.details["share"]) for name, drop in drops.items()} == expected
