"""The OpenAI client against a real server that misbehaves in the ways servers do."""

from __future__ import annotations

import asyncio
import pickle
import time
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from serving import KEY, completion

import factory
from factory import ModelError, Request, user
from factory.models import open_model
from factory.models.completions import body_of


def answers(session: Any, requests: list[Request]) -> list[factory.Answer]:
    return [answer for future in [session.submit([r]) for r in requests] for answer in future.result(timeout=20)]


def requests(count: int, **options: Any) -> list[Request]:
    return [Request(user(f"question {n}"), index=n, about=n, **options) for n in range(count)]


async def echo(request: web.Request, body: dict[str, Any], nth: int) -> web.StreamResponse:
    return completion("to " + body["messages"][-1]["content"])


def test_answers_come_in_order_and_once(serve, ask):
    async def later_ones_first(request, body, nth):
        await asyncio.sleep(0.05 if body["messages"][-1]["content"].endswith("0") else 0)
        return await echo(request, body, nth)

    server = serve(later_ones_first)
    found = answers(ask(server.url), requests(40, temperature=0.7, max_tokens=99))
    assert [answer.text for answer in found] == [f"to question {n}" for n in range(40)]
    assert [answer.request.about for answer in found] == list(range(40))
    assert (found[0].finish, found[0].prompt_tokens, found[0].completion_tokens) == ("stop", 7, 3)
    assert len(server.bodies) == 40
    assert set(server.keys) == {f"Bearer {KEY}"}
    expected = {"model": "tiny", "messages": user("question 0"), "max_tokens": 99, "temperature": 0.7}
    assert next(body for body in server.bodies if body["messages"] == user("question 0")) == expected


def test_in_flight_is_bounded_and_reached(serve, ask):
    async def slow(request, body, nth):
        await asyncio.sleep(0.1)
        return await echo(request, body, nth)

    server = serve(slow)
    session = ask(server.url, "concurrency=32")
    assert session.batch == 1
    began = time.monotonic()
    assert len(answers(session, requests(64))) == 64
    assert time.monotonic() - began < 3.2  # one after another they take 6.4 s; two rounds of 0.1 s are ideal
    assert server.most == 32


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_a_passing_fault_is_asked_again(serve, ask, status):
    async def twice(request, body, nth):
        return await echo(request, body, nth) if nth > 2 else web.json_response({"error": "busy"}, status=status)

    server = serve(twice)
    assert [answer.text for answer in answers(ask(server.url), requests(3))] == [f"to question {n}" for n in range(3)]
    assert len(server.bodies) == 9


@pytest.mark.parametrize("form", ["seconds", pytest.param("date", marks=pytest.mark.builds)])
def test_retry_after_is_honoured(serve, ask, form):
    seen: list[float] = []

    async def limited(request, body, nth):
        seen.append(time.time())
        if nth > 1:
            return await echo(request, body, nth)
        value = "0.3" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
        return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": value})

    server = serve(limited)
    assert answers(ask(server.url), requests(1))[0].ok
    assert seen[1] - seen[0] >= (0.29 if form == "seconds" else 0.9)  # dates have whole seconds
    assert seen[1] - seen[0] < 3


def test_fresh_requests_go_on_while_one_waits(serve, ask):
    async def first_waits(request, body, nth):
        if nth == 1 and body["messages"][-1]["content"] == "question 0":
            return web.Response(status=429, headers={"Retry-After": "0.5"})
        return await echo(request, body, nth)

    server = serve(first_waits)
    session = ask(server.url, "concurrency=1")
    futures = [session.submit([request]) for request in requests(6)]
    assert all(future.result(timeout=20)[0].ok for future in futures[1:])
    assert not futures[0].done()  # the only place in flight was not held while it waited
    assert futures[0].result(timeout=20)[0].text == "to question 0"


def test_a_body_that_breaks_off_is_asked_again(serve, ask):
    async def broken(request, body, nth):
        if nth > 1:
            return await echo(request, body, nth)
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": [')
        request.transport.close()
        return response

    server = serve(broken)
    assert answers(ask(server.url), requests(2))[1].text == "to question 1"
    assert len(server.bodies) == 4


@pytest.mark.parametrize("body", [b'{"choices": [{"mess', b"[]", b'{"choices": []}', b"\xff", b"null"])
def test_what_is_no_completion_is_asked_again(serve, ask, body):
    async def malformed(request, _, nth):
        return await echo(request, _, nth) if nth > 1 else web.Response(body=body, content_type="application/json")

    server = serve(malformed)
    assert answers(ask(server.url), requests(1))[0].text == "to question 0"
    assert len(server.bodies) == 2


