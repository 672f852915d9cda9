"""The queue under any schedule: overlap, reservations, checks, undo and progress."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as tried
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from factory.preference.labelling.queue import Settings, share, sides
from factory.preference.labelling.store import Labels, View, items_of

from .conftest import Clock, candidates

Make = Callable[..., Labels]
NAMES = ["ann", "ben", "cat"]
CHOICES = ["1", "2", "3", "4", "5", "both_good", "both_bad"]


def unit_of(view: View) -> tuple[str, tuple[int, ...]]:
    return view.item.key, tuple(sorted(view.shown))


def finish(labels: Labels, who: str, choice: str = "2") -> list[View]:
    """Vote until nothing is left."""
    views = []
    while (view := labels.next(who)) is not None:
        labels.vote(who, view.view, choice)
        views.append(view)
    return views


def test_each_item_is_seen_by_as_many_as_overlap_says_and_by_nobody_twice(label_set: Make) -> None:
    labels = label_set(6, overlap=2)
    seen = {who: [unit_of(view) for view in finish(labels, who)] for who in ("ann", "ben")}
    assert all(len(set(units)) == len(units) == 6 for units in seen.values())
    labels.invite("cat")
    assert labels.next("cat") is None
    assert labels.progress("cat") == {"done": 12, "mine": 0, "total": 12, "missing": 0}


def test_an_item_on_a_screen_is_kept_from_others_until_that_lapses(label_set: Make, clock: Clock) -> None:
    labels = label_set(1, lapse=30)
    view = labels.next("ann")
    assert view is not None
    assert labels.next("ben") is None
    clock.now += 30 * 60
    other = labels.next("ben")
    assert other is not None
    assert other.item == view.item
    labels.vote("ben", other.view, "1")
    labels.vote("ann", view.view, "5")  # late, but said
    assert len(labels.votes()) == 2
    assert labels.progress("ann") == {"done": 1, "mine": 1, "total": 1, "missing": 0}


def test_a_screen_that_lapsed_shows_something_else_once_others_were_faster(label_set: Make, clock: Clock) -> None:
    labels = label_set(2)
    mine = labels.next("ann")
    clock.now += 31 * 60
    finish(labels, "ben")
    assert mine is not None
    assert labels.next("ann") is None


def test_an_item_that_is_made_no_more_leaves_the_screen_unless_its_vote_was_taken_back(label_set: Make) -> None:
    labels = label_set(3)
    first = labels.next("ann")
    assert first is not None
    labels.vote("ann", first.view, "1")
    second = labels.next("ann")
    assert second is not None
    labels.fill([item for item in labels.items() if item.key not in (first.item.key, second.item.key)])
    third = labels.next("ann")
    assert third is not None
    assert third.item.key not in (first.item.key, second.item.key)
    back = labels.undo("ann")
    assert back is not None
    assert back.view == first.view
    assert labels.next("ann") == back


def test_the_item_where_a_vote_is_worth_most_is_first_then_those_begun(label_set: Make, tmp_path: Path) -> None:
    labels = label_set(0, overlap=2)
    scores = [[0.0, 4.0, 4.0], [1.0, 1.0, 1.0], [0.0, 2.0, 4.0]]
    labels.fill(items_of(candidates(number, 3, scores=said) for number, said in enumerate(scores)))
    worth = [view.item.worth[min(view.shown), max(view.shown)] for view in finish(labels, "ann")]
    assert worth == sorted(worth, reverse=True)
    assert worth == [1.0] * 4 + [0.5] * 2 + [0.0] * 3
    labels = label_set(3, overlap=2)
    first = labels.next("ann")
    assert first is not None
    labels.vote("ann", first.view, "1")
    second = labels.next("ben")
    assert second is not None
    assert second.item == first.item  # it has one vote of two; the others have none


def test_repeats_come_ten_votes_later_with_sides_drawn_anew(label_set: Make) -> None:
    labels = label_set(300, repeat_share=0.2)
    views = finish(labels, "ann")
    repeats = [(at, view) for at, view in enumerate(views) if view.check == "repeat"]
    assert 40 <= len(repeats) <= 110  # of about 375
    turned = 0
    for at, view in repeats:
        before = [n for n, other in enumerate(views[:at]) if unit_of(other) == unit_of(view)]
        assert len(before) == 1
        assert at - before[0] >= 10
        turned += views[before[0]].shown != view.shown
    assert 0.25 < turned / len(repeats) < 0.75
    assert labels.progress("ann") == {"done": 300, "mine": len(views), "total": 300, "missing": 0}


def test_gold_items_come_at_their_share_to_everybody(label_set: Make) -> None:
    labels = label_set(0, gold_share=0.2)
    gold = [candidates(number, meta={"gold": "first"}) for number in range(1000, 1020)]
    plain = [candidates(number) for number in range(100)]
    labels.fill(items_of([*plain, *gold]))
    views = [labels.next("ann") for _ in [0]]
    seen: dict[str, list[View]] = {"ann": [], "ben": []}
    for _ in range(50):
        for who, mine in seen.items():
            view = labels.next(who)
            assert view is not None
            labels.vote(who, view.view, "1")
            mine.append(view)
    assert views[0] == seen["ann"][0]
    for mine in seen.values():
        checks = [unit_of(view) for view in mine if view.check == "gold"]
        assert 3 <= len(checks) <= 20
        assert len(set(checks)) == len(checks)
        assert all(int(view.item.record_id[1:]) >= 1000 for view in mine if view.check == "gold")
    shared = [{unit_of(view) for view in mine if view.check == "gold"} for mine in seen.values()]
    assert shared[0] & shared[1]


def test_draws_are_fixed_by_item_and_annotator_and_about_even() -> None:
    drawn = [sides(f"item {n}", (0, 1), 2, "ann", "") for n in range(1000)]
    assert drawn == [sides(f"item {n}", (0, 1), 2, "ann", "") for n in range(1000)]
    assert 440 < sum(left for left, _ in drawn) < 560
    assert sum(one != sides(f"item {n}", (0, 1), 2, "ben", "") for n, one in enumerate(drawn)) > 400
    assert Counter(tuple(sides(f"item {n}", (-1, -1), 3, "ann", "")) for n in range(600)).most_common()[-1][1] > 60
    assert all(0 <= share(n) < 1 for n in range(100))


@pytest.mark.parametrize(
    "wrong", [{"overlap": 0}, {"gold_share": 0.7, "repeat_share": 0.4}, {"mode": "trio"}, {"lapse": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Settings(**wrong)


class AnySchedule(RuleBasedStateMachine):
    """Three annotators do what they like; what must hold, holds after every act."""

    @initialize(
        items=st.integers(1, 5),
        answers=st.integers(2, 3),
        overlap=st.integers(1, 3),
        repeat_share=st.sampled_from([0.0, 0.5]),
        gold=st.booleans(),
        mode=st.sampled_from(["pair", "rank"]),
    )
    def begin(self, items: int, answers: int, overlap: int, repeat_share: float, gold: bool, mode: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.labels = Labels(Path(self.folder.name), self.clock)
        self.items = [candidates(n, answers, meta={"gold": 0} if gold and n == 0 else {}) for n in range(items)]
        self.labels.fill(items_of(self.items))
        share_of_gold = 0.3 if gold else 0.0
        self.labels.configure(overlap=overlap, repeat_share=repeat_share, gold_share=share_of_gold, mode=mode)
        for name in NAMES:
            self.labels.invite(name)
        self.overlap, self.beyond = overlap, False
        self.before: dict[str, list[tuple[list[dict[str, Any]], View]]] = {name: [] for name in NAMES}

    def mine(self, who: str) -> list[dict[str, Any]]:
        return [vote for vote in self.labels.votes() if vote["by"] == who]

    @rule(who=st.sampled_from(NAMES))
    def look(self, who: str) -> None:
        view = self.labels.next(who)
        assert self.labels.next(who) == view
        if view is not None:
            units = [(vote["item"], tuple(sorted(vote["shown"]))) for vote in self.mine(who)]
            assert (unit_of(view) in units) == (view.check == "repeat")

    @rule(who=st.sampled_from(NAMES), choice=st.sampled_from(CHOICES), skip=st.booleans(), edit=st.booleans())
    def vote(self, who: str, choice: str, skip: bool, edit: bool) -> None:
        view = self.labels.next(who)
        if view is None:
            return
        more: dict[str, Any] = {"edit": {"answer": view.shown[0], "text": "better"}} if edit else {}
        if skip:
            choice, more = "skip", {"reason": "unclear"}
        elif view.mode == "rank":
            choice, more["ranking"] = "rank", list(range(len(view.shown)))
        before = self.mine(who)
        self.labels.vote(who, view.view, choice, seconds=1.0, **more)
        assert len(self.mine(who)) == len(before) + 1
        self.before[who].append((before, view))

    @rule(who=st.sampled_from(NAMES), again=st.booleans())
    def undo(self, who: str, again: bool) -> None:
        everything = self.labels.votes()
        progress = self.labels.progress(who)
        view = self.labels.undo(who)
        if not self.before[who]:
            assert view is None
            return
        assert view is not None
        before, shown = self.before[who].pop()
        assert (view.view, view.item, view.shown, view.check) == (shown.view, shown.item, shown.shown, shown.check)
        assert self.mine(who) == before
        assert view.vote is not None
        self.beyond |= view.vote["choice"] == "skip"  # others may have given what the skip left to them
        if again:
            said = dict(view.vote)
            self.labels.vote(who, view.view, said.pop("choice"), **said)
            self.before[who].append((before, shown))
            assert sorted(map(str, self.labels.votes())) == sorted(map(str, everything))
            assert self.labels.progress(who) == progress

    @rule(minutes=st.sampled_from([1, 40]))
    def wait(self, minutes: int) -> None:
        self.clock.now += 60 * minutes
        self.beyond |= minutes >= 30

    @precondition(lambda self: len(self.items) > 1)
    @rule()
    def edit_upstream(self) -> None:
        everything = self.labels.votes()
        self.labels.fill(items_of(self.items[1:]))
        assert self.labels.votes() == everything
        self.labels.fill(items_of(self.items))
        assert self.labels.votes() == everything

    @invariant()
    def nobody_sees_too_much_and_the_sums_are_right(self) -> None:
        votes = [vote for vote in self.labels.votes() if vote["choice"] != "skip" and vote["check"] != "repeat"]
        counts = Counter((vote["item"], tuple(sorted(vote["shown"]))) for vote in votes)
        plain = Counter((v["item"], tuple(sorted(v["shown"]))) for v in votes if v["check"] == "")
        if not self.beyond:
            assert max(plain.values(), default=0) <= self.overlap
        answers = len(self.items[0]["completions"])
        units = 1 if self.labels.settings.mode == "rank" else answers * (answers - 1) // 2
        for name in NAMES:
            found = self.labels.progress(name)
            assert found["total"] == len(self.items) * units * self.overlap
            assert found["done"] == sum(min(count, self.overlap) for count in counts.values())
            assert found["missing"] == found["total"] - found["done"]
            assert found["mine"] == len(self.mine(name)) == len(self.before[name])

    def teardown(self) -> None:
        if hasattr(self, "labels"):
            self.labels.close()
            self.folder.cleanup()


TestAnySchedule = AnySchedule.TestCase
TestAnySchedule.settings = tried(deadline=None, max_examples=12, stateful_step_count=40)
