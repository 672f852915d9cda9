"""How likely texts are to a model: the negative log-likelihood of chosen tokens, in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 2048  # of a batch, padding included: enough to keep two cores or a GPU busy, little memory


@dataclass(frozen=True)
class Encoded:
    """One text as a tokenizer writes it: ids, and a 1 for each token that is measured. The first id is never one."""

    ids: list[int]
    mask: list[int]


def losses(model: PreTrainedModel, encoded: Sequence[Encoded]) -> Iterator[tuple[int, float]]:
    """(place in `encoded`, negative log-likelihood of its measured tokens in nats), longest text first.

    Batches hold texts of like length, at most BATCH_TOKENS with padding; they depend on the lengths alone.
    """
    order = sorted(range(len(encoded)), key=lambda at: (-len(encoded[at].ids), at))
    while order:
        rows = max(1, BATCH_TOKENS // len(encoded[order[0]].ids))
        yield from zip(order[:rows], _batch_losses(model, [encoded[at] for at in order[:rows]]), strict=True)
        order = order[rows:]


def _batch_losses(model: PreTrainedModel, batch: Sequence[Encoded]) -> list[float]:
    import torch

    shape = (len(batch), max(len(one.ids) for one in batch))
    ids, attention, wanted = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    for row, one in enumerate(batch):
        ids[row, : len(one.ids)] = torch.tensor(one.ids)
        attention[row, : len(one.ids)] = 1
        wanted[row, : len(one.ids)] = torch.tensor(one.mask)
    ids, attention = ids.to(model.device), attention.to(model.device)
    with torch.inference_mode():
        hidden: Any = model(input_ids=ids, attention_mask=attention, use_cache=False)
        found = []
        for row, (logits, tokens) in enumerate(zip(hidden.logits, ids, strict=True)):
            at = wanted[row, 1:].nonzero().squeeze(1).to(ids.device)
            # float64 for the sum over the vocabulary: two equal models must not differ by their rounding
            logs = torch.log_softmax(logits[at].double(), -1)
            found.append(-float(logs.gather(1, tokens[at + 1].unsqueeze(1)).sum()))
    return found
