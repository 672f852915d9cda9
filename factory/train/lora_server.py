"""A server that loads LoRA adapters while it runs and completes token ids with token ids: vLLM, or one that speaks so.

By vLLM's sources: `/load_lora_adapter` and `/unload_lora_adapter` stand beside `/completions`, which since 0.10.2 gives
`token_ids` to who asks for `return_token_ids`, the one that ended an answer included. Errors name the server's address
and what to start it with. An attempt that comes to nothing is made again: no connection, 408, 409, 425, 429, 5xx.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from factory import ModelError
from factory.errors import said
from factory.models.backoff import Backoff
from factory.models.completions import ASK_AGAIN, loaded, message_of, one_line, retry_after
from factory.models.redaction import Redaction
from factory.models.transport import CONNECT, proxy_of

from .ppo_options import Server

T = TypeVar("T")

ATTEMPTS, FIRST = 6, 0.5  # of one request, and seconds before the second
TIMEOUT = 600.0  # seconds of one attempt: answers wait for each other where many are in flight
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM can be started for


class LoraServer:
    """Calls to one server. Raises ModelError when it cannot be reached, or the environment lacks a key that is named.

    had  the models and adapters that it had when it was first asked
    """

    def __init__(self, server: Server) -> None:
        self.url, self.concurrency = server.url.rstrip("/"), server.concurrency
        key = os.environ.get(server.key_env, "").strip() if server.key_env else ""
        if server.key_env and not key:
            raise ModelError(f"ppo: server: the environment variable {server.key_env} is not set; it must hold the key")
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._proxy = proxy_of(self.url)
        self._redaction = Redaction(key, urlsplit(self._proxy or "").password or "")
        self._backoff = Backoff(FIRST)
        self.had = self._models()

    def _models(self) -> list[str]:
        status, content = self._one("GET", "/models")
        try:
            if status != 200:
                raise ValueError
            return [str(one["id"]) for one in loaded(content)["data"]]
        except (ValueError, LookupError, TypeError):
            raise self._error(status, content, "does not list its models; check that the url ends in /v1") from None

    def load(self, name: str, folder: Path, rank: int) -> None:
        """Have it read an adapter from a folder."""
        body = {"lora_name": name, "lora_path": str(folder)}
        status, content = self._one("POST", "/load_lora_adapter", body, final=frozenset({500}))
        # "already": an attempt before this one got through, and its answer did not. The name is nobody else's.
        if status == 200 or b"already" in content:
            return
        fits = next((one for one in RANKS if one >= rank), rank)
        start = f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora and --max-lora-rank {fits}"
        where = f"where {folder} can be read"
        raise self._error(status, content, f"does not load the policy's adapter; start vLLM with {start}, {where}")

    def unload(self, name: str) -> None:
        """Have it forget an adapter, once: that it has forgotten it already, or is gone, is no error."""
        with suppress(ModelError):
            self._one("POST", "/unload_lora_adapter", {"lora_name": name}, attempts=1)

    def complete(self, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The first choice of every completion, in their order."""

        async def one(http: aiohttp.ClientSession, body: dict[str, Any], room: asyncio.Semaphore) -> dict[str, Any]:
            async with room:
                status, content = await self._send(http, "POST", "/completions", body, read=_choice)
            if status != 200:
                raise self._error(status, content, "does not complete a prompt")
            return _choice(content)

        async def all_of_them(http: aiohttp.ClientSession) -> list[dict[str, Any]]:
            room = asyncio.Semaphore(self.concurrency)
            return await asyncio.gather(*(one(http, body, room) for body in bodies))

        return self._run(all_of_them)

    def _one(self, method: str, path: str, body: dict[str, Any] | None = None, **more: Any) -> tuple[int, bytes]:
        return self._run(lambda http: self._send(http, method, path, body, **more))

    def _run(self, call: Callable[[aiohttp.ClientSession], Coroutine[Any, Any, T]]) -> T:
        async def inside() -> T:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(
                connector=connector, timeout=timeout, headers=self._headers, proxy=self._proxy
            ) as http:
                return await call(http)

        return asyncio.run(inside())

    async def _send(
        self,
        http: aiohttp.ClientSession,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        final: frozenset[int] = frozenset(),
        read: Callable[[bytes], Any] | None = None,
        attempts: int = ATTEMPTS,
    ) -> tuple[int, bytes]:
        """(status, content) of the first attempt that came to something.

        final  statuses that are no reason to ask again
        read   raises ValueError for a content of status 200 that is none
        """
        data = None if body is None else json.dumps(body).encode()
        trouble, reached = "", False
        for attempt in range(1, attempts + 1):
            wait = None
            try:
                async with http.request(method, self.url + path, data=data, allow_redirects=False) as response:
                    reached, status = True, response.status
                    content = self._redaction.content(await response.read())
                    if status == 200 and read is not None:
                        read(content)
                if status in final or (status not in ASK_AGAIN and status < 500):
                    return status, content
                trouble, wait = f"status {status}: {message_of(content)}", retry_after(response.headers)
            except TimeoutError:
                trouble = f"no answer within {TIMEOUT:g} s"
            except ValueError as error:
                trouble = str(error)
            except (aiohttp.ClientError, OSError) as error:
                trouble = said(error)
            if attempt < attempts:
                await asyncio.sleep(self._backoff.pause(attempt, wait))
        hint = "" if reached else "; is it running, and is the url right?"
        raise ModelError(
            f"ppo: the server {self.url} gave no answer in {attempts} attempts: {self._line(trouble)}{hint}"
        )

    def _error(self, status: int, content: bytes, what: str) -> ModelError:
        if status in (401, 403):
            what = "refuses the key; give the environment variable that holds it as key_env"
        return ModelError(f"ppo: the server {self.url} {what} (status {status}: {self._line(message_of(content))})")

    def _line(self, text: str) -> str:
        return one_line(self._redaction.line(text))


def _choice(content: bytes) -> dict[str, Any]:
    """Raises ValueError for no completion, and for one that was broken off."""
    try:
        choice: dict[str, Any] = loaded(content)["choices"][0]
        finish = choice["finish_reason"]
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"status 200 without a completion: {one_line(message_of(content))}") from None
    if finish not in ("stop", "length"):
        raise ValueError(f"an answer was broken off: {finish}")
    return choice
