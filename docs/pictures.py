"""Take the pictures of the labelling screen: docs/label-desktop.png, label-phone.png and label-dark.png.

A real server over a small label set, looked at by Chromium (Debian's package chromium) through playwright.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from factory import assistant, user
from factory.preference.comparisons import item_key
from factory.preference.labelling.api import Desk
from factory.preference.labelling.security import Hosts, Sessions
from factory.preference.labelling.server import application, running
from factory.preference.labelling.store import Item, Labels

DOCS = Path(__file__).resolve().parent
LARGEST = 300_000  # bytes of a picture
DECORATED = """\
Put `functools.lru_cache` above the function. It keeps earlier results in a dictionary, keyed by the arguments:

```python
from functools import lru_cache

@lru_cache(maxsize=None)
def fib(n: int) -> int:
    # each n is computed once
    return n if n < 2 else fib(n - 1) + fib(n - 2)
```

The bare function needs about $\\varphi^n$ calls. With the cache there is one for each argument:

$$T(n) = \\sum_{k=0}^{n} 1 = n + 1$$

It pays when the same arguments come back and the result depends on nothing else."""
BY_HAND = """\
Memoisation means that a function remembers its results. You can do it with a dictionary:

```python
cache = {}

def fib(n):
    if n not in cache:
        cache[n] = n if n < 2 else fib(n - 1) + fib(n - 2)
    return cache[n]
```

| way | lines | bounded |
|:--|--:|:--|
| dictionary | 5 | no |
| `lru_cache` | 1 | if you like |

Use it where a result is asked for **more than once**."""
COLD = """\
Yes. Dough rises at 4 °C, too, only about eight times more slowly:

1. Knead, then let it stand for **one hour** at room temperature.
2. Cover it well and put it in the fridge for 12 to 48 hours.
3. Take it out an hour before baking."""
WARM = """\
Dough needs warmth to rise, so a fridge is not ideal. A short stay does no harm, though; many bakers even prefer it \
because the taste gets stronger. Cover it, or it will dry out."""
CODE = ("What is memoisation in Python, and when does it pay? Show me with Fibonacci numbers.", DECORATED, BY_HAND)
BREAD = ("Can I leave bread dough in the fridge overnight?", COLD, WARM)
SHOTS: dict[str, tuple[tuple[str, ...], dict[str, Any], tuple[str, ...]]] = {
    "label-desktop": (CODE, {"viewport": {"width": 1280, "height": 840}, "device_scale_factor": 1.5}, ()),
    "label-phone": (
        BREAD,
        {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True},
        (),
    ),
    "label-dark": (
        CODE,
        {"viewport": {"width": 1280, "height": 840}, "device_scale_factor": 1.5, "color_scheme": "dark"},
        ("u",),
    ),
}


def an_item(prompt: str, *answers: str, judged: float = 0.0) -> Item:
    asked, completions = user(prompt), [assistant(answer) for answer in answers]
    return Item(item_key(asked, completions), asked, completions, judged=judged)


@asynccontextmanager
async def served(folder: Path, shown: tuple[str, ...], voted: int) -> AsyncIterator[str]:
    """A personal link to a label set of forty items, of which some have votes and one is worth most."""
    plain = [an_item(f"Question {n}", f"first {n}", f"second {n}") for n in range(39)]
    with Labels.open(folder) as labels:
        labels.configure(repeat_share=0.0, gold_share=0.0)
        link = labels.invite("ada")
        labels.fill(plain)
        for _ in range(voted):
            if view := labels.next("ada"):
                labels.vote("ada", view.view, "2", seconds=9.0)
        labels.fill([*plain, an_item(*shown, judged=1.0)])
        desk = Desk(labels, "Tutor", "<p>Prefer what is right, then what is clear.</p>", lambda who: {"sections": []})
        async with running(application(desk, Sessions(folder), Hosts("127.0.0.1")), "127.0.0.1", 0) as port:
            yield f"http://127.0.0.1:{port}/?token={link}"


async def take(browser: Any, name: str, folder: Path) -> Path:
    shown, options, keys = SHOTS[name]
    async with served(folder, shown, voted=11) as link:
        context = await browser.new_context(**options)
        page = await context.new_page()
        await page.goto(link)
        await page.wait_for_selector('body[data-state="ready"]')
        if keys:  # a vote on what is shown, and the keys after it
            first = await page.get_attribute("body", "data-view")
            await page.keyboard.press("4")
            await page.wait_for_selector(f'body[data-state="ready"]:not([data-view="{first}"])')
            for key in keys:
                await page.keyboard.press(key)
            await page.wait_for_selector(f'body[data-state="ready"][data-view="{first}"]')
        await page.evaluate("Promise.all(document.getAnimations().map(one => one.finished))")
        path = DOCS / f"{name}.png"
        await page.screenshot(path=path)
        await context.close()
    return path


async def main() -> int:
    from playwright.async_api import async_playwright

    found = shutil.which("chromium")
    if found is None:
        print("pictures are taken by Debian's package chromium, which is not here", file=sys.stderr)
        return 1
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        with tempfile.TemporaryDirectory() as folder:
            paths = [await take(browser, name, Path(folder) / name) for name in SHOTS]
        await browser.close()
    for path in paths:
        print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size:,} bytes")
    return int(any(path.stat().st_size > LARGEST for path in paths))


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
