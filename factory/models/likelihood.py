"""How likely texts are to a model: the negative log-likelihood of chosen tokens, in batches of like length."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


@dataclass(frozen=True)
class Continuation:
    """Tokens that may follow a context. Neither is empty."""

    context: list[int]
    ids: list[int]

    @property
    def read(self) -> tuple[int, ...]:
        """What the model reads: all tokens but the last, which it only foresees."""
        return (*self.context, *self.ids[:-1])


def continuations_of(
    tokenizer: PreTrainedTokenizerBase, context: str, continuations: Sequence[str]
) -> list[Continuation]:
    """Texts behind one context, cut into tokens as lm-evaluation-harness cuts them (`_encode_pair` of its TemplateLM).

    White space at the end of the context goes to the continuation, since most tokenizers write " word" as one token;
    both are tokenised as one text, and the continuation has the tokens behind as many as the context alone has. The
    tokenizer adds the special tokens that it adds to any text. Raises ValueError where either is left without tokens.
    """
    bare = context.rstrip()
    before = tokenizer(bare)["input_ids"]
    found = []
    for text in continuations:
        whole = tokenizer(context + text)["input_ids"]
        if not bare or not before or len(whole) <= len(before):
            raise ValueError("a context and a continuation need a token each")
        found.append(Continuation(whole[: len(before)], whole[len(before) :]))
    return found


def log_likelihoods(model: PreTrainedModel, asked: Sequence[Continuation]) -> Iterator[tuple[int, float]]:
    """(place in `asked`, log-likelihood in nats of its tokens behind its context), the longest first.

    Continuations for which the same is read are read once: the letters A to D behind one question cost one pass.
    """
    reads: dict[tuple[int, ...], list[int]] = {}
    for at, one in enumerate(asked):
        reads.setdefault(one.read, []).append(at)
    order = sorted(reads, key=lambda read: (-len(read), reads[read][0]))
    while order:
        rows = max(1, BATCH_TOKENS // len(order[0]))
        batch, order = order[:rows], order[rows:]
        yield from _batch_likelihoods(model, batch, [[(at, asked[at].ids) for at in reads[read]] for read in batch])


def _batch_likelihoods(
    model: PreTrainedModel, batch: Sequence[tuple[int, ...]], wanted: Sequence[Sequence[tuple[int, list[int]]]]
) -> Iterator[tuple[int, float]]:
    import torch

    shape = (len(batch), max(map(len, batch)))
    ids, attention = (torch.zeros(shape, dtype=torch.long) for _ in range(2))
    first = shape[1]  # of the places whose logits are needed
    for row, (read, asked) in enumerate(zip(batch, wanted, strict=True)):
        ids[row, : len(read)] = torch.tensor(read)
        attention[row, : len(read)] = 1
        first = min(first, len(read) - max(len(tokens) for _, tokens in asked))
    # Logits of all places would be 400 MB for 2,048 tokens of a vocabulary of 49,152.
    keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
    kept = {"logits_to_keep": shape[1] - first} if keeps else {}
    begin = first if keeps else 0
    with torch.inference_mode():
        inputs: Any = {"input_ids": ids.to(model.device), "attention_mask": attention.to(model.device), **kept}
        logits = model(**inputs, use_cache=False).logits
        for row, (read, asked) in enumerate(zip(batch, wanted, strict=True)):
            for at, tokens in asked:
                behind = len(read) - begin
                logs = torch.log_softmax(logits[row, behind - len(tokens) : behind].double(), -1)
                yield at, float(logs.gather(1, torch.tensor(tokens, device=logs.device).unsqueeze(1)).sum())
