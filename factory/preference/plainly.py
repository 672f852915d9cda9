"""Questions with log-probabilities, and without where a server refuses to be asked for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from factory import Answer, Request

Asks = Callable[[Iterable[Request]], Iterator[Answer]]  # answers in the order of the requests
NOT_STORED = "not stored"  # what a run on stored answers alone says of a refusal, which is never stored


@dataclass
class Plain:
    """What was asked of one judge without log-probabilities, since with them its server refused."""

    questions: int = 0
    said: str = ""  # by the server, the first time

    def told(self) -> str:
        them = "one question was" if self.questions == 1 else f"{self.questions:,} questions were"
        return (
            f"refuses to be asked for log-probabilities ({self.said}): {them} asked without, and the verdicts count "
            "as they were said"
        )


def answered_at_all(ask: Asks, requests: Iterator[Request], plain: Plain) -> Iterator[Answer]:
    """Answers to requests that ask for log-probabilities, in their order.

    A request that is refused is asked again without; when it is answered then, they were what was refused, whatever
    words the server has for it. The first request is sent alone: if that is how it went, none of the others asks for
    any. A server that refuses some only, as those do that hand on to others, is heard on the rest.
    """
    for first in requests:
        (answer,) = ask([first])
        yield _again(ask, first, answer, plain)
        break
    if plain.questions:
        for answer in ask(_bare(request) for request in requests):
            plain.questions += 1
            yield answer
        return
    sent: deque[Request] = deque()

    def noted() -> Iterator[Request]:
        for request in requests:
            sent.append(request)
            yield request

    for answer in ask(noted()):
        yield _again(ask, sent.popleft(), answer, plain)


def _again(ask: Asks, request: Request, answer: Answer, plain: Plain) -> Answer:
    """The answer; of a refused request the one to the same without log-probabilities, if there is one."""
    refused = not answer.ok and not answer.over_budget and not answer.again
    if refused or answer.error == NOT_STORED:
        (without,) = ask([_bare(request)])
        if without.ok:
            plain.questions += 1
            plain.said = plain.said or answer.error
            return without
    return answer


def _bare(request: Request) -> Request:
    return replace(request, top_logprobs=0)
