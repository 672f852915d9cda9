"""Sources mixed, interleaved and shuffled; budgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import factory.corpus.mixing.arrange as arrange
from factory import Context, Dataset, Drop, InputError, Prompt, PromptCompletion, Text, assistant, user
from factory.corpus.mixing.arrange import arranged
from factory.corpus.mixing.budget import token_budget
from factory.corpus.mixing.interleave import interleave
from factory.corpus.mixing.mix import mix
from factory.corpus.mixing.shuffle import shuffle
from factory.engine.account import Account
from factory.text.words import words

Store = Callable[..., Dataset[Any]]
LAW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def gone(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, dict[str, Any]]]:
    """Records dropped through the context: id → reason and details."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}

    def drop(record: Any, reason: str, details: dict[str, Any]) -> None:
        assert record["id"] not in found
        found[record["id"]] = reason, details

    monkeypatch.setattr(ctx.runtime, "drop", drop)
    return found


@pytest.fixture
def sources(store: Store) -> Callable[..., Dataset[Any]]:
    """A dataset made from several sources: name → lengths in words of its records, whose ids are name0, name1, …"""

    def made(size: int = 7, **given: list[int]) -> Dataset[Any]:
        parts = {}
        for name, lengths in given.items():
            rows = [
                {"id": f"{name}{n}", "parents": [f"{name}.jsonl#{n}"], "text": "word " * length, "meta": {}}
                for n, length in enumerate(lengths)
            ]
            parts[name] = store(rows, Text, size)
        return Dataset([shard for part in parts.values() for shard in part.shards], Text, parts)

    return made


def drawn(records: list[Any], source: str) -> list[tuple[str, int]]:
    return [(r["id"], r["meta"]["epoch"]) for r in records if r["meta"]["source"] == source]


def test_gpt3_weights_make_epochs(sources: Any, ctx: Context, gone: Any) -> None:
    """A source is drawn without replacement, all of it before any of it again."""
    dataset = sources(web=[1] * 100, wiki=[1] * 10)
    made = list(mix.function(dataset, {"web": 2, "wiki": 1}, ctx, records=75))
    wiki, web = drawn(made, "wiki"), drawn(made, "web")
    assert Counter(epoch for _, epoch in wiki) == {1: 10, 2: 10, 3: 5}
    for epoch in (1, 2):
        assert sorted(name for name, e in wiki if e == epoch) == sorted(f"wiki{n}" for n in range(10))
    assert [epoch for _, epoch in wiki] == sorted(epoch for _, epoch in wiki)
    assert [name for name, e in wiki if e == 1] != [name for name, e in wiki if e == 2]
    assert len(web) == len({name for name, _ in web}) == 50
    assert gone.keys() == {f"web{n}" for n in range(100)} - {name for name, _ in web}
    assert set(map(str, gone.values())) == {str(("not drawn", {"source": "web"}))}
    section = ctx.runtime.sections["Mix"]  # type: ignore[attr-defined]
    assert "| wiki | 10 | 10 | 33.33% | 33.33% | 25 | 25 | 2.50 |" in section
    assert "| web | 100 | 100 | 66.67% | 66.67% | 50 | 50 | 0.50 |" in section


def test_a_source_is_spread_over_the_mix(sources: Any, ctx: Context, gone: Any) -> None:
    dataset = sources(web=[1] * 600, wiki=[1] * 200)
    made = list(mix.function(dataset, {"web": 3, "wiki": 1}, ctx, records=800))
    for start in range(0, 800, 200):
        share = sum(r["meta"]["source"] == "wiki" for r in made[start : start + 200]) / 200
        assert 0.15 < share < 0.35


