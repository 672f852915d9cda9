"""Tasks that a passage answers, with the answers it gives: grounded instructions from documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

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
from factory.text.overlap import rouge_l, support
from factory.text.words import words

from . import grounding
from .faults import first_of
from .generation import Generation, fault_in_answer, unusable
from .passages import chosen

Kind = Literal["question", "summary", "extraction"]
REQUESTS = {"question": 2, "summary": 1, "extraction": 1}


def most_requests(records: int, per_document: int = 1, kinds: list[Kind] = ["question"], **_: Any) -> int:
    """How many requests the step may make: a question and its answer are two, other tasks one."""
    if per_document % len(kinds):
        return records * per_document * max(REQUESTS[kind] for kind in kinds)
    return records * per_document * sum(REQUESTS[kind] for kind in kinds) // len(kinds)


@dataclass
class Document:
    """A document while its tasks are asked for: what is still open, and what came of the others."""

    record: Any
    open: int
    kept: int = 0
    questions: list[str] = field(default_factory=list)


@dataclass
class Task:
    """One task on its way: the passage it is about, and what is known of it so far."""

    document: Document
    number: int
    kind: Kind
    passage: str
    instruction: str = ""
    output: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@factory.step(requests=most_requests)
def from_documents(
    records: Iterator[Text],
    ctx: Context,
    model: CausalLM,
    kinds: Annotated[list[Kind], Field(min_length=1)] = ["question"],
    per_document: Annotated[int, Field(ge=1)] = 1,
    max_chars: Annotated[int, Field(ge=50)] = 2000,
    context: bool = False,
    fields: list[str] = [],
    structured: bool = False,
    support: Annotated[float, Field(ge=0, le=1)] = 0.5,
    judge: CausalLM | None = None,
    novelty: Annotated[float, Field(ge=0, le=1)] = 0.7,
    evaluation: list[Dataset[Any]] = [],
    budget: Budget | None = None,
    temperature: Annotated[float, Field(ge=0)] = 0.7,
    answer_temperature: Annotated[float, Field(ge=0)] = 0.5,
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9,
    question_tokens: Annotated[int, Field(ge=1)] = 64,
    answer_tokens: Annotated[int, Field(ge=1)] = 160,
) -> Iterator[PromptCompletion]:
    """Ask a model for tasks about each document, and for the answers that the document gives.

    kinds         of tasks: `question`, `summary`, `extraction` of fields as JSON; they take turns
    per_document  tasks to a document
    max_chars     of a passage that the model sees; a longer document gives passages from all over it
    context       whether the passage is part of a question's prompt; if not, questions that point at it are dropped
    fields        what an extraction looks for; the model chooses three to six facts when empty
    structured    whether extractions are asked for by a JSON schema, which large models follow
    support       share of the answer's content words that must stand in the passage, and then every number in it; 0
                  leaves it to the judge
    judge         a model that is asked whether the passage supports the answer; what it does not say yes to is dropped
    novelty       ROUGE-L F above which a question is too like another one about its document
    evaluation    datasets whose items must not be among the tasks
    budget        bounds on requests, tokens and cost; the documents that are left are dropped
    temperature   of questions, which should differ; answers, which should be true, have their own
    answer_tokens of an answer, which ends with its first paragraph: small models go on with something else

    A summary or an extraction always has the passage as its input. A document is dropped when nothing came of it,
    with the reason of its last task.
    """
    gen = Generation(ctx, model, budget, evaluation)
    asked = Grounding(gen, context, support, novelty, fields)
    first = {"temperature": temperature, "top_p": top_p, "max_tokens": question_tokens}
    then = {"temperature": answer_temperature, "top_p": top_p, "max_tokens": answer_tokens}
    tasks = asked.tasks(records, kinds, per_document, max_chars)
    tasks = asked.begun(gen.relay(tasks, lambda task: asked.request(task, first, then, structured)))
    if "question" in kinds:
        tasks = asked.answered(gen.relay(tasks, lambda task: asked.answer_request(task, then)))
    if judge is not None:
        tasks = asked.judged(gen.relay(tasks, asked.support_request, model=judge))
    for task in tasks:
        if (fault := gen.contaminated(task.instruction, asked.given(task), task.output)) is not None:
            asked.reject(task, fault)
        else:
            yield asked.accept(task)
    gen.report("From documents", "A question and an answer are two requests.", asked.table())


def circular(task: Task) -> Drop | None:
    """An answer that says nothing its question did not say, unless the question gave a choice."""
    question, said = words(task.instruction), words(task.output)
    if len(said) > 3 and "or" not in question and support(task.output, task.instruction) == 1:
        return Drop("echoes its question")
    return None


class Grounding:
    """The way from passages to tasks to answers; a task that fails a check leaves it, with a reason."""

    def __init__(self, gen: Generation, context: bool, least: float, novelty: float, fields: list[str]) -> None:
        self.gen, self.context, self.least, self.novelty, self.fields = gen, context, least, novelty, fields
        self.kinds: Counter[tuple[str, bool]] = Counter()

    def tasks(self, records: Iterator[Text], kinds: list[Kind], per_document: int, most: int) -> Iterator[Task]:
        """What is asked for, document by document; draws depend on a document's text, not on its id."""
        for record in records:
            if not words(record["text"]):
                self.gen.ctx.drop(record, "no words")
                continue
            draw = self.gen.ctx.rng(digest(record["text"]))
            passages = chosen(record["text"], most, per_document, draw)
            turn = draw.randrange(len(kinds))
            document = Document(record, per_document)
            for number, passage in enumerate(passages):
                task = Task(document, number, kinds[(turn + number) % len(kinds)], passage)
                if task.kind == "summary":
                    task.instruction = draw.choice(grounding.SUMMARIES)
                yield task

    def request(self, task: Task, first: dict[str, Any], then: dict[str, Any], structured: bool) -> Request:
        """For a question, or for a summary or an extraction as a whole."""
        about = {"id": task.document.record["id"]}
        if task.kind == "question":
            return Request(grounding.question_request(task.passage), index=task.number, about=about, **first)
        if task.kind == "summary":
            messages = grounding.summary_request(task.passage, task.instruction)
            return Request(messages, index=task.number, about=about, **then)
        schema = grounding.extraction_schema(self.fields) if structured else None
        messages = grounding.extraction_request(task.passage, self.fields)
        return Request(messages, index=task.number, schema=schema, about=about, **then)

    def begun(self, answers: Iterable[tuple[Task, Answer | None]]) -> Iterator[Task]:
        """Tasks whose question, summary or extraction is sound."""
        for task, answer in answers:
            assert answer is not None
            if task.kind == "question":
                fault = unusable(answer) if not answer.ok else None  # a question that is cut has no question mark
                task.instruction = grounding.question_in(answer.text)
                fault = fault or self.fault_in_question(task)
            elif task.kind == "summary":
                task.output = grounding.said_in(answer.text)
                fault = fault_in_answer(answer, task.output, task.instruction, task.passage)
                fault = fault or grounding.fault_in_summary(task.output, task.passage) or self.unsupported(task)
            else:
                fault = unusable(answer)
                if fault is None:
                    found = grounding.fields_in(answer, self.fields)
                    task.instruction, task.output, fault = grounding.extracted(found, task.passage, self.fields)
            if fault is not None:
                self.reject(task, fault, answer)
                continue
            if task.kind == "question":
                task.document.questions.append(task.instruction)
            yield task

    def fault_in_question(self, task: Task) -> Drop | None:
        question = task.instruction
        if not grounding.is_question(question):
            return Drop("not a question")
        if not self.context and (phrase := first_of(grounding.POINTERS, question)):
            return Drop("question points at its passage", phrase=phrase)
        if not grounding.overlaps(question, task.passage):
            return Drop("question is not about its passage")
        near = max((rouge_l(words(question), words(other)) for other in task.document.questions), default=0.0)
        return Drop("not novel", rouge_l=round(near, 4)) if near > self.novelty else None

    def answer_request(self, task: Task, sampling: dict[str, Any]) -> Request | None:
        if task.kind != "question":
            return None
        messages = grounding.answer_request(task.passage, task.instruction)
        about = {"id": task.document.record["id"]}
        return Request(messages, index=task.number, stop=("\n\n",), about=about, **sampling)

    def answered(self, answers: Iterable[tuple[Task, Answer | None]]) -> Iterator[Task]:
        """Tasks whose answer, if they are questions, says what the passage says."""
        for task, answer in answers:
            fault = None
            if answer is not None:
                task.output = grounding.said_in(answer.text)
                fault = fault_in_answer(answer, task.output, task.instruction)
                fault = fault or self.evasive(task.output) or circular(task) or self.unsupported(task)
            if fault is None:
                yield task
            else:
                self.reject(task, fault)

    def evasive(self, said: str) -> Drop | None:
        if phrase := first_of(grounding.UNKNOWN, said):
            return Drop("passage does not say", phrase=phrase)
        if not self.context and (phrase := first_of(grounding.POINTERS, said)):
            return Drop("answer points at its passage", phrase=phrase)
        return None

    def unsupported(self, task: Task) -> Drop | None:
        share = support(task.output, task.passage, task.instruction)
        task.meta["support"] = round(share, 4)
        if share < self.least:
            return Drop("not supported by its passage", support=round(share, 4))
        number = grounding.strange_number(task.output, task.passage, task.instruction) if self.least else None
        return Drop("not supported by its passage", number=number) if number else None

    def support_request(self, task: Task) -> Request:
        messages = grounding.support_request(task.passage, task.instruction, task.output)
        return Request(messages, temperature=0.0, max_tokens=16, about={"id": task.document.record["id"]})

    def judged(self, answers: Iterable[tuple[Task, Answer | None]]) -> Iterator[Task]:
        """Tasks whose answer the judge finds supported."""
        for task, answer in answers:
            assert answer is not None
            said = grounding.verdict(answer.text)
            if not answer.ok:
                self.reject(task, unusable(answer) or Drop("request failed"))
            elif said is None:
                self.reject(task, Drop("no verdict", said=answer.text[:80]))
            elif not said:
                self.reject(task, Drop("not supported by its passage", judge="no"))
            else:
                task.meta["judged"] = "supported"
                yield task

    def given(self, task: Task) -> str:
        return task.passage if self.context or task.kind != "question" else ""

    def made(self, task: Task) -> Any:
        """The record of a task, whose parent is the document. Its id holds the task's number."""
        given = self.given(task)
        if task.kind == "question":
            prompt = f"{given}\n\n{task.instruction}" if given else task.instruction
        else:
            prompt = f"{task.instruction}\n\n{given}"
        meta = {
            "instruction": task.instruction,
            "input": given,
            "kind": task.kind,
            "number": task.number,
            "model": self.gen.model.uri,
            **task.meta,
        }
        record = derive(task.document.record, prompt=user(prompt), completion=assistant(task.output), meta=meta)
        return {**record, "id": digest([record["id"], task.number])}

    def accept(self, task: Task) -> Any:
        task.document.open -= 1
        task.document.kept += 1
        self.kinds[task.kind, True] += 1
        return self.gen.accept(self.made(task))

    def reject(self, task: Task, fault: Drop, answer: Answer | None = None) -> None:
        """Keep a candidate among the dropped, and its document too when nothing else can come of it."""
        if answer is not None and not (task.instruction and task.output):
            if task.kind == "question":
                task.instruction = task.instruction or answer.text
            else:
                task.output = task.output or answer.text
        self.gen.reject(self.made(task), fault)
        self.kinds[task.kind, False] += 1
        task.document.open -= 1
        if not task.document.open and not task.document.kept:
            self.gen.ctx.drop(task.document.record, fault.reason, **fault.details)

    def table(self) -> str:
        """Accepted and rejected tasks by kind, in Markdown."""
        kinds = sorted({kind for kind, _ in self.kinds})
        rows = [f"| {kind} | {self.kinds[kind, True]} | {self.kinds[kind, False]} |" for kind in kinds]
        return "\n".join(["| kind | accepted | rejected |", "|---|---|---|", *rows]) if rows else ""
