"""Answers judged by models: which of two is better, in both orders, or how good each one is."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Answer, Budget, Candidates, CausalLM, Context, Drop, InputError, Request, text_of
from factory.models.language import language_of

from .comparisons import Comparison, Grade
from .habits import Habits, report
from .hearing import Ask, comparisons_in, grades_in, softened
from .plainly import Plain, answered_at_all
from .questions import CLOSED, grade_question, pair_question
from .rubrics import OVERALL, Rubric, rubrics_for
from .scoring import mean_grades, shares_won

VERDICT_TOKENS, REASON_TOKENS = 16, 512
ANSWERS = 4  # of a prompt, for the plan: how many there are is known when they are there
LOGPROBS = 10  # verdicts and grades are few
TOGETHER = 128  # requests that one judge may be ahead of the next while they share a budget
OVER_BUDGET, FAILED, UNREADABLE = "budget used up", "request failed", "unreadable verdicts"
SHOWN = 200  # characters of an answer that could not be read


@dataclass
class Case:
    """A record on its way past the judges."""

    record: Any
    asks: list[Ask]
    answers: dict[str, list[Answer]] = field(default_factory=dict)  # judge -> its answers, as its questions are


@dataclass
class Run:
    """What one run of the step is told, and what it has found out of its judges."""

    ctx: Context
    mode: str
    rubrics: list[Rubric]
    pairs: str
    language: str
    reference: bool
    reason: bool
    habits: dict[str, Habits]
    plain: dict[str, Plain] = field(default_factory=dict)  # judge -> what it refused to be asked
    own: dict[str, int] = field(default_factory=dict)  # judge -> records with an answer of its own
    judged: int = 0


def most_requests(
    records: int,
    model: Any = "",
    mode: str = "pairwise",
    aspects: Sequence[str] = (OVERALL,),
    pairs: str = "all",
    **_: Any,
) -> int:
    """How many requests the step makes of records with ANSWERS answers each."""
    of_pairs = 2 * (ANSWERS - 1 if pairs == "chain" else ANSWERS * (ANSWERS - 1) // 2)
    judges = len(model) if isinstance(model, list) else 1
    return records * judges * len(aspects) * (of_pairs if mode == "pairwise" else ANSWERS)


@factory.step(requests=most_requests)
def judge(
    records: Iterator[Candidates],
    ctx: Context,
    model: CausalLM | list[CausalLM],
    mode: Literal["pairwise", "graded"] = "pairwise",
    aspects: list[str] = [OVERALL],
    rubrics: list[Path] = [],
    pairs: Literal["all", "chain"] = "all",
    reference: bool = True,
    reason: bool = False,
    soft: bool = False,
    language: Literal["auto", "en", "zh"] = "auto",
    temperature: Annotated[float, Field(ge=0)] = 0.0,
    max_tokens: Annotated[int, Field(ge=1)] | None = None,
    budget: Budget | None = None,
) -> Iterator[Candidates]:
    """Ask one or several models which answers of a prompt are better, or how good each one is.

    Every pair is asked about in both orders: a judge that chooses another answer when the order is turned round has
    flipped, and a flip is a tie, counted apart. What was said is in meta.comparisons (meta.grades of graded answers);
    `scores` are the share of its comparisons that each answer won, ties as half, or the mean of its grades between 0
    and 1 over judges and aspects. A verdict that cannot be read is no tie and no guess: it does not count, and a record
    of which too few could be read to score each answer is dropped. The report names what makes a judge useless.

    model       the judge, or several; one that wrote the answers itself is told of, since models favour their own
    mode        pairwise: which of two is better; graded: each answer alone, on the rubric's scale
    aspects     by what: overall, helpful, honest, harmless, follows_instruction, or one of your own rubrics
    rubrics     YAML files of your own, one an aspect; they go before ours
    pairs       all of them, or a chain: each answer with the next
    reference   show the judge meta.reference, where a record has it
    reason      have the judge argue before its verdict: better from a good model, no use to a small one
    soft        ask for log-probabilities, and count a verdict as much as the judge is sure of it, a grade as the
                one that is expected by them; where a model gives none, as it was said. Some servers refuse to be asked
    language    of the question: auto asks in Chinese about Chinese prompts, else in English
    max_tokens  of a verdict; 16 unless set, 512 with a reason
    budget      what may be spent by all judges together; records beyond it are dropped
    """
    judges = model if isinstance(model, list) else [model]
    names = [one.uri for one in judges]
    if not judges or len(set(names)) < len(names):
        raise InputError("judge: model names no judge, or one of them twice")
    found = rubrics_for(aspects, rubrics)
    run = Run(ctx, mode, found, pairs, language, reference, reason, {name: Habits(name) for name in names})
    limit = max_tokens or (REASON_TOKENS if reason else VERDICT_TOKENS)
    sampling: dict[str, Any] = {"temperature": temperature, "max_tokens": limit, "stop": () if reason else (CLOSED,)}
    sampling["top_logprobs"] = LOGPROBS if soft else 0
    cases = asked(run, records)
    # Each judge draws as far ahead as it likes, except where the first would use up the budget alone.
    ahead = TOGETHER if budget is not None and len(judges) > 1 else None
    for one in judges:
        plain = run.plain[one.uri] = Plain()
        cases = answered(ctx, one, cases, sampling, budget, ahead, plain)
    for case in cases:
        try:
            yield scored(run, case)
        except Drop as fault:
            ctx.drop(case.record, fault.reason, **fault.details)
    tell(run)


def asked(run: Run, records: Iterator[Any]) -> Iterator[Case]:
    """The questions about each record; one with too few answers is dropped."""
    for record in records:
        count = len(record["completions"])
        if count < (2 if run.mode == "pairwise" else 1):
            run.ctx.drop(record, "one answer" if count else "no answers")
            continue
        language = language_of(text_of(record["prompt"])) if run.language == "auto" else run.language
        known = record.get("meta", {}).get("reference") if run.reference else None
        reference = known if isinstance(known, str) else ""
        asks = []
        for rubric in run.rubrics:
            if run.mode == "graded":
                for at in range(count):
                    said = grade_question(record, rubric, at, language, reference, run.reason)
                    asks.append(Ask(rubric, (at,), said))
                continue
            chain = itertools.pairwise(range(count))
            for pair in chain if run.pairs == "chain" else itertools.combinations(range(count), 2):
                for shown in (pair, pair[::-1]):
                    said = pair_question(record, rubric, shown, language, reference, run.reason)
                    asks.append(Ask(rubric, shown, said))
        yield Case(record, asks)


def answered(
    ctx: Context,
    judge: CausalLM,
    cases: Iterator[Case],
    sampling: dict[str, Any],
    budget: Budget | None,
    ahead: int | None,
    plain: Plain | None = None,
) -> Iterator[Case]:
    """Each case, with one judge's answers to its questions; `plain` counts those without log-probabilities."""
    waiting: deque[Case] = deque()

    def requests() -> Iterator[Request]:
        for case in cases:
            waiting.append(case)
            for ask in case.asks:
                yield Request(ask.messages, about=case.record, **sampling)

    def ask(asked: Iterable[Request]) -> Iterator[Answer]:
        return ctx.ask(judge, asked, ahead, budget)

    soft = bool(sampling.get("top_logprobs"))
    found: list[Answer] = []
    for answer in answered_at_all(ask, requests(), plain or Plain()) if soft else ask(requests()):
        found.append(answer)
        if len(found) == len(waiting[0].asks):
            case = waiting.popleft()
            case.answers[judge.uri], found = found, []
            yield case