@LAW
@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.floats(0.01, 10)),
        min_size=1,
    ),
    st.sampled_from(["records", "tokens", "epochs"]),
    st.integers(1, 60),
)
def test_weights_are_respected(
    sources: Any, ctx: Context, spread: dict[str, tuple[list[int], float]], size: str, amount: int
) -> None:
    ctx.runtime.drop = lambda *_: None  # type: ignore[method-assign]
    lengths = {name: [1, *found] for name, (found, _) in spread.items()}
    weights = {name: weight for name, (_, weight) in spread.items()}
    dataset = sources(**lengths)
    options: dict[str, Any] = {size: amount if size != "epochs" else amount / 30, "max_epochs": 1e9}
    if size == "epochs":  # weights far apart would make a mix of millions
        weights = dict.fromkeys(weights, 1.0)
    made = list(mix.function(dataset, weights, ctx, **options))
    total = sum(weights.values())
    if size == "records":
        assert len(made) == amount
        for name, weight in weights.items():
            assert abs(len(drawn(made, name)) - amount * weight / total) <= 1
    else:
        largest = max(weights, key=lambda name: sum(lengths[name]))
        for name, weight in weights.items():
            wanted = amount * weight / total if size == "tokens" else options["epochs"] * sum(lengths[largest])
            got = sum(lengths[name][int(one[1:])] for one, _ in drawn(made, name))
            assert abs(got - wanted) <= max(lengths[name]) / 2 + 1e-6
    again = Counter((r["id"], r["meta"]["epoch"]) for r in made)
    assert not again or max(again.values()) == 1
    for name in weights:
        count = Counter(one for one, _ in drawn(made, name) if lengths[name][int(one[1:])])
        seen = [count[f"{name}{n}"] for n, length in enumerate(lengths[name]) if length]
        assert max(seen) - min(seen) <= 1  # nothing a second time before everything once
    assert made == list(mix.function(sources(3, **lengths), weights, ctx, **options))  # shards do not matter


@LAW
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60))
def test_one_more_record_leaves_the_other_draws_in_place(
    sources: Any, ctx: Context, web: int, wiki: int, amount: int
) -> None:
    ctx.runtime.drop = lambda *_: None  # type: ignore[method-assign]
    weights, options = {"web": 1.0, "wiki": 1.0}, {"records": amount, "max_epochs": 99.0}
    before = list(mix.function(sources(web=[1] * web, wiki=[1] * wiki), weights, ctx, **options))
    after = list(mix.function(sources(web=[1] * web, wiki=[1] * (wiki + 1)), weights, ctx, **options))
    assert drawn(before, "web") == drawn(after, "web")
    old, new = drawn(before, "wiki"), [one for one in drawn(after, "wiki") if one[0] != f"wiki{wiki}"]
    for epoch in range(1, amount + 1):
        was, now = ([one for one in some if one[1] == epoch] for some in (old, new))
        assert was[: len(now)] == now[: len(was)]  # longer or shorter by what the new one displaced, else the same
    if amount // 2 <= wiki:
        assert len(set(old) - set(new)) <= 1


def test_other_seeds_draw_others(sources: Any, tmp_path: Path, ctx: Context, gone: Any) -> None:
    dataset = sources(web=[1] * 60)
    other = Context(ctx.step, 1, 1, tmp_path, tmp_path, ctx.runtime)
    one = {r["id"] for r in mix.function(dataset, {"web": 1}, ctx, records=20)}
    gone.clear()
    assert one != {r["id"] for r in mix.function(dataset, {"web": 1}, other, records=20)}


def test_epochs_count_the_largest_or_the_named_source(sources: Any, ctx: Context, gone: Any) -> None:
    dataset = sources(web=[2] * 30, wiki=[3] * 10)
    weights = {"web": 0.5, "wiki": 0.5}
    made = list(mix.function(dataset, weights, ctx))
    assert [len(drawn(made, name)) for name in weights] == [30, 20]
    made = list(mix.function(dataset, weights, ctx, epochs=1, of="wiki"))
    assert [len(drawn(made, name)) for name in weights] == [15, 10]
    gone.clear()
    made = list(mix.function(dataset, weights, ctx, tokens=60, unit="characters"))
    assert [len(drawn(made, name)) for name in weights] == [3, 2]


