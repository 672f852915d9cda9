"""The labelling server over real HTTP: who is let in, and what is shown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from label_page import HERE, items, person

from factory.preference.labelling.api import Desk
from factory.preference.labelling.security import DAYS, HEADERS, Hosts, Sessions
from factory.preference.labelling.server import PAGES, STATIC, File, application, page_files, running
from factory.preference.labelling.store import Labels

FILES = {
    "/": File(b"<!doctype html>page", "text/html", '"1"'),
    "/static/app.js": File(b"let x", "text/javascript", '"2"'),
    "/static/icon.svg": File(b"<svg/>", "image/svg+xml", '"3"'),
}


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[Labels]:
    with Labels.open(tmp_path / "labels" / "answers") as opened:
        opened.fill(items(6))
        yield opened


Test = Callable[[int, Any], Awaitable[None]]


@pytest.fixture
def serve(labels: Labels) -> Callable[..., None]:
    """Run a coroutine function with the port of a server that is really there, and its application."""

    def run(test: Test, host: Hosts | None = None) -> None:
        async def main() -> None:
            desk = Desk(labels, "Which is better?", "<p>Be fair</p>", lambda who: {"title": who, "sections": []})
            app = application(desk, Sessions(labels.folder), host or Hosts(HERE), FILES)
            async with running(app, HERE, 0) as port:
                await test(port, app)

        asyncio.run(main())

    return run


# Who is let in


def test_nothing_is_reachable_without_a_token(serve: Callable[..., None], labels: Labels) -> None:
    async def test(port: int, app: Any) -> None:
        found = {(route.method, route.resource.canonical) for route in app.router.routes()}
        assert {("GET", "/api/next"), ("POST", "/api/vote"), ("POST", "/api/undo"), ("GET", "/static/app.js")} <= found
        async with person(port) as nobody:
            for method, path in [*found, ("GET", "/no/such/place"), ("PUT", "/"), ("OPTIONS", "/api/next")]:
                status, said, headers = await nobody.ask(method, path)
                assert status == 401, (method, path)
                if method != "HEAD":
                    sentence = said["error"] if path.startswith("/api/") else said.strip()
                    assert sentence.count(".") == 1
                    assert "link" in sentence
                assert "Set-Cookie" not in headers
                assert {name: headers[name] for name in HEADERS} == HEADERS

    serve(test)
    assert not labels.annotators()


def test_a_wrong_token_or_cookie_opens_nothing(serve: Callable[..., None], labels: Labels) -> None:
    labels.invite("ana")
    cookie = Sessions(labels.folder).cookie

    async def test(port: int, app: Any) -> None:
        async with person(port) as nobody:
            for token in ("", "x", "ana", "' OR 1=1 --", "%00", "%ff"):
                assert (await nobody.ask("GET", f"/?token={token}"))[0] == 401
            for value in ("", "x", "ana", "a" * 5000):
                assert (await nobody.ask("GET", "/api/next", Cookie=f"{cookie}={value}"))[0] == 401
            assert (await nobody.ask("GET", "/api/next?token=x"))[0] == 401

    serve(test)


def test_a_link_opens_the_page_and_leaves_the_address_bar(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port) as ana:
            status, _, headers = await ana.ask("GET", f"/?token={token}")
            assert (status, headers["Location"]) == (303, "/")
            cookie = headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert "Path=/" in cookie
            assert f"Max-Age={DAYS * 86_400}" in cookie
            assert token not in cookie
            assert (await ana.ask("GET", "/"))[1] == "<!doctype html>page"
            assert (await ana.ask("GET", "/?token=old"))[0] == 303  # signed in already: an old link does no harm
        async with person(port) as mailed:  # a browser sends no Strict cookie along a redirect from another site
            status, said, headers = await mailed.ask("GET", f"/?token={token}", Sec_Fetch_Site="cross-site")
            assert status == 200
            assert 'content="0;url=/"' in said
            assert token not in said
            assert (await mailed.ask("GET", "/api/next"))[0] == 200

    serve(test)
    for name in ("labels.sqlite", "labels.sqlite-wal", "sessions.sqlite"):
        path = labels.folder / name
        assert not path.exists() or token.encode() not in path.read_bytes()


def test_a_session_outlives_the_server_and_its_link(serve: Callable[..., None], labels: Labels) -> None:
    old = labels.invite("ana")
    kept: dict[str, str] = {}

    async def first(port: int, app: Any) -> None:
        async with person(port) as ana:
            _, _, headers = await ana.ask("GET", f"/?token={old}")
            kept["cookie"] = headers["Set-Cookie"].partition(";")[0]

    async def second(port: int, app: Any) -> None:
        async with person(port) as ana:
            assert (await ana.ask("GET", f"/?token={old}"))[0] == 401
            status, said, _ = await ana.ask("GET", "/api/next", Cookie=kept["cookie"])
            assert (status, said["name"]) == (200, "ana")

    async def third(port: int, app: Any) -> None:
        async with person(port) as ana:
            assert (await ana.ask("GET", "/api/next", Cookie=kept["cookie"]))[0] == 401

    serve(first)
    labels.invite("ana")
    serve(second)
    Sessions(labels.folder).end_all()
    serve(third)


def test_a_session_ends_after_thirty_days(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(labels.folder)
    secret = sessions.begin("ana")
    assert sessions.known(secret) == sessions.who(secret) == "ana"
    later = time.time() + DAYS * 86_400 + 1
    monkeypatch.setattr("factory.preference.labelling.security.time.time", lambda: later)
    assert sessions.known(secret) is None
    assert Sessions(labels.folder).who(secret) is None


# What another site sends


FOREIGN: list[dict[str, str | None]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
    {"Sec_Fetch_Site": "cross-site", "Origin": None},
    {"Sec_Fetch_Site": None, "Origin": None},
    {"Content_Type": "text/plain"},
    {"Content_Type": "application/x-www-form-urlencoded"},
    {"Content_Type": "multipart/form-data; boundary=application/json"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_posts_of_other_sites_are_refused(
    serve: Callable[..., None], labels: Labels, headers: dict[str, str | None]
) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            view = (await ana.ask("GET", "/api/next"))[1]["view"]
            for route in app.router.routes():
                if route.method not in ("GET", "HEAD"):
                    path = route.resource.canonical
                    status, said, _ = await ana.ask(route.method, path, {"view": view, "choice": "1"}, **headers)
                    assert status == 403, path
                    assert said["error"]
            assert (await ana.ask("POST", "/api/vote", {"view": view, "choice": "1"}))[0] == 200

    serve(test)
    assert len(labels.votes()) == 1


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "a@b"])
def test_foreign_names_of_the_server_are_refused(serve: Callable[..., None], labels: Labels, name: str) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port) as ana:
            assert (await ana.ask("GET", f"/?token={token}", Host=name))[0] in (400, 421)
            await ana.enter(token)
            for told in (name, f"{name}:{port}"):
                assert (await ana.ask("GET", "/api/next", Host=told))[0] in (400, 421)

    serve(test)


def test_names_by_which_a_server_may_be_called() -> None:
    here = Hosts("127.0.0.1")
    assert all(here.know(name) for name in ("127.0.0.1:80", "localhost:9", "LOCALHOST", "[::1]:8", "localhost."))
    assert not any(here.know(name) for name in ("192.168.0.7", "10.0.0.1:80", "example.org", ""))
    everywhere = Hosts("0.0.0.0", "https://labels.example.org/x")
    assert all(everywhere.know(name) for name in ("192.168.0.7:80", "[fe80::1]:1", "labels.example.org", "localhost"))
    assert not everywhere.know("evil.example")


# Files


TRICKS = [
    "/static/../api.py",
    "/static/..%2fapi.py",
    "/static/%2e%2e/api.py",
    "/static//etc/passwd",
    "//etc/passwd",
    "/static/....//api.py",
    "/static/app.js%00.html",
    "/static/app.js/",
    "/static/",
    "/static",
    "/static/.",
    "/static/APP.JS",
    "/static\\app.js",
    "/labels.sqlite",
    "/..%5c..%5cetc/passwd",
    "/static/sessions.sqlite",
]


@pytest.mark.parametrize("path", TRICKS)
def test_path_tricks_find_nothing(serve: Callable[..., None], labels: Labels, path: str) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port) as ana:
            _, _, headers = await ana.ask("GET", f"/?token={token}")
        reader, writer = await asyncio.open_connection(HERE, port)  # as it is: a client would tidy the path
        cookie = headers["Set-Cookie"].partition(";")[0]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HERE}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.split()[1] in (b"404", b"400"), answer

    serve(test)


def test_files_are_served_from_a_table(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            status, said, headers = await ana.ask("GET", "/static/app.js")
            assert (status, said) == (200, "let x")
            assert headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert headers["Cache-Control"] == "private, no-cache"
            assert (await ana.ask("GET", "/static/app.js", If_None_Match=headers["ETag"]))[0] == 304
            assert (await ana.ask("GET", "/api/next"))[2]["Cache-Control"] == "no-store"
            assert {name: headers[name] for name in HEADERS} == HEADERS

    serve(test)


def test_the_table_holds_what_lies_in_the_folder(tmp_path: Path) -> None:
    for name in ("index.html", "app.js", "notes.txt", ".hidden.js", "secret.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "inner.js").mkdir()
    assert set(page_files(tmp_path)) == {"/", "/static/index.html", "/static/app.js", "/static/.hidden.js"}


def test_the_page_itself_is_there() -> None:
    assert {*PAGES, "/static/app.js", "/static/style.css"} <= set(page_files(STATIC))


# What is asked and said


def test_an_item_is_shown_blind(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            _, first, _ = await ana.ask("GET", "/api/next")
            assert set(first) == {
                *("view", "mode", "prompt", "answers", "vote", "progress", "name", "title", "guidelines_html")
            }
            assert first["progress"] == {"done": 0, "mine": 0, "total": 6}
            assert first["prompt"][0]["role"] == "user"
            assert {answer["html"][:24] for answer in first["answers"]} == {'<p dir="auto">Answer <st'}
            assert set(first["answers"][0]) == {"html", "text", "dir"}
            assert "secret-model" not in json.dumps(first)
            assert "0.123456" not in json.dumps(first)
            assert (await ana.ask("GET", "/api/next"))[1] == first

    serve(test)


def test_a_vote_brings_the_next_item_and_undo_brings_it_back(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            _, first, _ = await ana.ask("GET", "/api/next")
            edit = {"answer": 1, "text": "A better answer"}
            vote = {"view": first["view"], "choice": "2", "note": "hm", "edit": edit, "seconds": 2.5}
            status, said, _ = await ana.ask("POST", "/api/vote", vote)
            assert (status, said["ok"], said["next"]["progress"]["mine"]) == (200, True, 1)
            assert said["next"]["view"] != first["view"]
            assert (await ana.ask("POST", "/api/undo"))[1]["view"] == first["view"]
            again = (await ana.ask("GET", "/api/next"))[1]
            assert again["vote"]["choice"] == "2"
            assert again["vote"]["edit"] == edit
            assert again["answers"] == first["answers"]
            assert (await ana.ask("POST", "/api/vote", {**vote, "choice": "5", "edit": None}))[0] == 200
            assert (await ana.ask("POST", "/api/undo"))[0] == 200
            status, said, _ = await ana.ask("POST", "/api/undo")
            assert status == 409
            assert set(said) == {"error"}

    serve(test)
    assert labels.votes() == []


def test_an_edit_is_kept_by_its_place_among_the_answers(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            for _ in range(6):
                _, shown, _ = await ana.ask("GET", "/api/next")
                edit = {"answer": 0, "text": "Better than " + shown["answers"][0]["text"]}
                sent = {"view": shown["view"], "choice": "1", "edit": edit}
                assert (await ana.ask("POST", "/api/vote", sent))[0] == 200
                assert (await ana.ask("POST", "/api/vote", sent))[0] == 200  # sent again: its answer was lost

    serve(test)
    answers = {item.key: item.completions for item in labels.items()}
    votes = labels.votes()
    assert len(votes) == 6
    for vote in votes:
        edited = answers[vote["item"]][vote["edit"]["answer"]][0]["content"]
        assert vote["edit"]["text"] == f"Better than {edited}"
        assert vote["edit"]["answer"] == vote["shown"][0]


def test_a_ranking(serve: Callable[..., None], labels: Labels) -> None:
    labels.fill(items(2, answers=4))
    labels.configure(mode="rank")
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            _, shown, _ = await ana.ask("GET", "/api/next")
            assert (shown["mode"], len(shown["answers"])) == ("rank", 4)
            vote = {"view": shown["view"], "choice": "rank", "ranking": [2, [0, 3], 1]}
            assert (await ana.ask("POST", "/api/vote", {**vote, "ranking": [2, 0]}))[0] == 400
            assert (await ana.ask("POST", "/api/vote", vote))[0] == 200
            assert (await ana.ask("POST", "/api/undo"))[1]["vote"]["ranking"] == [2, [0, 3], 1]

    serve(test)


def test_the_item_of_another_is_refused(serve: Callable[..., None], labels: Labels) -> None:
    tokens = [labels.invite("ana"), labels.invite("bob")]

    async def test(port: int, app: Any) -> None:
        async with person(port, tokens[0]) as ana, person(port, tokens[1]) as bob:
            view = (await ana.ask("GET", "/api/next"))[1]["view"]
            await bob.ask("GET", "/api/next")
            edit = {"answer": 0, "text": "mine"}
            for path, body in (
                ("/api/vote", {"choice": "1"}),
                ("/api/vote", {"choice": "1", "edit": edit}),
                ("/api/diff", {}),
            ):
                status, said, _ = await bob.ask("POST", path, {"view": view, **body})
                assert status == 403, path
                assert set(said) == {"error"}
            assert (await ana.ask("POST", "/api/vote", {"view": view, "choice": "1"}))[0] == 200

    serve(test)
    assert [vote["by"] for vote in labels.votes()] == ["ana"]


NONSENSE: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    {"choice": "1"},
    {"choice": 1},
    {"choice": "6"},
    {"choice": "skip"},
    {"choice": "1", "seconds": "3"},
    {"choice": "1", "seconds": -1},
    {"choice": "1", "seconds": True},
    {"choice": "1", "note": ["x"]},
    {"choice": "1", "note": "x" * 10_001},
    {"choice": "1", "edit": "x"},
    {"choice": "1", "edit": {"answer": 2, "text": "x"}},
    {"choice": "1", "edit": {"answer": 0, "text": 3}},
    {"choice": "1", "edit": {"answer": True, "text": "x"}},
    {"choice": "1", "edit": {"answer": 0, "text": " "}},
    {"choice": "rank", "ranking": {"0": 1}},
    {"choice": "rank", "ranking": [0, 1]},
]


def test_nonsense_is_refused_in_a_sentence(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            view = (await ana.ask("GET", "/api/next"))[1]["view"]
            for body in NONSENSE:
                sent = {"view": view, **body} if isinstance(body, dict) and len(body) > 1 else body
                if isinstance(body, dict) and body.get("choice") != "1":
                    sent = {"view": view, **body}
                status, said, _ = await ana.ask("POST", "/api/vote", sent)
                assert status == 400, body
                assert set(said) == {"error"}
                assert said["error"][0].isupper() or said["error"][0] == "'"
                assert said["error"].endswith(".")
                assert "Traceback" not in said["error"]
            for body in ({"left": 0, "right": 2}, {"left": -1}, {"left": "0"}):
                assert (await ana.ask("POST", "/api/diff", {"view": view, **body}))[0] == 400

    serve(test)
    assert labels.votes() == []


def test_too_much_text_is_refused(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            view = (await ana.ask("GET", "/api/next"))[1]["view"]
            vote = {"view": view, "choice": "1", "edit": {"answer": 0, "text": "x" * (5 << 20)}}
            status, said, _ = await ana.ask("POST", "/api/vote", vote)
            assert (status, set(said)) == (413, {"error"})
            vote["edit"]["text"] = "x" * (1 << 20)
            assert (await ana.ask("POST", "/api/vote", vote))[0] == 200

    serve(test)


def test_a_failure_shows_no_traceback(
    serve: Callable[..., None], labels: Labels, caplog: pytest.LogCaptureFixture
) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            labels.close()  # as a disk that is gone
            status, said, headers = await ana.ask("GET", "/api/next")
            assert status == 500
            assert set(said) == {"error"}
            assert "sqlite" not in said["error"].lower()
            assert headers["Content-Security-Policy"]

    serve(test)
    assert "ProgrammingError" in caplog.text


def test_differences_of_what_is_on_the_screen(serve: Callable[..., None], labels: Labels) -> None:
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            _, shown, _ = await ana.ask("GET", "/api/next")
            _, said, _ = await ana.ask("POST", "/api/diff", {"view": shown["view"]})
            left, right = (answer["text"] for answer in shown["answers"])
            assert "".join(row[1] for row in said["rows"]) == left
            assert "".join(row[2] for row in said["rows"]) == right
            assert [row[0] for row in said["rows"]] == ["equal", "replace", "equal"]

    serve(test)


def test_someone_who_has_done_all_is_told_so(serve: Callable[..., None], labels: Labels) -> None:
    labels.configure(repeat_share=0.0)
    token = labels.invite("ana")

    async def test(port: int, app: Any) -> None:
        async with person(port, token) as ana:
            for done in range(6):
                view = (await ana.ask("GET", "/api/next"))[1]["view"]
                _, said, _ = await ana.ask("POST", "/api/vote", {"view": view, "choice": "3", "seconds": 1})
                assert said["next"]["progress"]["done"] == done + 1
            assert said["next"]["done"] is True
            assert (await ana.ask("GET", "/api/next"))[1]["progress"] == {"done": 6, "mine": 6, "total": 6}

    serve(test)
