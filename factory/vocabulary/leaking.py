"""How much probability a model gives to new tokens where the text has none: what an extension costs old text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from factory import StepError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 512  # with padding; logits of 150,000 pieces are then 300 MB
LONGEST = 128  # tokens of a line


def leak(model: PreTrainedModel, lines: Sequence[Sequence[int]], new: Sequence[int], first: Sequence[int]) -> float:
    """The mean over all positions of the softmax mass on the ids `new`; nan where there is no position.

    lines  ids of texts that hold none of `new`, cut at LONGEST; each position foresees the token behind it
    first  tokens that the model expects in front of a text
    """
    import torch

    rows = model.get_input_embeddings().weight.shape[0]
    if len(new) and max(new) >= rows:
        raise StepError(f"measure_vocabulary: the model has {rows:,} embeddings and its tokenizer the id {max(new):,}")
    wanted = torch.tensor(list(new), device=model.device)
    total, count = 0.0, 0
    for batch in _batches([[*first, *line][:LONGEST] for line in lines]):
        width = max(map(len, batch))
        ids = torch.tensor([[*line, *[0] * (width - len(line))] for line in batch], device=model.device)
        mask = torch.tensor([[1] * len(line) + [0] * (width - len(line)) for line in batch], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
            on_new = torch.logsumexp(logits.index_select(-1, wanted), -1) - torch.logsumexp(logits, -1)
        total += float(on_new.exp()[mask.bool()].double().sum())
        count += int(mask.sum())
    return total / count if count else float("nan")


def _batches(lines: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Lines of like length together, longest first."""
    order = sorted((line for line in lines if line), key=len, reverse=True)
    while order:
        rows = max(1, BATCH_TOKENS // len(order[0]))
        yield order[:rows]
        order = order[rows:]
