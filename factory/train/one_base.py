"""One base in memory, read by several models: which adapters are on says which, and a head may stand beside them.

    reference  the policy's own earlier adapter ("sft"), or nothing at all
    policy     the same with a new adapter on top ("policy"), whose B is zero at the start: the reference, bit for bit
    reward     the reward model's adapter, frozen, and its head
    value      a copy of these that is trained; without a reward model a new adapter and a head of zeros

"Adapters off" is the reference only where the policy has no earlier adapter. Heads are float32 and outside of peft,
which would cast or wrap them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from factory.models.reward_head import RewardHead

from .cross_entropy import LOGITS
from .rollouts import Batch


@dataclass
class OneBase:
    """A base with adapters, and which of them make which model.

    lm         the causal language model, its layers wrapped by peft
    readers    reference, policy, reward, value -> names of their adapters, in the order they were trained in
    heads      reward, value -> a linear layer of one number, in float32
    shift      what is taken off the value head's number
    bare       whether its logits are those of its head; some models scale or cap them (Gemma 2, Granite, Cohere)
    root, earlier  the folder or hub id of the base, and that of the policy's own adapter
    """

    lm: Any
    peft: Any
    readers: dict[str, tuple[str, ...]]
    root: Path | str
    earlier: Path | None
    heads: dict[str, RewardHead] = field(default_factory=dict)
    bare: bool = True
    shift: float = 0.0

    def use(self, reader: str, train: bool = False) -> None:
        """Switch to a reader. Only with `train` its last adapter and its head take gradients, and nothing else does."""
        names = self.readers[reader]
        # peft turns on the gradients of every adapter that it activates, frozen ones among them
        self.peft.base_model.set_adapter(list(names), inference_mode=True)
        for head in self.heads.values():
            head.requires_grad_(False)
        if train:
            self.peft.base_model.set_requires_grad(names[-1], True)
            if reader in self.heads:
                self.heads[reader].requires_grad_(True)

    def trained(self, reader: str) -> dict[str, nn.Parameter]:
        """What training a reader changes: path -> parameter, in a fixed order."""
        mark = f".{self.readers[reader][-1]}.weight"
        found = {name: weight for name, weight in self.lm.named_parameters() if name.endswith(mark)}
        head = self.heads.get(reader)
        return found | ({f"head.{name}": weight for name, weight in head.named_parameters()} if head else {})

    def assert_trains(self, reader: str) -> None:
        """That exactly these parameters take gradients: a switch of adapters may have turned others on."""
        on = [weight for weight in self.lm.parameters() if weight.requires_grad]
        on += [weight for head in self.heads.values() for weight in head.parameters() if weight.requires_grad]
        if {id(weight) for weight in on} != {id(weight) for weight in self.trained(reader).values()}:
            raise AssertionError(f"{len(on)} parameters take gradients, other than those of the {reader}")

    def hidden(self, ids: Tensor, attention: Tensor) -> Tensor:
        """(rows, length, hidden): the last layer's output, which a head reads. No logits are made."""
        decoder = getattr(self.lm, self.lm.base_model_prefix)
        return decoder(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state

    def values(self, batch: Batch) -> Tensor:
        """(tokens,): what the value model expects before each token of the answers."""
        hidden = self.hidden(batch.ids, batch.attention)[batch.before]
        return self.heads["value"](hidden).squeeze(-1) - self.shift

    def expect_normal(self, weight: float, mean: float, deviation: float) -> None:
        """Let the copy of a reward model, which counts with a weight, say what normalised scores of answers are.

        A value may move by `value_clip` in a step: from rewards about 7 to scores about 0 would take 35.
        """
        if "reward" in self.heads and deviation > 0:
            self.heads["value"].weight.data *= weight / deviation
            self.shift = mean / deviation

    def log_probs(self, batch: Batch, temperature: float, entropy: bool = False) -> tuple[Tensor, Tensor]:
        """(log-probabilities, entropies in nats) of the answers' tokens, (tokens,), in float32; entropies if asked for.

        Logits are made at the positions before these tokens alone, and not of all at a time: where there are many, each
        chunk's are made again in the backward pass.
        """
        if not self.bare:
            return log_probs(self._logits(batch), batch.drawn, temperature, entropy)
        hidden, head = self.hidden(batch.ids, batch.attention)[batch.before], self.lm.get_output_embeddings()
        size = max(16, LOGITS // int(head.weight.shape[0]))
        if len(hidden) <= size:
            return log_probs(head(hidden), batch.drawn, temperature, entropy)

        def chunk(some: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
            return log_probs(head(some), drawn, temperature, entropy)

        cuts = zip(hidden.split(size), batch.drawn.split(size), strict=True)
        logs, entropies = zip(*(checkpoint(chunk, *cut, use_reentrant=False) for cut in cuts), strict=True)
        return torch.cat(logs), torch.cat(entropies)

    def _logits(self, batch: Batch) -> Tensor:
        """Of a model that does something to logits behind its head: through all of it."""
        head = self.lm.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, given: (given[0][batch.before], *given[1:]))
        try:
            return self.lm(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits
        finally:
            hook.remove()

    @contextmanager
    def recomputing(self, on: bool) -> Iterator[None]:
        """Recompute activations in the backward pass (`on`). That needs training mode, which drops nothing here."""
        if on:
            self.lm.activation_checkpointing_enable({"use_reentrant": False})
            self.lm.train()
        try:
            yield
        finally:
            if on:
                self.lm.activation_checkpointing_disable()
                self.lm.eval()


def log_probs(logits: Tensor, drawn: Tensor, temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:
    """(log-probabilities of `drawn`, entropies or zeros), (tokens,), by logits (tokens, vocabulary)."""
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    total = logits.logsumexp(-1)
    chosen = logits.gather(-1, drawn[:, None]).squeeze(-1) - total
    if not entropy:
        return chosen, torch.zeros_like(total)
    with torch.no_grad():
        return chosen, total - (torch.exp(logits - total[:, None]) * logits).sum(-1)
