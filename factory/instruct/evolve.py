"""Harder and rarer tasks out of those there are, round by round: Evol-Instruct."""

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
    assistant,
    derive,
    digest,
    user,
)
from factory.models.framing import framed
from factory.text.overlap import rouge_l, support
from factory.text.words import words

from .faults import fault_in_instruction, first_of
from .gates.refusals import refusal
from .generation import Generation, Novelty, fault_in_answer, unusable
from .grounding import verdict
from .pool import fields_of
from .writing import instruction_in

Operation = Literal["constrain", "deepen", "concretize", "reason", "complicate", "broaden"]
OPERATIONS: list[Operation] = ["constrain", "deepen", "concretize", "reason", "complicate", "broaden"]
HOW: dict[str, str] = {
    "constrain": "Add one more condition that the answer has to meet.",
    "deepen": "Where it asks something, let it ask for more depth, or for more of what belongs to it.",
    "concretize": "Put particular cases, names or figures in the place of what it says in general.",
    "reason": "If a few simple steps of thought are enough for it, change it so that more of them are needed.",
    "complicate": "Give it material to work on, such as a table, a piece of code, a formula or a log, and show it.",
}
DEPTH = (
    "{task}\n\nMake this task a little harder. {how} It must still make sense, be answerable in writing, and name all "
    "it is about; keep code, tables and numbers that it has. It may grow by ten to twenty words, not more, in the "
    "language it is in. Write the changed task and nothing else."
)
BREADTH = (
    "{task}\n\nThink of another task in the same field, about something that is asked for less often. It should be "
    "about as long and as hard as this one, make sense, be answerable in writing, and be in the same language. Write "
    "the other task and nothing else."
)
BEGINS = {"depth": "Changed task:", "breadth": "Other task:"}
ASK_SAME = (
    "{first}\n\n{second}\n\nDo these two tasks ask for the same, in the same breadth and depth and under the same "
    "conditions? Begin with `yes` or `no`."
)
# Words of the prompts above that a task never needs: a model that repeats them has not understood.
OURS = (
    "changed task", "other task", "this task", "given task", "original task", "task above", "new task",
    "make this task", "a little harder", "ten to twenty words",
)  # fmt: skip
SAME = 0.9  # ROUGE-L F above which a task is still the one it was made from
SORRY = 80  # words: a shorter answer that holds "sorry" is an apology (Xu et al. 2023, section 3.2)
_EMPTY = (  # yes and no are answers
    "a an the this that these those it its i you he she we they me him her us them my your his our their and or but "
    "if so as of in on at to for from by with without about into over under than then there here is are was were be "
    "been am do does did done has have had will would can could should may might must well very just too also only "
    "all any some such what which who whom whose when where why how please sure thanks thank "
)
EMPTY_WORDS = frozenset(_EMPTY.split()) | frozenset("的了在我你他她它们这那和与或也都很就吗呢吧啊")


def most_requests(records: int, rounds: int = 1, **_: Any) -> int:
    """How many requests the step may make: a task and its answer, each round. A judge is asked besides."""
    return 2 * rounds * records


@dataclass
class Line:
    """A task and what has come of it so far: each round starts from the latest that was sound."""

    record: Any
    latest: Any
    instruction: str
    made: list[Any] = field(default_factory=list)
    operation: str = ""
    evolved: str = ""
    fault: Drop | None = None  # of the last round


