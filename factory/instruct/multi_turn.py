"""Conversations out of single tasks: a model writes what the user says next, then what the assistant answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

import factory
from factory import (
    Answer,
    Budget,
    CausalLM,
    Context,
    Conversation,
    Dataset,
    Drop,
    Message,
    PromptCompletion,
    Request,
    assistant,
    derive,
    digest,
    text_of,
    user,
)
from factory.models.framing import framed_turns
from factory.text.overlap import rouge_l
from factory.text.words import words

from .faults import first_of
from .gates.refusals import refusal
from .generation import Generation, fault_in_answer, unusable

ASK_USER = (
    "{talk}\n\nThis is a conversation of a person (`user`) with an assistant (`assistant`). Write what the person says "
    "next: a question or a wish that follows from the last answer, and that was not answered yet. Speak as that "
    "person does, to the assistant. If there is nothing left to ask, write only: Thank you!"
)
BEGINS = "The person says next:"
THANKS = (
    "thanks", "thank you", "that's all", "that is all", "goodbye", "bye", "no further questions", "谢谢", "多谢",
    "再见", "没有其他问题",
)  # fmt: skip
CLOSING = 12  # words: a longer message with thanks in it still asks something, if it holds no question mark
SAID_BEFORE = 0.7  # ROUGE-L F of two of the user's messages above which the second asks what the first did
ROLES = ("user", "human", "person", "assistant", "ai", "system", "用户", "助手")
_ROLE = re.compile(rf"^[\s*_#>\[(]*(?:{'|'.join(ROLES)})[*_\])]*\s?[:：]", re.I | re.M)
_OPENING = re.compile(
    r"^[\s*_#>]*(?:the person says next|(?:the )?(?:user|human|person)(?: says)?|用户)[*_]*\s?[:：][*_\s]*", re.I
)
_ANSWERING = re.compile(r"^[\s*_#>]*(?:(?:the )?assistant(?: says)?|ai|助手)[*_]*\s?[:：][*_\s]*", re.I)


def most_requests(records: int, turns: int = 2, **_: Any) -> int:
    """How many requests the step may make: two for each exchange after the first."""
    return 2 * (turns - 1) * records


@dataclass
class Talk:
    """A conversation as far as it goes. `ended` says why it goes no further."""

    record: Any
    messages: list[Message]
    asked: str = ""  # the user's message that waits for its answer
    ended: Drop | None = None


@factory.step(requests=most_requests)
def multi_turn(
    records: Iterator[PromptCompletion],
    ctx: Context,
    model: CausalLM,
    turns: Annotated[int, Field(ge=2, le=20)] = 2,
    min_turns: Annotated[int, Field(ge=1, le=20)] = 2,
    template: bool = False,
    evaluation: list[Dataset[Any]] = [],
    budget: Budget | None = None,
    temperature: Annotated[float, Field(ge=0)] = 0.9,
    answer_temperature: Annotated[float, Field(ge=0)] = 0.7,
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9,
    user_tokens: Annotated[int, Field(ge=1)] = 128,
    answer_tokens: Annotated[int, Field(ge=1)] = 512,
) -> Iterator[Conversation]:
    """Continue each task and its answer into a conversation; the model plays the user, then the assistant.

    turns        exchanges of a conversation at most, the given one included
    min_turns    exchanges below which a conversation is dropped, with the reason why it went no further
    template     whether the model writes the user's turn by its own chat template, as `magpie` does: for models in
                 this process; others are shown the conversation and asked for it
    evaluation   datasets whose items must not be in a conversation
    budget       bounds on requests, tokens and cost; conversations end where it does
    temperature  of the user's messages; answers have their own
    user_tokens, answer_tokens  at most; a message that is cut off ends the conversation before it

    A conversation ends when the user only says thanks or asks again what was asked, and before any message that is
    unsound: cut off, a refusal, one that speaks for both sides. It never ends with the user.
    """
    gen = Generation(ctx, model, budget, evaluation)
    talking = Talking(gen, template)
    asking = {"temperature": temperature, "top_p": top_p, "max_tokens": user_tokens}
    telling = {"temperature": answer_temperature, "top_p": top_p, "max_tokens": answer_tokens}
    talks: Iterable[Talk] = (talk_of(record) for record in records)
    for number in range(1, turns):
        talks = talking.exchange(talks, number, asking, telling)
    for talk in talks:
        yield from talking.ended(talk, min_turns)
    gen.report("Conversations", "Each exchange is two requests.", talking.table())


def talk_of(record: Any) -> Talk:
    return Talk(
        record, [Message(role=m["role"], content=m["content"]) for m in record["prompt"] + record["completion"]]
    )


class Talking:
    """Exchange after exchange; a conversation that has ended is passed through."""

    def __init__(self, gen: Generation, template: bool) -> None:
        self.gen, self.template = gen, template
        self.lengths: Counter[int] = Counter()
        self.ends: Counter[str] = Counter()

    def exchange(
        self, talks: Iterable[Talk], number: int, asking: dict[str, Any], telling: dict[str, Any]
    ) -> Iterator[Talk]:
        asked = self.asked(self.gen.relay(talks, lambda talk: self.user_request(talk, number, asking)))
        return self.answered(self.gen.relay(asked, lambda talk: self.answer_request(talk, number, telling)))

    def user_request(self, talk: Talk, number: int, sampling: dict[str, Any]) -> Request | None:
        if talk.ended is not None:
            return None
        about = {"id": talk.record["id"]}
        if self.template:
            return Request(list(talk.messages), index=number, turn="user", about=about, **sampling)
        messages = user(ASK_USER.format(talk=framed_turns(talk.messages))) + assistant(BEGINS)
        return Request(messages, index=number, about=about, **sampling)

    def asked(self, answers: Iterable[tuple[Talk, Answer | None]]) -> Iterator[Talk]:
        """Conversations with what the user says next, or with why nothing comes next."""
        for talk, answer in answers:
            if answer is not None:
                talk.asked = _OPENING.sub("", answer.text.strip()).strip()
                talk.ended = unusable(answer) or self.end(talk)
            yield talk

    def end(self, talk: Talk) -> Drop | None:
        """Why the user's message does not go on with the conversation."""
        tokens = words(talk.asked)
        if not tokens:
            return Drop("nothing more to say")
        if len(tokens) <= CLOSING and "?" not in talk.asked and "？" not in talk.asked and first_of(THANKS, talk.asked):
            return Drop("thanks")
        if _ROLE.search(talk.asked):
            return Drop("roles are mixed")
        if phrase := refusal(talk.asked):
            return Drop("refusal", phrase=phrase)
        for message in talk.messages:
            near = rouge_l(tokens, words(message["content"]))
            if near > SAID_BEFORE:
                return Drop("repeats what was said", rouge_l=round(near, 4))
        return None

    def answer_request(self, talk: Talk, number: int, sampling: dict[str, Any]) -> Request | None:
        if talk.ended is not None:
            return None
        messages = [*talk.messages, *user(talk.asked)]
        return Request(messages, index=number, about={"id": talk.record["id"]}, **sampling)

    def answered(self, answers: Iterable[tuple[Talk, Answer | None]]) -> Iterator[Talk]:
        """Conversations one exchange longer, where the answer is sound."""
        for talk, answer in answers:
            if answer is not None:
                said = _ANSWERING.sub("", answer.text.strip()).strip()
                talk.ended = fault_in_answer(answer, said, talk.asked) or self.stale(talk, said)
                if talk.ended is None:
                    talk.messages += user(talk.asked) + assistant(said)
            yield talk

    def stale(self, talk: Talk, said: str) -> Drop | None:
        if _ROLE.search(said):
            return Drop("roles are mixed")
        tokens = words(said)
        earlier = [words(m["content"]) for m in talk.messages if m["role"] == "assistant"]
        near = max((rouge_l(tokens, other) for other in earlier), default=0.0)
        return Drop("repeats what was said", rouge_l=round(near, 4)) if near > SAID_BEFORE else None

    def ended(self, talk: Talk, least: int) -> Iterator[Any]:
        """The record of a conversation that is long enough."""
        length = sum(message["role"] == "user" for message in talk.messages)
        why = talk.ended or Drop("as long as wanted")
        fault = why if length < least else self.gen.contaminated(text_of(talk.messages))
        if fault is not None:
            self.gen.tally.reject(fault, talk.record)
            self.gen.ctx.drop(talk.record, fault.reason, **fault.details)
            return
        self.lengths[length] += 1
        self.ends[why.reason] += 1
        known = {name: talk.record["meta"][name] for name in ("instruction", "input") if name in talk.record["meta"]}
        meta = {**known, "turns": length, "ended": why.reason, "model": self.gen.model.uri}
        record = derive(talk.record, messages=talk.messages, meta=meta)
        yield self.gen.accept({**record, "id": digest([record["id"], "multi_turn"])})

    def table(self) -> str:
        """How long the conversations are and why they ended, in Markdown."""
        if not self.lengths:
            return ""
        lines = ["| exchanges | conversations |", "|---|---|"]
        lines += [f"| {length} | {many} |" for length, many in sorted(self.lengths.items())]
        lines += ["", "| ended because | conversations |", "|---|---|"]
        return "\n".join(lines + [f"| {why} | {many} |" for why, many in self.ends.most_common()])