def test_meta_of_the_record_stays(sources: Any, store: Store, ctx: Context, gone: Any) -> None:
    rows = [{"id": "a", "parents": ["a"], "text": "x", "meta": {"source": "arxiv", "k": 1}}]
    part = store(rows)
    (made,) = mix.function(Dataset(part.shards, Text, {"papers": part}), {"papers": 1}, ctx)
    assert made["meta"] == {"k": 1, "source": "papers", "epoch": 1, "source_before": "arxiv"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": {"web": 1, "wikki": 1}}, "no 'wikki' in `from:`; did you mean 'wiki'"),
        ({"weights": {"web": 1}}, "'wiki' has none; `wiki: 0` leaves it out"),
        ({"weights": {"web": 0, "wiki": 0}}, "at least one must be above 0"),
        ({"weights": {"web": 1, "wiki": 1}, "records": 3, "tokens": 3}, "records and tokens both say"),
        ({"weights": {"web": 1, "wiki": 1}, "records": 3, "of": "web"}, "`of` goes with `epochs`"),
        ({"weights": {"web": 1, "wiki": 0}, "of": "wiki"}, "'wiki' is no source with a weight"),
        ({"weights": {"web": 1, "wiki": 9}}, "'wiki' would be seen 18.00 times, and max_epochs is 4"),
    ],
)
def test_what_cannot_be_mixed_is_said(sources: Any, ctx: Context, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        list(mix.function(sources(web=[1] * 10, wiki=[1] * 5), ctx=ctx, **options))
    assert said in str(caught.value)


def test_bounds_are_in_the_options() -> None:
    for step, options in [
        (mix, {"weights": {"a": -1}}),
        (mix, {"weights": {"a": 1}, "records": 0}),
        (mix, {"weights": {"a": 1}, "epochs": 0}),
        (interleave, {"weights": {"a": float("nan")}}),
        (interleave, {"stop": "never"}),
        (token_budget, {"tokens": -1}),
    ]:
        with pytest.raises(ValidationError):
            step.options(**options)


def test_an_empty_source_is_said(sources: Any, ctx: Context, gone: Any) -> None:
    with pytest.raises(InputError, match="no record in 'wiki'; `wiki: 0` leaves it out"):
        list(mix.function(sources(web=[1], wiki=[]), {"web": 1, "wiki": 1}, ctx))
    with pytest.raises(InputError, match="no words in 'wiki'"):
        list(mix.function(sources(web=[1], wiki=[0]), {"web": 1, "wiki": 1}, ctx))
    assert len(list(mix.function(sources(web=[1], wiki=[]), {"web": 1, "wiki": 0}, ctx))) == 1


def names(records: Iterator[Any]) -> list[str]:
    return [record["id"] for record in records]


def test_interleave_stops_as_datasets_does(sources: Any, ctx: Context, gone: Any) -> None:
    dataset = sources(a=[1] * 2, b=[1] * 4)
    assert names(interleave.function(dataset, ctx)) == ["a0", "b0", "a1", "b1"]
    assert gone == {"b2": ("not drawn", {"source": "b"}), "b3": ("not drawn", {"source": "b"})}
    gone.clear()
    made = list(interleave.function(dataset, ctx, stop="all_exhausted"))
    assert names(iter(made)) == ["a0", "b0", "a1", "b1", "a0", "b2", "a1", "b3"]
    assert [r["meta"]["epoch"] for r in made] == [1, 1, 1, 1, 2, 1, 2, 1]
    made = names(interleave.function(dataset, ctx, stop="all_exhausted_without_replacement"))
    assert made == ["a0", "b0", "a1", "b1", "b2", "b3"]
    assert names(interleave.function(dataset, ctx, weights={"a": 1, "b": 2})) == ["b0", "a0", "b1", "b2", "a1", "b3"]
    assert gone == {}
    with pytest.raises(InputError, match=r"'a' would be seen 6.00 times"):
        list(interleave.function(dataset, ctx, weights={"a": 3, "b": 1}, stop="all_exhausted"))


@LAW
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), min_size=1, max_size=4),
    st.sampled_from(["first_exhausted", "all_exhausted", "all_exhausted_without_replacement"]),
)
def test_turns_keep_to_the_weights(sources: Any, ctx: Context, spread: list[tuple[int, int]], stop: Any) -> None:
    left: list[str] = []
    ctx.runtime.drop = lambda record, *_: left.append(record["id"])  # type: ignore[method-assign]
    sizes = dict(zip("abcd", (size for size, _ in spread), strict=False))
    weights = dict(zip("abcd", (float(weight) for _, weight in spread), strict=False))
    dataset = sources(**{name: [1] * size for name, size in sizes.items()})
    made = list(interleave.function(dataset, ctx, weights=weights, stop=stop, max_epochs=1e9))
    counts: Counter[str] = Counter()
    for position, record in enumerate(made, 1):
        counts[record["meta"]["source"]] += 1
        if stop == "all_exhausted_without_replacement" and max(counts[n] - sizes[n] for n in sizes) == 0:
            break  # then one has ended and the others go on without it
        for name, weight in weights.items():
            assert abs(counts[name] - position * weight / sum(weights.values())) < len(sizes)
    seen = {record["id"] for record in made}
    everything = {f"{name}{n}" for name, size in sizes.items() for n in range(size)}
    assert seen | set(left) == everything
    assert not seen & set(left)
    assert stop == "first_exhausted" or seen == everything
    assert stop == "all_exhausted" or len(made) == len(seen)
    if stop == "first_exhausted":
        assert any(counts[name] == size for name, size in sizes.items())


