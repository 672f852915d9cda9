"""`openai:NAME`: any server that speaks OpenAI's chat completions, asked with many requests in flight."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import threading
import time
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from factory import Answer, CausalLM, ModelError, Request
from factory.errors import did_you_mean

from .answers import answer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "https://api.openai.com/v1"
ASK_AGAIN = frozenset({408, 409, 425, 429})  # and every 5xx
LONGEST_WAIT = 600.0  # seconds; a server that asks for more is asked again after this
OPTIONS = ("base_url", "key_env", "concurrency", "timeout", "attempts", "backoff")


@dataclass(frozen=True)
class OpenAI(CausalLM):
    """A model behind a chat completions endpoint. The key is read from the environment when the model is opened."""

    name: str = ""
    base_url: str = DEFAULT_URL
    key_env: str = ""  # OPENAI_API_KEY unless named
    concurrency: int = 32  # requests in flight
    timeout: float = 300.0  # seconds one attempt may take
    attempts: int = 6
    backoff: float = 0.5  # seconds before the second attempt; doubles with each further one

    @classmethod
    def from_uri(cls, uri: str) -> OpenAI:
        """`openai:NAME`, or `openai:NAME?base_url=http://host/v1&key_env=MY_KEY&concurrency=32&timeout=120`."""
        name, _, query = uri.removeprefix("openai:").partition("?")
        given = urllib.parse.parse_qs(query, keep_blank_values=True)
        # The value of an unknown option is not repeated: it may be a key.
        if unknown := [option for option in given if option not in OPTIONS]:
            raise ModelError(f"openai:{name} has no option '{unknown[0]}'; {did_you_mean(unknown[0], OPTIONS)}")
        options: dict[str, Any] = {option: values[-1] for option, values in given.items()}
        for option, kind in (("concurrency", int), ("timeout", float), ("attempts", int), ("backoff", float)):
            if option in options:
                options[option] = _number(f"openai:{name}: {option}", options[option], kind)
        base_url = _checked_url(name, options.pop("base_url", "") or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL)
        if not name:
            raise ModelError("openai: names no model; expected openai:NAME")
        return cls(uri, f"openai:{name} at {base_url}", name=name, base_url=base_url, **options)

    def open(self, threads: int = 2) -> OpenAISession:
        """Raises ModelError when the environment holds no key and the endpoint is known to want one."""
        variable = self.key_env or "OPENAI_API_KEY"
        key = os.environ.get(variable, "").strip()
        if not key and (self.key_env or self.base_url == DEFAULT_URL):
            raise ModelError(
                f"openai:{self.name}: the environment variable {variable} is not set; it must hold your key"
            )
        return OpenAISession(self, key)


class OpenAISession:
    """An event loop in a thread of its own. A request waits for its next attempt outside the in-flight bound,
    so fresh requests go on while others back off."""

    batch = 1

    def __init__(self, model: OpenAI, key: str) -> None:
        self._model, self._key = model, key
        self._refused: ModelError | None = None  # the first answer that says no request can succeed
        self._reached = False  # whether the server ever answered
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"openai:{model.name}", daemon=True)
        self._thread.start()
        self._ready.wait()

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        """Answers in the order of `requests`, later. Raises ModelError in the future when attempts are used up."""
        return asyncio.run_coroutine_threadsafe(self._answers(list(requests)), self._loop)

    def close(self) -> None:
        """Give up what is in flight and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        import aiohttp

        self._stop = asyncio.Event()
        self._in_flight = asyncio.Semaphore(self._model.concurrency)
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the semaphore is the bound
            timeout=aiohttp.ClientTimeout(total=self._model.timeout),
            headers=headers,
            trust_env=True,  # proxies
        ) as self._http:
            self._ready.set()
            await self._stop.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _answers(self, requests: list[Request]) -> list[Answer]:
        return list(await asyncio.gather(*(self._answer(request) for request in requests)))

    async def _answer(self, request: Request) -> Answer:
        body = orjson.dumps(_body(self._model, request))
        trouble = ""
        for attempt in range(1, self._model.attempts + 1):
            async with self._in_flight:
                if self._refused is not None:
                    raise self._refused
                result = await self._attempt(request, body)
            if isinstance(result, Answer):
                return dataclasses.replace(result, request=request)
            trouble = result.trouble
            if attempt < self._model.attempts:
                await asyncio.sleep(result.wait if result.wait is not None else self._pause(attempt))
        reached = "" if self._reached else "; is the server running, and is base_url right?"
        raise ModelError(
            f"{self._model.name} at {self._model.base_url} did not answer in {self._model.attempts} attempts: "
            f"{trouble}{reached}"
        )

    async def _attempt(self, request: Request, body: bytes) -> Answer | Retry:
        import aiohttp

        try:
            async with self._http.post(
                f"{self._model.base_url}/chat/completions", data=body, allow_redirects=False
            ) as response:
                self._reached = True
                content = await response.read()
                status, headers = response.status, response.headers
        except TimeoutError:
            return Retry(f"no answer within {self._model.timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Retry(self._clean(f"{type(error).__name__}: {error}"))
        if status == 200:
            return self._understood(content, request)
        said = self._clean(_message(content))
        if "insufficient_quota" not in said and (status in ASK_AGAIN or status >= 500):
            return Retry(f"status {status}: {said}", _retry_after(headers))
        if status in (401, 402, 403, 404, 429) or 300 <= status < 400:
            self._refused = ModelError(f"{self._model.name} at {self._model.base_url}: {self._mend(status)}: {said}")
            raise self._refused
        return Answer(finish="failed", error=f"status {status}: {said}")

    def _understood(self, content: bytes, request: Request) -> Answer | Retry:
        try:
            found = orjson.loads(content)
            choice = found["choices"][0]
            message, finish = choice["message"], choice.get("finish_reason") or "stop"
            used = found.get("usage") or {}
            text, refusal = message.get("content") or "", message.get("refusal")
            tokens = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
        except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
            return Retry(f"status 200 without a chat completion: {self._clean(_message(content))}")
        if refusal or finish == "content_filter":
            return Answer("", "failed", self._clean(f"refused: {refusal or 'content filter'}"), *tokens)
        return answer_of(str(text), "length" if finish == "length" else "stop", request.stop, *tokens)

    def _pause(self, attempt: int) -> float:
        """Exponential, with up to half of it taken away at random so that requests do not return together."""
        longest = min(self._model.backoff * 2.0 ** (attempt - 1), 60.0)
        return longest * random.uniform(0.5, 1.0)

    def _mend(self, status: int) -> str:
        variable = self._model.key_env or "OPENAI_API_KEY"
        if status in (401, 403):
            held = "holds a key that is refused" if self._key else "is not set"
            return f"status {status}; check the environment variable {variable}, which {held}"
        if status in (402, 429):
            return f"status {status}; the account behind {variable} has no credit left"
        if status == 404:
            return "status 404; check the model's name, and that base_url ends where /chat/completions begins"
        return f"status {status}, a redirection; check base_url"

    def _clean(self, text: str) -> str:
        """A server's words without the key, which some repeat, on one line of at most 300 characters."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:300]


@dataclass(frozen=True)
class Retry:
    """An attempt that may succeed later: what went wrong, and how long the server asked to wait (seconds)."""

    trouble: str
    wait: float | None = None


def _body(model: OpenAI, request: Request) -> dict[str, Any]:
    """The request as JSON. Values that are the protocol's defaults are left out: some models accept nothing else."""
    if request.turn != "assistant":
        raise ModelError(
            f"{model.uri.partition('?')[0]}: chat completions write the assistant's words only; a step that has the "
            f"model write the {request.turn}'s turn (magpie) needs a local model"
        )
    official = model.base_url == DEFAULT_URL
    body: dict[str, Any] = {"model": model.name, "messages": list(request.messages)}
    body["max_completion_tokens" if official else "max_tokens"] = request.max_tokens
    if request.temperature != 1.0:
        body["temperature"] = request.temperature
    if request.top_p != 1.0:
        body["top_p"] = request.top_p
    if request.presence_penalty:
        body["presence_penalty"] = request.presence_penalty
    if request.stop:
        body["stop"] = list(request.stop[:4])  # the protocol's limit; the answer is cut at the others here
    return body


def _message(content: bytes) -> str:
    """What an error's body says, whichever of the usual forms it has."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode("utf-8", "replace")
    error = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(error, dict):
        parts = [str(error[part]) for part in ("message", "detail", "code") if error.get(part)]
        return " ".join(parts) or orjson.dumps(error).decode()
    return str(error)


def _retry_after(headers: Mapping[str, str]) -> float | None:
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


def _number(what: str, value: str, kind: type[int] | type[float]) -> float:
    try:
        number = kind(value)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise ModelError(f"{what} is '{value}'; expected {'a whole' if kind is int else 'a'} number above 0")
    return number


def _checked_url(name: str, url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.username or parts.password:
        raise ModelError(f"openai:{name}: base_url holds a user or password; put the key into an environment variable")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ModelError(f"openai:{name}: base_url is '{url}'; expected http://host/v1 or https://host/v1")
    return url.rstrip("/")