@factory.step(requests=most_requests)
def evolve(
    records: Iterator[PromptCompletion],
    ctx: Context,
    model: CausalLM,
    rounds: Annotated[int, Field(ge=1, le=10)] = 1,
    operations: Annotated[list[Operation], Field(min_length=1)] = OPERATIONS,
    judge: CausalLM | None = None,
    novelty: Annotated[float, Field(ge=0, le=1)] = 0.7,
    evaluation: list[Dataset[Any]] = [],
    budget: Budget | None = None,
    temperature: Annotated[float, Field(ge=0)] = 0.7,
    answer_temperature: Annotated[float, Field(ge=0)] = 0.7,
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9,
    instruction_tokens: Annotated[int, Field(ge=1)] = 256,
    answer_tokens: Annotated[int, Field(ge=1)] = 512,
    min_words: Annotated[int, Field(ge=1)] = 3,
    max_words: Annotated[int, Field(ge=1)] = 300,
) -> Iterator[PromptCompletion]:
    """Have a model change each task into a harder or a rarer one, round by round, and answer what it made.

    rounds        how often; each starts from the latest sound task, so a task that was eliminated is tried again
    operations    drawn from for each task and round: `constrain`, `deepen`, `concretize`, `reason` (more steps of
                  thought) and `complicate` (its input) make a task harder, `broaden` makes another one of its field
    judge         a model that is asked whether a task is still the one it was made from; a measure decides without
    novelty       ROUGE-L F above which a task is too like one that was given or accepted before it
    evaluation    datasets whose items must not be among the tasks
    budget        bounds on requests, tokens and cost; the tasks that are left are dropped
    temperature   of tasks, which should differ; answer_temperature: of their answers
    instruction_tokens, answer_tokens  at most; what is cut off there is never kept
    min_words, max_words               of a task

    The given tasks are not in the output: name both targets where both are wanted. A given task of which nothing came
    is dropped with the reason of its last round.
    Xu et al. 2023 (WizardLM), sections 3.1 and 3.2 (elimination: nothing gained, no answer, nothing but stop words,
    words of the prompt), in prompts of our own.
    """
    gen = Generation(ctx, model, budget, evaluation)
    evolving = Evolving(gen, operations, min_words, max_words)
    asking = {"temperature": temperature, "top_p": top_p, "max_tokens": instruction_tokens}
    telling = {"temperature": answer_temperature, "top_p": top_p, "max_tokens": answer_tokens}
    known = Novelty(novelty)
    lines: Iterable[Line] = evolving.lines(records, known)
    for number in range(rounds):
        lines = evolving.round(lines, number, asking, telling, judge)
    for line in lines:
        yield from evolving.sound(line, known)
    gen.report("Evolve", "A task and its answer are two requests.", evolving.table())


