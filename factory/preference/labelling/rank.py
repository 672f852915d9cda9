"""Candidates ranked by people: a label set's votes joined to the answers they were cast on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Annotated, Any

from pydantic import Field

from factory import Candidates, Context, Dataset, Pending, step

from ..comparisons import NOTHING, item_key
from .opening import command, label_set
from .source import LabelSet, scores_by


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
    said = {record["meta"].get("item") or _key(record): record for record in votes}
    _wait(dataset, said, least, label_set(ctx.workdir.name, "votes"))  # a stage's folder is named by its fingerprint
    done: Counter[str] = Counter()
    unused = set(said)
    for record in dataset:
        answers = len(record["completions"])
        if answers < 2:
            ctx.drop(record, "fewer than two answers")
            continue
        key = _key(record)
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


def _key(record: Any) -> str:
    return item_key(record["prompt"], record["completions"])


def _wait(dataset: Iterable[Any], said: Mapping[str, Any], least: int, name: str | None) -> None:
    """Raises Pending when votes are missing. An item without any wants as many as others of its size.

    name  the label set, where it is known: before the first vote its settings say what is asked
    """
    asks = next((record["meta"].get("asks") for record in said.values()), None)
    if asks is None and name is not None:
        asks = LabelSet(f"label:{name}").asks
    wanted = missing = 0
    for record in dataset:
        answers = len(record["completions"])
        if answers < 2:
            continue
        pairs = list(combinations(range(answers), 2))
        votes = [0] * {"best": answers - 1, "rank": 1}.get(asks or "all", len(pairs))
        if found := said.get(_key(record)):
            counted = (one for one in found["meta"].get("comparisons") or () if _counts(one))
            cast = Counter((one["first"], one["second"]) for one in counted)
            # a ranking says something of every pair
            votes = [cast[first, second] for first, second in found["meta"].get("asked", pairs) or [(0, 1)]]
        wanted += least * len(votes)
        missing += sum(max(0, least - count) for count in votes)
    if missing:
        name = name or next(iter(getattr(dataset, "parts", ())), "TARGET")
        raise Pending(f"{missing:,} of {wanted:,} votes missing: run `{command(name)}`")


def _counts(one: Mapping[str, Any]) -> bool:
    return bool(one.get("person")) and one.get("check") != "repeat" and not _by_edit(one)


def _by_edit(one: Mapping[str, Any]) -> bool:
    return "left" not in one  # it was never on a screen


def _ranked(record: Any, found: Mapping[str, Any], edits: bool) -> Any:
    """The record with what people said of it beside what judges did; edited answers last."""
    answers, meta = len(record["completions"]), dict(record.get("meta") or {})
    more = found["completions"][answers:] if edits else []
    comparisons = [one for one in found["meta"].get("comparisons") or () if edits or not _by_edit(one)]
    if more:
        authors = found["meta"].get("edited") or []
        beside = {"models": authors, "temperatures": [None] * len(more)}
        meta |= {name: [*meta[name], *added] for name, added in beside.items() if meta.get(name)}
        meta["edited"] = authors
    judged = [one for one in meta.get("comparisons") or () if not one.get("person")]
    meta["comparisons"] = [*judged, *comparisons]
    return {**record, "completions": [*record["completions"], *more], "meta": meta}


def _table(done: Mapping[str, int], unused: int) -> str:
    rows = [f"| {name} | {count:,} |" for name, count in sorted(done.items())]
    text = "\n".join(["| annotator | comparisons |", "| :-- | --: |", *rows])
    if unused:
        text += f"\n\nVotes on {unused:,} items that this target no longer makes are kept in the label set."
    return text
