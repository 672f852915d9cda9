"""Log-probabilities: asked for, read, kept in the cache, and none of it where nobody asks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from serving import completion

from factory import Answer, CausalLM, Request, digest, user
from factory.engine.responses import Responses
from factory.engine.structured import delivered
from factory.models import open_model
from factory.models.completions import answer_in, body_of

ASKED = Request(user("Which one?"), temperature=0.0, max_tokens=4, top_logprobs=5)
PLAIN = Request(user("Which one?"), temperature=0.0, max_tokens=4)
GIVEN = {
    "content": [
        {
            "token": "A",
            "logprob": -0.105360515,
            "top_logprobs": [{"token": "A", "logprob": -0.105360515}, {"token": "B", "logprob": float("-inf")}],
        },
        {"token": ".", "logprob": -1e-9},
    ]
}
READ = [{"A": -0.1054, "B": -100.0}, {".": 0.0}]


def response(logprobs: Any) -> bytes:
    import json

    choice = {"message": {"role": "assistant", "content": "A."}, "finish_reason": "stop", "logprobs": logprobs}
    return json.dumps({"choices": [choice], "usage": {}}).encode()


def test_keys_of_answers_stored_before_stay() -> None:
    said = {"messages": user("Hi"), "index": 3, "temperature": 1.0, "top_p": 1.0, "max_tokens": 512, "stop": ()}
    assert Request(user("Hi"), index=3).key(CausalLM("m", "m")) == digest(["m", said], 16)
    assert ASKED.key(CausalLM("m", "m")) != PLAIN.key(CausalLM("m", "m"))


def test_only_who_asks_gets_them() -> None:
    body = body_of(ASKED, "m", False)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
    assert not {"logprobs", "top_logprobs"} & set(body_of(PLAIN, "m", False))
    assert body_of(Request(user("Hi"), top_logprobs=99), "m", False)["top_logprobs"] == 20


@pytest.mark.parametrize(
    "odd", [None, {}, {"content": None}, {"content": [{"token": "A"}]}, {"tokens": ["A"]}, [1], "x"]
)
def test_another_form_is_no_log_probability_and_no_failed_answer(odd: Any) -> None:
    answer = answer_in(200, response(odd), {}, ())
    assert isinstance(answer, Answer)
    assert (answer.text, answer.logprobs) == ("A.", None)


def test_they_are_kept_in_the_cache_and_handed_out(tmp_path: Path) -> None:
    answer = answer_in(200, response(GIVEN), {}, ())
    assert isinstance(answer, Answer)
    assert answer.logprobs == READ
    responses, model = Responses(tmp_path / "responses.sqlite"), CausalLM("m", "m")
    responses.put(model, [("one", ASKED, answer), ("two", PLAIN, Answer("A."))])
    stored = responses.get("one")
    assert stored is not None
    assert delivered(stored, ASKED).logprobs == READ
    assert list(READ[0]) == list((stored.logprobs or [{}])[0]), "the token that was written stays first"
    (plain,) = responses.base.execute("SELECT answer FROM responses WHERE key = 'two'").fetchone()
    assert b"logprobs" not in plain
    responses.close()


def test_a_server_is_asked_and_heard(serve: Any, ask: Any) -> None:
    async def handler(request: Any, body: Any, nth: int) -> Any:
        from aiohttp import web

        if not body.get("logprobs"):
            return completion("A.")
        return web.Response(body=response(GIVEN), content_type="application/json")

    session = ask(serve(handler).url)
    assert [session.submit([one]).result()[0].logprobs for one in (ASKED, PLAIN)] == [READ, None]


@pytest.mark.model
def test_a_local_model_says_how_likely_its_tokens_were(tiny_folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from factory.models.chat import encode_prompt

    session = open_model(uri=str(tiny_folder)).open(1)
    asked = Request(user("What is a list?"), temperature=0.9, max_tokens=6, top_logprobs=8)
    beside = Request(user("Name 12 modules of the library, and then some."), max_tokens=9)
    (answer, other), (alone,) = (session.submit(group).result() for group in ([asked, beside], [asked]))
    session.close()
    assert other.logprobs is None
    assert answer.logprobs is not None
    assert len(answer.logprobs) == answer.completion_tokens
    assert "".join(next(iter(found)) for found in answer.logprobs).strip()
    tokenizer, lm = AutoTokenizer.from_pretrained(tiny_folder), AutoModelForCausalLM.from_pretrained(tiny_folder)
    ids = encode_prompt(tokenizer, asked.messages)
    with torch.inference_mode():
        logs = lm(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    first, top, compared = alone.logprobs[0], logs.topk(8), 0
    for token, value in zip(top.indices.tolist(), top.values.tolist(), strict=True):
        if "\ufffd" not in (word := tokenizer.decode([token])):  # pieces of characters look alike
            assert first[word] == pytest.approx(value, abs=1e-3)
            compared += 1
    assert compared
    assert all(-100 <= value <= 0 for found in alone.logprobs for value in found.values())
    assert sum(map(math.exp, first.values())) <= 1.001
    assert len(first) <= 9
