"""The instruction that a text could be the answer to: human writing as completions (instruction backtranslation)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

import factory
from factory import (
    Answer,
    Budget,
    CausalLM,
    Context,
    Dataset,
    Drop,
    PromptCompletion,
    Request,
    Text,
    assistant,
    derive,
    digest,
    user,
)
from factory.models.framing import framed
from factory.text.overlap import support
from factory.text.words import words

from .faults import fault_in_instruction, fault_in_output, first_of
from .generation import Generation, Novelty, unusable
from .grounding import POINTERS
from .writing import instruction_in

ASK = (
    "{text}\n\nSomebody asked an assistant for something, and this is what the assistant wrote. Find out what was "
    "asked for. Write it in one or two sentences, as that person would have put it to the assistant, in the language "
    "of the text; name the subject, and do not give away what the answer says. Write the request and nothing else."
)
BEGINS = "Request:"
JUDGE = (
    "{request}\n\n{answer}\n\nHow good is this answer to this request?\n"
    "1: it is about something else, or broken\n2: it touches the matter, but is mostly not what was asked for\n"
    "3: it helps, but it is plainly taken from elsewhere: a forum, a shop, one person's story\n"
    "4: it answers well as an assistant would, with small faults\n"
    "5: it is complete, clear, to the point, and written as if for this request\n"
    "Begin with `Score:` and the number."
)
OURS = ("this is what the assistant wrote", "find out what was asked", "the assistant wrote", "the request")
MOST = 5
_SCORE = re.compile(r"(?:score|rating|分数|评分)\D{0,12}?([1-5])(?![\d.]\d)|^\W*([1-5])(?![\d.]*\d)", re.I)


def most_requests(records: int, **_: Any) -> int:
    """How many requests the step may make: one for each text. A judge is asked besides."""
    return records


@dataclass
class Pair:
    """A text and the instruction found for it."""

    record: Any
    instruction: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@factory.step(requests=most_requests)
def backtranslate(
    records: Iterator[Text],
    ctx: Context,
    model: CausalLM,
    min_chars: Annotated[int, Field(ge=0)] = 100,
    max_chars: Annotated[int, Field(ge=1)] = 4000,
    judge: CausalLM | None = None,
    min_score: Annotated[int, Field(ge=1, le=5)] = 4,
    novelty: Annotated[float, Field(ge=0, le=1)] = 0.7,
    evaluation: list[Dataset[Any]] = [],
    budget: Budget | None = None,
    temperature: Annotated[float, Field(ge=0)] = 0.7,
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9,
    max_tokens: Annotated[int, Field(ge=1)] = 128,
    min_words: Annotated[int, Field(ge=1)] = 3,
    max_words: Annotated[int, Field(ge=1)] = 100,
) -> Iterator[PromptCompletion]:
    """Ask a model which instruction each text answers; the text, as it stands, is the completion.

    min_chars, max_chars  of a text; a whole one is the answer, so longer ones are dropped (`split_paragraphs` before)
    judge                 a model that scores each pair from 1 to 5; self-curation when it is the same one
    min_score             below which a pair is dropped
    novelty               ROUGE-L F above which an instruction is too like one that was accepted before it
    evaluation            datasets whose items must not be among the pairs
    budget                bounds on requests, tokens and cost; the texts that are left are dropped
    max_tokens            of an instruction; one that is cut off is never kept
    min_words, max_words  of an instruction

    A text is dropped with the reason of its instruction. Li et al. 2023 (Self-Alignment with Instruction
    Backtranslation, "Humpback"), sections 2.2 (augmentation) and 2.3 (curation), in prompts of our own.
    """
    gen = Generation(ctx, model, budget, evaluation)
    asking = Backtranslation(gen, min_words, max_words)
    sampling = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    pairs = asking.pairs(records, min_chars, max_chars)
    pairs = asking.named(gen.relay(pairs, lambda pair: asking.request(pair, sampling)))
    if judge is not None:
        pairs = asking.curated(gen.relay(pairs, asking.score_request, model=judge), min_score)
    known = Novelty(novelty)
    for pair in pairs:
        fault = gen.contaminated(pair.instruction, pair.record["text"])
        fault = fault or known.fault(pair.record["id"], pair.instruction)
        if fault is not None:
            asking.reject(pair, fault)
        else:
            yield gen.accept(asking.made(pair))
    gen.report("Backtranslation", "", asking.table())


class Backtranslation:
    """The way from texts to pairs; a pair that fails a check leaves it, and its text with it."""

    def __init__(self, gen: Generation, least: int, most: int) -> None:
        self.gen, self.least, self.most = gen, least, most
        self.scores: Counter[int] = Counter()

    def pairs(self, records: Iterator[Text], least: int, most: int) -> Iterator[Pair]:
        """Texts that could be somebody's answer."""
        for record in records:
            text = record["text"].strip()
            if not words(text):
                self.gen.ctx.drop(record, "no words")
            elif len(text) < least:
                self.gen.ctx.drop(record, "too short", characters=len(text))
            elif len(text) > most:
                self.gen.ctx.drop(record, "too long", characters=len(text))
            else:
                yield Pair(record)

    def request(self, pair: Pair, sampling: dict[str, Any]) -> Request:
        messages = user(ASK.format(text=framed(pair.record["text"].strip()))) + assistant(BEGINS)
        return Request(messages, about={"id": pair.record["id"]}, **sampling)

    def named(self, answers: Iterable[tuple[Pair, Answer | None]]) -> Iterator[Pair]:
        """Pairs whose instruction is sound and could have been given before there was the text."""
        for pair, answer in answers:
            assert answer is not None
            pair.instruction = instruction_in(answer.text.strip().partition("\n\n")[0])
            if (fault := unusable(answer) or self.fault(pair)) is not None:
                self.reject(pair, fault)
            else:
                yield pair

    def fault(self, pair: Pair) -> Drop | None:
        if fault := fault_in_instruction(pair.instruction, "", self.least, self.most):
            return fault
        if phrase := first_of(POINTERS, pair.instruction):
            return Drop("instruction points at its text", phrase=phrase)
        if phrase := first_of(OURS, pair.instruction):
            return Drop("words of the prompt", phrase=phrase)
        if not support(pair.instruction, pair.record["text"]):
            return Drop("instruction is not about its text")
        return fault_in_output(pair.record["text"].strip(), pair.instruction)

    def score_request(self, pair: Pair) -> Request:
        request, answer = framed(pair.instruction, "request"), framed(pair.record["text"].strip(), "answer")
        messages = user(JUDGE.format(request=request, answer=answer)) + assistant("Score:")
        return Request(messages, temperature=0.0, max_tokens=16, about={"id": pair.record["id"]})

    def curated(self, answers: Iterable[tuple[Pair, Answer | None]], least: int) -> Iterator[Pair]:
        """Pairs with a score that is high enough, which their meta tells."""
        for pair, answer in answers:
            assert answer is not None
            score = score_in(answer.text)
            if not answer.ok:
                self.reject(pair, unusable(answer) or Drop("request failed"))
                continue
            if score is None:
                self.reject(pair, Drop("no score", said=answer.text[:80]))
                continue
            self.scores[score] += 1
            pair.meta["score"] = score
            if score < least:
                self.reject(pair, Drop("score too low", score=score))
            else:
                yield pair

    def made(self, pair: Pair) -> Any:
        meta = {"instruction": pair.instruction, "input": "", "model": self.gen.model.uri, **pair.meta}
        completion = assistant(pair.record["text"].strip())
        record = derive(pair.record, prompt=user(pair.instruction), completion=completion, meta=meta)
        return {**record, "id": digest([record["id"], "backtranslate"])}

    def reject(self, pair: Pair, fault: Drop) -> None:
        self.gen.reject(self.made(pair), fault)
        self.gen.ctx.drop(pair.record, fault.reason, **fault.details)

    def table(self) -> str:
        """How often the judge gave each score, in Markdown."""
        rows = [f"| {score} | {self.scores[score]} |" for score in range(1, MOST + 1)]
        return "\n".join(["| score | pairs |", "|---|---|", *rows]) if self.scores else ""


def score_in(text: str) -> int | None:
    """The score from 1 to 5 that a judge gave: behind the word, or at the beginning; None when there is none."""
    found = _SCORE.search(text.strip())
    return int(found[1] or found[2]) if found else None
