"""Steps that each break one law, as people do break them, beside sound steps of every kind."""

import multiprocessing
import os
import random
from collections.abc import Iterator
from typing import Annotated, Any

import pyarrow.compute as pc
from pydantic import Field

import factory
from factory import Batch, Context, Dataset, Drop, Drops, Record, Shard, Text, derive

SEEN: set[str] = set()


class Scored(Text):
    """A type of this plugin's own."""

    score: float
    tags: list[str]


@factory.step
def ends_its_process(record: Text) -> bool:
    """Take the process down, as a native library may."""
    if "\U0001f468" in record["text"]:
        os._exit(7)
    return True


# Sound ones


@factory.step
def shout(record: Text) -> Text:
    """Write a text in capitals."""
    return {**record, "text": record["text"].upper()}


@factory.step
def short_ones(batch: Batch[Text], most: int = 100) -> Batch[Text]:
    """Keep texts of at most so many characters.

    most  characters
    """
    length = pc.utf8_length(batch["text"])
    return batch.drop(pc.greater(length, most), "too long", length=length)


@factory.step
def lines(record: Text, ctx: Context) -> Iterator[Text]:
    """Cut a text into its lines, three of them at most, drawn at random."""
    found = [line for line in record["text"].splitlines() if line.strip()]
    for line in ctx.rng(record["id"]).sample(found, min(3, len(found))):
        yield derive(record, text=line)


@factory.step
def well_scored(record: Scored, least: float) -> bool:
    """Keep records with a score.

    least  the lowest score that stays
    """
    return record["score"] >= least


@factory.step
def numbered(records: Iterator[Text], ctx: Context) -> Iterator[Text]:
    """Number the texts, and drop the empty ones."""
    for number, record in enumerate(records):
        if record["text"].strip():
            yield {**record, "meta": {**record["meta"], "number": number}}
        else:
            ctx.drop(record, "empty")


@factory.step
def longest(dataset: Dataset[Text], ctx: Context, n: int = 3) -> Drops:
    """Keep the n longest texts."""
    lengths = [pair for pairs in ctx.map(lengths_of, dataset.shards) for pair in pairs]
    kept = {name for _, name in sorted(lengths, reverse=True)[:n]}
    return Drops({name: Drop("not among the longest") for _, name in lengths if name not in kept})


def lengths_of(shard: Shard) -> list[tuple[int, str]]:
    return [(len(record["text"]), record["id"]) for record in shard.records()]


# Faulty ones


@factory.step
def depends_on_hash(record: Text) -> Text:
    """Note a number that Python salts in each process."""
    return {**record, "meta": {"bucket": hash(record["text"]) % 1000}}


@factory.step
def draws_without_seed(record: Text) -> Text:
    """Note a number drawn from a generator that nobody seeded."""
    return {**record, "meta": {"draw": random.random()}}


@factory.step
def remembers(record: Text) -> bool:
    """Keep texts that this process has not seen."""
    new = record["text"] not in SEEN
    SEEN.add(record["text"])
    return new


@factory.step
def changes_its_input(record: Text) -> Text:
    """Strip a text where it stands."""
    record["text"] = record["text"].strip()
    return record


@factory.step
def changes_what_it_keeps(record: Text) -> bool:
    """Note a length in a record that only a map may change."""
    record["meta"]["length"] = len(record["text"])
    return True


@factory.step
def changes_its_option(record: Text, words: list[str] = ["harbour"]) -> bool:
    """Keep texts with none of the words, which grow."""
    words.append(record["text"][:10])
    return True


@factory.step
def loses_rows(batch: Batch[Text]) -> Batch[Text]:
    """Leave rows out without saying so."""
    return Batch(batch.table.slice(1))


@factory.step
def passes_over(records: Iterator[Text]) -> Iterator[Text]:
    """Take every second record."""
    for number, record in enumerate(records):
        if number % 2:
            yield record


@factory.step
def fails_on_empty_text(record: Text) -> bool:
    """Keep texts that begin with a capital."""
    return record["text"][0].isupper()


@factory.step
def fails_on_no_records(dataset: Dataset[Text]) -> Drops:
    """Keep texts that are longer than the mean."""
    lengths = {record["id"]: len(record["text"]) for record in dataset}
    mean = sum(lengths.values()) / len(lengths)
    return Drops({name: Drop("short") for name, length in lengths.items() if length < mean})


@factory.step
def maps_what_cannot_travel(dataset: Dataset[Text], ctx: Context) -> Drops:
    """Send back a generator from a worker."""
    list(ctx.map(lazily, dataset.shards))
    return Drops()


def lazily(shard: Shard) -> Any:
    return (record for record in shard.records())


@factory.step
def has_no_order(record: Text, words: set[str] = {"harbour", "boat", "night"}) -> bool:
    """Keep texts with none of the words."""
    return not any(word in record["text"] for word in words)


@factory.step
def refuses_its_default(record: Text, share: Annotated[float, Field(gt=0)] = 0) -> bool:
    """Keep a share of the texts."""
    return True


@factory.step
def says_nothing(record: Text) -> bool:
    return True


@factory.step
def hides_an_option(record: Text, leniency: int = 1) -> bool:
    """Keep every text."""
    return True


@factory.step
def counts_in_reasons(record: Text) -> bool:
    """Keep nothing, for reasons that nobody can count."""
    raise Drop(f"text of {len(record['text'])} characters")


@factory.step
def notes_its_process(record: Text) -> Text:
    """Note which process it was."""
    return {**record, "meta": {"process": os.getpid()}}


@factory.step
def knows_where_it_runs(record: Text) -> bool:
    """Keep texts unless a worker reads them."""
    return multiprocessing.parent_process() is None


@factory.step
def begins_where_it_ended(dataset: Dataset[Text], ctx: Context) -> Drops:
    """Take what an unfinished run left for a finished one."""
    mark = ctx.workdir / "done"
    if mark.exists():
        return Drops()
    mark.touch()
    return Drops({name: Drop("long") for pairs in ctx.map(lengths_of, dataset.shards) for n, name in pairs if n > 50})


@factory.step
def gives_no_text(record: Text) -> Text:
    """Replace a text by its length."""
    return {**record, "text": len(record["text"])}  # type: ignore[typeddict-item]


@factory.step
def invents_parents(dataset: Dataset[Text]) -> Iterator[Text]:
    """Make a text of nothing."""
    yield {"id": "0" * 16, "parents": ["nowhere"], "text": "new", "meta": {}}


@factory.step
def needs_a_word(record: Record, word: str) -> bool:
    """Keep records, whatever the word."""
    return True


def open_model(uri: str) -> None:
    """A hook without its mark."""


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    return [value for value in globals().values() if isinstance(value, factory.Step)]