def test_an_answer_that_takes_too_long_is_asked_again(serve, ask):
    async def stuck(request, body, nth):
        if nth == 1:
            await asyncio.sleep(30)
        return await echo(request, body, nth)

    server = serve(stuck)
    assert answers(ask(server.url, "timeout=0.2&backoff=0.01"), requests(1))[0].text == "to question 0"


def test_attempts_end(serve, ask):
    async def down(request, body, nth):
        return web.json_response({"error": {"message": f"overloaded, {KEY}"}}, status=503)

    server = serve(down)
    with pytest.raises(ModelError, match=r"did not answer in 3 attempts: status 503: overloaded, \[key\]") as caught:
        answers(ask(server.url, "attempts=3&backoff=0.01"), requests(1))
    assert KEY not in str(caught.value)
    assert "nothing else got through either" in str(caught.value)
    assert sorted(server.tries.values()) == [1, 3]  # and once whether the server is well


@pytest.mark.parametrize("alone", [False, True])
def test_a_row_that_is_never_answered_fails_alone(serve, ask, alone):
    """Also when it is the only one: a server that answers something else is well."""

    async def poisoned(request, body, nth):
        if body["messages"][-1]["content"] == "question 0":
            return web.json_response({"error": {"message": f"worker died, {KEY}"}}, status=500)
        return await echo(request, body, nth)

    server = serve(poisoned)
    found = answers(ask(server.url, "attempts=3&backoff=0.01"), requests(1 if alone else 30))
    assert [answer.finish for answer in found] == ["failed", *["stop"] * (len(found) - 1)]
    assert found[0].error == "no answer in 3 attempts: status 500: worker died, [key]"
    assert len(server.bodies) <= (4 if alone else 33)


def test_a_rate_limit_uses_up_no_attempts(serve, ask):
    async def limited(request, body, nth):
        return await echo(request, body, nth) if nth > 4 else web.json_response({"error": "slow down"}, status=429)

    assert answers(ask(serve(limited).url, "attempts=2&backoff=0.01"), requests(1))[0].ok


def test_a_rate_limit_that_turns_everything_away_holds_up_all(serve, ask):
    """While it holds, fresh requests are not wasted on it."""
    opened = time.monotonic() + 0.7

    async def shut(request, body, nth):
        left = opened - time.monotonic()
        if left <= 0:
            return await echo(request, body, nth)
        return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": f"{left:.3f}"})

    server = serve(shut)
    found = answers(ask(server.url, "concurrency=4"), requests(200))
    assert all(answer.ok for answer in found)
    assert len(server.bodies) < 230


@pytest.mark.builds
def test_256_are_in_flight_within_a_second(serve, ask):
    async def slow(request, body, nth):
        await asyncio.sleep(0.2)
        return await echo(request, body, nth)

    server = serve(slow)
    session = ask(server.url, "concurrency=256")
    futures = [session.submit([request]) for request in requests(1500)]
    began = time.monotonic()
    while len(session._flying) < 256 and time.monotonic() - began < 10:
        time.sleep(0.01)
    took = time.monotonic() - began
    assert all(future.result(timeout=30)[0].ok for future in futures)
    assert took < 3  # 0.6 s where the server has a processor of its own
    assert server.most <= 256


def test_requests_a_minute(serve, ask):
    server = serve(echo)
    session = ask(server.url, "rpm=600")  # ten at once, then one every tenth of a second
    began = time.monotonic()
    assert all(answer.ok for answer in answers(session, requests(14)))
    assert 0.35 < time.monotonic() - began < 3


@pytest.mark.builds
def test_tokens_a_minute(serve, ask):
    server = serve(echo)  # every answer says that it took ten
    session = ask(server.url, "tpm=6000")  # a hundred at once, then a hundred a second
    began = time.monotonic()
    assert all(answer.ok for answer in answers(session, requests(30, max_tokens=10)))
    assert 0.8 < time.monotonic() - began < 8


def test_what_the_server_says_of_its_limits_is_honoured(serve, ask):
    async def telling(request, body, nth):
        response = await echo(request, body, nth)
        left = max(0, 5 - len(server.bodies))
        response.headers.update(
            {
                "x-ratelimit-limit-requests": "5",
                "x-ratelimit-remaining-requests": str(left),
                "x-ratelimit-reset-requests": f"{(5 - left) * 100}ms",
            }
        )
        return response

    server = serve(telling)
    session = ask(server.url, "concurrency=1")
    began = time.monotonic()
    assert all(answer.ok for answer in answers(session, requests(9)))
    assert time.monotonic() - began >= 0.35  # five at once, then one every tenth of a second
    assert len(server.bodies) == 9


