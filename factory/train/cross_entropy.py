"""Cross-entropy of a large vocabulary a few tokens at a time: the logits of a batch are never all in memory."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .batches import IGNORED

LOGITS = 2**25  # of a chunk: 134 MB in float32, and as much again for their gradients
BARE_HEADS: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()


def token_nll(
    model: Any, head: Any, batch: dict[str, torch.Tensor], weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum, of each) negative log-likelihood in nats of the labelled tokens of a batch; the gradient is the sum's.

    weights  of the labelled tokens in the sum, in the order of `labels[:, 1:] != IGNORED`; None: all 1

    The model is called with all that the batch holds but `labels`, and without a cache: with one, packed documents
    would see each other. Its head is called for one position only; what would have gone into it is caught, and of the
    positions before a labelled token logits are made chunk by chunk. So the peak is a chunk's logits where it was
    tokens × vocabulary × 12 bytes, and a prompt's tokens cost none. Virtual tokens before the text, which some adapters
    put there, are left out.
    """
    labels, states, logits, under = _before_labels(model, head, batch)
    if states is not None:
        with under:
            return chunked_nll(states, labels, head, weights)
    each = functional.cross_entropy(logits.float(), labels, reduction="none")
    return (each if weights is None else each * weights).sum(), each.detach()


def token_logps(model: Any, head: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """log π of every labelled token, in nats: (tokens). Each has a gradient of its own, unlike those of `token_nll`.

    Where not all logits fit into a chunk they are made chunk by chunk, and again in the backward pass.
    """
    labels, states, logits, under = _before_labels(model, head, batch)
    if states is None:
        return -functional.cross_entropy(logits.float(), labels, reduction="none")

    def of_chunk(few: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        with under:
            return -functional.cross_entropy(_logits(head, few).float(), wanted, reduction="none")

    size = _chunk_of(head)
    if len(labels) <= size or not torch.is_grad_enabled():
        parts = [of_chunk(*few) for few in zip(states.split(size), labels.split(size), strict=True)]
    else:
        chunks = zip(states.split(size), labels.split(size), strict=True)
        parts = [checkpoint(of_chunk, *few, use_reentrant=False) for few in chunks]
    return torch.cat(parts)


def _before_labels(model: Any, head: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Any, Any, Any]:
    """(the labels there are, what goes into the head before each of them, None, the autocast that the head was under);
    of a model that scales or caps its logits behind the head (Gemma 2, Granite, Cohere) the second is None and the
    third are the logits.
    """
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    labels = batch["labels"][:, 1:]
    wanted, length = labels != IGNORED, batch["labels"].shape[1]
    if BARE_HEADS.get(head, True):
        first, hidden, under = _through_head(model, head, inputs, lambda hidden: hidden[:, :1])
        if head not in BARE_HEADS:
            with torch.no_grad(), under:
                own = _logits(head, hidden[:, :1])
            BARE_HEADS[head] = is_bare(getattr(model, "module", model).config, first, own)
        if BARE_HEADS[head]:
            return labels[wanted], hidden[:, -length:][:, :-1][wanted], None, under
    logits, _, under = _through_head(model, head, inputs, lambda hidden: hidden[:, -length:][:, :-1][wanted])
    return labels[wanted], None, logits, under


def is_bare(config: Any, logits: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether a model's logits are what its head gives. Small ones hardly show a cap, so the config is asked, too."""
    text = config.get_text_config()
    changed = any(getattr(text, name, None) for name in ("final_logit_softcapping", "logits_scaling", "logit_scale"))
    off = (logits.float() - own.float()).abs().max()
    return not changed and bool(off <= (1e-4 if own.dtype == torch.float32 else 2e-2) * (1 + own.float().abs().max()))


def _logits(head: Any, states: torch.Tensor) -> torch.Tensor:
    """What the head gives. Where its weights are split over processes (FSDP2) the model's own forward has gathered them
    and keeps them until its backward: the head's hooks would take this call for another forward.
    """
    return head.forward(states) if isinstance(head, FSDPModule) else head(states)


def _chunk_of(head: Any) -> int:
    """Tokens whose logits are made at a time."""
    vocabulary = int(getattr(head, "out_features", 0)) or int(head.weight.shape[0])
    return max(16, LOGITS // vocabulary)


def chunked_nll(
    hidden: torch.Tensor, labels: torch.Tensor, head: Any, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(weighted sum, of each) cross-entropy of `head(hidden)`, (tokens, width), with labels, (tokens,).

    Gradients are made together with the loss, a chunk at a time, so no logits are kept or made twice (Hsu et al. 2024,
    arXiv:2410.10989, section 3.2). Any module that gives logits can be the head, one with an adapter, too.
    """
    if weights is None:
        weights = torch.ones(len(labels), device=hidden.device)
    parameters = [weight for weight in head.parameters() if weight.requires_grad]
    return _Chunked.apply(hidden, labels, weights, head, *parameters)  # type: ignore[no-any-return]


class _Chunked(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, head: Any, *parameters: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        learned = any(ctx.needs_input_grad)
        each = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        to_hidden = torch.empty_like(hidden) if learned else None
        to_parameters = [torch.zeros_like(weight) for weight in parameters] if learned else []
        size = _chunk_of(head)
        for start in range(0, len(labels), size):
            few = slice(start, start + size)
            part = hidden[few].detach().requires_grad_(learned)
            with torch.set_grad_enabled(learned):
                each_of_part = functional.cross_entropy(_logits(head, part).float(), labels[few], reduction="none")
                sum_of_part = (each_of_part * weights[few]).sum()
            each[few] = each_of_part.detach()
            total += sum_of_part.detach()
            if to_hidden is not None:
                to_part, *more = torch.autograd.grad(sum_of_part, [part, *parameters], allow_unused=True)
                to_hidden[few] = to_part
                for whole, one in zip(to_parameters, more, strict=True):
                    if one is not None:
                        whole += one
        ctx.mark_non_differentiable(each)
        if to_hidden is not None:
            ctx.save_for_backward(to_hidden, *to_parameters)
        return total, each

    @staticmethod
    def backward(ctx: Any, to_total: torch.Tensor, _: Any) -> Any:
        to_hidden, *to_parameters = ctx.saved_tensors
        return to_total * to_hidden, None, None, None, *(to_total * one for one in to_parameters)


def _through_head(model: Any, head: Any, inputs: dict[str, Any], take: Any) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """(logits of the positions that `take` takes, the hidden states of all, the autocast that the head was called
    under), from one forward pass of the whole model.

    Mixed precision wraps the model's forward alone: whoever calls the head beside it has to enter that autocast again.

    It is a hook, not a call of a part of the model, so that whatever wraps it (autocast, DDP, FSDP) sees a forward.
    """
    caught: list[tuple[torch.Tensor, Any]] = []

    def narrow(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        kind = given[0].device.type
        on, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        caught.append((given[0], torch.autocast(kind, dtype=dtype, enabled=on)))
        return take(given[0]), *given[1:]

    hook = head.register_forward_pre_hook(narrow)
    try:
        outputs = model(**inputs, use_cache=False)
    finally:
        hook.remove()
    return outputs.logits, *caught[0]
