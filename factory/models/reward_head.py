"""The head of a reward model: one number in float32, from the last token that the attention mask shows.

This module loads torch; only what loads a model imports it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Linear, functional

from factory import ModelError

NAME = "score"  # of the head in transformers' sequence classifiers


class RewardHead(Linear):  # type: ignore[misc]
    """A linear layer without bias that computes in float32 whatever it is given, also under autocast."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 1, bias=False, dtype=torch.float32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), self.weight.float())


def add_head(lm: Any, seed: int) -> Any:
    """A causal language model's layers under a new head: a sequence classifier with one label, sharing the weights.

    The head is drawn from N(0, 1/(width + 1)), so that rewards begin near 0 with a deviation near 1 (Huang et al. 2024,
    arXiv:2403.17031). Raises ModelError for a model that has no such
    classifier in transformers.
    """
    from transformers import AutoModelForSequenceClassification

    config, body = lm.config, lm.base_model
    labels = getattr(config, "num_labels", 2)
    config.num_labels = 1
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        config.num_labels = labels
        raise ModelError(
            f"{config.model_type} has no sequence classifier in transformers to make a reward of"
        ) from error
    if not hasattr(model, NAME) or model.base_model_prefix != lm.base_model_prefix:
        raise ModelError(f"{config.model_type}: its sequence classifier has no linear head over its layers")
    setattr(model, model.base_model_prefix, body)
    width = config.get_text_config().hidden_size
    setattr(model, NAME, head := RewardHead(width).to(lm.device))
    drawn = torch.randn(1, width, generator=torch.Generator().manual_seed(seed)) / (width + 1) ** 0.5
    head.weight.data.copy_(drawn)
    # what transformers and its Trainer ask of a model whose weights are quantized
    for name in ("is_loaded_in_4bit", "is_loaded_in_8bit", "is_quantized", "quantization_method", "hf_quantizer"):
        if hasattr(lm, name):
            setattr(model, name, getattr(lm, name))
    return pool_by_mask(model).eval()


def with_head(model: Any) -> Any:
    """A sequence classifier whose head is one of ours, with the weights it has, and pools by the mask.

    A model whose head is not a linear layer over all tokens (an encoder's) is left as it is.
    """
    head = getattr(model, NAME, None)
    if not isinstance(head, Linear) or head.bias is not None or head.out_features != 1:
        return model
    ours = RewardHead(head.in_features).to(head.weight.device)
    ours.weight.data.copy_(head.weight.data)
    setattr(model, NAME, ours)
    return pool_by_mask(model)


def pool_by_mask(model: Any) -> Any:
    """Take the reward at the last token that the attention mask shows.

    transformers takes the last token that is not `pad_token_id`, whatever the mask says: where the pad token is also
    the one that ends an answer, that is a token too early. The layers' input tells the place, the head gives it for
    every token, so that it does not matter which one transformers picks; both are hooks, so that whatever wraps the
    model (an adapter, autocast, FSDP) sees one forward pass.
    """
    place: dict[str, torch.Tensor | None] = {}

    def look(_: Any, args: Any, given: dict[str, Any]) -> None:
        mask = given.get("attention_mask")
        place["last"] = None if mask is None else last_shown(mask)

    def pool(_: Any, args: Any, rewards: torch.Tensor) -> torch.Tensor:
        last = place["last"]
        if last is None:
            return rewards[:, -1:].expand_as(rewards)
        rows = torch.arange(len(rewards), device=rewards.device)
        return rewards[rows, last.to(rewards.device)].unsqueeze(1).expand_as(rewards)

    getattr(model, model.base_model_prefix).register_forward_pre_hook(look, with_kwargs=True)
    getattr(model, NAME).register_forward_hook(pool)
    text = model.config.get_text_config()
    if text.pad_token_id is None:
        text.pad_token_id = 0  # transformers refuses a batch of several without one
    return model


def last_shown(mask: torch.Tensor) -> torch.Tensor:
    """The place of the last 1 in each row of a mask of shape (rows, tokens)."""
    places = torch.arange(mask.shape[1], device=mask.device)
    return (mask.long() * places).argmax(-1)
