"""How the window finds its width, against servers that exist only as arithmetic; what the rate limits let through."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.models.limits import Limits, duration
from factory.models.window import Window

# A server: (random generator, requests it has now, time) -> seconds until it answers, and whether it turns away.
Server = Callable[[random.Random, int, float], tuple[float, bool]]


def run(server: Server, seconds: float, ceiling: int = 256) -> tuple[Window, list[tuple[float, int]], int, int]:
    """A client that always has something to ask. Returns the window, its width over time, answers and refusals."""
    window, rng = Window(ceiling), random.Random(5)
    flying: list[tuple[float, float, bool]] = []
    now, widths, answers, refusals = 0.0, [], 0, 0
    while now < seconds:
        while len(flying) < window.places:
            took, turned_away = server(rng, len(flying), now)
            heapq.heappush(flying, (now + took, now, turned_away))
        now, sent, turned_away = heapq.heappop(flying)
        if turned_away:
            refusals += 1
            window.refused(now)
        else:
            answers += 1
            window.answered(sent, now, True)
        widths.append((now, window.places))
    return window, widths, answers, refusals


def good(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
    return 0.2, False


def skewed(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
    return 0.2 * rng.lognormvariate(0, 1), False


@pytest.mark.parametrize("server", [good, skewed])
def test_a_good_server_is_used_in_full_within_a_second(server: Server) -> None:
    _, widths, _, _ = run(server, 30)
    assert widths[0][1] == 33
    assert next(when for when, width in widths if width == 256) < 1.0
    assert min(width for when, width in widths if when > 2) > 180


def test_a_few_refusals_at_random_cost_little() -> None:
    def moody(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
        return (0.01, True) if rng.random() < 0.01 else (0.2, False)

    _, widths, answers, _ = run(moody, 30)
    assert answers > 0.85 * 30 * 256 / 0.2
    assert min(width for when, width in widths if when > 10) > 150


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_refusals_that_a_narrower_window_does_not_mend_are_put_up_with(share: float) -> None:
    def moodier(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
        return (rng.choice([0.01, 0.5]), True) if rng.random() < share else (0.2, False)

    _, widths, _, _ = run(moodier, 60)
    late = [width for when, width in widths if when > 20]
    assert sum(late) / len(late) > 150


def test_a_server_with_few_places_is_not_pestered() -> None:
    def small(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
        return (0.005, True) if load >= 40 else (0.2, False)

    _, widths, answers, refusals = run(small, 60)
    late = [width for when, width in widths if when > 10]
    assert 30 < sum(late) / len(late) < 60
    assert answers > 0.9 * 60 * 40 / 0.2
    assert refusals < 0.05 * answers


def test_one_that_refuses_everything_is_asked_one_at_a_time_and_all_again_when_it_is_well() -> None:
    def ill(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
        return (0.01, True) if now < 10 else (0.2, False)

    _, widths, _, _ = run(ill, 40)
    assert max(width for when, width in widths if 5 < when < 10) <= 3
    assert widths[-1][1] == 256


def test_a_queue_at_the_server_is_not_made_longer() -> None:
    """Four workers that take a second each: more in flight only wait, and run into timeouts."""
    free = [0.0] * 4

    def queueing(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
        if now == 0.0 and load == 0:
            free[:] = [0.0] * 4
        worker = min(range(4), key=free.__getitem__)
        free[worker] = max(free[worker], now) + 1.0
        return free[worker] - now, False

    _, widths, answers, _ = run(queueing, 600)
    assert max(width for _, width in widths) < 256
    assert max(width for when, width in widths if when > 500) <= 80
    assert answers > 0.98 * 4 * 600 - 160


def test_answers_that_become_longer_are_no_queue() -> None:
    def longer(rng: random.Random, load: int, now: float) -> tuple[float, bool]:
        return (0.2 if now < 20 else 2.0), False

    _, widths, _, _ = run(longer, 120)
    assert min(width for when, width in widths if when > 20) >= 200
    assert widths[-1][1] == 256


def test_the_ceiling_holds() -> None:
    window, widths, _, _ = run(good, 5, ceiling=3)
    assert {width for _, width in widths} == {3}
    assert window.places == 3


@given(st.integers(1, 3000), st.lists(st.floats(0, 20), min_size=1, max_size=300))
def test_no_minute_has_more_requests_than_were_allowed(rpm: int, gaps: list[float]) -> None:
    limits, now, sent = Limits(rpm=rpm), 0.0, []
    for gap in gaps:
        now += gap
        while (wait := limits.wait(0.0, now)) > 0:
            now += wait + 1e-9
        limits.spend(0.0, now)
        sent.append(now)
    for at, first in enumerate(sent):
        assert sum(first <= when < first + 60 for when in sent[at:]) <= rpm + 1e-6


def test_tokens_are_guessed_from_what_answers_took() -> None:
    limits = Limits(tpm=60_000)
    assert limits.guess(1000, 512) == pytest.approx(300 + 512)
    for _ in range(200):
        limits.settle(limits.guess(1000, 512), 1000, 250, 40, 0.0)
    assert limits.guess(1000, 512) == pytest.approx(250 + 60, rel=0.02)


def test_more_tokens_than_a_burst_go_when_the_bucket_is_full() -> None:
    limits = Limits(tpm=600)
    assert limits.wait(5000, 0.0) == 0.0
    limits.spend(5000, 0.0)
    assert limits.wait(1, 0.0) == pytest.approx((5000 - 10 + 1) / ((600 - 10) / 60))


def test_a_servers_bucket_is_followed() -> None:
    limits = Limits()
    assert limits.none
    for _ in range(10):
        limits.spend(0.0, 0.0)
    told = {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "48s",
    }
    limits.told(told, 8, 0.0, 0.0)  # two more went since the server counted
    assert limits.wait(0.0, 0.0) == 0.0
    for _ in range(2):
        limits.spend(0.0, 0.0)
    assert limits.wait(0.0, 0.0) == pytest.approx(0.5)  # 96 come back in 48 s
    assert limits.wait(0.0, 0.5) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("header", ["remaining", "limit", "reset"])
@pytest.mark.parametrize("value", ["soon", "", "-1", "nan", "inf"])
def test_headers_that_say_nothing_are_no_limits(header: str, value: str) -> None:
    told = {f"x-ratelimit-{name}-requests": "1" for name in ("remaining", "limit", "reset")}
    limits = Limits()
    limits.told({**told, f"x-ratelimit-{header}-requests": value}, 0, 0.0, 0.0)
    assert limits.none


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1h2m3.5s", 3723.5), ("7", 7), ("1d", 86400), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", None, "s", "1 s", "1x", "one", "1s?"])
def test_what_is_no_duration(text: str | None) -> None:
    assert duration(text) is None
