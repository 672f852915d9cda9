"""Votes cast in a real browser: by keyboard, by dragging, through kills, lost answers, reloads and haste."""

from __future__ import annotations

from typing import Any

import pytest

from factory import text_of
from factory.preference.labelling.store import Labels

pytestmark = pytest.mark.slow


def test_thirty_votes_of_two_people_survive_undo_kills_and_lost_answers(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", f"first {n}", f"second {n}") for n in range(15)], "ada bob", overlap=2)
    pages = {name: visit(served.link(name)) for name in ("ada", "bob")}
    said: dict[tuple[str, str], tuple[str, str]] = {}  # (who, prompt) -> (choice, the answer on the left)
    keys = {"1": "1", "2": "2", "3": "3", "4": "4", "5": "5", "g": "both_good", "b": "both_bad"}

    def vote(name: str, key: str) -> None:
        prompt, left = pages[name].asked()
        said[name, prompt] = (keys[key], left)
        pages[name].press(key)

    for turn in range(15):
        if turn == 6:
            vote_while_gone(served, pages, said)
            continue
        for shift, (name, page) in enumerate(pages.items()):
            if turn == 9:
                lose_one_answer(page)
            vote(name, list(keys)[(turn + shift) % len(keys)])
            if turn in (4, 14):  # two steps back, also from the end, and forward with other words
                page.take_back()
                page.take_back()
                vote(name, "5")
                vote(name, "2")
    assert all(page.get_attribute("body", "data-state") == "end" for page in pages.values())
    assert "15" in pages["ada"].inner_text("#end")
    served.kill()
    with Labels.open(served.folder) as labels:
        votes, compared = labels.votes(), list(labels.comparisons())
        items = {one.key: one for one in labels.items()}
    assert len(votes) == len(compared) == len(said) == 30
    stored = {}
    for one in votes:
        asked = items[one["item"]]
        stored[one["by"], text_of(asked.prompt)] = (one["choice"], text_of(asked.completions[one["shown"][0]]))
        assert 0 < one["seconds"] < 60
    assert stored == said
    for one in compared:
        asked = items[one["item"]]
        assert text_of(asked.completions[one["left"]]) == said[one["by"], text_of(asked.prompt)][1]


def vote_while_gone(served: Any, pages: dict[str, Any], said: dict[tuple[str, str], tuple[str, str]]) -> None:
    """Everybody votes "4" while the server is killed; it comes back, and so do the next items."""
    views = {name: page.seen() for name, page in pages.items()}
    served.kill()
    for name, page in pages.items():
        prompt, left = page.asked()
        said[name, prompt] = ("4", left)
        page.keyboard.press("4")
        page.wait_for_selector("#alarm:not([hidden])")
        assert "Your vote is kept" in page.inner_text("#alarm")
        page.keyboard.press("1")  # says nothing: the vote before it still waits
    served.start()
    for name, page in pages.items():
        page.after(views[name])
        assert page.is_hidden("#alarm")


def lose_one_answer(page: Any) -> None:
    """The next vote reaches the server, but the server's answer is lost on its way back."""
    lost: list[str] = []

    def lose(route: Any) -> None:
        if lost:
            return route.continue_()
        lost.append(route.fetch().text())
        return route.abort()

    page.route("**/api/vote", lose)


def test_an_edit_a_note_and_a_reason_are_saved_and_a_draft_outlives_a_reload(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", f"first {n}", f"second {n}") for n in range(3)])
    page = visit(served.link("ada"))
    right = page.inner_text("[data-answer='1'] .text") if page.seen() else ""
    for key in ("ArrowRight", "e", "Control+a"):
        page.keyboard.press(key)
    page.keyboard.type("2 better words")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.type("5 is no vote here")
    page.reload()
    page.seen()
    assert page.inner_text("[data-answer='1'] .plain") == "2 better words"
    page.press("5")
    page.keyboard.press("s")
    before = page.seen()
    page.keyboard.press("Tab")
    page.fill("#reason", "because 1")
    page.keyboard.press("Enter")
    page.after(before)
    edited, skipped = served.votes()
    assert edited["note"] == "5 is no vote here"
    assert edited["edit"]["text"] == "2 better words"
    with Labels.open(served.folder) as labels:
        asked = next(one for one in labels.items() if one.key == edited["item"])
    assert text_of(asked.completions[edited["edit"]["answer"]]) == right.strip()
    assert (skipped["choice"], skipped["reason"], skipped["note"]) == ("skip", "because 1", "")


def test_a_finger_that_stays_on_a_key_or_hurries_votes_once(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", f"first {n}", f"second {n}") for n in range(6)])
    page = visit(served.link("ada"))
    first = page.seen()
    for _ in range(5):
        page.keyboard.down("2")  # the second and later ones are repeats
    page.keyboard.up("2")
    page.after(first)
    page.seen()
    assert len(served.votes()) == 1
    page.route("**/api/vote", lambda route: (page.keyboard.press("4"), page.keyboard.press("u"), route.continue_()))
    page.press("3")
    assert [one["choice"] for one in served.votes()] == ["2", "3"]
    for key in ("Control+1", "Alt+2", "Meta+3"):
        page.keyboard.press(key)
    page.keyboard.press("?")
    page.keyboard.press("1")
    assert page.is_visible("dialog")
    page.keyboard.press("Escape")
    assert len(served.votes()) == 2


def test_answers_are_ranked_by_keys_and_by_dragging(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", *(f"{word} {n}" for word in "abcd")) for n in range(2)], mode="rank")
    page = visit(served.link("ada"))
    page.seen()
    page.keyboard.press("Enter")
    assert "needs a place" in page.inner_text("#said")
    for key in ("2", "1", "3", "3"):  # A second, B first, C and D share the third
        page.keyboard.press(key)
    page.keyboard.press("ArrowUp")  # D joins A at the second
    page.press("Enter")
    first = served.votes()[0]
    assert (first["choice"], first["ranking"]) == ("rank", [1, [0, 3], 2])
    for letter, place in ((2, 1), (0, 2), (1, 3), (3, 4)):
        page.drag_and_drop(f"[data-letter='{letter}']", f"[data-place='{place}']")
    page.press("Enter")
    assert served.votes()[1]["ranking"] == [2, 0, 1, 3]
    take_back_ranking(page)


def take_back_ranking(page: Any) -> None:
    page.keyboard.press("u")
    page.seen()
    placed = page.evaluate("[...document.querySelectorAll('[data-place] [data-letter]')].map(n => n.dataset.letter)")
    assert placed == ["2", "0", "1", "3"]


def test_without_a_link_there_is_nothing_and_a_lost_session_is_told(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", "first", "second") for n in range(2)])
    stranger = visit(served.url)
    assert "personal link" in stranger.inner_text("body")
    page = visit(served.link("ada"))
    page.seen()
    page.context.clear_cookies()
    page.keyboard.press("1")
    page.wait_for_selector('body[data-state="stopped"]')
    assert "personal link" in page.inner_text("#alarm")
    assert served.votes() == []
    page.goto(served.link("ada"))  # the vote that was kept is sent now
    page.seen()
    assert [one["choice"] for one in served.votes()] == ["1"]
    assert "kept from before" in page.inner_text("#said")


def test_a_second_window_shows_what_is_next_when_the_first_has_voted(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", f"first {n}", f"second {n}") for n in range(3)])
    page = visit(served.link("ada"))
    page.seen()
    other = type(page)(page.context.new_page())
    other.goto(served.url)
    assert other.seen() == page.seen()
    page.press("1")
    other.press("5")  # too late: the vote stands, and this window goes on
    assert "already" in other.inner_text("#alarm")
    assert other.seen() == page.seen()
    other.press("4")
    assert [one["choice"] for one in served.votes()] == ["1", "4"]
    assert other.is_hidden("#alarm")


def test_time_in_which_the_page_is_hidden_does_not_count(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", f"first {n}", f"second {n}") for n in range(2)])
    page = visit(served.link("ada"))
    page.seen()
    page.clock.install()
    page.reload()
    page.seen()
    for state, seconds in (("visible", 7), ("hidden", 3000), ("visible", 5)):
        page.evaluate(
            "state => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            state,
        )
        page.clock.run_for(seconds * 1000)
    page.press("2")
    assert 11 < served.votes()[0]["seconds"] < 20
