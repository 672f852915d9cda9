"""What the engine knows of models: their kind, their identity, and how they are asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from .records import Message, digest

BUDGET = "budget used up"  # the error of a request that was not sent
NOT_JSON = "not the JSON asked for"  # of an answer that cannot be read; it is stored, and stays what it is
# Errors that come back however often one asks: what the model declines, cannot take, or did answer.
FINAL = re.compile(
    rf"refused|{NOT_JSON}|empty answer|prompt too long|the chat template refuses|status 4(?!08|09|25|29)\d\d"
)


@dataclass(frozen=True)
class Request:
    """One question to a model. Everything but `about` goes into the response cache's key.

    A last message with the role `turn` is a beginning that a local model continues.
    `index` is the draw or sample number: a repeated prompt with another index is a new draw.
    """

    messages: Sequence[Message]
    index: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0  # taken off the logit of every token that the answer holds already
    schema: dict[str, Any] | None = None  # JSON Schema of the answer, which is then read into `Answer.data`
    top_logprobs: int = 0  # of each token of the answer, so many of the likeliest with it; 0 asks for none
    turn: str = "assistant"  # whose words the answer is: a local model can also write the user's
    about: Any = field(default=None, compare=False)  # the caller's own note, handed back with the answer

    def said(self) -> dict[str, Any]:
        """What is asked, as plain data."""
        said = {name: value for name, value in vars(self).items() if name != "about"}
        if self.schema is None:  # keys of answers that were stored before there were schemas
            del said["schema"]
        if not self.presence_penalty:  # likewise
            del said["presence_penalty"]
        if not self.top_logprobs:  # likewise
            del said["top_logprobs"]
        if self.turn == "assistant":  # likewise
            del said["turn"]
        return said

    def key(self, model: Model) -> str:
        """The response cache's key: 32 hex digits."""
        return digest([model.identity, self.said()], 16)


@dataclass(frozen=True)
class Answer:
    """What came back. `finish` is stop, length (cut by max_tokens) or failed (then `error` says why).

    `data` is the JSON value of an answer whose request has a schema, checked against it. `logprobs` are there where the
    request asked for them and the model gives them: for each token it wrote, {token: natural logarithm of its
    probability}, the token itself first.
    """

    text: str = ""
    finish: str = "stop"
    error: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    request: Request | None = field(default=None, compare=False, repr=False)
    data: Any = field(default=None, compare=False, repr=False)
    logprobs: list[dict[str, float]] | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        return self.finish != "failed"

    @property
    def over_budget(self) -> bool:
        """Whether the request was not sent because the step's budget is used up."""
        return self.finish == "failed" and self.error == BUDGET

    @property
    def reason(self) -> str:
        """Of a failed answer the countable part of `error`: what stands before its first colon."""
        return self.error.partition(":")[0] or "failed"

    @property
    def again(self) -> bool:
        """Whether the request failed in a way that asking again may mend."""
        return not self.ok and not self.over_budget and not FINAL.match(self.error)

    def stored(self) -> dict[str, Any]:
        """What the response cache keeps."""
        left_out = ("request", "data") if self.logprobs else ("request", "data", "logprobs")
        return {key: value for key, value in vars(self).items() if key not in left_out}


class Session(Protocol):
    """An open model. The engine submits groups of at most `batch` requests, many ahead of the answers it waits for.

    A local model answers a group as one batch; an API has batch 1 and answers in any order.
    A future's exception ends the stage; a failed row is an Answer with finish 'failed'.
    """

    batch: int

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Model:
    """Anything that can be prompted or trained from. Picklable: names and paths, never weights."""

    uri: str  # as the recipe names it, or the folder of a model that was built
    identity: str = ""  # what its answers depend on: base URL and name, revision, or fingerprint; never a secret
    path: Path | None = None  # the folder in Hugging Face form, for models on disk
    ahead: ClassVar[int] = 4096  # requests drawn before the first answer is used; many times what is in flight
    prices: tuple[float, float] | None = None  # USD a million tokens, in and out; None where they are not known

    def open(self, threads: int = 2) -> Session:
        """Ready the model for questions; `threads` is the recipe's, for models in this process."""
        raise TypeError(f"{self.uri} is a {type(self).__name__} and cannot be asked")


class CausalLM(Model):
    """A language model that answers messages."""


class RewardModel(Model):
    """A model that scores an answer to a prompt."""


class Tokenizer(Model):
    """A tokenizer folder."""


class Classifier(Model):
    """A model that labels text."""


class Index(Model):
    """A stored deduplication index."""


MODEL_KINDS: dict[str, type[Model]] = {
    kind.__name__: kind for kind in (Model, CausalLM, RewardModel, Tokenizer, Classifier, Index)
}
