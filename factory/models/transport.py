"""One attempt of one request over HTTP, on a connection that is kept."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from factory import Answer, Request

from .completions import Forms, Refused, Retry, answer_in, body_of, wants_other_form
from .redaction import Redaction

if TYPE_CHECKING:
    from .openai_api import OpenAI

CONNECT = 30.0  # seconds a connection may take


class Transport:
    """Connections to one endpoint. Entered and used inside an event loop.

    `trust_env` of aiohttp is off: it looks proxies up in a thread, for every request. They are looked up once here.
    """

    def __init__(self, model: OpenAI, key: str) -> None:
        self.model, self.key = model, key
        self.url = f"{model.base_url}/chat/completions"
        self.proxy = proxy_of(model.base_url)
        self.redaction = Redaction(key, urllib.parse.urlsplit(self.proxy or "").password or "")
        self.forms = Forms()
        self.reached = False  # whether the server ever answered

    async def __aenter__(self) -> Transport:
        import aiohttp

        self.lost = (aiohttp.ClientError, OSError)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the window is the bound
            timeout=aiohttp.ClientTimeout(total=self.model.timeout, sock_connect=CONNECT),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self.proxy,
        )
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.http.close()

    def body(self, request: Request) -> tuple[bytes, str | None]:
        """A request as it is sent, and the form its schema is told in. Raises TypeError when it is no JSON."""
        form = self.forms.of(request)
        body = body_of(request, self.model.name, self.model.official, form)
        try:
            return orjson.dumps(body), form
        except TypeError:  # half of a character, say, where a text was cut; json spells it
            return json.dumps(body).encode(), form

    async def post(
        self, request: Request, body: bytes, form: str | None
    ) -> tuple[Answer | Retry | Refused, Mapping[str, str]]:
        """What an attempt came to, and the headers it came with; never raises but when it is cancelled."""
        try:
            async with self.http.post(self.url, data=body, allow_redirects=False) as response:
                self.reached = True
                content = await response.read()
        except TimeoutError:
            return Retry(f"no answer within {self.model.timeout:g} s", refused=True), {}
        except self.lost as error:
            return Retry(self.redaction.line(f"{type(error).__name__}: {error}")), {}
        content = self.redaction.content(content)
        if form and wants_other_form(response.status, content) and self.forms.refused(request, form):
            return Retry("response_format is refused", 0.0, reform=True), response.headers
        return answer_in(response.status, content, response.headers, request.stop), response.headers


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for an address."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)
