"""People at the labelling page over real HTTP, and items to vote on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from factory import assistant, user
from factory.preference.comparisons import item_key
from factory.preference.labelling.store import Item

HERE = "127.0.0.1"


def items(count: int, answers: int = 2) -> Iterator[Item]:
    for number in range(count):
        prompt = user(f"Question {number}?")
        completions = [assistant(f"Answer **{place}** to {number}, by nobody") for place in range(answers)]
        models = [f"secret-model-{place}" for place in range(answers)]
        yield Item(item_key(prompt, completions), prompt, completions, judged=0.123456, models=models)


class Page:
    """One person at the page: a cookie jar of their own, and the headers a browser would send."""

    def __init__(self, session: Any, port: int) -> None:
        self.session, self.port = session, port
        self.base = f"http://{HERE}:{port}"

    async def ask(self, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, Any, Any]:
        sent: dict[str, str] = {}
        if method == "POST":
            sent = {"Origin": self.base, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
        for name, value in headers.items():
            name = name.replace("_", "-")
            sent.pop(name, None)
            if value is not None:
                sent[name] = value
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()
        wait = self.session.request(
            method, self.base + path, data=data if method == "POST" else None, headers=sent, allow_redirects=False
        )
        async with wait as answer:
            text = await answer.text()
            said = json.loads(text) if text and answer.content_type == "application/json" else text
            return answer.status, said, answer.headers

    async def enter(self, token: str) -> None:
        status, _, _ = await self.ask("GET", f"/?token={token}")
        assert status == 303


@asynccontextmanager
async def person(port: int, token: str = "") -> AsyncIterator[Page]:
    import aiohttp

    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        page = Page(session, port)
        if token:
            await page.enter(token)
        yield page
