"""Reward models: one number for a prompt with its answer, from a sequence classifier with one label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import Model, ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BATCH_TOKENS = 4096  # of a batch, padding included


def load_reward_model(model: Model, precision: str = "float32") -> PreTrainedModel:
    """The model's weights in evaluation mode, on the GPU where there is one; an adapter is merged into its base.

    Its rewards are those at the last token that the attention mask shows, whichever token pads, and its head computes
    in float32. Raises ModelError when the files are missing, or are no sequence classifier with one label.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from .loading import adapter_base, adapter_config, device, resolve_folder
    from .quiet import quiet
    from .reward_head import with_head

    quiet()
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    source = resolve_folder(model)
    adapter = adapter_config(source)
    try:
        if adapter is None:
            labels = AutoConfig.from_pretrained(source).num_labels
            if labels != 1:
                raise ModelError(f"{model.uri}: it has {labels} labels; a reward model has one")
            loaded = with_head(AutoModelForSequenceClassification.from_pretrained(source, dtype=dtype))
        else:
            from peft import PeftModel

            assert model.path is not None
            base = resolve_folder(adapter_base(model.path, adapter))
            whole = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=dtype)
            loaded = PeftModel.from_pretrained(with_head(whole), source).merge_and_unload()
    except ModelError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(f"{model.uri}: its weights cannot be loaded: {type(error).__name__}: {first}") from error
    return loaded.to(device()).eval()


def is_reward_model(model: Model) -> bool:
    """Whether the folder holds a sequence classifier: whole, or an adapter of one."""
    import json

    from .loading import adapter_config, resolve_folder

    source = Path(resolve_folder(model))
    if adapter := adapter_config(source):
        return adapter.get("task_type") == "SEQ_CLS"
    config = source / "config.json"
    made = json.loads(config.read_text(encoding="utf-8")).get("architectures") if config.is_file() else None
    return any(name.endswith("ForSequenceClassification") for name in made or ())


def rewards(lm: PreTrainedModel, encoded: Sequence[Sequence[int]], pad: int) -> list[float]:
    """The reward of each sequence of token ids, in their order.

    Batches hold sequences of like length, at most BATCH_TOKENS with padding, which is on the right and masked: a
    sequence's reward depends on no other's but for rounding (1e-6 in float32). Equal sequences are read once.
    """
    found: dict[tuple[int, ...], float] = {}
    for batch in batches_of(encoded):
        found.update(zip(batch, batch_rewards(lm, batch, pad), strict=True))
    return [found[tuple(ids)] for ids in encoded]


def batches_of(encoded: Sequence[Sequence[int]], most: int | None = None) -> list[list[tuple[int, ...]]]:
    """The sequences, equal ones once, in batches of like length: of at most BATCH_TOKENS, and `most` sequences."""
    order = sorted({tuple(ids) for ids in encoded}, key=lambda ids: (-len(ids), ids))
    found = []
    while order:
        rows = min(max(1, BATCH_TOKENS // max(1, len(order[0]))), most or len(order))
        found.append(order[:rows])
        order = order[rows:]
    return found


def padded(batch: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask), (rows, longest), padded on the right."""
    import torch

    shape = len(batch), max(map(len, batch))
    ids, mask = torch.full(shape, pad, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, one in enumerate(batch):
        ids[row, : len(one)] = torch.tensor(one)
        mask[row, : len(one)] = 1
    return ids, mask


def batch_rewards(lm: PreTrainedModel, batch: Sequence[Sequence[int]], pad: int) -> list[float]:
    """The reward of each sequence of one batch, in their order."""
    import torch

    ids, mask = padded(batch, pad)
    with torch.inference_mode():
        output: Any = lm(input_ids=ids.to(lm.device), attention_mask=mask.to(lm.device))
    return [float(one) for one in output.logits.float().squeeze(-1).cpu()]


def context_of(lm: PreTrainedModel) -> int:
    """The tokens that the model can read."""
    return int(getattr(lm.config.get_text_config(), "max_position_embeddings", None) or 1 << 30)
