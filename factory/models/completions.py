"""The chat completions protocol: a Request as the body of a call, and what a response says as an Answer or a Retry."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from factory import Answer, ModelError, Request

from .answers import answer_of

if TYPE_CHECKING:
    from .openai_api import OpenAI

ASK_AGAIN = frozenset({408, 409, 425, 429})  # and every 5xx
BUSY = frozenset({429, 503, 529})  # the server has too much to do: says nothing about the request
REFUSALS = frozenset({401, 402, 403, 404})  # no request can succeed
LONGEST_WAIT = 600.0  # seconds; a server that asks for more is asked again after this
FORMS = ("json_schema", "json_object", "text")  # how a schema is told, best first
MOST_LOGPROBS = 20  # to a token, by the protocol
LEAST_LOGPROB = -100.0  # what stands for anything less; servers write -inf or -9999
NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")


@dataclass(frozen=True)
class Retry:
    """An attempt that may succeed later: what went wrong, and how long the server asked to wait (seconds)."""

    trouble: str
    wait: float | None = None
    refused: bool = False  # for want of room or of time: fewer requests should be in flight
    limited: bool = False  # by a rate limit: the request itself was not even looked at
    reform: bool = False  # at once, with its schema told in another way


@dataclass(frozen=True)
class Refused:
    """An answer that says that no request can succeed."""

    status: int
    said: str

    def error(self, model: OpenAI, has_key: bool) -> ModelError:
        """A sentence with what to look at."""
        return ModelError(f"{model.name} at {model.base_url}: {self._look_at(model, has_key)}: {self.said}")

    def _look_at(self, model: OpenAI, has_key: bool) -> str:
        variable = model.key_env or "OPENAI_API_KEY"
        if self.status in (401, 403):
            held = "holds a key that is refused" if has_key else "is not set"
            return f"status {self.status}; check the environment variable {variable}, which {held}"
        if self.status in (402, 429):
            return f"status {self.status}; the account behind {variable} has no credit left"
        if self.status == 404:
            return "status 404; check the model's name, and that base_url ends where /chat/completions begins"
        return f"status {self.status}, a redirection; check base_url"


def body_of(request: Request, name: str, official: bool, form: str | None = None) -> dict[str, Any]:
    """The request as JSON. Values that are the protocol's defaults are left out: some models accept nothing else.

    official  OpenAI's own servers take `max_completion_tokens`, others know only the older `max_tokens`
    form      how the request's schema is told: json_schema, json_object or text; None where it has none

    Raises ModelError when another turn than the assistant's is asked for.
    """
    if request.turn != "assistant":
        raise ModelError(
            f"openai:{name}: chat completions write the assistant's words only; a step that has the model write the "
            f"{request.turn}'s turn (magpie) needs a local model"
        )
    body: dict[str, Any] = {"model": name, "messages": list(request.messages)}
    body["max_completion_tokens" if official else "max_tokens"] = request.max_tokens
    if request.temperature != 1.0:
        body["temperature"] = request.temperature
    if request.top_p != 1.0:
        body["top_p"] = request.top_p
    if request.presence_penalty:
        body["presence_penalty"] = request.presence_penalty
    if request.stop:
        body["stop"] = list(request.stop[:4])  # the protocol's limit; the answer is cut at the others here
    if request.top_logprobs:
        body["logprobs"], body["top_logprobs"] = True, min(request.top_logprobs, MOST_LOGPROBS)
    if form and request.schema is not None:
        if form == "json_schema":
            told = {"name": "answer", "schema": request.schema, "strict": is_strict(request.schema)}
            body["response_format"] = {"type": form, "json_schema": told}
        elif form == "json_object":
            body["response_format"] = {"type": form}
        # Others than OpenAI's servers hold the answer to the schema without showing it to the model (llama.cpp, vLLM),
        # or accept the field and do nothing with it (transformers serve): the model is told in words, too.
        if form != "json_schema" or not official:
            body["messages"] = with_schema(request)
    return body


def with_schema(request: Request) -> list[Any]:
    """The messages, with the schema told in words at the end of the last one of the user's."""
    messages = [dict(message) for message in request.messages]
    words = (
        "\n\nAnswer with JSON alone, a value that matches this JSON Schema:\n" + orjson.dumps(request.schema).decode()
    )
    last = next((message for message in reversed(messages) if message["role"] == "user"), None)
    if last is None:
        messages.append({"role": "user", "content": words.strip()})
    else:
        last["content"] = f"{last['content']}{words}"
    return messages


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes a schema: every object closed, all of its properties required."""
    if isinstance(schema, list):
        return all(is_strict(one) for one in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = set(schema.get("properties") or {})
        if schema.get("additionalProperties") is not False or names != set(schema.get("required") or []):
            return False
    return all(is_strict(value) for key, value in schema.items() if key not in ("enum", "const", "default"))


def answer_in(status: int, content: bytes, headers: Mapping[str, str], stop: Sequence[str]) -> Answer | Retry | Refused:
    """What a response means for its request."""
    if status == 200:
        return _completion(content, stop)
    said = one_line(message_of(content))
    if not any(word in said for word in NO_CREDIT) and (status in ASK_AGAIN or status >= 500):
        wait = retry_after(headers)
        limited = status == 429 or (status in BUSY and wait is not None)
        return Retry(f"status {status}: {said}", wait, status in BUSY, limited)
    if status in REFUSALS or status == 429 or 300 <= status < 400:
        return Refused(status, said)
    return Answer(finish="failed", error=f"status {status}: {said}")


def _completion(content: bytes, stop: Sequence[str]) -> Answer | Retry:
    try:
        found = loaded(content)
        choice = found["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason") or "stop"
        used = found.get("usage") or {}
        text, refusal = message.get("content") or "", message.get("refusal")
        tokens = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
        logprobs = _logprobs(choice["logprobs"]) if choice.get("logprobs") else None
    except (LookupError, TypeError, ValueError, AttributeError):
        return Retry(f"status 200 without a chat completion: {one_line(message_of(content))}")
    if refusal or finish == "content_filter":
        return Answer("", "failed", one_line(f"refused: {refusal or 'content filter'}"), *tokens)
    answer = answer_of(str(text), "length" if finish == "length" else "stop", stop, *tokens)
    return replace(answer, logprobs=logprobs) if logprobs and answer.ok else answer


def _logprobs(given: Any) -> list[dict[str, float]] | None:
    """The log-probabilities of a choice; None where they have another form: they are an extra, not the answer."""
    try:
        return [
            {one["token"]: logprob(one["logprob"]) for one in (token, *(token.get("top_logprobs") or ()))}
            for token in given["content"]
        ]
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def logprob(value: float) -> float:
    """As it is kept: four places, no infinity and no NaN."""
    return round(min(0.0, max(LEAST_LOGPROB, float(value))), 4)


class Forms:
    """How each schema is told to a server: as well as it can be, remembered once the server refused a better way."""

    def __init__(self) -> None:
        self._refused: dict[bytes, int] = {}  # schema -> how many of FORMS

    def of(self, request: Request) -> str | None:
        """The form for a request; None where it has no schema."""
        if request.schema is None:
            return None
        return FORMS[self._refused.get(orjson.dumps(request.schema), 0)] if self._refused else FORMS[0]

    def refused(self, request: Request, form: str) -> bool:
        """Note that a form was refused. Returns whether there is another."""
        at = FORMS.index(form) + 1
        if at == len(FORMS):
            return False
        schema = orjson.dumps(request.schema)
        self._refused[schema] = max(self._refused.get(schema, 0), at)
        return True


def wants_other_form(status: int, content: bytes) -> bool:
    """Whether a server says that it has no such response format, or cannot take this schema."""
    if status not in (400, 404, 415, 422, 501):
        return False
    said = content.lower()
    return any(word in said for word in (b"response_format", b"response format", b"json_object", b"guided", b"schema"))


def loaded(content: bytes) -> Any:
    """JSON, also where a text in it was cut inside of a character, which orjson refuses. Raises ValueError."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def message_of(content: bytes) -> str:
    """What an error's body says, whichever of the usual forms it has."""
    try:
        found = loaded(content)
    except ValueError:
        return content.decode("utf-8", "replace")
    error = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(error, dict):
        parts = [str(error[part]) for part in ("message", "detail", "code") if error.get(part)]
        return " ".join(parts) or json.dumps(error)
    return str(error)


def one_line(text: str) -> str:
    """A server's words on one line of at most 300 characters."""
    return " ".join(text.split())[:300]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, section 10.2.3: seconds or a date), or None."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        wait = float(value)
    except ValueError:
        try:
            wait = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(wait, 0.0), LONGEST_WAIT) if wait == wait else None
