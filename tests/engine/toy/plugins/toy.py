"""Toy steps, one of every kind, and a toy model that answers at once and writes down what it was asked."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import factory
from factory import (
    Answer,
    Batch,
    Budget,
    CausalLM,
    Context,
    Dataset,
    Drop,
    Drops,
    Metric,
    Model,
    ModelError,
    PromptCompletion,
    Record,
    Request,
    Shard,
    Text,
    assistant,
    derive,
    digest,
    project_root,
    text_of,
    user,
)


@factory.step
def shout(record: Text) -> Text:
    """Map: upper case."""
    return {**record, "text": record["text"].upper()}


@factory.step
def measure(record: Text, unit: str = "characters") -> Text:
    """Map: a field that is no column."""
    return {**record, unit: len(record["text"])}


@factory.step
def halves(record: Text) -> Iterator[Text]:
    """Flat map: two halves, one of a single character, none of an empty text."""
    text = record["text"]
    middle = len(text) // 2
    for half in (text[:middle], text[middle:]):
        if half:
            yield {"text": half}


@factory.step
def short(record: Text, n: int = 3) -> bool:
    """Filter: at most n characters."""
    if len(record["text"]) > n:
        raise Drop("too long", length=len(record["text"]))
    return True


@factory.step
def listed(record: Text, words: Path) -> bool:
    """Filter: only texts that stand in a file."""
    return record["text"] in words.read_text().split("\n")


@factory.step
def no_x(batch: Batch[Record]) -> Batch[Record]:
    """Vectorised: drop records that begin with x, of any type that has text."""
    import pyarrow.compute as pc

    if "text" not in batch.table.column_names:
        return batch
    column = batch["text"]
    return batch.drop(pc.starts_with(column, "x"), "begins with x", length=pc.utf8_length(column))


@factory.step
def trimmed(batch: Batch[Text]) -> Batch[Text]:
    """Vectorised: no blanks around the text."""
    import pyarrow.compute as pc

    return batch.set("text", pc.utf8_trim_whitespace(batch["text"]))


@factory.step
def paired(record: Text) -> PromptCompletion:
    """Map to another type."""
    return {**record, "prompt": user(record["text"]), "completion": assistant(record["text"])}


@factory.step
def echo(records: Iterator[Text], ctx: Context, k: int = 2) -> Iterator[PromptCompletion]:
    """Stream that asks nobody: k equal pairs of each text; A… is dropped, a… without a word."""
    for record in records:
        if record["text"].startswith("A"):
            ctx.drop(record, "begins with A")
        elif not record["text"].startswith("a"):
            for _ in range(k):
                yield derive(record, prompt=user(record["text"]), completion=assistant("same"))


@factory.step
def unlike(dataset: Dataset[Record], evaluation: list[Dataset[Record]] = []) -> Drops:
    """Global filter: no text of the evaluation sets."""
    known = {text_of(record.get("text") or record.get("prompt")) for one in evaluation for record in one}
    found = {record["id"]: text_of(record.get("text") or record.get("prompt")) for record in dataset}
    return Drops((key, Drop("in an evaluation set")) for key, text in found.items() if text in known)


@factory.step
def first_few(records: Iterator[Record], n: int = 1) -> Iterator[Record]:
    """Stream that stops early."""
    for number, record in enumerate(records, 1):
        yield record
        if number == n:
            return


@factory.step(requests=lambda records, n=1, **_: records * n)
def ask_toy(
    records: Iterator[Text], ctx: Context, model: CausalLM, n: int = 1, budget: Budget | None = None
) -> Iterator[PromptCompletion]:
    """Stream that asks a model n times for each text."""
    requests = (
        Request(user(record["text"]), index, temperature=0.5, about=record) for record in records for index in range(n)
    )
    for answer in ctx.ask(model, requests, budget=budget):
        assert answer.request
        if answer.ok:
            yield derive(answer.request.about, prompt=answer.request.messages, completion=assistant(answer.text))
        else:
            ctx.drop(answer.request.about, "no answer", error=answer.error)


@factory.step
def one_of_each(dataset: Dataset[Text]) -> Drops:
    """Global filter: the first of equal texts stays."""
    first: dict[str, str] = {}
    return Drops(
        (record["id"], Drop("duplicate", of=first[record["text"]]))
        for record in dataset
        if first.setdefault(record["text"], record["id"]) != record["id"]
    )


@factory.step
def not_too_common(dataset: Dataset[Text], ctx: Context, most: int = 2) -> Drops:
    """Global filter over `ctx.map`: texts of a length that more than `most` records have are dropped."""
    seen: dict[int, int] = {}
    for lengths in ctx.map(lengths_of, dataset.shards):
        for length in lengths:
            seen[length] = seen.get(length, 0) + 1
    return Drops(
        (record["id"], Drop("common length", times=seen[len(record["text"])]))
        for record in dataset
        if seen[len(record["text"])] > most
    )


def lengths_of(shard: Shard) -> list[int]:
    """One length a record."""
    return [len(record["text"]) for record in shard.records()]


@factory.step
def how_many(dataset: Dataset[Record], ctx: Context) -> Iterator[Metric]:
    """Generate: how many records there are; logs and reports."""
    ctx.log(1, records=len(dataset))
    ctx.report("Size", f"**{len(dataset)}** records")
    yield derive(*dataset, name="records", value=float(len(dataset)), of="all")


@factory.step
def invent(dataset: Dataset[Text], ctx: Context, count: int = 3) -> Iterator[Text]:
    """Generate: each draw starts from one record; of equal candidates all but the first are dropped."""
    pool = list(dataset)
    taken: set[str] = set()
    for draw in range(count if pool else 0):
        parent = pool[ctx.rng(draw).randrange(len(pool))]
        candidate = derive(parent, text=parent["text"][:2])
        if candidate["text"] in taken:
            ctx.drop(candidate, "not novel", draw=draw)
            continue
        taken.add(candidate["text"])
        yield candidate


@factory.step
def toy_train(dataset: Dataset[Record], ctx: Context, epochs: int = 2) -> CausalLM:
    """Train: a model that is the number of records it saw."""
    ctx.output.mkdir(parents=True)
    for epoch in range(epochs):
        ctx.log(epoch + 1, loss=1.0 / (epoch + 1))
    (ctx.output / "config.json").write_text(json.dumps({"records": len(dataset), "epochs": epochs}))
    return CausalLM(str(ctx.output), path=ctx.output)


@factory.step
def toy_halve(model: CausalLM, ctx: Context) -> CausalLM:
    """Transform: half a model."""
    assert model.path
    config = json.loads((model.path / "config.json").read_text())
    ctx.output.mkdir(parents=True)
    (ctx.output / "config.json").write_text(json.dumps({**config, "records": config["records"] / 2}))
    return CausalLM(str(ctx.output), path=ctx.output)


class Toy(CausalLM):
    """`toy:NAME` answers with a hash of its name and of the question; questions are noted in asked.txt."""

    def open(self, threads: int = 2) -> "Answering":
        return Answering(self.uri)


class Answering:
    """An open toy model."""

    batch, window = 1, 4

    def __init__(self, name: str) -> None:
        self.name = name

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        future: Future[list[Answer]] = Future()
        if (project_root() / "down.txt").exists():
            future.set_exception(ModelError("the toy is out of order"))
            return future
        with (project_root() / "asked.txt").open("a") as file:
            file.writelines(f"{text_of(request.messages)}\n" for request in requests)
        future.set_result([self.answer(request) for request in requests])
        return future

    def answer(self, request: Request) -> Answer:
        said = text_of(request.messages)
        if "unanswerable" in said and not (project_root() / "mended.txt").exists():
            return Answer(finish="failed", error="refused: never" if "ever" in said else "no idea")
        return Answer(digest([self.name, said, request.index]), "stop", "", len(said), 10)

    def close(self) -> None:
        (project_root() / "closed.txt").touch()


@factory.hookimpl
def open_model(uri: str) -> Model | None:
    prices = (1.0, 2.0) if uri.startswith("toy:dear") else None
    return Toy(uri, identity=uri, prices=prices) if uri.startswith("toy:") else None


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    return [
        *(shout, measure, halves, short, listed, no_x, trimmed, paired),
        *(echo, first_few, unlike, ask_toy, one_of_each, not_too_common, how_many, invent, toy_train, toy_halve),
    ]
