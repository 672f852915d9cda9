"""What becomes of each candidate of a growing list, admitted or dropped with a reason; and when the list ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from factory import Answer, CausalLM, Context, Drop, StepError, assistant, derive, digest, user
from factory.text.words import words

from .coverage import Collapse, Coverage
from .parsing import Block
from .pool import Pool
from .quotas import Quotas
from .tally import Tally


class Admission:
    """The account of a run: candidates come in order of their draws, whatever order their answers came in.

    evaluation  what is told apart from evaluation sets: an object whose hit_by(record) is a Drop or None
    """

    def __init__(
        self,
        ctx: Context,
        model: CausalLM,
        pool: Pool,
        quotas: Quotas | None,
        count: int,
        min_yield: float,
        collapse: float,
        evaluation: Any = None,
    ) -> None:
        self.ctx, self.model, self.pool, self.quotas = ctx, model, pool, quotas
        self.count, self.min_yield, self.evaluation = count, min_yield, evaluation
        self.tally = Tally(prices=getattr(model, "prices", None))
        self.coverage = Coverage()
        self.collapse = Collapse(collapse)
        self.alarms: list[str] = []
        self.why = ""  # it ended short
        self.over = False  # it is to end

    @property
    def full(self) -> bool:
        return self.tally.accepted >= self.count

    def takes(self, answer: Answer) -> bool:
        """Count an answer in; False when the run is over, by the budget say."""
        if answer.over_budget:
            self.end("the budget is used up")
        if self.over:
            return False
        self.tally.answered(answer)
        return True

    def judged(self, found: Iterable[tuple[Any, Drop | None]], draw: int) -> Iterator[Any]:
        """Those of a draw's candidates that are accepted, each counted and kept or dropped."""
        candidates = accepted = 0
        for candidate, fault in found:
            candidates += 1
            fault = fault or self.fault(candidate)
            if fault is not None:
                self.reject(candidate, fault)
                continue
            accepted += 1
            self.accept(candidate, draw)
            yield candidate
        if self.quotas is not None:
            self.quotas.answered(candidates, accepted)

    def fault(self, candidate: Any) -> Drop | None:
        """Why a sound candidate is not accepted all the same."""
        meta = candidate["meta"]
        if fault := self.pool.too_near(meta["instruction"]) or self.contaminated(candidate):
            return fault
        if self.full:
            return Drop("more than asked for")
        if self.quotas is not None and self.quotas.is_full(meta["type"]):
            return Drop("quota filled", type=meta["type"])
        return None

    def contaminated(self, candidate: Any) -> Drop | None:
        """Whether a candidate holds a passage of an evaluation set."""
        if self.evaluation is None:
            return None
        hit: Drop | None = self.evaluation.hit_by(candidate)
        return hit

    def accept(self, candidate: Any, draw: int) -> None:
        """Count an accepted candidate and make it known."""
        self.pool.accept(candidate, draw)
        self.count_in(candidate)

    def count_in(self, candidate: Any, again: bool = False) -> None:
        """Count an accepted candidate; `again` says that it is a further instance of a known task."""
        self.tally.accepted += 1
        self.coverage.add(candidate)
        if self.quotas is not None:
            self.quotas.accept(candidate["meta"]["type"])
        for says, examples in () if again else self.collapse.add(candidate):
            self.alarms.append(f"After {self.tally.accepted} accepted ones: {says}.")
            self.ctx.alarm(f"made tasks that are alike: {says}", *examples)

    def reject(self, candidate: Any, fault: Drop) -> None:
        """Keep a candidate among the dropped."""
        self.tally.reject(fault, candidate)
        self.ctx.drop(candidate, fault.reason, **fault.details)

    def weigh(self, most: int) -> None:
        """Tell how it goes, and see whether it is to end. Raises StepError when next to nothing got through at all."""
        tally = self.tally
        alike = f"; {self.collapse.now[0]}" if self.collapse.now else ""
        self.ctx.progress(tally.accepted, self.count, tally.note(self.count) + alike)
        if self.full:
            self.over = True
        elif tally.is_dry(self.min_yield):
            if tally.accepted < self.min_yield * tally.candidates:
                raise StepError(tally.diagnosis("self_instruct", self.min_yield))
            candidates, accepted = tally.recent.share(self.min_yield)
            self.end(
                f"of the latest {candidates} candidates {accepted} were accepted, less than min_yield = "
                f"{self.min_yield:g}"
            )
        elif tally.requests >= most:
            self.end(f"max_requests = {most} was reached")

    def end(self, why: str) -> None:
        """End it short of what was asked for; what there is stays."""
        self.over, self.why = True, why

    def close(self) -> None:
        """The section of the build's page; an alarm when it ended short."""
        short = self.quotas.short() if self.quotas else {}
        if not self.full and not self.why and self.quotas:
            self.why = "next to nothing of the missing types got through: " + ", ".join(sorted(self.quotas.given_up))
        note = ""
        if not self.full:
            missing = ", ".join(f"{number} of {name}" for name, number in short.items())
            note = f"It ended short of {self.count}: {self.why}." + (f" Missing are {missing}." if missing else "")
            self.ctx.alarm(f"ended at {self.tally.accepted} of {self.count}: {self.why}")
        parts = [" ".join([note, *self.alarms]).strip()]
        summary = self.tally.summary(parts[0])
        self.ctx.report(
            "Self-instruct", f"{summary}\n\n{self.coverage.table(self.quotas.wanted if self.quotas else None)}"
        )

    def made(self, block: Block, about: dict[str, Any], place: Any) -> Any:
        """A block as a record whose parents are the tasks shown. Its id holds the draw, so equal ones differ."""
        prompt = "\n\n".join(part for part in (block.instruction, block.input) if part)
        meta = {
            "instruction": block.instruction,
            "input": block.input,
            "type": about["type"],
            "output_words": len(words(block.output)),
            "draw": about["draw"],
            "model": self.model.uri,
        }
        record = derive(*about["shown"], prompt=user(prompt), completion=assistant(block.output), meta=meta)
        return {**record, "id": digest([record["id"], about["draw"], place])}


def read_tasks(answer: Answer, read: Callable[..., Any]) -> list[tuple[Block, Drop | None]]:
    """The tasks that a reading finds in an answer, each with why it is none, if so; at least one."""
    assert answer.request is not None
    found = list(read(answer.text, answer.finish == "length", answer.request.about["ask"])) if answer.ok else []
    why = Drop("no task found") if answer.ok else Drop("request failed", error=answer.error)
    return found or [(Block("", "", answer.text), why)]
