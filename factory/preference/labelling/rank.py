"""Candidates ranked by people: a label set's votes joined to the answers they were cast on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Annotated, Any

from pydantic import Field

from factory import Candidates, Context, Dataset, Pending, step

from ..comparisons import NOTHING, item_key
from .source import scores_by


@step(judges=False)
def rank(
    dataset: Dataset[Candidates],
    ctx: Context,
    votes: Dataset[Candidates],
    least: Annotated[int, Field(ge=0)] = 1,
    edits: bool = True,
) -> Iterator[Candidates]:
    """Score answers by the votes of people: the share of its comparisons that each answer won, ties as half.

    Waits until every pair that is asked about (or every ranking) has its votes; skips count, since somebody looked.
    Votes are found by the prompt and the answers, so whatever else changes upstream, none is lost. What was said is in
    `meta.comparisons`. Items that everybody skipped, or whose answers were not all compared, are dropped.

    votes  the label set, `label:NAME`, which `factory label RECIPE TARGET` makes
    least  votes that each pair, or ranking, must have; 0 takes what is there
    edits  an answer that somebody improved becomes one more, which beats what it was made from
    """
    said = {record["meta"]["item"]: record for record in votes}
    asked_at_once = next((not record["meta"]["asked"] for record in said.values()), False)
    _wait(dataset, said, asked_at_once, least)
    done: Counter[str] = Counter()
    unused = set(said)
    for record in dataset:
        answers = len(record["completions"])
        if answers < 2:
            ctx.drop(record, "fewer than two answers")
            continue
        key = item_key(record["prompt"], record["completions"])
        unused.discard(key)
        if (found := said.get(key)) is None:
            ctx.drop(record, "nobody has voted")
            continue
        ranked = _ranked(record, found, edits)
        people = [one for one in ranked["meta"]["comparisons"] if one.get("person")]
        done.update(one["by"] for one in people if not _by_edit(one))
        if all(one["verdict"] in NOTHING for one in people):
            ctx.drop(record, "skipped by everyone", reasons=sorted({one.get("reason", "") for one in people}))
        elif (scores := scores_by(people, len(ranked["completions"]))) is None:
            ctx.drop(record, "an answer was never compared")
        else:
            ranked["scores"] = scores
            yield ranked
    if done or unused:
        ctx.report("Votes", _table(done, len(unused)))


def _wait(dataset: Iterable[Any], said: Mapping[str, Any], asked_at_once: bool, least: int) -> None:
    """Raises Pending when votes are missing."""
    wanted = missing = 0
    for record in dataset:
        answers = len(record["completions"])
        if answers < 2:
            continue
        found = said.get(item_key(record["prompt"], record["completions"]))
        asked = found["meta"]["asked"] if found else []
        if not asked and not asked_at_once:
            asked = list(combinations(range(answers), 2))
        cast = Counter(
            (one["first"], one["second"]) for one in (found["meta"]["comparisons"] if found else ()) if _counts(one)
        )
        # a ranking says something of every pair
        votes = [cast[first, second] for first, second in asked or [(0, 1)]]
        wanted += least * len(votes)
        missing += sum(max(0, least - cast) for cast in votes)
    if missing:
        target = next(iter(getattr(dataset, "parts", ())), "TARGET")
        raise Pending(f"{missing:,} of {wanted:,} votes missing: run `factory label RECIPE {target}`")


def _counts(one: Mapping[str, Any]) -> bool:
    return bool(one.get("person")) and one.get("check") != "repeat" and not _by_edit(one)


def _by_edit(one: Mapping[str, Any]) -> bool:
    return "left" not in one  # it was never on a screen


def _ranked(record: Any, found: Mapping[str, Any], edits: bool) -> Any:
    """The record with what people said of it beside what judges did; edited answers last."""
    answers, meta = len(record["completions"]), dict(record.get("meta") or {})
    more = found["completions"][answers:] if edits else []
    comparisons = [one for one in found["meta"]["comparisons"] if edits or not _by_edit(one)]
    if more:
        beside = {"models": found["meta"]["edited"], "temperatures": [None] * len(more)}
        meta |= {name: [*meta[name], *added] for name, added in beside.items() if meta.get(name)}
        meta["edited"] = found["meta"]["edited"]
    judged = [one for one in meta.get("comparisons") or () if not one.get("person")]
    meta["comparisons"] = [*judged, *comparisons]
    return {**record, "completions": [*record["completions"], *more], "meta": meta}


def _table(done: Mapping[str, int], unused: int) -> str:
    rows = [f"| {name} | {count:,} |" for name, count in sorted(done.items())]
    text = "\n".join(["| annotator | comparisons |", "| :-- | --: |", *rows])
    if unused:
        text += f"\n\nVotes on {unused:,} items that this target no longer makes are kept in the label set."
    return text
