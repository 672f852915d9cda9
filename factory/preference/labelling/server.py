"""The server of the labelling page: one process, one door, files from a fixed table."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from factory import InputError

from .api import Desk, routes
from .line import Line
from .security import Hosts, Sessions, add_headers, guard
from .showing import Showing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

STATIC = Path(__file__).with_name("static")
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
PAGES = {"/": "index.html", "/agreement": "agreement.html"}
THREADS = 8  # requests at work at the same time; the others wait in line
LARGEST = 4 << 20  # bytes of a request: an edited answer, in JSON
PATIENCE = 2.0  # seconds that requests at work are given when the server ends


class File(NamedTuple):
    """One file of the page, read when the server starts."""

    data: bytes
    kind: str
    tag: str


def page_files(folder: Path = STATIC) -> dict[str, File]:
    """Address -> file. A request is looked up here and never becomes a path, so no path can be played with."""
    found = {}
    for path in sorted(folder.glob("*")):
        if path.suffix in TYPES and path.is_file():
            data = path.read_bytes()
            found[f"/static/{path.name}"] = File(data, TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:16]}"')
    for address, name in PAGES.items():
        if f"/static/{name}" in found:
            found[address] = found[f"/static/{name}"]
    return found


def application(
    desk: Desk, sessions: Sessions, hosts: Hosts, files: Mapping[str, File] | None = None
) -> web.Application:
    """Everything that is served, behind the guard."""
    from aiohttp import web

    workers = ThreadPoolExecutor(THREADS, thread_name_prefix="labelling")
    aside = ThreadPoolExecutor(1, thread_name_prefix="agreement")

    async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(workers, function, *args)

    line = Line(desk.labels.together)
    showing = Showing(desk.labels, line, workers)

    async def begin(app: web.Application) -> None:
        showing.go_ahead()

    async def end(app: web.Application) -> None:
        showing.close()
        aside.shutdown(wait=False, cancel_futures=True)
        workers.shutdown(wait=True, cancel_futures=True)
        line.close()

    app = web.Application(middlewares=[guard(desk.labels, sessions, hosts, in_thread)], client_max_size=LARGEST)
    app.add_routes(routes(desk, line, showing, workers, aside))
    for address, file in (page_files() if files is None else files).items():
        app.router.add_get(address, _sender(file))
    app.on_response_prepare.append(add_headers)
    app.on_startup.append(begin)
    app.on_cleanup.append(end)
    return app


def _sender(file: File) -> Callable[[web.Request], Any]:
    from aiohttp import web

    async def send(request: web.Request) -> web.Response:
        # Kept by this person's browser alone, and asked for again each time: an upgrade is seen at once.
        headers = {"ETag": file.tag, "Cache-Control": "private, no-cache"}
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        charset = "utf-8" if file.kind.startswith("text/") else None
        return web.Response(body=file.data, content_type=file.kind, charset=charset, headers=headers)

    return send


@asynccontextmanager
async def _running(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=PATIENCE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise InputError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from None
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def running(app: web.Application, host: str, port: int) -> AbstractAsyncContextManager[int]:
    """The server while it listens: the port, which is drawn where 0 was asked for. Raises InputError where it cannot.

    What was being answered when it ends is answered within two seconds.
    """
    return _running(app, host, port)
