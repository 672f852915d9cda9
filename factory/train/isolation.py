"""A check that a model keeps packed documents apart, made before it is trained on any."""

from __future__ import annotations

from typing import Any

import numpy as np

from factory import ModelError

from .packing import Block, collate_blocks

TOLERANCE = 1e-5  # of the largest logit; one that is not seen has a weight of exactly 0


def require_isolation(model: Any, uri: str) -> None:
    """Raise ModelError unless the logits of a document stay as they are whatever stands before it in its block.

    transformers marks documents by their positions, and only in some cases: not in models without positions (Mamba,
    Bloom), not under flash attention with more than one block in a batch. Costs one pass over 48 tokens.
    """
    import torch

    size = min(120, int(model.get_input_embeddings().weight.shape[0]))
    ids = np.arange(24) * 7 % size
    blocks = [Block(np.concatenate([first, ids[12:]]), np.array([12, 12])) for first in (ids[:12], ids[:12][::-1])]
    batch = {name: value.to(model.device) for name, value in collate_blocks(blocks, 0).items() if name != "labels"}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(**batch, use_cache=False).logits[:, 12:].float()
    except (TypeError, ValueError):  # it takes no positions
        logits = None
    finally:
        model.train(training)
    if logits is None or float((logits[0] - logits[1]).abs().max()) > TOLERANCE * float(logits.abs().max()):
        kind = model.config.model_type
        raise ModelError(
            f"{uri} is a {kind}, in which documents that are packed into one block see each other; "
            "take a base whose attention goes by position_ids, such as llama, qwen2 or gpt_neox"
        )
