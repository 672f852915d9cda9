"""Requests that change a label set wait in one line; those that came in together are one transaction.

Threads of their own would each wait for the database, for the disk and for the interpreter in turn: SQLite lets go of
the interpreter at every statement, and of eight busy threads each gets it back after the other seven.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")


class Line:
    """Done in the order they came, in one thread; nobody hears of it before `together`, around each group, is left."""

    def __init__(self, together: Callable[[], AbstractContextManager[None]]) -> None:
        self._together = together
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="line")
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._working: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._working is not None

    async def do(self, act: Callable[[], T]) -> T:
        """What `act` returns or raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((act, future))
        if self._working is None:
            self._working = loop.create_task(self._work())
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                acts = [act for act, _ in group]
                outcomes = await loop.run_in_executor(self._thread, self._done, acts)
                for (_, future), (said, error) in zip(group, outcomes, strict=True):
                    if future.done():  # whoever asked is gone
                        continue
                    if error is None:
                        future.set_result(said)
                    else:
                        future.set_exception(error)
        finally:
            self._working = None

    def _done(self, acts: Sequence[Callable[[], Any]]) -> list[tuple[Any, Exception | None]]:
        """What each returned, or raised; all the same error when they could not be kept."""
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            with self._together():
                for act in acts:
                    try:
                        outcomes.append((act(), None))
                    except Exception as error:
                        outcomes.append((None, error))
        except Exception as error:
            return [(None, error) for _ in acts]
        return outcomes

    def close(self) -> None:
        """After what is being done."""
        self._thread.shutdown(wait=True, cancel_futures=True)
