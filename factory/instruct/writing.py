"""Tasks a model writes one at a time, each answered when it is sound: what such steps share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from factory import Drop, Message, Request, StepError, assistant, derive, digest, user

from .faults import fault_in_instruction
from .gates.refusals import refusal
from .generation import OVER_BUDGET, Generation, Novelty, fault_in_answer, unusable

TRIAL = 40  # draws after which a hopeless run is stopped
PER_ACCEPTED = 8  # draws a task may cost on average, unless max_draws says otherwise

_LABEL = re.compile(
    r"^[\s*_#>]*(?:(?:the\s)?(?:new|changed|other|rewritten|harder|evolved)?\s?"
    r"(?:task|instruction|prompt|question|request|任务|指令|问题)\s?\d{0,2}[*_]*\s?[:：])[*_]*\s*",
    re.I,
)
_TALK = re.compile(r"^(?:here(?:'s| is)|sure|certainly|of course)[^\n:]{0,80}:\s*\n+", re.I)
_PAIRS = {'"': '"', "“": "”", "«": "»", "「": "」", "『": "』"}


def most_draws(count: int, max_draws: int | None) -> int:
    return max_draws or max(TRIAL, PER_ACCEPTED * count)


def instruction_in(text: str) -> str:
    """The task an answer holds, without the talk, the label and the quotes around it."""
    said = _LABEL.sub("", _TALK.sub("", text.strip()), count=1).strip()
    if said.startswith("**") and said.endswith("**") and said.count("**") == 2:
        said = said[2:-2].strip()
    inner = said[1:-1]
    if len(said) > 2 and _PAIRS.get(said[0]) == said[-1] and said[0] not in inner and said[-1] not in inner:
        said = inner.strip()
    return said


@dataclass
class Draw:
    """One task that a model was asked to write. `messages` are what it is then asked for the answer with."""

    number: int
    parents: list[Any]
    request: Request
    meta: dict[str, Any]
    before: list[Message]  # a system message, say, that stands before the task when it is answered
    instruction: str = ""


@dataclass
class Bounds:
    """What a step that draws tasks until it has enough is told."""

    count: int | None  # None: as many as come of the draws
    max_draws: int
    lookahead: int
    min_yield: float
    min_words: int
    max_words: int
    answering: dict[str, Any]  # how answers are sampled


def written(
    gen: Generation,
    name: str,
    draws: Iterable[Draw],
    known: Novelty,
    bounds: Bounds,
    seen: Callable[[Draw, bool], None] = lambda draw, accepted: None,
    fault_of: Callable[[Draw], Drop | None] = lambda draw: None,
) -> Iterator[Any]:
    """Records of the draws whose task is sound and new and whose answer is sound, until there are enough.

    Tasks are admitted in the order of the draws. Raises StepError when next to nothing is accepted.
    """
    asked = gen.relay(draws, lambda draw: draw.request, ahead=bounds.lookahead)

    def reject(draw: Draw, said: str, fault: Drop) -> None:
        seen(draw, False)
        gen.reject(_made(gen, draw, said), fault)
        if not gen.stopped and gen.tally.is_dry(bounds.min_yield):
            if gen.tally.accepted < bounds.min_yield * gen.tally.candidates:
                raise StepError(gen.tally.diagnosis(name, bounds.min_yield))
            candidates, accepted = gen.tally.recent.share(bounds.min_yield)
            gen.why = f"of the latest {candidates} candidates {accepted} were accepted"

    def sound() -> Iterator[Draw]:
        for draw, answer in asked:
            assert answer is not None
            draw.instruction = instruction_in(answer.text)
            fault = unusable(answer) or fault_of(draw)
            fault = fault or fault_in_instruction(draw.instruction, "", bounds.min_words, bounds.max_words)
            if fault is None and (phrase := refusal(draw.instruction)):
                fault = Drop("refusal", phrase=phrase)
            fault = fault or gen.contaminated(draw.instruction)
            fault = fault or known.fault(f"draw {draw.number}", draw.instruction)
            if fault is None:
                yield draw
                continue
            reject(draw, "", fault)
            if fault == OVER_BUDGET or gen.why:
                return

    def answer_request(draw: Draw) -> Request:
        return Request([*draw.before, *user(draw.instruction)], about=draw.request.about, **bounds.answering)

    for draw, answer in gen.relay(sound(), answer_request, ahead=bounds.lookahead):
        assert answer is not None
        said = answer.text.strip()
        fault = fault_in_answer(answer, said, draw.instruction) or gen.contaminated(draw.instruction, said)
        if fault is not None:
            reject(draw, said, fault)
        else:
            seen(draw, True)
            yield gen.accept(_made(gen, draw, said))
        full = bounds.count is not None and gen.tally.accepted >= bounds.count
        if full or fault == OVER_BUDGET or gen.why:
            break
    if not gen.tally.accepted and gen.tally.candidates and not gen.stopped and bounds.min_yield:
        raise StepError(gen.tally.diagnosis(name, bounds.min_yield))
    if bounds.count is not None and gen.tally.accepted < bounds.count:
        reached = "the budget is used up" if gen.stopped else f"max_draws = {bounds.max_draws} was reached"
        gen.why = gen.why or reached
        gen.ctx.alarm(f"ended at {gen.tally.accepted} of {bounds.count}: {gen.why}")


def _made(gen: Generation, draw: Draw, said: str) -> Any:
    """A draw as a record. Its id holds the draw's number, so equal ones differ."""
    meta = {"instruction": draw.instruction, "input": "", **draw.meta, "draw": draw.number, "model": gen.model.uri}
    prompt = [*draw.before, *user(draw.instruction)]
    record = derive(*draw.parents, prompt=prompt, completion=assistant(said), meta=meta)
    return {**record, "id": digest([record["id"], draw.number])}
