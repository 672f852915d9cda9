"""Questions that a passage answers, and the answers it gives: grounded instructions from documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import factory
from factory import Answer, CausalLM, Context, Drop, PromptCompletion, Request, Text, assistant, derive, digest, user
from factory.text.overlap import rouge_l, support
from factory.text.words import is_unspaced, words

from .faults import fault_in_output, first_of
from .tally import Tally

# The passage stands last: small models hold on to what they read last.
ASK_QUESTION = (
    "Write one question that the text below answers. Name the thing it is about, so that the question can be "
    "understood by somebody who does not have the text in front of them.\n\nText:\n\n{passage}"
)
ASK_ANSWER = (
    "Question: {question}\n\nAnswer it in one to three sentences, with what the text below says and nothing else."
    "\n\nText:\n\n{passage}"
)
ANSWER_BEGINS = "According to the text,"  # holds small models to it; taken off again where an answer repeats it
QUESTION_MARKS = "?？؟՞\u037e"
POINTERS = (
    "the text", "this text", "the passage", "this passage", "the paragraph", "the article", "the document",
    "the author", "text above", "above text", "text below", "文中", "本文", "上文",
)  # fmt: skip
UNKNOWN = (
    "text does not", "passage does not", "text doesn't", "passage doesn't", "not mentioned", "没有提到", "未提及",
)  # fmt: skip
_QUESTION_LABEL = re.compile(
    r"^[\s*_#>\-]*(?:\(?\d{1,2}[.)]\s*)?(?:[*_]*(?:question|q|问题|问)\s?\d*[*_]*\s?[:：][*_\s]*)?", re.I
)
_ANSWER_LABEL = re.compile(r"^(?:\*\*)?(?:answer|a|答案|答)\s?[:：](?:\*\*)?\s*", re.I)
_ACCORDING = re.compile(
    r"^(?:according to|based on|as stated in|in) (?:the|this) (?:text|passage|paragraph|document|article)"
    r"(?: above)?,? ",
    re.I,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n")


def two_requests(records: int, per_document: int = 1, **_: Any) -> int:
    """How many requests the step may make: a question and an answer each."""
    return 2 * records * per_document


@dataclass
class Passage:
    """A document while its questions are asked: what is still open, and what came of the others."""

    record: Any
    text: str
    open: int
    kept: int = 0
    questions: list[str] = field(default_factory=list)


@factory.step(requests=two_requests)
def from_documents(
    records: Iterator[Text],
    ctx: Context,
    model: CausalLM,
    per_document: int = 1,
    max_chars: int = 2000,
    context: bool = False,
    support: float = 0.5,
    novelty: float = 0.7,
    temperature: float = 0.7,
    answer_temperature: float = 0.5,
    top_p: float = 0.9,
    question_tokens: int = 64,
    answer_tokens: int = 160,
) -> Iterator[PromptCompletion]:
    """Ask a model for a question about each document, then for the answer that the document gives.

    per_document  questions to a document
    max_chars     of a document that the model sees; a longer one is cut at the end of a sentence
    context       whether the passage is part of the prompt; if not, questions that point at it are dropped
    support       share of the answer's content words that must stand in the passage
    novelty       ROUGE-L F above which a question is too like another one about its document
    temperature   of questions, which should differ; answers, which should be true, have their own
    answer_tokens of an answer, which ends with its first paragraph: small models go on with something else

    A document is dropped when nothing came of it, with the reason of its last question.
    """
    asked = Grounding(ctx, model, context, support, novelty)
    asking = {"temperature": temperature, "top_p": top_p, "max_tokens": question_tokens}
    telling = {"temperature": answer_temperature, "top_p": top_p, "max_tokens": answer_tokens, "stop": ("\n\n",)}
    questions = ctx.ask(model, asked.about(records, per_document, max_chars, asking))
    answers = ctx.ask(model, asked.answering(questions, telling))
    for answer in answers:
        yield from asked.judged(answer)
    ctx.report("From documents", asked.tally.summary("A question and an answer are two requests."))


class Grounding:
    """The way from passages to questions to answers: two streams of requests, one drawn from the other's answers."""

    def __init__(self, ctx: Context, model: CausalLM, context: bool, least: float, novelty: float) -> None:
        self.ctx, self.model, self.context, self.least, self.novelty = ctx, model, context, least, novelty
        self.tally = Tally()

    def about(
        self, records: Iterator[Text], per_document: int, max_chars: int, sampling: dict[str, Any]
    ) -> Iterator[Request]:
        """Requests for questions."""
        for record in records:
            if not words(record["text"]):
                self.ctx.drop(record, "no words")
                continue
            passage = Passage(record, beginning(record["text"], max_chars), per_document)
            messages = user(ASK_QUESTION.format(passage=passage.text)) + assistant("Question:")
            for number in range(per_document):
                about = {"id": record["id"], "passage": passage, "number": number}
                yield Request(messages, index=number, about=about, **sampling)

    def answering(self, questions: Iterator[Answer], sampling: dict[str, Any]) -> Iterator[Request]:
        """Requests for the answers to questions that are sound."""
        for answer in questions:
            assert answer.request is not None
            about = answer.request.about
            passage: Passage = about["passage"]
            self.tally.requests += 1
            question, fault = self.question(answer, passage)
            if fault is not None:
                self.reject(about, question or answer.text, "", fault)
                continue
            passage.questions.append(question)
            messages = user(ASK_ANSWER.format(passage=passage.text, question=question)) + assistant(ANSWER_BEGINS)
            yield Request(messages, index=about["number"], about={**about, "question": question}, **sampling)

    def question(self, answer: Answer, passage: Passage) -> tuple[str, Drop | None]:
        """The question in an answer, and why it is none to keep, if so."""
        if not answer.ok:
            return "", Drop("request failed", error=answer.error)
        question = question_in(answer.text)
        tokens = words(question)
        least = 4 if is_unspaced(question) else 3
        if not question or len(tokens) < least:
            return question, Drop("not a question")
        if not self.context and (phrase := first_of(POINTERS, question)):
            return question, Drop("question points at its passage", phrase=phrase)
        if not overlaps(question, passage.text):
            return question, Drop("question is not about its passage")
        near = max((rouge_l(tokens, words(other)) for other in passage.questions), default=0.0)
        if near > self.novelty:
            return question, Drop("not novel", rouge_l=round(near, 4))
        return question, None

    def judged(self, answer: Answer) -> Iterator[Any]:
        """The record an answer to a question makes, if it is sound."""
        assert answer.request is not None
        about = answer.request.about
        passage: Passage = about["passage"]
        self.tally.requests += 1
        said = _ACCORDING.sub("", _ANSWER_LABEL.sub("", answer.text.strip()))
        said = said[:1].upper() + said[1:]
        share = support(said, passage.text, about["question"])
        fault = self.fault_in_answer(answer, said, share, about["question"])
        if fault is not None:
            self.reject(about, about["question"], said, fault)
            return
        passage.open -= 1
        passage.kept += 1
        self.tally.accepted += 1
        yield self.made(about, about["question"], said, {"support": round(share, 4)})

    def fault_in_answer(self, answer: Answer, said: str, share: float, question: str) -> Drop | None:
        if not answer.ok:
            return Drop("request failed", error=answer.error)
        if answer.finish == "length":
            return Drop("cut off")
        if fault := fault_in_output(said, question):
            return fault
        if phrase := first_of(UNKNOWN, said):
            return Drop("passage does not say", phrase=phrase)
        if not self.context and (phrase := first_of(POINTERS, said)):
            return Drop("answer points at its passage", phrase=phrase)
        if share < self.least:
            return Drop("not supported by its passage", support=round(share, 4))
        return None

    def made(self, about: dict[str, Any], question: str, said: str, meta: dict[str, Any]) -> Any:
        """A record of a question and its answer, whose parent is the document. Its id holds the question's number."""
        passage: Passage = about["passage"]
        prompt = f"{passage.text}\n\n{question}" if self.context else question
        meta = {"question": question, "number": about["number"], "model": self.model.uri, **meta}
        record = derive(passage.record, prompt=user(prompt), completion=assistant(said), meta=meta)
        return {**record, "id": digest([record["id"], about["number"]])}

    def reject(self, about: dict[str, Any], question: str, said: str, fault: Drop) -> None:
        """Keep a candidate among the dropped, and its document too when nothing else can come of it."""
        passage: Passage = about["passage"]
        candidate = self.made(about, question, said, {})
        self.tally.reject(fault, candidate)
        self.ctx.drop(candidate, fault.reason, **fault.details)
        passage.open -= 1
        if not passage.open and not passage.kept:
            self.ctx.drop(passage.record, fault.reason, **fault.details)


def beginning(text: str, most: int) -> str:
    """At most `most` characters of a text, up to the end of a sentence where there is one in the second half."""
    text = text.strip()
    if len(text) <= most:
        return text
    ends = [match.start() for match in _SENTENCE_END.finditer(text[: most + 1]) if match.start() >= most // 2]
    return text[: ends[-1] if ends else most].rstrip()


def question_in(text: str) -> str:
    """The question on the first line that says something, without label and quotes; empty when there is none."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = _QUESTION_LABEL.sub("", line).strip().strip('"“”*_ ')
    end = max((line.rfind(mark) for mark in QUESTION_MARKS), default=-1)
    return line[: end + 1]


def overlaps(question: str, passage: str) -> bool:
    """Whether a question shares a content word with its passage."""
    return support(question, passage) > 0