def test_shuffle_keeps_all_and_one_more_moves_no_other(documents: Any, ctx: Context) -> None:
    texts = [f"text {n}" for n in range(100)]
    order = names(shuffle.function(documents(texts, 9), ctx))
    assert sorted(order) == sorted(f"d{n}" for n in range(100))
    assert sum(abs(int(name[1:]) - at) for at, name in enumerate(order)) / 100 > 20
    grown = names(shuffle.function(documents([*texts, "more"], 40), ctx))
    assert [name for name in grown if name != "d100"] == order
    assert names(shuffle.function(documents([]), ctx)) == []


@LAW
@given(st.lists(st.integers(0, 29), max_size=60), st.integers(1, 400))
def test_any_order_comes_out_of_small_runs(documents: Any, tmp_path: Path, order: list[int], run: int) -> None:
    before, arrange.RUN = arrange.RUN, run
    try:
        dataset = documents([f"text number {n}" for n in range(30)], 4)
        made = names(arranged(dataset.shards, np.array(order, np.int64), tmp_path / "runs"))
    finally:
        arrange.RUN = before
    assert made == [f"d{n}" for n in order]
    assert not list((tmp_path / "runs").glob("*"))


def test_sources_of_several_types_lose_no_column(store: Store, ctx: Context) -> None:
    one = store([{"id": "a", "parents": [], "prompt": user("p"), "meta": {}}], Prompt)
    row = {"id": "b", "parents": [], "prompt": user("q"), "completion": assistant("c"), "meta": {}}
    two = store([row], PromptCompletion)
    dataset = Dataset([*one.shards, *two.shards, *one.shards], Prompt)
    made = list(arranged(dataset.shards, np.array([1, 2, 0]), ctx.workdir))
    assert made == [row, *one, *one]


def test_budget_is_never_exceeded(documents: Any, ctx: Context) -> None:
    texts = ["one two three", "one two", "one", "一二三四", ""]
    budget = token_budget.function
    assert sorted(budget(documents(texts), 5, ctx, order="given")) == ["d2", "d3", "d4"]
    assert sorted(budget(documents(texts), 4, ctx, order="given")) == ["d1", "d2", "d3", "d4"]  # no shorter one behind
    assert budget(documents(texts), 10, ctx, order="given") == {}
    assert sorted(budget(documents(texts), 13, ctx, order="given", unit="characters")) == ["d1", "d2", "d3", "d4"]
    drop = budget(documents(texts), 0, ctx, order="given")["d3"]
    assert (drop.reason, drop.details) == ("beyond the budget", {"size": 4, "unit": "words"})
    many = [f"text {n} " * (n % 7) for n in range(200)]
    kept = {f"d{n}" for n in range(200)} - set(budget(documents(many, 50), 500, ctx))
    assert 480 < sum(len(words(many[int(name[1:])])) for name in kept) <= 500
    grown = {f"d{n}" for n in range(200)} - set(budget(documents([*many, "one more"], 20), 500, ctx))
    assert len(kept - grown) <= 3
    assert kept != {f"d{n}" for n in range(len(kept))}


@pytest.mark.parametrize("step", [mix, interleave])
def test_the_account_closes_and_copies_have_ids_of_their_own(sources: Any, ctx: Context, step: Any) -> None:
    dataset = sources(a=[1] * 9, b=[1] * 3)
    account = Account("a test")
    line = account.line(step.name)
    for record in dataset:
        account.arrive(record)
        line.incoming += 1
    ctx.runtime.drop = lambda record, reason, details: account.drop(line, record, Drop(reason))  # type: ignore[method-assign]
    options = {"weights": {"a": 1.0, "b": 2.0}, "max_epochs": 9.0}
    options |= {"records": 21} if step is mix else {"stop": "all_exhausted"}
    made = []
    for record in step.function(dataset, ctx=ctx, **options):
        made.append(account.identify(record, step.name))
        line.made += made[-1]["id"] not in account.inputs
        line.out += 1
        account.keep([made[-1]["id"]])
    line.parted = len(account.inputs - account.kept - account.gone)
    counts = account.close()
    assert counts["out"] == len({record["id"] for record in made}) == len(made) > 12
    for record in made:
        first = record["meta"]["epoch"] == 1
        assert (record["id"] in account.inputs) == first
        assert first or set(record["parents"]) <= account.inputs