def scored(run: Run, case: Case) -> Any:
    """The record with what the judges said. Raises Drop where that does not score each of its answers."""
    for answer in itertools.chain(*case.answers.values()):
        if answer.over_budget:
            raise Drop(OVER_BUDGET)
        if answer.again:  # asked again, it may be answered: a record is not judged by half
            raise Drop(FAILED, error=answer.error)
    record, meta = case.record, dict(case.record.get("meta", {}))
    lengths = [len(text_of(answer)) for answer in record["completions"]]
    comparisons: list[Comparison] = []
    grades: list[Grade] = []
    for name, answers in case.answers.items():
        habits = run.habits[name]
        if run.mode == "pairwise":
            said = comparisons_in(name, case.asks, answers, run.reason, habits)
            habits.compared(record, said, lengths)
            comparisons += said
        else:
            marks = grades_in(name, case.asks, answers, run.reason, habits)
            habits.graded(record, marks, lengths)
            grades += softened(marks, case.asks, answers, run.reason)
        run.own[name] = run.own.get(name, 0) + (name in (meta.get("models") or ()))
    run.judged += 1
    if comparisons:
        scores = shares_won(comparisons, len(lengths))
        meta["comparisons"] = [*meta.get("comparisons", ()), *comparisons]
    else:
        scores = mean_grades(grades, run.rubrics, len(lengths))
        meta["grades"] = [*meta.get("grades", ()), *grades]
    if scores is None:
        failed = [answer.error for answer in itertools.chain(*case.answers.values()) if not answer.ok]
        if failed and len(failed) == sum(map(len, case.answers.values())):
            raise Drop(FAILED, error=failed[0])
        raise Drop(UNREADABLE, said=next(iter(case.answers.values()))[0].text[:SHOWN])
    return {**record, "scores": scores, "meta": meta}


def tell(run: Run) -> None:
    """The report, and the alarms about judges whose verdicts are of no use."""
    notes = []
    for name, own in run.own.items():
        if own:
            says = f"wrote answers of {own:,} of the {run.judged:,} records it judges; models favour what they wrote"
            notes.append(f"**{name}** {says}.")
            run.ctx.alarm(f"{name} {says}")
    for name, plain in run.plain.items():
        if plain.questions:
            notes.append(f"**{name}** {plain.told()}.")
            run.ctx.alarm(f"{name} {plain.told()}")
    for habits in run.habits.values():
        for says, examples in habits.alarms():
            run.ctx.alarm(f"{habits.judge} {says}", *examples)
    if run.judged:
        run.ctx.report("Judges", report(list(run.habits.values()), notes))
