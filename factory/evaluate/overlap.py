"""Whether what is trained on holds what is measured on: a build that would train on its exam stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from factory import Context, Dataset, Drop, Drops, InputError, Record, StepError, step

from .asking import one_line
from .measured import grid
from .overlap_search import HOW, find_items, gather_items, read_items, said

SHOWN = 20  # records in the report
EXCERPT = 160  # characters of each side
REASON = "in an evaluation set"


@step(judges=False)
def check_overlap(
    dataset: Dataset[Record],
    ctx: Context,
    evaluation: Dataset[Record] | list[Dataset[Record]] | dict[str, Dataset[Record]],
    ngram: Annotated[int, Field(ge=1, le=100)] = 13,
    characters: Annotated[int, Field(ge=1, le=400)] | None = None,
    near: Annotated[float, Field(gt=0, le=1)] | None = 0.8,
    drop: bool = False,
    allow: bool = False,
) -> Drops:
    """Stop the build when records are, or nearly are, items of an evaluation set. Stands before a training step.

    All text of a record counts, answers and choices too, and what it asks is also compared alone: a question with
    another answer is found. Three ways are looked at, and a record is told of by the first that holds:
    exact (but for case, spacing and punctuation at the ends), near (Jaccard similarity of 5-word shingles, characters
    in scripts without spaces, checked exactly), and n-gram (a run of words that both have; punctuation does not count).

    evaluation  the sets: one, a list (called 1, 2, …), or name: set. Not given: the recipe's `evaluation:`
    ngram       words of a run that both may not have (Brown et al. 2020, appendix C); a shorter item has none
    characters  the same for items in Chinese, Japanese, Thai and their like; twice `ngram` unless given
    near        Jaccard similarity from which two texts are near; null looks for no near ones
    drop        leave such records out (`in an evaluation set`) instead of stopping
    allow       train on them all the same; the report tells of them

    What stops the build is one sentence with the number of records, the sets, and an example with both ids. For a
    corpus `decontaminate` has finer rules by n-grams.
    """
    listed = [evaluation] if isinstance(evaluation, Dataset) else evaluation
    sets = listed if isinstance(listed, dict) else {str(n): one for n, one in enumerate(listed, 1)}
    if not sets:
        raise InputError("check_overlap: there is no evaluation set; name one, as in {evaluation: {exam: exam}}")
    if drop and allow:
        raise InputError("check_overlap: drop leaves records out and allow trains on them; give one of the two")
    catalogue, hits = search(dataset, sets, ctx, (ngram, characters or 2 * ngram), near)
    ctx.report("Overlap with evaluation sets", report(dataset, catalogue, hits))
    if hits and not drop:
        sentence = told(dataset, catalogue, hits)
        if not allow:
            raise StepError(
                f"check_overlap: {sentence}. Write `drop: true` to leave such out, `allow: true` to keep them"
            )
        ctx.alarm(f"trains on {sentence}")
    left_out = hits if drop else []
    return Drops((hit.record, Drop(REASON, **catalogue.details(hit))) for hit in left_out)


def search(
    dataset: Dataset[Any], sets: Mapping[str, Dataset[Any]], ctx: Context, runs: tuple[int, int], near: float | None
) -> tuple[Catalogue, list[Hit]]:
    """The items of all sets, and the records that are like one, in their order. `runs` are words and characters."""
    shards = [shard for one in sets.values() for shard in one.shards]
    items = ctx.memos(read_items, shards, *runs, near is not None)
    [table] = ctx.memos(gather_items, [min(runs)], near, items)
    catalogue = Catalogue(sets, table.load()["asked"].tolist())
    hits = []
    for shard, found in zip(dataset.shards, ctx.map(find_items, dataset.shards, table, near), strict=True):
        ids = shard.ids() if len(found["row"]) else []
        columns = (found[name].tolist() for name in ("row", "item", "how", "similarity"))
        hits += [Hit(ids[row], item, HOW[how], round(sure, 4)) for row, item, how, sure in zip(*columns, strict=True)]
    return catalogue, hits


@dataclass(frozen=True)
class Hit:
    """A record that is like an item: `similarity` is 1 when it is the same, and the Jaccard similarity when near."""

    record: str
    item: int  # counted through all sets
    how: str
    similarity: float


class Catalogue:
    """The items of all sets, counted through, by id."""

    def __init__(self, sets: Mapping[str, Dataset[Any]], asked: Sequence[bool]) -> None:
        """`asked` says which items have text; raises StepError for a set without any."""
        self.sets = sets
        self.ids = [i for one in sets.values() for shard in one.shards for i in shard.ids()]
        self._names = [name for name, one in sets.items() for _ in range(len(one))]
        for name in sets:
            if not any(says for says, of in zip(asked, self._names, strict=True) if of == name):
                raise StepError(f"check_overlap: the evaluation set '{name}' has no text that could be looked for")

    def set_of(self, item: int) -> str:
        return self._names[item]

    def details(self, hit: Hit) -> dict[str, Any]:
        """What a dropped record is told to be."""
        found = {"of": self.ids[hit.item], "set": self.set_of(hit.item), "how": hit.how}
        return {**found, "similarity": hit.similarity} if hit.how == "near" else found

    def records(self, items: set[int]) -> dict[int, Any]:
        """Some of the items, by their number."""
        every = (record for one in self.sets.values() for record in one)
        return {at: record for at, record in enumerate(every) if at in items}


def told(dataset: Dataset[Any], catalogue: Catalogue, hits: Sequence[Hit]) -> str:
    """How many records overlap with what, and the plainest example, as a clause."""
    count = Counter(catalogue.set_of(hit.item) for hit in hits)
    ways = Counter(hit.how for hit in hits)
    first = min(hits, key=lambda hit: HOW.index(hit.how))
    kinds = ", ".join(f"{ways[how]:,} {how}" for how in HOW if ways[how])
    names = ", ".join(f"'{name}' ({number:,})" for name, number in count.items())
    record, item = next(r for r in dataset if r["id"] == first.record), catalogue.records({first.item})[first.item]
    return (
        f"{len(hits):,} of {len(dataset):,} records overlap with the evaluation set{'s' * (len(count) > 1)} {names}: "
        f"{kinds}, such as {named(record)}, which is {named(item)} of '{catalogue.set_of(first.item)}' ({first.how})"
    )


def named(record: Any) -> str:
    """A record by its id, and by the place that it was read from or the id that it was made of."""
    return f"'{record['id']}' ({record['parents'][0]})" if record.get("parents") else f"'{record['id']}'"


def report(dataset: Dataset[Any], catalogue: Catalogue, hits: Sequence[Hit]) -> str:
    """Tables: records by set and way, and examples side by side."""
    count = Counter((catalogue.set_of(hit.item), hit.how) for hit in hits)
    rows = [[name, f"{len(one):,}", *(f"{count[name, how]:,}" for how in HOW)] for name, one in catalogue.sets.items()]
    parts = [f"{len(hits):,} of {len(dataset):,} records overlap.", grid(["evaluation set", "items", *HOW], rows)]
    if shown := sorted(hits, key=lambda hit: HOW.index(hit.how))[:SHOWN]:
        wanted = {hit.record for hit in shown}
        records = {record["id"]: record for record in dataset if record["id"] in wanted}
        items = catalogue.records({hit.item for hit in shown})
        head = ["how", "record", "says", "item", "of", "says"]
        parts.append(grid(head, list(_examples(shown, records, items, catalogue))))
    return "\n\n".join(parts)


def _examples(
    hits: Sequence[Hit], records: Mapping[str, Any], items: Mapping[int, Any], catalogue: Catalogue
) -> Iterator[list[str]]:
    for hit in hits:
        how = f"near, {hit.similarity:.2f}" if hit.how == "near" else hit.how
        record, item = records[hit.record], items[hit.item]
        name = catalogue.set_of(hit.item)
        yield [how, named(record), one_line(said(record), EXCERPT), named(item), name, one_line(said(item), EXCERPT)]
