"""One small step of each kind, and a model that answers in batches, for tests of whole builds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import factory
from factory import (
    Answer,
    Batch,
    CausalLM,
    Context,
    Dataset,
    Drop,
    Drops,
    Metric,
    Model,
    PromptCompletion,
    Record,
    Request,
    Shard,
    Text,
    assistant,
    derive,
    digest,
    text_of,
    user,
)

PAUSE = 0.01  # seconds of pretended work, so that a kill finds it under way


def note(what: str) -> None:
    """A line in the file TOYS_LOG, if the test wants to know what really ran."""
    if path := os.environ.get("TOYS_LOG"):
        with open(path, "a") as file:
            file.write(what + "\n")


@factory.step
def has_words(record: Text, least: int = 5) -> bool:
    """A filter: keep texts of at least so many words."""
    time.sleep(PAUSE / 2)
    words = len(record["text"].split())
    if words < least:
        raise Drop("too few words", words=words)
    return True


@factory.step
def count_letters(record: Text) -> Text:
    """A map: note the number of letters."""
    note(f"count_letters {record['parents'][0]}")
    return {**record, "meta": {**record["meta"], "letters": sum(map(str.isalpha, record["text"]))}}


@factory.step
def no_long_rows(batch: Batch[Text], most: int = 400) -> Batch[Text]:
    """A vectorised filter: drop long texts."""
    import pyarrow.compute as pc

    lengths = pc.utf8_length(batch["text"])
    return batch.drop(pc.greater(lengths, most), "too long", characters=lengths)


@factory.step
def one_a_length(dataset: Dataset[Record], ctx: Context) -> Drops:
    """A global filter through `ctx.map`: of texts with equal bytes sums the first stays."""
    seen: dict[int, str] = {}
    drops = Drops()
    for shard, sums in zip(dataset.shards, ctx.map(byte_sums, dataset.shards), strict=True):
        for name, value in zip(shard.ids(), sums, strict=True):
            if (first := seen.setdefault(value, name)) != name:
                drops[name] = Drop("equal sum", of=first)
    return drops


def byte_sums(shard: Shard) -> list[int]:
    note(f"byte_sums {shard.key}")
    time.sleep(PAUSE)
    return [sum(record["text"].encode()) % 9973 for record in shard.records()]


@factory.step
def ask_twice(records: Iterator[Text], ctx: Context, model: CausalLM) -> Iterator[PromptCompletion]:
    """A stream whose second requests are drawn from its first answers; both kinds of answer may be rejected."""
    rejected = []

    def reject(record: Text, reason: str) -> None:
        rejected.append(record["id"])
        ctx.drop(record, reason)

    def second() -> Iterator[Request]:
        for answer in ctx.ask(model, (Request(user(f"Ask: {record['text']}"), about=record) for record in records)):
            if len(answer.text) % 5 == 0:
                reject(answer.request.about, "poor question")
            else:
                yield Request(user(f"Answer: {answer.text}"), about=answer.request.about)

    for answer in ctx.ask(model, second()):
        record = answer.request.about
        if len(answer.text) % 5 == 1:
            reject(record, "poor answer")
        else:
            yield derive(record, prompt=list(answer.request.messages), completion=assistant(answer.text))
    ctx.report("Rejected", "\n".join(rejected))


@factory.step(requests=lambda records, **options: records)
def ask_each(records: Iterator[Text], ctx: Context, model: CausalLM) -> Iterator[PromptCompletion]:
    """A stream: one question about each text."""
    asked = (Request(user(f"Explain this.\n\n{record['text']}"), about=record) for record in records)
    for answer in ctx.ask(model, asked):
        record = answer.request.about
        if not answer.ok:
            ctx.drop(record, "no answer", error=answer.error)
        else:
            yield derive(record, prompt=list(answer.request.messages), completion=assistant(answer.text))


@factory.step
def grow(
    dataset: Dataset[PromptCompletion], ctx: Context, model: CausalLM, count: int = 10, lookahead: int = 3
) -> Iterator[PromptCompletion]:
    """A generator that feeds answers back: each draw is asked from the pool as it stood `lookahead` draws before."""
    pool = list(dataset)
    yield from pool

    def draws() -> Iterator[Request]:
        for draw in range(count):
            rng = ctx.rng("draw", draw)
            chosen = rng.sample(pool, 2)
            shown = "\n".join(text_of(one["prompt"]) for one in chosen)
            yield Request(user(f"Draw {draw}. Write a task like these:\n{shown}"), index=draw, about=chosen)

    for answer in ctx.ask(model, draws(), ahead=lookahead):
        made = derive(*answer.request.about, prompt=user(answer.text), completion=assistant(answer.text[::-1]))
        pool.append(made)
        yield made


@factory.step
def learn_words(dataset: Dataset[PromptCompletion], ctx: Context, rounds: int = 12) -> CausalLM:
    """Training with checkpoints: a running hash over the records, round by round."""
    state: dict[str, Any] = {"round": 0, "weight": ""}
    checkpoint = ctx.workdir / "checkpoint.json"
    if checkpoint.exists():
        state = json.loads(checkpoint.read_text())
    texts = [[text_of(record["prompt"]), text_of(record["completion"])] for record in dataset]
    while state["round"] < rounds:
        note(f"learn_words round {state['round']}")
        state = {"round": state["round"] + 1, "weight": digest([state["weight"], ctx.seed, texts])}
        time.sleep(5 * PAUSE)
        ctx.log(state["round"], loss=1 / state["round"])
        half = checkpoint.with_suffix(".half")
        half.write_text(json.dumps(state))
        half.rename(checkpoint)
    return save(ctx.output, state["weight"])


@factory.step
def transpose(model: CausalLM, ctx: Context) -> CausalLM:
    """A transform: another model made of a model."""
    assert model.path is not None
    note("transpose")
    time.sleep(5 * PAUSE)
    return save(ctx.output, read_weight(model.path)[::-1])


@factory.step
def lengths(dataset: Dataset[PromptCompletion]) -> Iterator[Metric]:
    """An evaluation: its results are records too."""
    rows = list(dataset)
    longest = max(rows, key=lambda record: (len(text_of(record["completion"])), record["id"]))
    yield derive(*rows, name="longest", value=float(len(text_of(longest["completion"]))), of=longest["id"])


def save(folder: Path, weight: str) -> CausalLM:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.json").write_text(json.dumps({"weight": weight}))
    return Toy(str(folder), path=folder)


def read_weight(folder: Path) -> str:
    weight: str = json.loads((folder / "toy.json").read_text())["weight"]
    return weight


@dataclass(frozen=True)
class Toy(CausalLM):
    """A model in this process. As with real ones, an answer depends a little on the batch it was made in."""

    def open(self, threads: int = 2) -> ToySession:
        assert self.path is not None
        return ToySession(read_weight(self.path))


class ToySession:
    batch = 4

    def __init__(self, weight: str) -> None:
        self.weight = weight
        self.pool = ThreadPoolExecutor(1)

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        return self.pool.submit(self.answers, list(requests))

    def answers(self, requests: list[Request]) -> list[Answer]:
        note(f"batch of {len(requests)}")
        time.sleep(3 * PAUSE)
        batch = [[list(request.messages), request.index] for request in requests]
        return [Answer(digest([self.weight, batch, place])) for place in range(len(requests))]

    def close(self) -> None:
        self.pool.shutdown()


@factory.hookimpl
def open_model(uri: str) -> Model | None:
    folder = factory.project_path(uri)
    if not (folder / "toy.json").is_file():
        return None
    return Toy(uri, f"toy {read_weight(folder)}", folder)


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    return [
        has_words, count_letters, no_long_rows, one_a_length, ask_each, ask_twice, grow, learn_words, transpose,
        lengths,
    ]  # fmt: skip
