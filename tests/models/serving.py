"""An OpenAI-compatible server in a thread, whose answers a test decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

KEY = "sk-test/0123456789+abcdef"  # with characters that JSON and URLs may spell in another way

Handler = Callable[[web.Request, dict[str, Any], int], Awaitable[web.StreamResponse]]


def completion(text: str | None, finish: str = "stop") -> web.Response:
    """A chat completion as servers send it."""
    return web.json_response(
        {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        }
    )


class Server:
    """An OpenAI-compatible server; `handler(request, body, nth)` answers, nth counts this prompt's tries."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.tries: dict[str, int] = {}
        self.now = self.most = 0
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(started,), daemon=True)
        self.thread.start()
        started.wait()

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.start())
        started.set()
        self.loop.run_forever()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("Authorization"))
        said = body["messages"][-1]["content"]
        self.tries[said] = self.tries.get(said, 0) + 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.handler(request, body, self.tries[said])
        finally:
            self.now -= 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
