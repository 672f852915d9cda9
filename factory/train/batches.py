"""From prompt and completion to what a training step reads: token ids, which of them are learned, batches."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory import Context, PromptCompletion, digest, text_of
from factory.models.chat import encode_turns

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token without loss, as in every Hugging Face loss
POOL = 32  # batches whose records are sorted by length together: large enough for little padding, small enough to mix


@dataclass(frozen=True, slots=True)
class Example:
    """One record as tokens. `learned` has a byte for every id: 1 where there is loss."""

    ids: array[int]
    learned: bytes
    group: str  # hash of the prompt: equal prompts share it

    def __len__(self) -> int:
        return len(self.ids)


def encode_examples(
    dataset: Iterable[PromptCompletion], tokenizer: PreTrainedTokenizerBase, max_length: int, ctx: Context
) -> list[Example]:
    """The records that can be learned, in order; the others are dropped as `empty completion` or `too long`.

    What follows a completion's last learned token (a template's newline) is cut off: it teaches nothing. A record is
    too long when its completion does not end within `max_length` tokens; a cut answer would teach to stop nowhere.
    """
    examples = []
    for record in dataset:
        if not text_of(record["completion"]).strip():
            ctx.drop(record, "empty completion")
            continue
        ids, mask = encode_turns(tokenizer, record["prompt"], record["completion"])
        if 1 not in mask:
            roles = sorted({message["role"] for message in record["completion"]})
            ctx.drop(record, "no turn of the assistant", roles=roles)
            continue
        end = len(mask) - mask[::-1].index(1)
        if end > max_length:
            ctx.drop(record, "too long", tokens=end, max_length=max_length)
            continue
        examples.append(Example(array("i", ids[:end]), bytes(mask[:end]), digest(["validation", record["prompt"]])))
    return examples


def split_validation(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
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


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each (examples, longest), padded on the right.

    The masks come from lengths, so it does not matter whether the pad token is also the end-of-turn token.
    """
    import torch

    shape = (len(examples), max(len(example) for example in examples))
    batch: dict[str, Any] = {
        "input_ids": torch.full(shape, pad_id, dtype=torch.long),
        "attention_mask": torch.zeros(shape, dtype=torch.long),
        "labels": torch.full(shape, IGNORED, dtype=torch.long),
    }
    for row, example in enumerate(examples):
        ids = torch.tensor(example.ids, dtype=torch.long)
        learned = torch.frombuffer(bytearray(example.learned), dtype=torch.uint8).bool()
        batch["input_ids"][row, : len(ids)] = ids
        batch["attention_mask"][row, : len(ids)] = 1
        batch["labels"][row, : len(ids)] = ids.masked_fill(~learned, IGNORED)
    return batch
