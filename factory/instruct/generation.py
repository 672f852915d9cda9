"""One run of a step that has a model write: what it may spend, what became of its candidates, what it reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from factory import Answer, Budget, CausalLM, Context, Dataset, Drop, Request
from factory.text.overlap import RougeIndex
from factory.text.words import words

from .contamination import Evaluation
from .faults import fault_in_output
from .tally import Tally

Task = TypeVar("Task")


class Generation:
    """Requests go out here, and every candidate ends here: accepted, or among the dropped with its reason."""

    def __init__(
        self,
        ctx: Context,
        model: CausalLM,
        budget: Budget | None = None,
        evaluation: Sequence[Dataset[Any]] = (),
        total: int = 0,
    ) -> None:
        self.ctx, self.model, self.budget, self.total = ctx, model, budget, total
        self.evaluation = Evaluation(list(evaluation))
        self.tally = Tally(prices=model.prices)
        self.stopped = False  # by the budget
        self.why = ""  # it ended short of what was asked for

    def ask(
        self, requests: Iterable[Request], ahead: int | None = None, model: CausalLM | None = None
    ) -> Iterator[Any]:
        """Answers in the order of the requests, counted; `model` unless it is the step's own."""
        for answer in self.ctx.ask(model or self.model, requests, ahead=ahead, budget=self.budget):
            if answer.over_budget:
                self.stopped = True
            else:
                self.tally.answered(answer)
            self.ctx.progress(self.tally.accepted, self.total, self.tally.note(self.total))
            yield answer

    def relay(
        self,
        tasks: Iterable[Task],
        request: Callable[[Task], Request | None],
        ahead: int | None = None,
        model: CausalLM | None = None,
    ) -> Iterator[tuple[Task, Answer | None]]:
        """Every task in order, with the answer to its request; None where a task has none to ask."""
        waiting: deque[tuple[Task, bool]] = deque()

        def asked() -> Iterator[Request]:
            for task in tasks:
                wanted = request(task)
                waiting.append((task, wanted is not None))
                if wanted is not None:
                    yield wanted

        for answer in self.ask(asked(), ahead, model):
            while not waiting[0][1]:
                yield waiting.popleft()[0], None
            yield waiting.popleft()[0], answer
        while waiting:
            yield waiting.popleft()[0], None

    def accept(self, candidate: Any) -> Any:
        self.tally.accepted += 1
        return candidate

    def reject(self, candidate: Any, fault: Drop) -> None:
        """A candidate among the dropped. What was never asked for was none, and is only counted."""
        self.tally.reject(fault, candidate)
        if fault != OVER_BUDGET:
            self.ctx.drop(candidate, fault.reason, **fault.details)

    def contaminated(self, *parts: str) -> Drop | None:
        """Why a task that holds these texts is one of an evaluation set, if it is."""
        whole = self.evaluation.hit("\n\n".join(part for part in parts if part))
        return whole or self.evaluation.hit(parts[0])  # an item may be no longer than an instruction

    def report(self, title: str, note: str = "", more: str = "") -> None:
        if self.why:
            note = f"{note} It ended short of {self.total}: {self.why}."
        elif self.stopped:
            note = f"{note} The budget is used up; what it would have gone on with is dropped."
        self.ctx.report(title, "\n\n".join(part for part in (self.tally.summary(note.strip()), more) if part))


OVER_BUDGET = Drop("budget used up")
UNREADABLE = "not the JSON asked for"


def unusable(answer: Answer) -> Drop | None:
    """Why an answer says nothing to go on with: it failed, was not asked for, or its length cut it."""
    if answer.over_budget:
        return OVER_BUDGET
    if not answer.ok:  # an answer that came and cannot be read is no failed request
        return Drop(UNREADABLE if answer.reason == UNREADABLE else "request failed", error=answer.error)
    return Drop("cut off") if answer.finish == "length" else None


def fault_in_answer(answer: Answer, said: str, instruction: str, given: str = "") -> Drop | None:
    """Why what an answer says (`said`, its text made clean) is not kept as the output of an instruction."""
    return unusable(answer) or fault_in_output(said, instruction, given)


class Novelty:
    """Instructions that are known; each one found new is known from then on."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.index = RougeIndex()

    def add(self, key: Any, instruction: str) -> None:
        self.index.add(key, words(instruction))

    def fault(self, key: Any, instruction: str) -> Drop | None:
        """Why an instruction is not new; if it is, it is added under `key`."""
        tokens = words(instruction)
        if near := self.index.nearest(tokens, self.threshold):
            return Drop("not novel", of=near[0], rouge_l=round(near[1], 4))
        self.index.add(key, tokens)
        return None
