"""Calibrating a judge: its verdicts against pairs of which people have said which answer is better."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Budget, CausalLM, Context, Dataset, InputError, Metric, Prompt, derive, digest, text_of

from .agreement import compared as as_item
from .bootstrap import DRAWS, Estimate
from .calibration import Calibration, Judged, calibration, split, warnings
from .drawing import Panel, draw, figure, spelled
from .habits import Habits
from .hearing import comparisons_in
from .judge import FAILED, OVER_BUDGET, REASON_TOKENS, VERDICT_TOKENS, Case, Run, answered, asked
from .pictures import Section, as_markdown
from .ratings import collect, majority
from .rubrics import OVERALL, rubrics_for

MEASURES = ("accuracy", "longest", "clear", "kappa", "longer", "flipped", "tied", "unreadable")


def most_requests(records: int, **_: Any) -> int:
    """How many requests the step makes of records with one labelled pair each."""
    return 2 * records


@factory.step(requests=most_requests)
def calibrate(
    dataset: Dataset[Prompt],
    ctx: Context,
    model: CausalLM,
    aspect: str = OVERALL,
    rubrics: list[Path] = [],
    reference: bool = True,
    reason: bool = False,
    language: Literal["auto", "en", "zh"] = "auto",
    temperature: Annotated[float, Field(ge=0)] = 0.0,
    max_tokens: Annotated[int, Field(ge=1)] | None = None,
    draws: Annotated[int, Field(ge=100, le=100_000)] = DRAWS,
    budget: Budget | None = None,
) -> Iterator[Metric]:
    """Measure a judge on a labelled set: pairs of chosen and rejected, or Candidates that people have compared.

    The judge is asked about each pair in both orders, as the step `judge` asks. Metrics, with 95 % intervals in meta:
    accuracy (a tie or flip is half right), kappa (Cohen's, of better, worse and neither), clear (right of the verdicts
    that name an answer), flipped, tied, unreadable, longer (verdicts for the longer answer), and longest, the accuracy
    of choosing the longer answer on the same pairs. There is a warning when the judge is not better than that (an
    exact McNemar test of the prompts on which they differ, p < .05), or when it is of the family that wrote answers.

    model       the judge
    aspect      what it judges by, as in `judge`; of Candidates what people have compared by that aspect are the labels
    rubrics     YAML files of your own, one an aspect
    reference   show the judge meta.reference, where a record has it
    reason      have the judge argue before its verdict
    language    of the question: auto asks in Chinese about Chinese prompts, else in English
    max_tokens  of a verdict; 16 unless set, 512 with a reason
    draws       bootstrap samples of the prompts, for the intervals
    budget      what may be spent; pairs beyond it are dropped
    """
    found = rubrics_for([aspect], rubrics)
    habits = Habits(model.uri)
    run = Run(ctx, "pairwise", found, "all", language, reference, reason, {model.uri: habits})
    limit = max_tokens or (REASON_TOKENS if reason else VERDICT_TOKENS)
    cases, ids = [], dict[str, None]()
    questions = asked(run, labelled(dataset, ctx, found[0].key))
    for case in answered(ctx, model, questions, {"temperature": temperature, "max_tokens": limit}, budget, None):
        if (judged := verdict(case, model.uri, run, habits)) is not None:
            cases.append(judged)
            ids |= dict.fromkeys(case.record["parents"])
    if not cases:
        ctx.report("Calibration", f"No pair was both labelled and judged, so nothing is known of {model.uri}.")
        return
    measured = calibration(model.uri, cases, draws, ctx.rng("bootstrap").getrandbits(32))
    tell(measured, cases, habits, ctx)
    parents = [{"id": one} for one in ids]
    yield derive(*parents, name="pairs", value=float(measured.pairs), of=model.uri)
    for name in MEASURES:
        one: Estimate = getattr(measured, name)
        if one.value is not None:
            bounds = {"low": one.low, "high": one.high, "cases": one.of}
            yield derive(*parents, name=name, value=one.value, of=model.uri, meta=bounds)


def labelled(records: Iterable[Any], ctx: Context, aspect: str) -> Iterator[Any]:
    """Each labelled pair as Candidates of two answers, meta.label saying which is better (1, -1, or 0 for neither)."""
    for record in records:
        if "chosen" in record:
            pairs = [_preferred(record, ctx)]
        elif "completions" in record:
            pairs = list(_voted(record, aspect))
        else:
            raise InputError("calibrate: the records hold no labels; expected Preference, or Candidates of `rank`")
        if not pairs:
            ctx.drop(record, "no label")
        for pair in pairs:
            if len({text_of(answer) for answer in pair["completions"]}) < 2:
                ctx.drop(pair, "equal answers")
            else:
                yield pair


def _preferred(record: Any, ctx: Context) -> Any:
    """A Preference; which answer is first is drawn, else kappa would know one category."""
    turned = ctx.rng(record["id"]).random() < 0.5
    answers, meta = [record["chosen"], record["rejected"]], record.get("meta") or {}
    models = list(meta.get("models") or ([meta["model"]] if isinstance(meta.get("model"), str) else []))
    if turned:
        answers, models = answers[::-1], models[::-1]
    return _pair(record, answers, models, -1.0 if turned else 1.0)


def _voted(record: Any, aspect: str) -> Iterator[Any]:
    """Every two answers that people have compared by the aspect."""
    models = (record.get("meta") or {}).get("models") or ()
    for (_, by, first, second), votes in collect([as_item(record)]).firsts.items():
        if by == aspect and (label := majority(votes)) is not None:
            answers = [record["completions"][place] for place in (first, second)]
            yield _pair(record, answers, [models[at] for at in (first, second) if at < len(models)], label)


def _pair(record: Any, answers: list[Any], models: list[str], label: float) -> Any:
    meta = {name: value for name, value in (record.get("meta") or {}).items() if name == "reference"}
    meta |= {"models": models, "label": label, "group": digest(record["prompt"])}
    return derive(record, prompt=record["prompt"], completions=answers, scores=[], meta=meta)


def verdict(case: Case, judge: str, run: Run, habits: Habits) -> Judged | None:
    """What the judge said of a pair in both orders; None, and the pair is dropped, where it was not asked."""
    record, answers = case.record, case.answers[judge]
    for answer in answers:
        if answer.over_budget or answer.again:
            run.ctx.drop(record, OVER_BUDGET if answer.over_budget else FAILED, error=answer.error)
            return None
    (comparison,) = comparisons_in(judge, case.asks, answers, run.reason, habits)
    lengths = [len(text_of(answer)) for answer in record["completions"]]
    habits.compared(record, [comparison], lengths)
    meta, longer = record["meta"], lengths[0] - lengths[1]
    return Judged(meta["group"], meta["label"], comparison["verdict"], longer, tuple(meta["models"]))


def tell(found: Calibration, cases: list[Judged], habits: Habits, ctx: Context) -> None:
    """The report, and what a person should know before this judge is relied on."""
    said = list(warnings(found, cases))
    for sentence in said:
        ctx.alarm(f"{found.judge} {sentence}")
    for sentence, examples in habits.alarms():
        ctx.alarm(f"{found.judge} {sentence}", *examples)
        said.append(sentence)
    section = page(found, said)
    ctx.report(section.title, as_markdown(section))
    if section.svg:
        ctx.report(f"{section.title}, drawn", section.svg)


def page(found: Calibration, said: list[str]) -> Section:
    """The judge and the longer answer side by side."""
    verb = "is better than choosing the longer answer" if found.beats_the_longest else ""
    good = f"{verb}: {split(found)}"
    remarks = [*([good] if verb else []), *said]
    note = "\n".join(f"- {found.judge} {sentence}." for sentence in remarks)
    rows = [
        [f"{found.judge}", spelled(found.accuracy, True), spelled(found.kappa), spelled(found.clear, True),
         spelled(found.flipped, True), figure(found.tied.value, True), spelled(found.unreadable, True),
         spelled(found.longer, True)],
        ["the longer answer", spelled(found.longest, True), "–", "–", "–", "–", "–", "100 %"],
    ]  # fmt: skip
    columns = ["judge", "right", "Cohen's κ", "right where clear", "flipped", "tied", "unreadable", "longer"]
    drawn = [(found.judge, found.accuracy), ("the longer answer", found.longest)]
    svg = draw("Accuracy of the judge", [Panel("Right, a tie as half", drawn, 0, 1, 0.5, percent=True)])
    counted = (
        f"{found.pairs:,} labelled pairs, {found.labelled:,} with a better answer and a verdict that could be read."
    )
    return Section("Calibration", f"{counted}\n\n{note}", columns, rows, svg)
