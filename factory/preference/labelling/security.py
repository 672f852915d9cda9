"""Who may speak to the labelling server: personal links, sessions, and nothing that another site sends.

A link's token (kept hashed in the label set) is exchanged for a session: a cookie with a secret of its own, which is
kept hashed in `sessions.sqlite` beside the votes. So a page that is open goes on after the server was started again
with new links. `factory label --sign-out` ends every session.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

# Runs a function that waits for the disk beside the loop, so that nobody else waits with it.
InThread = Callable[..., Awaitable[Any]]

log = logging.getLogger("factory")
FILE = "sessions.sqlite"
DAYS = 30  # that a session lasts
READING = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "factory",
}
NOT_IN = "This page opens by a personal link only; ask whoever runs it for yours."
NOT_VALID = "This link is no longer valid; ask whoever runs the page for a new one."
# A cookie that is SameSite=Strict is not sent along a redirect that another site (a mail on the web) has begun;
# a page of our own that goes on to `/` has begun anew.
GO_ON = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<title>Labelling</title><p><a href="/">Go on</a></p>'
)


class Tokens(Protocol):
    """What is asked of the label set: whose link a token is."""

    def who(self, token: str) -> str | None: ...


class Sessions:
    """Signed-in pages of one label set: a hash of each secret, the annotator, and since when (seconds, Unix)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        # Cookies know hosts, not ports: two label sets served at once must not take each other's.
        self.cookie = f"label-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, float]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        with self._opened() as db:
            db.execute("CREATE TABLE IF NOT EXISTS sessions (secret TEXT PRIMARY KEY, name TEXT, at REAL)")
            db.execute("DELETE FROM sessions WHERE at < ?", (time.time() - DAYS * 86_400,))

    def _opened(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path, timeout=10, isolation_level=None))

    def begin(self, name: str) -> str:
        """A new session of `name`: the secret for its cookie."""
        secret, now = secrets.token_urlsafe(32), time.time()
        with self._lock, self._opened() as db:
            db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_hashed(secret), name, now))
            self._known[_hashed(secret)] = (name, now)
        return secret

    def who(self, secret: str) -> str | None:
        """Whose session a cookie is; None when it is none, or older than thirty days."""
        key = _hashed(secret)
        if (found := self._known.get(key)) is None:
            with self._lock, self._opened() as db:
                found = db.execute("SELECT name, at FROM sessions WHERE secret = ?", (key,)).fetchone()
            if found is not None:
                self._known[key] = found
        return _valid(found)

    def known(self, secret: str) -> str | None:
        """The same for a session that was asked for before, without the disk."""
        return _valid(self._known.get(_hashed(secret)))

    def end_all(self) -> None:
        """Everybody has to use a link again."""
        with self._lock, self._opened() as db:
            db.execute("DELETE FROM sessions")
            self._known.clear()


def _valid(session: tuple[str, float] | None) -> str | None:
    return session[0] if session is not None and session[1] > time.time() - DAYS * 86_400 else None


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class Hosts:
    """The names by which the server may be called; any other is another site's that points here (DNS rebinding).

    The port is not looked at: behind `ssh -L` it is another one, and a foreign name is what the attack needs.
    """

    bound: str  # the address that is listened at
    public: str = ""  # the URL by which a proxy makes it known
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = {"localhost", "127.0.0.1", "::1", self.bound.lower()}
        if not is_loopback(self.bound):
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        if self.public:
            names.add((urlsplit(self.public).hostname or "").lower())
        object.__setattr__(self, "names", frozenset(names))

    def know(self, header: str) -> bool:
        """Whether a Host header names this server. Beyond loopback every numeric address may be one of ours."""
        try:
            name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return bool(name) and (name in self.names or (not is_loopback(self.bound) and is_address(name)))

    @property
    def https(self) -> bool:
        return self.public.startswith("https://")


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host.lower() == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def foreign(request: web.Request) -> str:
    """What shows that a request that changes something was not sent by our own page; "" when nothing does."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None and origin is None:
        return "A request that changes something says where it comes from (Origin); this one does not."
    if site not in (None, "same-origin") or (
        origin is not None and origin not in (f"http://{request.host}", f"https://{request.host}")
    ):
        return "This request comes from another site."
    if request.content_type != "application/json":
        return "A request that changes something is application/json."
    return ""


@cache
def who_key() -> web.RequestKey[str]:
    """Under which a request carries the annotator's name."""
    from aiohttp import web

    return web.RequestKey("who", str)


def guard(labels: Tokens, sessions: Sessions, hosts: Hosts, in_thread: InThread) -> Middleware:
    """The one door. Every route lies behind it, so none can be forgotten; `request[who_key()]` is the annotator."""
    from aiohttp import web

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not hosts.know(request.headers.get("Host", "")):
                return refusal(request, 421, "This server does not go by that name.")
            secret = request.cookies.get(sessions.cookie, "")
            who = (sessions.known(secret) or await in_thread(sessions.who, secret)) if secret else None
            if request.path == "/" and request.method == "GET" and "token" in request.query:
                name = await in_thread(labels.who, request.query["token"])
                if name is not None:
                    return signed_in(request, sessions.cookie, await in_thread(sessions.begin, name), hosts.https)
                return onward(request) if who else refusal(request, 401, NOT_VALID)
            if who is None:
                return refusal(request, 401, NOT_IN)
            if request.method not in READING and (reason := foreign(request)):
                return refusal(request, 403, reason)
            request[who_key()] = who
            return await handler(request)
        except web.HTTPException as error:
            return refusal(request, error.status, SAID.get(error.status, f"{error.reason}."))
        except Exception:
            log.exception("labelling: %s %s failed", request.method, request.path)
            return refusal(request, 500, "Something went wrong on the server; trying again is safe.")

    return guarded


SAID = {
    404: "There is nothing at this address.",
    405: "This address is not used in that way.",
    413: "That is too much text for one vote.",
}


def refusal(request: web.Request, status: int, sentence: str) -> web.Response:
    """One plain sentence: as {error} where a program asks, else as text."""
    from aiohttp import web

    if request.path.startswith("/api/"):
        return web.json_response({"error": sentence}, status=status)
    return web.Response(text=sentence + "\n", status=status)


def signed_in(request: web.Request, cookie: str, secret: str, https: bool) -> web.Response:
    """The session's cookie, and on to the page; the token leaves the address bar."""
    answer = onward(request)
    answer.set_cookie(cookie, secret, max_age=DAYS * 86_400, path="/", httponly=True, samesite="Strict", secure=https)
    return answer


def onward(request: web.Request) -> web.Response:
    from aiohttp import web

    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return web.Response(text=GO_ON, content_type="text/html")
    return web.Response(status=303, headers={"Location": "/"})


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every response, errors too."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def unsafe(hosts: Hosts) -> Iterable[str]:
    """Sentences about who could read along."""
    if not is_loopback(hosts.bound) and not hosts.https:
        yield (
            f"{hosts.bound} can be reached from the network, and over plain HTTP whoever listens there can read links "
            "and votes: use it in a network you trust, or put a proxy with TLS before it (--public https://…)"
        )
