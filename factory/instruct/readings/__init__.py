"""How a list of tasks is asked for and read: our own way, and those of three published sets, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from factory import Drop, Message

from ..faults import BEYOND_TEXT
from ..parsing import Block

Task = tuple[str, str, str]  # instruction, input, output


@dataclass(frozen=True)
class Ask:
    """What one request asks for, and what it shows."""

    shown: tuple[Task, ...]
    new: int  # tasks asked for
    subject: str = ""
    type: str = ""
    labels_first: bool = False  # classification: the output stands before the input
    chinese: bool = False


@dataclass(frozen=True)
class Reading:
    """A published algorithm, or ours: what a request shows and says, how it is sampled, and what is kept of an answer.

    shots, machine_shots  seed tasks and accepted ones that a request shows; 0.5: one in every other request
    max_tokens            of an answer, or of each task that is asked for
    likeness              how novelty is measured: rouge_l or bm25; `latin`: only a-z and digits count;
                          `grows`: accepted tasks are known too
    prompt, stop          of a request
    read                  (answer, was it cut, what was asked) -> each task, and why it is not kept
    instances             whether a request gives instructions alone, and others their inputs and outputs
    """

    name: str
    prompt: Callable[[Ask], list[Message]]
    stop: Callable[[Ask], tuple[str, ...]]
    read: Callable[[str, bool, Ask], Iterator[tuple[Block, Drop | None]]]
    shots: int = 3
    machine_shots: float = 0
    per_request: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    max_tokens: int = 3072
    tokens_for_each: bool = False
    likeness: str = "rouge_l"
    novelty: float = 0.7
    latin: bool = True
    grows: bool = True
    instances: bool = False


def reading_of(name: str, least: int = 3, most: int = 150, blacklist: Sequence[str] = BEYOND_TEXT) -> Reading:
    """The reading of a name. The limits are the default one's: words of an instruction, and what it must not have."""
    from . import alpaca, belle, default, self_instruct

    if name == "default":
        return default.reading(least, most, blacklist)
    return {"alpaca": alpaca.READING, "belle": belle.READING, "self_instruct": self_instruct.READING}[name]
