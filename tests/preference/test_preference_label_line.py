"""Votes that come in together are one transaction, of which nobody hears before it is kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from label_page import items

from factory.preference.labelling.line import Line
from factory.preference.labelling.showing import Showing
from factory.preference.labelling.store import Labels, View

Make = Callable[..., Labels]


def shown(labels: Labels, who: str = "ann") -> View:
    view = labels.next(who)
    assert view is not None
    return view


def kept(labels: Labels) -> int:
    """Votes that another process sees."""
    with closing(sqlite3.connect(labels.folder / "labels.sqlite")) as db:
        return int(db.execute("SELECT count(*) FROM votes WHERE undone IS NULL").fetchone()[0])


def test_what_is_done_together_is_seen_by_others_when_all_of_it_is_kept(label_set: Make) -> None:
    labels = label_set(5)
    with labels.together():
        for who in ("ann", "ben", "ann"):
            labels.vote(who, shown(labels, who).view, "2")
            assert kept(labels) == 0
    assert kept(labels) == 3


def test_what_raises_among_others_is_undone_alone(label_set: Make) -> None:
    labels = label_set(5)
    mine = shown(labels).view
    with labels.together():
        labels.vote("ann", mine, "2")
        with pytest.raises(PermissionError):
            labels.vote("ben", mine, "4")
        labels.vote("ben", shown(labels, "ben").view, "4")
    assert [vote["choice"] for vote in labels.votes()] == ["2", "4"]
    assert kept(labels) == 2


def test_an_undone_part_leaves_nothing_behind(label_set: Make) -> None:
    labels = label_set(5)
    new, nonsense = next(items(1, 3)), next(items(1, 1))
    with labels.together():
        with pytest.raises(ValueError, match="two answers or more"):
            labels.fill([new, nonsense])  # the first of them is written when the second is refused
        labels.vote("ann", shown(labels).view, "2")
    assert len(labels.items()) == 5
    assert kept(labels) == 1


def test_nothing_of_it_is_kept_when_the_whole_fails(label_set: Make) -> None:
    labels = label_set(5)

    def fail() -> None:
        with labels.together():
            labels.vote("ann", shown(labels).view, "2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert kept(labels) == 0
    labels.vote("ann", shown(labels).view, "2")
    assert kept(labels) == 1


def test_those_who_wait_are_done_together_and_in_order(label_set: Make) -> None:
    labels = label_set(40)
    groups = []

    @contextmanager
    def together() -> Iterator[None]:
        before = len(labels.votes())
        with labels.together():
            yield
        groups.append(len(labels.votes()) - before)

    def vote(choice: str) -> int:
        labels.vote("ann", shown(labels).view, choice)
        return len(labels.votes())

    async def main() -> list[int]:
        line = Line(together)
        try:
            return await asyncio.gather(*(line.do(lambda n=n: vote(str(1 + n % 5))) for n in range(20)))
        finally:
            line.close()

    assert asyncio.run(main()) == list(range(1, 21))
    assert [vote["choice"] for vote in labels.votes()] == [str(1 + n % 5) for n in range(20)]
    assert sum(groups) == 20
    assert len(groups) <= 2


def test_one_who_fails_is_told_so_alone(label_set: Make) -> None:
    labels = label_set(5)
    mine = shown(labels).view

    async def main() -> list[Any]:
        line = Line(labels.together)
        acts = [lambda: labels.vote("ann", mine, "2"), lambda: labels.vote("ben", mine, "4"), lambda: kept(labels)]
        try:
            return await asyncio.gather(*map(line.do, acts), return_exceptions=True)
        finally:
            line.close()

    voted, refused, seen = asyncio.run(main())
    assert voted is None
    assert isinstance(refused, PermissionError)
    assert seen == 0  # nothing was kept yet
    assert kept(labels) == 1


def test_nobody_is_told_that_a_vote_is_kept_when_the_disk_is_full(label_set: Make) -> None:
    labels = label_set(200)
    with labels._writing() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    labels._db.execute(f"PRAGMA max_page_count = {pages + 2}")

    def vote(who: str) -> str:
        view = shown(labels, who).view
        labels.vote(who, view, "2", note="n" * 3_000)
        return view

    async def main() -> list[Any]:
        line = Line(labels.together)
        try:
            asked = [line.do(lambda who=who: vote(who)) for who in ["ann", "ben"] * 10]
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            line.close()

    outcomes = asyncio.run(main())
    errors = [one for one in outcomes if isinstance(one, Exception)]
    assert errors
    assert all(isinstance(one, sqlite3.Error) for one in errors)
    with closing(sqlite3.connect(labels.folder / "labels.sqlite")) as db:
        voted = {row[0] for row in db.execute("SELECT views.view FROM votes JOIN views ON views.number = votes.view")}
    assert {one for one in outcomes if isinstance(one, str)} <= voted
    labels._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert vote("ann")
    assert kept(labels) > len(voted)


def test_what_comes_next_is_what_is_asked_next(tmp_path: Path) -> None:
    with Labels.open(tmp_path) as labels:
        labels.fill(items(6, answers=3))
        labels.configure(pairs="best", repeat_share=0)
        labels.invite("ann")
        coming = [item.key for item in labels.coming(6)]  # two pairs of each of three items
        asked = []
        for _ in range(6):
            view = shown(labels)
            asked.append(view.item.key)
            labels.vote("ann", view.view, "3")
        assert coming == list(dict.fromkeys(asked))
        assert [item.key for item in labels.coming(6, frozenset(coming))] != coming
        assert labels.coming(1, frozenset(item.key for item in labels.items())) == []


def test_what_comes_next_is_rendered_before_somebody_asks(tmp_path: Path) -> None:
    with Labels.open(tmp_path) as labels:
        labels.fill(items(300))
        labels.invite("ann")

        async def main() -> None:
            line, workers = Line(labels.together), ThreadPoolExecutor(2)
            showing = Showing(labels, line, workers)
            showing.go_ahead()
            await asyncio.wait_for(showing._ahead, 30)  # type: ignore[arg-type]
            workers.shutdown()  # nothing can be rendered any more
            view = await line.do(lambda: shown(labels))
            assert "<strong>" in (await showing.shown(view.item)).answers[0]["html"]
            with pytest.raises(RuntimeError):
                await showing.shown(list(items(300))[-1])
            line.close()

        asyncio.run(main())


def test_two_who_ask_at_once_wait_for_one_rendering(tmp_path: Path) -> None:
    with Labels.open(tmp_path) as labels, ThreadPoolExecutor(2) as workers:

        async def main() -> None:
            line = Line(labels.together)
            showing = Showing(labels, line, workers)
            item = next(items(1))
            first, second = await asyncio.gather(showing.shown(item), showing.shown(item))
            assert first is second
            line.close()

        asyncio.run(main())
