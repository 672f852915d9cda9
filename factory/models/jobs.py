"""Requests on their way to answers, and the groups they were submitted in."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from factory import Answer, Request


class Reply:
    """The answers to one group of requests, and the future that hands them out."""

    __slots__ = ("answers", "future", "missing")

    def __init__(self, count: int) -> None:
        self.future: Future[list[Answer]] = Future()
        self.answers: list[Any] = [None] * count
        self.missing = count


class Job:
    """One request on its way to an answer."""

    # fmt: off
    __slots__ = ("at", "began", "body", "flying", "form", "guess", "hedged", "limited", "mark", "reply", "request",
                 "sent", "tries")
    # fmt: on

    def __init__(self, request: Request, reply: Reply, at: int) -> None:
        self.request, self.reply, self.at = request, reply, at
        self.tries = self.limited = 0
        self.body, self.form = b"", None  # type: bytes, str | None
        self.began = self.sent = self.guess = 0.0
        self.mark = (0, 0.0)  # requests and tokens that had gone when it went
        self.flying: list[asyncio.Task[None]] = []  # copies in flight: one, or two when hedged
        self.hedged = False

    def settle(self, answer: Answer) -> bool:
        """Note the answer and call off other copies. Returns whether the group has all of its answers."""
        for task in self.flying:
            task.cancel()
        tokens = answer.prompt_tokens, answer.completion_tokens
        self.reply.answers[self.at] = Answer(
            answer.text, answer.finish, answer.error, *tokens, self.request, logprobs=answer.logprobs
        )
        self.reply.missing -= 1
        return not self.reply.missing

    @property
    def settled(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self.reply.answers[self.at] is not None or self.reply.future.done()
