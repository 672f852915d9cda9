"""Questions to models: answered in order, from the cache where there is one, and drawn no further ahead than said."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from factory import Answer, CausalLM, Model, Request, user
from factory.engine.asking import GROWTH, Asking
from factory.engine.responses import Responses


class Asked(CausalLM):
    """A model that keeps what it was asked, group by group."""

    def open(self, threads: int = 2) -> Session:  # type: ignore[override]
        session = Session(*SHAPES[self.uri])
        OPENED.append(session)
        return session


SHAPES: dict[str, tuple[int, int, bool]] = {}  # a model's name -> batch, window, shuffled
OPENED: list[Session] = []


class Session:
    """Answers with the question; when shuffled, in random order from another thread."""

    def __init__(self, batch: int, window: int, shuffled: bool) -> None:
        self.batch, self.window = batch, window
        self.groups: list[list[str]] = []
        self.waiting: queue.Queue[tuple[list[Answer], Future[list[Answer]]] | None] = queue.Queue()
        self.thread = threading.Thread(target=self.answer_shuffled) if shuffled else None
        if self.thread:
            self.thread.start()

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        texts = [request.messages[0]["content"] for request in requests]
        self.groups.append(texts)
        future: Future[list[Answer]] = Future()
        if "raise" in texts:
            future.set_exception(OSError("no such model any more"))
            return future
        answers = [Answer(text, "failed" if text == "fail" else "stop") for text in texts]
        if self.thread:
            self.waiting.put((answers, future))
        else:
            future.set_result(answers)
        return future

    def answer_shuffled(self) -> None:
        rng, held, ended = random.Random(3), [], False
        while not ended or held:
            try:
                item = self.waiting.get(block=not held)
                held += [item] if item else []
                ended = ended or item is None
            except queue.Empty:
                answers, future = held.pop(rng.randrange(len(held)))
                future.set_result(answers)

    def close(self) -> None:
        if self.thread:
            self.waiting.put(None)
            self.thread.join()

    @property
    def asked(self) -> list[str]:
        return [text for group in self.groups for text in group]


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Callable[[], Asking]]:
    """Opens the same cache anew at each call, as a new build does."""
    OPENED.clear()
    opened: list[Asking] = []

    def close() -> None:
        for one in opened:
            one.close()
            one.responses.close()
        opened.clear()

    def new() -> Asking:
        close()
        opened.append(Asking(Responses(tmp_path / "responses.sqlite"), 2, lambda usage: None))
        return opened[0]

    yield new
    close()


def model(batch: int = 1, window: int = 4, shuffled: bool = False) -> Model:
    name = f"model {batch} {window} {shuffled}"
    SHAPES[name] = batch, window, shuffled
    return Asked(name, identity=name)


def questions(*texts: str) -> Iterator[Request]:
    return (Request(user(text)) for text in texts)


def ask(asking: Asking, model: Model, *texts: str, ahead: int | None = None) -> list[str]:
    return [answer.text for answer in asking.ask(model, questions(*texts), ahead)]


def test_a_stored_answer_is_not_asked_again(asking: Callable[[], Asking]) -> None:
    one = asking()
    assert ask(one, model(), "a", "b") == ["a", "b"]
    assert (one.usage.asked, one.usage.replayed) == (2, 0)
    two = asking()
    assert ask(two, model(), "c", "b", "a") == ["c", "b", "a"]
    assert (two.usage.asked, two.usage.replayed) == (1, 2)
    assert [session.asked for session in OPENED] == [["a", "b"], ["c"]]


def test_the_model_is_not_opened_when_everything_is_stored(asking: Callable[[], Asking]) -> None:
    texts = [str(n) for n in range(200)]
    ask(asking(), model(), *texts)
    assert ask(asking(), model(), *texts) == texts
    assert len(OPENED) == 1
    asking()
    assert len(OPENED) == 1


@pytest.mark.parametrize(
    "other",
    [
        Request(user("a"), index=1),
        Request(user("a"), temperature=0.5),
        Request(user("a"), max_tokens=3),
        Request(user("a"), stop=("x",)),
        Request(user("b")),
        Request([*user("a"), {"role": "assistant", "content": ""}]),
    ],
)
def test_whatever_changes_an_answer_is_another_request(asking: Callable[[], Asking], other: Request) -> None:
    one = asking()
    list(one.ask(model(), [Request(user("a")), other, Request(user("a"), about="another note")], None))
    assert (one.usage.asked, one.usage.replayed) == (2, 1)


def test_models_with_another_identity_answer_for_themselves(asking: Callable[[], Asking]) -> None:
    one = asking()
    for identity in ("at one address", "at another"):
        SHAPES["m"] = 1, 4, False
        list(one.ask(Asked("m", identity=identity), questions("a"), None))
    assert (one.usage.asked, one.usage.replayed) == (2, 0)


def test_failed_answers_are_not_stored(asking: Callable[[], Asking]) -> None:
    one = asking()
    answers = list(one.ask(model(), questions("a", "fail"), None))
    assert [answer.ok for answer in answers] == [True, False]
    two = asking()
    assert [answer.ok for answer in two.ask(model(), questions("a", "fail"), None)] == [True, False]
    assert (two.usage.asked, two.usage.replayed) == (1, 1)


def test_equal_requests_on_their_way_are_asked_once(asking: Callable[[], Asking]) -> None:
    one = asking()
    assert ask(one, model(8, 8), "a", "a", "b", "a") == ["a", "a", "b", "a"]
    assert OPENED[0].groups == [["a", "b"]]
    assert ask(asking(), model(1, 8, shuffled=True), *"abcabcabc") == list("abcabcabc")
    asking()
    assert sorted(OPENED[1].asked) == ["a", "b", "c"]


def test_groups_are_fixed_by_the_positions_of_requests(asking: Callable[[], Asking]) -> None:
    ask(asking(), model(3, 6), "c", "e")
    ask(asking(), model(3, 6), *"abcdefgh")
    assert OPENED[1].groups == [["a", "b"], ["d", "f"], ["g", "h"]]


def test_answers_come_in_the_order_of_the_requests(asking: Callable[[], Asking]) -> None:
    texts = [str(n) for n in range(60)]
    assert ask(asking(), model(1, 9, shuffled=True), *texts) == texts
    assert ask(asking(), model(4, 16, shuffled=True), *texts[::-1]) == texts[::-1]


def test_an_answer_knows_its_request(asking: Callable[[], Asking]) -> None:
    one = asking()
    for _ in range(2):
        (answer,) = one.ask(model(), [Request(user("a"), about={"id": "r"})], None)
        assert answer.request
        assert answer.request.about == {"id": "r"}


@pytest.mark.parametrize("ahead", [0, 1, 5, 100])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("batch", "shuffled"), [(1, True), (4, False)])
def test_a_request_is_drawn_when_the_answers_it_may_depend_on_are_consumed(
    asking: Callable[[], Asking], ahead: int, stored: bool, batch: int, shuffled: bool
) -> None:
    texts, consumed, seen = [str(n) for n in range(12)], 0, []
    it = model(batch, 3 * batch, shuffled)
    if stored:
        ask(asking(), it, *texts[::2])

    def drawn() -> Iterator[Request]:
        for text in texts:
            seen.append(consumed)
            yield Request(user(text))

    for answer in asking().ask(it, drawn(), ahead):
        assert answer.text == texts[consumed]
        consumed += 1
    assert seen == [max(0, draw + 1 - max(1, ahead)) for draw in range(12)]


def test_how_far_is_drawn_depends_neither_on_the_model_nor_on_what_is_stored(asking: Callable[[], Asking]) -> None:
    drawn = 0

    def endless() -> Iterator[Request]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Request(user(str(drawn)))

    for it in (model(1, 5), model(1, 5), model(16, 32)):
        drawn = 0
        answers = asking().ask(it, endless(), None)
        assert [(next(answers).text, drawn) for _ in range(3)] == [
            (str(n + 1), it.ahead + (GROWTH + 1) * n) for n in range(3)
        ]


def test_an_error_of_the_model_ends_the_stage(asking: Callable[[], Asking]) -> None:
    one = asking()
    with pytest.raises(OSError, match="no such model any more"):
        ask(one, model(), "a", "raise", "b")
    assert ask(asking(), model(), "a") == ["a"]


def test_answers_that_are_no_unicode_are_kept_as_they_came(asking: Callable[[], Asking]) -> None:
    assert ask(asking(), model(), "cut emoji \ud83d", "ä\0") == ["cut emoji \ud83d", "ä\0"]
    assert ask(asking(), model(), "cut emoji \ud83d", "ä\0") == ["cut emoji \ud83d", "ä\0"]
    assert len(OPENED) == 1


def test_the_answers_about_a_record_can_be_forgotten(asking: Callable[[], Asking]) -> None:
    one = asking()
    requests = [Request(user(text), about={"id": text}) for text in "ab"]
    list(one.ask(model(), requests, None))
    assert one.responses.forget(["a", "zzz"]) == 1
    two = asking()
    list(two.ask(model(), requests, None))
    assert (two.usage.asked, two.usage.replayed) == (1, 1)


def test_answers_are_stored_before_a_model_is_closed(asking: Callable[[], Asking]) -> None:
    one, found = asking(), []
    it = model()
    count = lambda: found.append(one.responses.base.execute("SELECT count(*) FROM responses").fetchone()[0])  # noqa: E731
    one.session(it).close = count  # type: ignore[method-assign]
    next(one.ask(it, questions(*map(str, range(200))), None))
    one.close()
    assert found == [200]


class Quick(CausalLM):
    """Answers at once and remembers nothing."""

    def open(self, threads: int = 2) -> QuickSession:  # type: ignore[override]
        return QuickSession()


class QuickSession:
    batch = 1

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        future: Future[list[Answer]] = Future()
        future.set_result([Answer("an answer " * 40) for _ in requests])
        return future

    def close(self) -> None: ...


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_requests(asking: Callable[[], Asking]) -> None:
    """What waits to be handed out and to be stored fills its window within the first 100,000."""
    import psutil

    requests = (Request(user(f"question {n} " * 30)) for n in range(200_000))
    sizes = [
        psutil.Process().memory_info().rss
        for number, _ in enumerate(asking().ask(Quick("quick", identity="quick"), requests, None))
        if number % 10_000 == 9_999
    ]
    assert max(sizes[10:]) - sizes[9] < 16 << 20
