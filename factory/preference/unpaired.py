"""Answers that are good or bad by themselves, as KTO learns from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

import factory
from factory import Candidates, Context, Drop, StepError, Unpaired, derive, digest

from .standing import Standing


@factory.step
def unpaired(
    record: Candidates,
    ctx: Context,
    good: float | None = None,
    bad: float | None = None,
    share: Annotated[float, Field(ge=0.5, lt=1)] = 0.5,
) -> Iterator[Unpaired]:
    """Make of each answer to a prompt a record of its own that says whether it is good: KTO's form.

    Where answers were compared, an answer is good when more than `share` of what was said of it speaks for it (it won,
    or both were good), and bad when less than 1 - `share` does (it lost, or both were bad); a tie and a flip speak
    half for it. Answers that were not compared are good when their score is above the mean of their prompt's, and bad
    below. `good` and `bad` decide by scores alone, by those of the judge's scale.

    good   the score from which an answer is good
    bad    the score up to which it is bad; what lies between the two is dropped
    share  of verdicts for a label; 0.5 is a majority

    Dropped are answers of which nothing was said (not judged) or that are neither (undecided).
    Ethayarajh et al. 2024 (KTO, section 4).
    """
    if (good is None) != (bad is None) or (good is not None and bad is not None and bad >= good):
        raise StepError(f"unpaired: good: {good} and bad: {bad} must be given together, and bad must be the lower one")
    standing = Standing(record)
    if not standing.texts:
        raise Drop("no answers")
    votes = {} if good is not None else spoken_for(standing)
    scored = [score for score in standing.scores if score is not None]
    mean = fmean(scored) if scored else 0.0
    for place, text in enumerate(standing.keys):
        score = standing.scores[place]
        if place in votes:
            label = by_bounds(votes[place], above=share, below=1 - share)
        elif score is None:
            label = None
        elif good is not None and bad is not None:
            label = True if score >= good else False if score <= bad else None
        else:
            label = by_bounds(score, mean, mean)
        if fault := fault_of(standing, place, text, label, judged=place in votes or score is not None):
            ctx.drop(answer_of(standing, place, {}), fault, score=score)
        else:
            yield answer_of(standing, place, {"label": label})


def by_bounds(value: float, above: float, below: float) -> bool | None:
    return True if value > above else False if value < below else None


def fault_of(standing: Standing, place: int, key: str, label: bool | None, judged: bool) -> str:
    """Why an answer has no label that could be learned, or ""."""
    if not key:
        return "empty answer"
    if key in standing.keys[:place]:
        return "equal answers"
    if label is None:
        return "undecided" if judged else "not judged"
    return ""


def spoken_for(standing: Standing) -> dict[int, float]:
    """How much of what was said of an answer speaks for it, 0 to 1; of those of which something was said."""
    for_it: Counter[int] = Counter()
    said: Counter[int] = Counter()
    for one in standing.comparisons:
        first = {"first": 2, "both_good": 2, "second": 0, "both_bad": 0, "tie": 1, "flip": 1}.get(one["verdict"])
        if first is None:
            continue
        second = first if one["verdict"].startswith("both") else 2 - first
        for side, halves in (("first", first), ("second", second)):
            for_it[one[side]] += halves
            said[one[side]] += 2
    return {place: for_it[place] / total for place, total in said.items()}


def answer_of(standing: Standing, place: int, label: dict[str, Any]) -> Any:
    """One answer as a record of its own."""
    record = standing.record
    meta = {**standing.kept_meta(), "group": record["id"], "by": standing.speakers(place)}
    meta |= {name[:-1]: value for name, (value,) in standing.of_answers(place).items()}
    if standing.scores[place] is not None:
        meta["score"] = standing.scores[place]
    made = derive(record, prompt=record["prompt"], completion=record["completions"][place], **label, meta=meta)
    return {**made, "id": digest([record["id"], place])}  # equal answers would make equal ids