class Evolving:
    """The rounds. A line that is eliminated in one goes on to the next; it leaves at the end, with all it has made."""

    def __init__(self, gen: Generation, operations: list[Operation], least: int, most: int) -> None:
        self.gen, self.operations, self.least, self.most = gen, operations, least, most
        self.counts: Counter[tuple[str, bool]] = Counter()

    def lines(self, records: Iterator[PromptCompletion], known: Novelty) -> Iterator[Line]:
        for record in records:
            instruction, given, _ = fields_of(record)
            whole = "\n\n".join(part for part in (instruction, given) if part)
            known.add(record["id"], whole)
            yield Line(record, record, whole)

    def round(
        self,
        lines: Iterable[Line],
        number: int,
        asking: dict[str, Any],
        telling: dict[str, Any],
        judge: CausalLM | None,
    ) -> Iterator[Line]:
        """One round of all lines: change, look whether that gained anything, answer."""
        asked = self.gen.relay(lines, lambda line: self.change(line, number, asking))
        changed = self.changed(asked, judge is None)
        if judge is not None:
            changed = self.compared(self.gen.relay(changed, self.compare, model=judge))
        return self.answered(self.gen.relay(changed, lambda line: self.answer(line, number, telling)), number)

    def change(self, line: Line, number: int, sampling: dict[str, Any]) -> Request:
        """The draw depends on what a task says, not on where it stands."""
        line.operation = self.gen.ctx.rng(digest(fields_of(line.record)), number).choice(self.operations)
        task = framed(line.instruction, "task")
        if line.operation == "broaden":
            messages = user(BREADTH.format(task=task)) + assistant(BEGINS["breadth"])
        else:
            messages = user(DEPTH.format(task=task, how=HOW[line.operation])) + assistant(BEGINS["depth"])
        return Request(messages, index=number, about={"id": line.record["id"]}, **sampling)

    def changed(self, answers: Iterable[tuple[Line, Answer | None]], measure: bool) -> Iterator[Line]:
        for line, answer in answers:
            assert answer is not None
            line.evolved = instruction_in(answer.text)
            line.fault = unusable(answer) or self.fault_in_change(line, measure)
            yield line

    def fault_in_change(self, line: Line, measure: bool) -> Drop | None:
        """Elimination, as far as it needs no answer."""
        if (phrase := first_of(OURS, line.evolved)) and not first_of([phrase], line.instruction):
            return Drop("words of the prompt", phrase=phrase)
        if fault := fault_in_instruction(line.evolved, "", self.least, self.most):
            return fault
        if phrase := refusal(line.evolved):
            return Drop("refusal", phrase=phrase)
        if not measure:
            return None
        near = rouge_l(words(line.evolved), words(line.instruction))
        # Nothing new is said where every content word was there before.
        if near > SAME or support(line.evolved, line.instruction) == 1:
            return Drop("nothing gained", rouge_l=round(near, 4))
        return None

    def compare(self, line: Line) -> Request | None:
        if line.fault is not None:
            return None
        first, second = framed(line.instruction, "first"), framed(line.evolved, "second")
        messages = user(ASK_SAME.format(first=first, second=second))
        return Request(messages, temperature=0.0, max_tokens=16, about={"id": line.record["id"]})

    def compared(self, answers: Iterable[tuple[Line, Answer | None]]) -> Iterator[Line]:
        for line, answer in answers:
            if answer is not None:
                same = verdict(answer.text)
                if not answer.ok:
                    line.fault = unusable(answer)
                elif same is not False:
                    line.fault = Drop("no verdict" if same is None else "nothing gained", judge=answer.text[:80])
            yield line

    def answer(self, line: Line, number: int, sampling: dict[str, Any]) -> Request | None:
        if line.fault is not None:
            return None
        return Request(user(line.evolved), index=number, about={"id": line.record["id"]}, **sampling)

    def answered(self, answers: Iterable[tuple[Line, Answer | None]], number: int) -> Iterator[Line]:
        """Lines with what this round made, if it is sound; else the round's candidate is dropped."""
        for line, answer in answers:
            said = answer.text.strip() if answer is not None else ""
            candidate = self.made(line, said, number)
            if answer is not None:
                line.fault = fault_in_answer(answer, said, line.evolved) or empty(said)
            line.fault = line.fault or self.gen.contaminated(line.evolved, said)
            if line.fault is None:
                line.made.append(candidate)
                line.latest, line.instruction = candidate, line.evolved
            else:
                self.rejected(candidate, line.fault)
            yield line

    def made(self, line: Line, said: str, number: int) -> Any:
        """A record whose parent is the task it was made from."""
        meta = {
            "instruction": line.evolved,
            "input": "",
            "operation": line.operation,
            "round": number + 1,
            "evolved_from": line.latest["id"],
            "model": self.gen.model.uri,
        }
        record = derive(line.record, prompt=user(line.evolved), completion=assistant(said), meta=meta)
        return {**record, "id": digest([record["id"], line.latest["id"], number])}

    def sound(self, line: Line, known: Novelty) -> Iterator[Any]:
        """What a line has made that is unlike all before it. Decided here, in the order of the records."""
        kept = 0
        for candidate in line.made:
            if fault := known.fault(candidate["id"], candidate["meta"]["instruction"]):
                line.fault = fault
                self.rejected(candidate, fault)
                continue
            kept += 1
            self.counts[candidate["meta"]["operation"], True] += 1
            yield self.gen.accept(candidate)
        if not kept:
            fault = line.fault or Drop("nothing came of it")
            self.gen.ctx.drop(line.record, fault.reason, **fault.details)

    def rejected(self, candidate: Any, fault: Drop) -> None:
        self.counts[candidate["meta"]["operation"], False] += 1
        self.gen.reject(candidate, fault)

    def table(self) -> str:
        """Accepted and rejected tasks by operation, in Markdown."""
        names = sorted({name for name, _ in self.counts})
        rows = [f"| {name} | {self.counts[name, True]} | {self.counts[name, False]} |" for name in names]
        return "\n".join(["| operation | accepted | rejected |", "|---|---|---|", *rows]) if rows else ""


def empty(said: str) -> Drop | None:
    """Why an answer is none by the elimination of the paper: an apology, or nothing but stop words."""
    tokens = words(said)
    if len(tokens) < SORRY and "sorry" in tokens:
        return Drop("cannot answer")
    if all(token in EMPTY_WORDS for token in tokens):
        return Drop("nothing but stop words")
    return None
