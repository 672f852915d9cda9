"""Answers drawn from the policy in this process: batched by length, padded on the left, with a KV cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from factory import assistant, user
from factory.models.chat import encode_turns
from factory.models.local import read_prompts

from . import ranks

CPU_ROWS, GPU_ROWS = 32, 128  # prompts answered together


@dataclass
class Rollout:
    """A prompt with an answer to it.

    answer  the ids that were drawn, the one that ended it included: ending is an action, too
    ended   whether it ended by itself, and was not cut
    theirs  log-probabilities of its ids by the server that drew them; empty where none did, or told none
    """

    prompt: list[int]
    answer: list[int] = field(default_factory=list)
    ended: bool = False
    theirs: list[float] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.answer

    @property
    def said(self) -> list[int]:
        """The answer without what ended it."""
        return self.answer[:-1] if self.ended else self.answer


def stop_ids(lm: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer: what the configs declare, the tokenizer's own, and the template's if it is special.

    Models declare several, in several places; a base that learned a template may declare none that the template uses.
    """
    named = [tokenizer.eos_token_id]
    for config in (lm.config, lm.generation_config):
        ids = getattr(config, "eos_token_id", None)
        named += ids if isinstance(ids, list) else [ids]
    ids, learned = encode_turns(tokenizer, user("a"), assistant("a"))
    last = ids[len(learned) - learned[::-1].index(1) - 1] if 1 in learned else None
    if last is not None and (token := tokenizer.added_tokens_decoder.get(last)) is not None and token.special:
        named.append(last)
    return frozenset(token for token in named if token is not None)


def answers_to(
    lm: Any,
    prompts: Sequence[Sequence[int]],
    *,
    ends: frozenset[int],
    pad: int,
    most: int,
    temperature: float,
    seed: Callable[[int], int],
) -> list[Rollout]:
    """One answer to each prompt, in their order, drawn at `temperature` from the whole distribution (0: the likeliest).

    most  tokens of an answer
    seed  place of a prompt -> seed of the draws of its answer, which depends on nothing that is drawn beside it

    A token's probability is that of the softmax at this temperature alone, with no top-k, top-p or penalty: what is
    learned from is then what was drawn from. Prompts of like length are read together, equal ones once. Several
    processes share them.
    """
    rows = GPU_ROWS if lm.device.type == "cuda" else CPU_ROWS
    order = sorted(range(len(prompts)), key=lambda at: (-len(prompts[at]), prompts[at]))
    rows = ranks.evenly(len(order), rows)
    batches = [order[start : start + rows] for start in range(0, len(order), rows)]

    def draw(places: list[int]) -> list[Rollout]:
        batch = [Rollout(list(prompts[at])) for at in places]
        draws = [torch.Generator(lm.device).manual_seed(seed(at)) for at in places]
        with torch.inference_mode():
            _decode(lm, batch, ends, pad, most, temperature, draws)
        return batch

    found: dict[int, Rollout] = {}
    for places, batch in zip(batches, ranks.shared(batches, draw), strict=True):
        found.update(zip(places, batch, strict=True))
    return [found[at] for at in range(len(prompts))]


def _decode(
    lm: Any,
    rows: list[Rollout],
    ends: frozenset[int],
    pad: int,
    most: int,
    temperature: float,
    draws: list[torch.Generator],
) -> None:
    """Fill in the answers, one token of all live rows at a time; a finished row leaves the batch and the cache.

    Only drawn tokens can end an answer: a prompt holds the same ids between its turns.
    """
    logits, cache, mask = read_prompts(lm, [row.prompt for row in rows], pad)
    live = list(rows)
    while True:
        chosen = _draw(logits, temperature, draws)
        for row, token in zip(live, chosen.tolist(), strict=True):
            row.answer.append(token)
            row.ended = token in ends
        keep = [at for at, row in enumerate(live) if not row.ended and len(row.answer) < most]
        if not keep:
            return
        if len(keep) < len(live):
            kept = torch.tensor(keep, device=lm.device)
            cache.batch_select_indices(kept)
            live, draws = [live[at] for at in keep], [draws[at] for at in keep]
            chosen, mask = chosen[kept], mask[kept]
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        output = lm(
            input_ids=chosen[:, None],
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits = output.logits[:, -1]


def _draw(logits: Tensor, temperature: float, draws: list[torch.Generator]) -> Tensor:
    """The next token of every row. argmax p / E with E ~ Exp(1) is distributed as p (the Gumbel-max trick)."""
    if temperature <= 0:
        return logits.argmax(-1)
    p = torch.softmax(logits.float() / temperature, -1)
    noise = torch.empty_like(p)
    for row, generator in zip(noise, draws, strict=True):
        row.exponential_(generator=generator)
    return (p / noise).argmax(-1)


@dataclass(frozen=True)
class Batch:
    """Rollouts as a forward pass reads them, padded on the right.

    ids, attention  (rows, longest); the masks come from lengths, so pad may be the token that ends an answer
    before          (rows, longest) bool: the positions whose output predicts a token of the answer
    drawn           (tokens,): these tokens, all answers one behind the other
    mask            (rows, longest answer) bool: which of a table's cells are tokens
    """

    ids: Tensor
    attention: Tensor
    before: Tensor
    drawn: Tensor
    mask: Tensor


def batch_of(rollouts: Sequence[Rollout], pad: int, device: Any = "cpu") -> Batch:
    shape = len(rollouts), max(len(one.ids) for one in rollouts)
    ids, attention = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    before = torch.zeros(shape, dtype=torch.bool)
    for row, one in enumerate(rollouts):
        length = len(one.ids)
        ids[row, :length] = torch.tensor(one.ids)
        attention[row, :length] = 1
        before[row, len(one.prompt) - 1 : length - 1] = True
    drawn = torch.tensor([token for one in rollouts for token in one.answer])
    mask = answer_mask(rollouts)
    return Batch(*(part.to(device) for part in (ids, attention, before, drawn, mask)))


def answer_mask(rollouts: Sequence[Rollout]) -> Tensor:
    """(rollouts, longest answer) bool: everything up to and with the token that ended an answer."""
    lengths = torch.tensor([len(one.answer) for one in rollouts])
    return torch.arange(int(lengths.max()))[None] < lengths[:, None]