@pytest.mark.parametrize("hedge", ["p99", "3"])
def test_a_slow_request_goes_twice_and_the_loser_is_called_off(serve, ask, hedge):
    gone = []

    async def one_hangs(request, body, nth):
        if body["messages"][-1]["content"] == "question 150" and nth == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                gone.append(nth)
                raise
        await asyncio.sleep(0.01)
        return await echo(request, body, nth)

    server = serve(one_hangs)
    session = ask(server.url, f"hedge={hedge}&concurrency=32")
    began = time.monotonic()
    found = answers(session, requests(200))
    assert time.monotonic() - began < 15
    assert [answer.text for answer in found] == [f"to question {n}" for n in range(200)]
    assert server.tries["question 150"] == 2
    assert session.sent == len(server.bodies) <= 200 + 0.05 * 220 + 1
    while not gone and time.monotonic() - began < 15:
        time.sleep(0.01)
    assert gone == [1]


SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("taken", ["json_schema", "json_object", "text"])
def test_a_schema_is_told_as_well_as_the_server_can_take_it(serve, ask, taken):
    forms = ["json_schema", "json_object", "text"]

    async def choosy(request, body, nth):
        form = body.get("response_format", {"type": "text"})["type"]
        if forms.index(form) < forms.index(taken):
            return web.json_response({"error": {"message": f"response_format {form} is not supported"}}, status=400)
        return completion('{"question": "why?"}')

    server = serve(choosy)
    session = ask(server.url, "attempts=1")
    assert answers(session, requests(1, schema=SCHEMA))[0].text == '{"question": "why?"}'
    assert len(server.bodies) == forms.index(taken) + 1
    assert all(answer.ok for answer in answers(session, requests(5, schema=SCHEMA)))
    assert len(server.bodies) == forms.index(taken) + 6, "what the server does not take is remembered"
    assert all(answer.ok for answer in answers(session, requests(1)))
    last = server.bodies[-2]
    if taken == "json_schema":
        assert last["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert '"additionalProperties":false' in last["messages"][-1]["content"], "servers do not show it to the model"
    assert "response_format" not in server.bodies[-1]


def test_openais_own_servers_show_a_schema_to_the_model():
    [request] = requests(1, schema=SCHEMA)
    assert body_of(request, "tiny", True, "json_schema")["messages"] == request.messages
    assert body_of(request, "tiny", True, "json_object")["messages"] != request.messages


def test_a_schema_that_strict_mode_cannot_take_is_not_called_strict(serve, ask):
    server = serve(echo)
    answers(ask(server.url), requests(1, schema={**SCHEMA, "required": []}))
    assert server.bodies[0]["response_format"]["json_schema"]["strict"] is False


def test_half_of_a_character_is_sent_all_the_same(serve, ask):
    [answer] = answers(ask(serve(echo).url), [Request(user("cut emoji \ud83d"))])
    assert answer.finish == "stop"


def test_a_group_is_answered_in_its_order(serve, ask):
    future = ask(serve(echo).url).submit(requests(20))
    assert [answer.text for answer in future.result(timeout=20)] == [f"to question {n}" for n in range(20)]
    assert ask(serve(echo).url).submit([]).result(timeout=1) == []


@pytest.mark.parametrize(
    ("status", "says"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "the model's name"), (307, "base_url")]
)
def test_a_refusal_ends_everything_at_once(serve, ask, status, says):
    async def refuse(request, body, nth):
        said = f"no such key: {request.headers['Authorization']}"
        return web.json_response({"error": {"message": said}}, status=status)

    server = serve(refuse)
    session = ask(server.url, "concurrency=2")
    futures = [session.submit([request]) for request in requests(50)]
    for future in futures:
        with pytest.raises(ModelError, match=says) as caught:
            future.result(timeout=20)
        assert KEY not in str(caught.value)
        assert "Bearer [key]" in str(caught.value)
        assert server.url in str(caught.value)
    assert len(server.bodies) <= 4  # those in flight when the first was refused


