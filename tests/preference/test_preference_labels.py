"""Label sets: votes are kept, unblinded, taken back and given again; nobody votes for another."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from factory import InputError, assistant, user
from factory.preference.comparisons import win_shares
from factory.preference.labelling.database import connect_read_only
from factory.preference.labelling.items import Item, best_pairs, item_of, worth_of
from factory.preference.labelling.reading import votes_in
from factory.preference.labelling.store import Labels, View, items_of

Make = Callable[..., Labels]


def shown(labels: Labels, who: str = "ann") -> View:
    view = labels.next(who)
    assert view is not None
    return view


def cast(labels: Labels, who: str, choice: str = "2", **more: Any) -> View:
    view = shown(labels, who)
    labels.vote(who, view.view, choice, **more)
    return view


def test_a_vote_is_kept_under_places_whatever_side_they_stood_on(label_set: Make) -> None:
    labels = label_set(40)
    lefts = [cast(labels, "ann", "1").shown[0] for _ in range(40)]
    said = list(labels.comparisons())
    assert [one["left"] for one in said] == lefts
    assert [one["verdict"] for one in said] == ["second" if left else "first" for left in lefts]
    assert {one["strength"] for one in said} == {1.0}
    assert 8 <= sum(lefts) <= 32  # P < 1e-4 for a fair draw


@pytest.mark.parametrize(
    ("choice", "verdict", "strength"),
    [("1", "left", 1.0), ("2", "left", 0.5), ("3", "tie", None), ("4", "right", 0.5), ("5", "right", 1.0),
     ("both_good", "both_good", None), ("both_bad", "both_bad", None)],
)  # fmt: skip
def test_every_key_is_read_as_what_it_says(label_set: Make, choice: str, verdict: str, strength: float | None) -> None:
    labels = label_set(1)
    view = cast(labels, "ann", choice)
    (said,) = labels.comparisons()
    sides = {"left": view.shown[0], "right": view.shown[1]}
    assert said["verdict"] == (("first", "second")[sides[verdict]] if verdict in sides else verdict)
    assert said.get("strength") == strength
    assert (said["first"], said["second"], said["by"], said["person"]) == (0, 1, "ann", True)


def test_a_skip_needs_a_reason_and_leaves_the_item_to_others(label_set: Make) -> None:
    labels = label_set(1)
    view = shown(labels)
    with pytest.raises(ValueError, match="a skip needs a reason"):
        labels.vote("ann", view.view, "skip")
    labels.vote("ann", view.view, "skip", reason="not my subject")
    assert labels.next("ann") is None
    assert labels.progress("ann") == {"done": 0, "mine": 1, "total": 1, "missing": 1}
    assert cast(labels, "ben").item == view.item
    assert labels.progress("ben") == {"done": 1, "mine": 1, "total": 1, "missing": 0}
    assert next(labels.comparisons())["verdict"] == "skip"


def test_nobody_votes_for_another_or_on_what_was_not_shown(label_set: Make) -> None:
    labels = label_set()
    view = shown(labels)
    with pytest.raises(PermissionError):
        labels.vote("ben", view.view, "1")
    with pytest.raises(ValueError, match="no such item"):
        labels.vote("ann", "made up", "1")
    with pytest.raises(PermissionError, match="'cat' was not invited"):
        labels.next("cat")
    assert labels.votes() == []


@pytest.mark.parametrize(
    "nonsense",
    [{"choice": "6"}, {"choice": ""}, {"choice": "rank", "ranking": [0, 1]}, {"choice": "1", "strength": 0.0},
     {"choice": "1", "seconds": float("nan")}, {"choice": "1", "seconds": -1.0},
     {"choice": "1", "edit": {"answer": 5, "text": "x"}}, {"choice": "1", "edit": {"answer": 0, "text": " "}},
     {"choice": "1", "edit": {"answer": 0}}],
)  # fmt: skip
def test_nonsense_is_refused_and_changes_nothing(label_set: Make, nonsense: dict[str, Any]) -> None:
    labels = label_set()
    view = shown(labels)
    with pytest.raises(ValueError, match=r"\w"):
        labels.vote("ann", view.view, **nonsense)
    assert labels.votes() == []
    assert labels.next("ann") == view


def test_a_vote_sent_twice_is_one_vote(label_set: Make) -> None:
    labels = label_set()
    view = shown(labels)
    for seconds in (1.0, 2.0):
        labels.vote("ann", view.view, "2", seconds=seconds)
    assert len(labels.votes()) == 1
    with pytest.raises(ValueError, match="there is a vote on this item already"):
        labels.vote("ann", view.view, "4")


def test_undo_goes_back_without_limit_and_comes_forward_again(label_set: Make) -> None:
    labels = label_set(6)
    views = [cast(labels, "ann", choice, note=f"note {choice}") for choice in "12345"]
    before = labels.votes()
    latest = shown(labels)
    for view in reversed(views):
        back = labels.undo("ann")
        assert back is not None
        assert (back.view, back.item, back.shown) == (view.view, view.item, view.shown)
        assert back.vote is not None
        assert back.vote["note"] == f"note {back.vote['choice']}"
        assert shown(labels) == back
    assert labels.undo("ann") is None
    assert labels.votes() == []
    assert labels.progress("ann")["done"] == 0
    for choice in "12345":
        cast(labels, "ann", choice, note=f"note {choice}", seconds=99.0)
    assert labels.votes() == before  # the same vote given again is the same vote, its time included
    assert shown(labels).view == latest.view


def test_another_vote_after_an_undo_is_another(label_set: Make) -> None:
    labels = label_set(1)
    cast(labels, "ann", "1", seconds=1.0)
    labels.undo("ann")
    cast(labels, "ann", "5", seconds=2.0)
    (vote,) = labels.votes()
    assert (vote["choice"], vote["seconds"]) == ("5", 2.0)


def test_what_was_taken_back_is_still_in_the_file(label_set: Make) -> None:
    labels = label_set()
    cast(labels, "ann")
    labels.undo("ann")
    with sqlite3.connect(labels.folder / "labels.sqlite") as db:
        assert db.execute("SELECT count(*), count(undone) FROM votes").fetchone() == (1, 1)


def test_tokens_are_kept_hashed_and_a_new_one_voids_the_old(label_set: Make) -> None:
    labels = label_set()
    old = labels.invite("ann")
    new = labels.invite("ann")
    assert (labels.who(old), labels.who(new), labels.who("")) == (None, "ann", None)
    assert labels.annotators() == ["ann", "ben"]
    labels.close()
    held = b"".join(path.read_bytes() for path in labels.folder.iterdir())
    assert new.encode() not in held


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81, "a\x00b"])
def test_a_name_that_cannot_be_shown_is_refused(label_set: Make, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 80 printable"):
        label_set().invite(name)


def test_a_ranking_is_shown_whole_and_gives_every_pair(label_set: Make) -> None:
    labels = label_set(1, answers=4, mode="rank")
    view = shown(labels)
    assert (view.mode, sorted(view.shown)) == ("rank", [0, 1, 2, 3])
    for wrong in ([0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 4], ["0", 1, 2, 3], None):
        with pytest.raises(ValueError, match="ranking"):
            labels.vote("ann", view.view, "rank", ranking=wrong)
    labels.vote("ann", view.view, "rank", ranking=[2, [0, 3], 1])
    said = list(labels.comparisons())
    assert len(said) == 6
    shares = win_shares(said, 4)
    assert shares is not None
    best, tied, last = view.shown[2], (view.shown[0], view.shown[3]), view.shown[1]
    assert [shares[best], shares[tied[0]], shares[tied[1]], shares[last]] == [1.0, 0.5, 0.5, 0.0]
    again = labels.undo("ann")
    assert again is not None
    assert again.vote is not None
    assert again.vote["ranking"] == [2, [0, 3], 1]


def test_all_pairs_or_those_that_tie_the_answers_together(label_set: Make) -> None:
    labels = label_set(2, answers=4)
    assert labels.progress("ann")["total"] == 12
    labels.configure(pairs="best")
    assert labels.progress("ann")["total"] == 6
    labels.configure(mode="rank", overlap=3)
    assert labels.progress("ann")["total"] == 6
    with pytest.raises(ValueError, match="overlap is a number"):
        labels.configure(overlap=0)
    with pytest.raises(ValueError, match="a label set has the settings"):
        labels.configure(colour="blue")
    assert labels.settings.overlap == 3


def test_the_best_pairs_are_the_open_ones_and_reach_every_answer() -> None:
    worth = {(0, 1): 0.1, (0, 2): 0.9, (0, 3): 0.2, (1, 2): 0.8, (1, 3): 0.3, (2, 3): 0.1}
    item = Item("k", user("?"), [assistant(str(place)) for place in range(4)], worth=worth)
    assert best_pairs(item) == [(0, 2), (1, 2), (1, 3)]


def test_a_vote_is_worth_most_where_judges_disagree_or_flip_or_scores_are_near() -> None:
    sure = [{"first": 0, "second": 1, "verdict": "first"}] * 2
    split = [sure[0], {**sure[0], "verdict": "second"}]
    flip = [{**sure[0], "verdict": "flip"}]
    unread = [{**sure[0], "verdict": "unreadable"}]
    person = [{**sure[0], "verdict": "tie", "person": True}]
    assert [worth_of((0, 1), said, ()) for said in (sure, split, flip, unread, person)] == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert [worth_of(pair, (), [1.0, 2.0, 5.0]) for pair in ((0, 1), (1, 2), (0, 2))] == [0.75, 0.25, 0.0]
    assert worth_of((0, 1), (), [3.0, 3.0]) == 1.0


def test_items_are_records_with_two_answers_or_more() -> None:
    records = [
        {"id": str(n), "prompt": user("?"), "completions": [assistant(str(a)) for a in range(n)]} for n in (1, 2)
    ]
    assert [item.record_id for item in items_of(records)] == ["2"]
    assert item_of({**records[1], "meta": {"gold": 1}}).gold_of((0, 1)) == "second"


def test_items_that_are_made_no_more_keep_their_votes(label_set: Make, tmp_path: Path) -> None:
    labels = label_set(3)
    cast(labels, "ann")
    items = labels.items()
    assert labels.fill(items[1:]) == 0
    assert labels.progress("ann") == {"done": 0, "mine": 1, "total": 2, "missing": 2}
    assert len(labels.votes()) == 1
    assert labels.fill(items) == 0
    assert labels.progress("ann") == {"done": 1, "mine": 1, "total": 3, "missing": 2}


def test_a_key_of_something_else_is_refused(label_set: Make) -> None:
    labels = label_set(1)
    with pytest.raises(ValueError, match="is not that of its prompt"):
        labels.fill([Item("k", user("?"), [assistant("a"), assistant("b")])])
    assert len(labels.items()) == 1


def test_a_file_that_is_no_label_set_is_told(tmp_path: Path) -> None:
    (tmp_path / "labels.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(InputError, match="cannot be read as a label set"):
        Labels.open(tmp_path)
    with sqlite3.connect(tmp_path / "new.sqlite") as db:
        db.execute("PRAGMA user_version = 9")
    os.replace(tmp_path / "new.sqlite", tmp_path / "labels.sqlite")
    with pytest.raises(InputError, match="has form 9; this version of the factory reads 1"):
        Labels.open(tmp_path)


def test_fifty_annotators_at_once_lose_nothing(label_set: Make) -> None:
    labels = label_set(400, overlap=2)
    names = [f"annotator {number}" for number in range(50)]
    for name in names:
        labels.invite(name)
    gate, failed = threading.Barrier(50), []

    def work(name: str) -> None:
        try:
            gate.wait()
            for _ in range(6):
                view = shown(labels, name)
                labels.vote(name, view.view, "4", note=name)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    votes = labels.votes()
    assert Counter(vote["by"] for vote in votes) == dict.fromkeys(names, 6)
    assert all(vote["note"] == vote["by"] for vote in votes)
    assert max(Counter(vote["item"] for vote in votes).values()) <= 2
    assert labels.progress("ann") == {"done": 300, "mine": 0, "total": 800, "missing": 500}


VOTER = """
import sys
from pathlib import Path
from factory.preference.labelling.store import Labels
labels = Labels.open(Path(sys.argv[1]))
while True:
    view = labels.next(sys.argv[2])
    labels.vote(sys.argv[2], view.view, "2")
    print(view.view, flush=True)
