"""A labelling server in a process of its own, and browsers that look at its page."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory import assistant, user
from factory.preference.comparisons import item_key
from factory.preference.labelling.store import Item, Labels

SERVE = """
import asyncio, sys
from pathlib import Path
from factory.preference.labelling.api import Desk
from factory.preference.labelling.security import Hosts, Sessions
from factory.preference.labelling.server import application, running
from factory.preference.labelling.store import Labels

async def serve(folder, port):
    agreement = {"title": "Agreement", "note": "", "sections": [{
        "title": "Alpha", "note": "<b>as text</b>",
        "table": {"columns": ["who", "alpha"], "rows": [["<i>ada</i>", 0.5]]},
        "svg": "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><script>window.ran = 1</script>"
               "<rect width='9' height='9'/></svg>"}]}
    desk = Desk(Labels.open(folder), "Answers", "<p>Prefer what is right.</p>", lambda who: agreement)
    async with running(application(desk, Sessions(folder), Hosts("127.0.0.1")), "127.0.0.1", port):
        print("listening", flush=True)
        await asyncio.Event().wait()

asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
"""
READY = 'body[data-state="ready"]'


@dataclass
class Site:
    """A server process of its own over one label set; it can be killed and started again at the same port."""

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "listening\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def link(self, name: str) -> str:
        return f"{self.url}?token={self.tokens[name]}"

    def votes(self) -> list[dict[str, Any]]:
        with Labels.open(self.folder) as labels:
            return labels.votes()


class Screen:
    """A page of the browser with the few verbs of this screen; everything else is playwright's."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def seen(self) -> str:
        """The view on the screen, once it is there."""
        self.page.wait_for_selector(READY)
        return str(self.page.get_attribute("body", "data-view"))

    def after(self, view: str) -> None:
        """Waits until another view, or the end, is there."""
        shown = 'body:not([data-state="busy"]):not([data-state="loading"])'
        self.page.wait_for_selector(f'{shown}:not([data-view="{view}"])')

    def press(self, key: str) -> None:
        """Presses a key that ends an item."""
        before = self.seen()
        self.page.keyboard.press(key)
        self.after(before)

    def asked(self) -> tuple[str, str]:
        """The prompt, and the text of the answer on the left."""
        self.seen()
        texts = (self.page.inner_text(part) for part in ("#prompt .text", "[data-answer='0'] .text"))
        prompt, left = (text.strip() for text in texts)
        return prompt, left

    def take_back(self) -> None:
        before = self.page.get_attribute("body", "data-view")
        self.page.keyboard.press("u")
        self.page.wait_for_selector(f'{READY}:not([data-view="{before}"])')
        assert "Taken back" in self.page.inner_text("#said")
        assert self.page.locator("#bar [aria-pressed=true]").count() == 1


@pytest.fixture
def item() -> Callable[..., Item]:
    """item(prompt, *answers)"""
    return _item


def _item(prompt: str | list[Any], *answers: str) -> Item:
    asked = user(prompt) if isinstance(prompt, str) else prompt
    completions = [assistant(answer) for answer in answers]
    return Item(item_key(asked, completions), asked, completions, models=[f"model{n}" for n in range(len(answers))])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """site(items, names, **settings) starts a server over these items."""
    started: list[Site] = []

    def start(items: list[Item], names: str = "ada", **settings: Any) -> Site:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            made = Site(tmp_path / "labels", free.getsockname()[1])
        with Labels.open(made.folder) as labels:
            labels.fill(items)
            labels.configure(**{"repeat_share": 0.0, "gold_share": 0.0, **settings})
            made.tokens = {name: labels.invite(name) for name in names.split()}
        made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.kill()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "these tests need Debian's package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """visit(url, **options) opens a page in a browser of its own; what the page complains of fails the test."""
    contexts, complaints = [], []

    def open_page(url: str, **options: Any) -> Any:
        context = chromium.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(
            "window.broken = []; addEventListener('securitypolicyviolation', e => broken.push(e.violatedDirective))"
        )
        page.on("pageerror", lambda error: complaints.append(f"error {error}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda said: expected(said) or complaints.append(f"console {said.text}"))
        page.goto(url)
        return Screen(page)

    yield open_page
    for context in contexts:
        for page in context.pages:
            complaints += page.evaluate("window.broken ?? []")
        context.close()
    assert complaints == []


def expected(said: Any) -> bool:
    """What a browser itself says of a server that is gone or refuses; everything else is a complaint."""
    return said.type in ("log", "info") or said.text.startswith("Failed to load resource")
