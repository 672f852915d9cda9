"""The shape of a causal language model, from its config alone: what memory and arithmetic depend on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """What memory depends on, as a config says it.

    layer     (name, in, out) of the matrices of one layer; all layers are alike
    norms     (width, groups) of what a layer normalises: every group has a scale of its own
    layer_parameters, embedding, head, other  weights in a layer, the embedding, an untied head, and the rest
    normed    matrices of a layer that read what a norm gives
    capped    attention scores are capped, for which they have to be held
    context   tokens that it reads at most; 0 where the config says nothing
    experts   of layer_parameters, those in experts; `active` is the share of them that a token goes through
    """

    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    gated: bool
    layer: tuple[tuple[str, int, int], ...]
    norms: tuple[tuple[int, int], ...]
    layer_parameters: int
    embedding: int
    head: int
    other: int
    normed: int
    capped: bool = False
    context: int = 0
    experts: int = 0
    active: float = 1.0

    @property
    def parameters(self) -> int:
        return self.layers * self.layer_parameters + self.embedding + self.head + self.other

    @property
    def matrices(self) -> int:
        """Weights of all layers that int8 and nf4 store in fewer bits; embedding, head and norms stay as they are."""
        return self.layers * sum(rows * columns for _, rows, columns in self.layer)

    @property
    def worked(self) -> float:
        """Weights that a token is multiplied with: all but the embedding, which is looked up, and sleeping experts."""
        inside = self.layer_parameters - self.experts * (1 - self.active)
        return self.layers * inside + self.hidden * self.vocabulary


def shape_of(config: Any) -> Shape:
    """The shape of a causal language model, read off its modules, which are made without memory (torch's meta device).

    Raises ValueError for a config that transformers knows no causal language model for, or whose layers are not found.
    """
    import torch
    from transformers import AutoModelForCausalLM

    text = config.get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    count = int(text.num_hidden_layers)
    stacks = [one for one in model.modules() if isinstance(one, torch.nn.ModuleList) and len(one) == count]
    if not stacks:
        raise ValueError(f"a {config.model_type} has no stack of {count} layers")
    first = stacks[0][0]
    heads = int(text.num_attention_heads)
    kv_heads = int(getattr(text, "num_key_value_heads", None) or heads)
    head_width = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    linear = [(name.rpartition(".")[2], module) for name, module in first.named_modules() if _is_matrix(module)]
    layer = tuple((name, *_sides(module)) for name, module in linear)
    norms = []
    for name, module in first.named_modules():
        own = getattr(module, "weight", None)
        if own is not None and own.dim() == 1:  # norms; those of queries and keys may be shared by all heads
            groups = {"q_norm": heads, "k_norm": kv_heads}.get(name.rpartition(".")[2], 1)
            norms.append((own.numel() * (groups if own.numel() == head_width else 1), groups))
    inside = sum(weight.numel() for weight in first.parameters())
    experts = sum(weight.numel() for weight in first.parameters() if weight.dim() == 3)
    many = int(getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None) or 1)
    awake = int(getattr(text, "num_experts_per_tok", None) or 1) if experts else 1
    embedding = model.get_input_embeddings().weight.numel()
    head = 0 if text.tie_word_embeddings else model.get_output_embeddings().weight.numel()
    total = sum(weight.numel() for weight in model.parameters())
    inner = getattr(text, "moe_intermediate_size", None) if experts else None
    inner = int(inner or getattr(text, "intermediate_size", None) or 4 * text.hidden_size)
    return Shape(
        layers=count,
        hidden=int(text.hidden_size),
        vocabulary=int(text.vocab_size),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        inner=inner * awake,
        gated=bool(experts) or any("gate" in name for name, _, _ in layer),
        layer=layer,
        norms=tuple(norms),
        layer_parameters=inside,
        embedding=embedding,
        head=head,
        other=total - count * inside - embedding - head,
        normed=sum(not re.search(r"^(o_proj|c_proj|out_proj|dense)$|down|_4h_to_h", name) for name, _, _ in layer),
        capped=getattr(text, "attn_logit_softcapping", None) is not None,
        context=int(getattr(text, "max_position_embeddings", None) or 0),
        experts=experts,
        active=awake / many if experts else 1.0,
    )


def _is_matrix(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and weight.dim() == 2


def _sides(module: Any) -> tuple[int, int]:
    """(in, out); GPT-2's Conv1D keeps its weight the other way round."""
    rows, columns = module.weight.shape
    return (rows, columns) if type(module).__name__ == "Conv1D" else (columns, rows)
