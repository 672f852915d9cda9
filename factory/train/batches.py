"""From prompt and completion to what a training step reads: token ids, which of them are learned, batches."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np

from factory import Context, PromptCompletion, StepError, digest, text_of
from factory.models.chat import encode_turns

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token without loss, as in every Hugging Face loss
Learn = Literal["completion", "assistant", "all"]
POOL = 32  # batches whose records are sorted by length together: large enough for little padding, small enough to mix


@dataclass(frozen=True, slots=True)
class Example:
    """One record as tokens. `learned` has a byte for every id: 1 where there is loss."""

    ids: array[int]
    learned: bytes
    group: str  # hash of the prompt: equal prompts share it
    source: str = ""  # where the record is from, if losses are to be told apart
    id: str = ""  # of the record

    def __len__(self) -> int:
        return len(self.ids)


def encode_examples(
    dataset: Iterable[PromptCompletion],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    ctx: Context,
    learn: Learn = "completion",
    source_of: Callable[[PromptCompletion], str] = lambda _: "",
) -> list[Example]:
    """The records that can be learned, in order; the others are dropped as `empty completion` or `too long`.

    learn      completion: its assistant's turns; assistant: those of the prompt, too; all: every token of every turn
    source_of  what a record's loss is told under

    Raises StepError where the chat template leaves answers out.

    What follows a completion's last learned token (a template's newline) is cut off: it teaches nothing. A record is
    too long when its completion does not end within `max_length` tokens; a cut answer would teach to stop nowhere.
    """
    examples = []
    for record in dataset:
        if not text_of(record["completion"]).strip():
            ctx.drop(record, "empty completion")
            continue
        turns = ([], [*record["prompt"], *record["completion"]]) if learn == "assistant" else (
            record["prompt"], record["completion"]
        )  # fmt: skip
        ids, mask = encode_turns(tokenizer, *turns)
        if 1 not in mask:
            answer = text_of([turn for turn in record["completion"] if turn["role"] == "assistant"])
            if answer.strip():
                raise StepError(
                    f"the tokenizer's chat template leaves the answer out, as in record {record['id']}; "
                    "take a base with a template that writes every turn"
                )
            roles = sorted({message["role"] for message in record["completion"]})
            ctx.drop(record, "no turn of the assistant", roles=roles)
            continue
        end = len(mask) - mask[::-1].index(1)
        if end > max_length:
            ctx.drop(record, "too long", tokens=end, max_length=max_length)
            continue
        if learn == "all":
            mask = [0, *[1] * (end - 1)]
        group = digest(["validation", record["prompt"]])
        examples.append(Example(array("i", ids[:end]), bytes(mask[:end]), group, source_of(record), record["id"]))
    return examples


class Grouped(Protocol):
    """Whatever belongs to a prompt, of which equal ones share the group."""

    @property
    def group(self) -> str: ...


One = TypeVar("One", bound=Grouped)


def split_validation(examples: Sequence[One], share: float) -> tuple[list[One], list[One]]:
    """(to learn from, held out): by the hash of the prompt, so equal prompts stay together and nothing moves when
    records are added.

    Of a dataset so small that no prompt falls below `share`, the prompt with the lowest hash is held out, if it has
    at least two prompts.
    """
    if share <= 0:
        return list(examples), []
    groups = {example.group for example in examples}
    held = {group for group in groups if int(group, 16) < share * 16 ** len(group)}
    if not held and len(groups) > 1:
        held = {min(groups)}
    learned = [example for example in examples if example.group not in held]
    return learned, [example for example in examples if example.group in held]


class LengthGrouped:
    """The order of one epoch: shuffled, then sorted by length within pools of batches, then the batches shuffled.

    It depends on seed and epoch alone, never on a global generator, so a resumed run sees the batches it would have
    seen. Of 50 to 500 tokens (exponential, mean 160) at batch size 8 the padding falls from half of all positions to
    8 % (100 records) or 4 % (5,000).
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed} {self.epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        batches: list[list[int]] = []
        for start in range(0, len(order), self.batch_size * POOL):
            pool = sorted(order[start : start + self.batch_size * POOL], key=lambda at: -self.lengths[at])
            batches += [pool[at : at + self.batch_size] for at in range(0, len(pool), self.batch_size)]
        # The loader cuts this order into batches again, so a batch that is not full must stay the last.
        last = [batches.pop()] if batches and len(batches[-1]) < self.batch_size else []
        rng.shuffle(batches)
        return iter([at for batch in [*batches, *last] for at in batch])


def collate(
    examples: Sequence[Example | Sequence[Example]], pad_id: int, sources: Sequence[str] = (), by_example: bool = False
) -> dict[str, torch.Tensor]:
    """input_ids, labels and attention_mask or position_ids, each (rows, longest), padded on the right.

    examples    a row is one, or several packed into one: then positions begin at 0 with each, which keeps them apart if
                the model is given neither an attention mask nor a cache
    sources     where given, `source` says of each token whose it is: its place in them
    by_example  `weights` make each example weigh 1, whatever its length

    The masks come from lengths, so it does not matter whether the pad token is also the end-of-turn token. The first
    token of an example has no label: what stands before it is another's.
    """
    import torch

    rows = [[one] if isinstance(one, Example) else list(one) for one in examples]
    packed = any(not isinstance(one, Example) for one in examples)
    shape = (len(rows), max(sum(map(len, row)) for row in rows))
    batch = {"input_ids": np.full(shape, pad_id, np.int64), "labels": np.full(shape, IGNORED, np.int64)}
    batch["position_ids" if packed else "attention_mask"] = np.zeros(shape, np.int64)
    if sources:
        batch["source"] = np.zeros(shape, np.int64)
    if by_example:
        batch["weights"] = np.zeros(shape, np.float32)
    for number, row in enumerate(rows):
        begin = 0
        for example in row:
            here = number, slice(begin, begin + len(example))
            ids, learned = np.array(example.ids, np.int64), np.frombuffer(example.learned, np.uint8).astype(bool)
            batch["input_ids"][here] = ids
            batch["labels"][here] = np.where(learned, ids, IGNORED)
            batch["labels"][number, begin] = IGNORED
            if packed:
                batch["position_ids"][here] = np.arange(len(example))
            else:
                batch["attention_mask"][here] = 1
            if sources:
                batch["source"][here] = sources.index(example.source)
            if by_example:
                batch["weights"][here] = 1 / max(1, int(learned[1:].sum()))
            begin += len(example)
        if packed:  # the padding stands as an example of its own
            batch["position_ids"][number, begin:] = np.arange(shape[1] - begin)
    return {name: torch.from_numpy(array) for name, array in batch.items()}