"""


def voter(folder: Path, who: str) -> subprocess.Popen[str]:
    """A process that votes without end and says so."""
    return subprocess.Popen([sys.executable, "-c", VOTER, str(folder), who], stdout=subprocess.PIPE, text=True)


@pytest.mark.builds
def test_processes_vote_side_by_side_while_others_read(label_set: Make) -> None:
    labels = label_set(2000)
    folder = labels.folder
    processes = [voter(folder, who) for who in ("ann", "ben")]
    read, answered = [], 0
    for _ in range(100):
        for process in processes:
            assert process.stdout is not None
            answered += bool(process.stdout.readline())
        with closing(connect_read_only(folder)) as db:
            read.append(len(list(votes_in(db))))
    for process in processes:
        process.kill()
        process.communicate()
    assert answered == 200
    assert read == sorted(read)
    assert all(count >= 2 * turn for turn, count in enumerate(read, start=1))
    votes = labels.votes()
    assert len({vote["item"] for vote in votes}) == len(votes) == labels.progress("ann")["done"]


@pytest.mark.builds
def test_no_vote_that_was_answered_is_lost_by_a_kill(label_set: Make) -> None:
    labels = label_set(2000)
    labels.close()
    answered: list[str] = []
    for kill in range(1, 4):
        process = voter(labels.folder, "ann")
        assert process.stdout is not None
        answered += [process.stdout.readline().strip() for _ in range(20 * kill)]
        process.send_signal(signal.SIGKILL)
        answered += process.stdout.read().split()
        process.wait()
    with Labels.open(labels.folder) as again, sqlite3.connect(labels.folder / "labels.sqlite") as db:
        held = {row[0] for row in db.execute("SELECT views.view FROM views JOIN votes ON votes.view = views.number")}
        assert set(filter(None, answered)) <= held
        assert len(held) <= len(answered) + 3  # a kill falls between a vote and its answer, at most once each
        assert again.progress("ann")["mine"] == len(held)
