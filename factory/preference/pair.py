"""Pairs of a better and a worse answer, as reward models and DPO learn from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Candidates, Context, Drop, Preference, derive, digest

from .standing import Bounds, Standing

Policy = Literal["best_worst", "best_random", "all_pairs"]


@factory.step
def pair(
    record: Candidates,
    ctx: Context,
    policy: Policy = "best_worst",
    margin: Annotated[float, Field(ge=0)] = 0.0,
    length_matched: Annotated[float, Field(ge=1)] | None = None,
) -> Iterator[Preference]:
    """Make pairs of a chosen and a rejected answer of the answers to a prompt, by their scores.

    Where there are no scores, an answer's is the share of its comparisons that it won, a tie being half (0 to 1). Two
    answers whose comparisons are all ties make no pair, whatever other answers did to their scores; a judge that
    chose another answer when the order was turned round (a flip) has said no more than that. Answers that are equal
    but for spacing never make a pair.

    policy          best_worst: the pair of a prompt whose scores differ most. best_random: the best answer and one of
                    the worse ones, drawn. all_pairs: every two answers of which one is better, K(K−1)/2 at most of K;
                    those of one prompt have one meta.group and belong into one batch of a reward model's training
                    (Ouyang et al. 2022, section 3.5)
    margin          least difference of the two scores; it is kept in meta.margin
    length_matched  the longer answer may have at most so many times the characters of the shorter

    What makes no pair is dropped for one of: tie, flip, both good, both bad, margin too small, lengths differ, equal
    answers, empty answer, not judged, unreadable verdicts. With all_pairs each two answers are counted so, else each
    prompt, by what most of its pairs suffer from. The step `unpaired` also uses answers that are all good or all bad.
    """
    standing = Standing(record)
    if len(standing.texts) < 2:
        raise Drop("fewer than two answers", answers=len(standing.texts))
    bounds = Bounds(margin, length_matched)
    found = [(*two, standing.fault(*two, bounds)) for two in standing.pairs()]
    good = [(better, worse) for better, worse, fault in found if not fault]
    if policy == "all_pairs":
        for better, worse, fault in found:
            if fault:
                ctx.drop(two_answers(standing, better, worse), fault)
    elif not good:
        faults = Counter(fault for *_, fault in found)
        raise Drop(faults.most_common(1)[0][0], pairs=dict(faults))
    for better, worse in chosen(standing, good, policy, ctx):
        yield preference(standing, better, worse)


def chosen(standing: Standing, good: list[tuple[int, int]], policy: Policy, ctx: Context) -> list[tuple[int, int]]:
    """The pairs of one prompt that a policy takes. Equals are drawn among: the first answer is no better for that."""
    if policy == "all_pairs":
        return good
    draw = ctx.rng(standing.record["id"])
    if policy == "best_worst":
        most = max(standing.difference(*two) for two in good)
        return [draw.choice([two for two in good if standing.difference(*two) == most])]
    high = max(standing.scores[better] or 0.0 for better, _ in good)
    best = draw.choice(sorted({better for better, _ in good if (standing.scores[better] or 0.0) == high}))
    return [draw.choice([two for two in good if two[0] == best])]


def preference(standing: Standing, better: int, worse: int) -> Any:
    """The pair, and in its meta who said so, by how much, and whose answers they are."""
    record = standing.record
    meta = {
        **standing.kept_meta(),
        "group": record["id"],
        "margin": standing.difference(better, worse),
        "scores": [standing.scores[better], standing.scores[worse]],
        **standing.of_answers(better, worse),
        "by": standing.speakers(better, worse),
    }
    answers = record["completions"]
    return derive(record, prompt=record["prompt"], chosen=answers[better], rejected=answers[worse], meta=meta)


def two_answers(standing: Standing, one: int, other: int) -> Any:
    """Two answers of a record that make no pair, as they lie among the dropped."""
    record = standing.record
    said = [dict(item) for item in standing.comparisons if {item["first"], item["second"]} == {one, other}]
    meta = {**standing.of_answers(one, other), "places": [one, other], "comparisons": said}
    answers = [record["completions"][place] for place in (one, other)]
    scores = [standing.scores[place] for place in (one, other)]
    left = derive(record, prompt=record["prompt"], completions=answers, scores=scores, meta=meta)
    return {**left, "id": digest([record["id"], one, other])}  # equal answers would make equal ids
