"""Pairs of answers as token ids, and batches in which all pairs of one prompt stay together."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory import Context, Message, Preference, digest, text_of
from factory.models.chat import encode_turns

from .batches import Example

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

MOST_PAIRS = 64  # of one comparison: those of a prompt with more become several, or one would not fit into memory


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, each with the prompt before it. `margin` is how much better the chosen one is."""

    chosen: Example
    rejected: Example
    margin: float = 0.0

    @property
    def group(self) -> str:
        return self.chosen.group

    @property
    def answers(self) -> tuple[Example, Example]:
        return self.chosen, self.rejected

    def __len__(self) -> int:
        return max(map(len, self.answers))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answers to one prompt, each once, and the pairs (chosen, rejected, margin) of their places.

    share  how many of the prompt's pairs these are: 1 unless they were too many for one comparison
    """

    answers: list[Example]
    pairs: list[tuple[int, int, float]]
    share: float = 1.0

    @property
    def group(self) -> str:
        return self.answers[0].group

    def __len__(self) -> int:
        return max(map(len, self.answers))


def encode_answer(
    tokenizer: PreTrainedTokenizerBase,
    record: Any,
    prompt: Sequence[Message],
    answer: Sequence[Message],
    max_length: int,
    ctx: Context,
) -> Example | None:
    """The prompt with an answer up to its last learned token, or None when the record is dropped.

    A reward model reads the same ids when it scores: `encode_turns` ends where the last turn of the assistant does.
    """
    if not text_of(answer).strip():
        ctx.drop(record, "empty answer")
        return None
    ids, mask = encode_turns(tokenizer, prompt, answer)
    if 1 not in mask:
        roles = sorted({message["role"] for message in answer})
        left_out = "the template leaves the answer out"
        ctx.drop(record, left_out if "assistant" in roles else "no turn of the assistant", roles=roles)
        return None
    end = len(mask) - mask[::-1].index(1)
    if end > max_length:
        ctx.drop(record, "too long", tokens=end, max_length=max_length)
        return None
    return Example(array("i", ids[:end]), bytes(mask[:end]), digest(["validation", prompt]))


def encode_pairs(
    dataset: Iterable[Preference],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    ctx: Context,
    margin: bool = False,
) -> list[Pair]:
    """The pairs that can be learned, in order; the others are dropped with a reason.

    Answers are equal when their tokens are: also where a template leaves out what makes them differ. With `margin`
    each record needs a number in meta.margin, as the step `pair` writes it.
    """
    pairs = []
    for record in dataset:
        wanted = record.get("meta", {}).get("margin") if margin else 0.0
        if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not math.isfinite(wanted):
            ctx.drop(record, "no margin", margin=wanted)
            continue
        prompt = record["prompt"]
        chosen = encode_answer(tokenizer, record, prompt, record["chosen"], max_length, ctx)
        rejected = chosen and encode_answer(tokenizer, record, prompt, record["rejected"], max_length, ctx)
        if chosen is None or rejected is None:
            continue
        if chosen.ids == rejected.ids:
            ctx.drop(record, "equal answers")
            continue
        pairs.append(Pair(chosen, rejected, float(wanted)))
    return pairs


def together(pairs: Iterable[Pair]) -> list[Comparison]:
    """All pairs of a prompt as one comparison, in the order in which the prompts came.

    An answer that stands in several pairs is read once (Ouyang et al. 2022, section 3.5): of K answers K sequences
    instead of K(K−1). More than MOST_PAIRS become several comparisons, whose shares add up to 1.
    """
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.group, []).append(pair)
    return [
        _comparison(group[at : at + MOST_PAIRS], len(group))
        for group in groups.values()
        for at in range(0, len(group), MOST_PAIRS)
    ]


def prompts_of(grouped: Iterable[Pair | Comparison]) -> int:
    """How many prompts these belong to."""
    return len({one.group for one in grouped})


def _comparison(pairs: Sequence[Pair], of: int) -> Comparison:
    places: dict[bytes, int] = {}
    answers: list[Example] = []

    def place(answer: Example) -> int:
        key = answer.ids.tobytes()
        if key not in places:
            places[key] = len(answers)
            answers.append(answer)
        return places[key]

    places_of = [(place(pair.chosen), place(pair.rejected), pair.margin) for pair in pairs]
    return Comparison(answers, places_of, len(pairs) / of)


def collate_comparisons(comparisons: Sequence[Comparison], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask, each (answers, longest), padded on the right; and of the pairs, each (pairs):

    chosen, rejected  the rows of their answers
    margin            float32
    weight            1 / the pairs of their prompt, wherever these stand, so that each prompt weighs the same
    """
    import torch

    ids, mask = padded([answer for one in comparisons for answer in one.answers], pad_id)
    rows, first = list[tuple[int, int, float, float]](), 0
    for one in comparisons:
        weight = one.share / len(one.pairs)
        rows += [(first + good, first + bad, margin, weight) for good, bad, margin in one.pairs]
        first += len(one.answers)
    chosen, rejected, margins, weights = zip(*rows, strict=True)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "chosen": torch.tensor(chosen),
        "rejected": torch.tensor(rejected),
        "margin": torch.tensor(margins, dtype=torch.float32),
        "weight": torch.tensor(weights, dtype=torch.float32),
    }


def padded(answers: Sequence[Example], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, attention mask), each (answers, longest), padded on the right; the mask comes from the lengths."""
    import torch

    shape = (len(answers), max(map(len, answers)))
    ids, mask = torch.full(shape, pad_id, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, answer in enumerate(answers):
        ids[row, : len(answer)] = torch.tensor(answer.ids, dtype=torch.long)
        mask[row, : len(answer)] = 1
    return ids, mask