def test_no_credit_left_is_not_asked_again(serve, ask):
    async def poor(request, body, nth):
        return web.json_response({"error": {"message": "quota", "code": "insufficient_quota"}}, status=429)

    server = serve(poor)
    with pytest.raises(ModelError, match="no credit left"):
        answers(ask(server.url), requests(1))
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_row_the_server_cannot_take_fails_alone(serve, ask, status):
    async def picky(request, body, nth):
        if body["messages"][-1]["content"] == "question 1":
            return web.json_response({"error": {"message": f"bad row for {KEY}"}}, status=status)
        return await echo(request, body, nth)

    server = serve(picky)
    found = answers(ask(server.url), requests(3))
    assert [answer.finish for answer in found] == ["stop", "failed", "stop"]
    assert found[1].error == f"status {status}: bad row for [key]"
    assert found[1].text == ""
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("text", "said", "finish", "expected"),
    [
        ("half an ans", "length", "length", "half an ans"),
        ("", "stop", "failed", "empty answer"),
        (" \n", "stop", "failed", "empty answer"),
        (None, "length", "failed", "empty answer (length)"),
        ("something", "content_filter", "failed", "refused: content filter"),
        ("one\n###\ntwo", "stop", "stop", "one\n"),
    ],
)
def test_how_an_answer_finishes(serve, ask, text, said, finish, expected):
    async def say(request, body, nth):
        return completion(text, said)

    [answer] = answers(ask(serve(say).url), requests(1, stop=("###",)))
    assert (answer.finish, answer.text if answer.ok else answer.error) == (finish, expected)


def test_a_server_that_is_not_there(serve, ask):
    server = serve(echo)
    session = ask(server.url, "attempts=2&backoff=0.01")
    server.stop()
    server.stop = lambda: None
    with pytest.raises(ModelError, match=r"tiny at http://127.0.0.1:\d+/v1 did not answer in 2 attempts.*base_url"):
        answers(session, requests(1))


def test_closing_gives_up_what_is_in_flight(serve, ask):
    async def forever(request, body, nth):
        await asyncio.sleep(60)
        return completion("late")

    server = serve(forever)
    session = ask(server.url)
    future = session.submit(requests(1))
    while not server.bodies:
        time.sleep(0.001)
    session.close()
    assert future.cancelled()
    session.close()  # again is harmless


def test_the_key_is_nowhere(serve, ask):
    server = serve(echo)
    session = ask(server.url)
    model = session._model
    assert KEY not in repr(model) + model.identity + model.uri + repr(session)
    assert KEY.encode() not in pickle.dumps(model)
    assert pickle.loads(pickle.dumps(model)) == model


def test_identity_is_the_endpoint_and_the_name(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://there/v1/")
    one, other = open_model(uri="openai:a/b:free?concurrency=4"), open_model(uri="openai:a/b:free?timeout=9")
    assert one.identity == other.identity == "openai:a/b:free at http://there/v1"
    assert (one.concurrency, other.timeout) == (4, 9.0)
    assert open_model(uri="openai:a/b:free?base_url=http://here/v1").identity.endswith("http://here/v1")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("openai:", "names no model"),
        ("openai:m?concurency=3", "did you mean 'concurrency'"),
        ("openai:m?concurrency=0", "a whole number above 0"),
        ("openai:m?timeout=soon", "a number above 0"),
        ("openai:m?rpm=0.5", "a whole number above 0"),
        ("openai:m?mode=batches", "did you mean 'batch'"),
        ("openai:m?hedge=p98", "a number above 0"),
        ("openai:m?hedge=0.5", "expected p99, or a number of at least 1"),
        ("openai:m?price_in=cheap", "a number 0 or more"),
        ("openai:m?base_url=there", "expected http"),
        ("openai:m?base_url=http://me:secret@there/v1", "environment variable"),
        (f"openai:m?api_key={KEY}", "no option 'api_key'"),
    ],
)
def test_a_wrong_uri_is_a_sentence(uri, says):
    with pytest.raises(ModelError, match=says) as caught:
        open_model(uri=uri)
    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_prices_are_known_where_they_are_told():
    assert open_model(uri="openai:m").prices is None
    assert open_model(uri="openai:m?price_in=0.15&price_out=0.6").prices == (0.15, 0.6)
    assert open_model(uri="openai:m?price_out=2").prices == (0.0, 2.0)


def test_a_missing_key_is_a_sentence(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set"):
        open_model(uri="openai:m").open()
    with pytest.raises(ModelError, match="MY_KEY is not set"):
        open_model(uri="openai:m?base_url=http://127.0.0.1:1/v1&key_env=MY_KEY").open()
