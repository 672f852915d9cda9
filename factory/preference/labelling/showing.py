"""Items as the page shows them: rendered once for everybody, and what comes next before anybody waits for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .rendering import render_message

if TYPE_CHECKING:
    from .items import Item
    from .line import Line
    from .store import Labels

REMEMBERED = 400  # items
AHEAD = 128  # of what is asked next; a group of votes takes as many as it has people
BREATH = 0.02  # seconds


@dataclass(frozen=True)
class Rendered:
    """The messages of an item's prompt and its answers, by their places in the item."""

    prompt: list[dict[str, str]]
    answers: list[dict[str, str]]


def rendered(item: Item) -> Rendered:
    """Long answers with code take ten milliseconds, and whatever is hard to read up to two seconds."""
    prompt = [{"role": one["role"], **render_message([one])} for one in item.prompt]
    return Rendered(prompt, [render_message(answer) for answer in item.completions])


class Showing:
    """What the page shows of a label set. To be used from the event loop only; `workers` render."""

    def __init__(self, labels: Labels, line: Line, workers: Executor) -> None:
        self._labels, self._line, self._workers = labels, line, workers
        self._rendered: OrderedDict[str, asyncio.Task[Rendered]] = OrderedDict()
        self._ahead: asyncio.Task[None] | None = None
        self._asked = 0  # people who wait for something to be rendered

    async def shown(self, item: Item) -> Rendered:
        """An item; two who ask for it at once wait for the same rendering."""
        task = self._task(item)
        if not task.done():
            self._asked += 1
            try:
                await asyncio.wait([task])
            finally:
                self._asked -= 1
        return task.result()

    def go_ahead(self) -> None:
        """Render what comes next while nobody waits; called whenever that has changed."""
        if self._ahead is None or self._ahead.done():
            self._ahead = asyncio.get_running_loop().create_task(self._render_ahead())

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()

    def _task(self, item: Item) -> asyncio.Task[Rendered]:
        if (task := self._rendered.get(item.key)) is None:
            task = self._rendered[item.key] = asyncio.get_running_loop().create_task(self._render(item))
            if len(self._rendered) > REMEMBERED:
                self._rendered.popitem(last=False)
        self._rendered.move_to_end(item.key)
        return task

    async def _render(self, item: Item) -> Rendered:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, rendered, item)
        except BaseException:
            self._rendered.pop(item.key, None)  # the next who asks may have more luck
            raise

    async def _render_ahead(self) -> None:
        await asyncio.sleep(BREATH)
        await self._nobody_waits()
        known = frozenset(self._rendered)
        for item in await self._line.do(lambda: self._labels.coming(AHEAD, known)):
            await self._nobody_waits()
            await asyncio.wait([self._task(item)])

    async def _nobody_waits(self) -> None:
        while self._line.busy or self._asked:
            await asyncio.sleep(BREATH)
