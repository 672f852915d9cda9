"""Virtual tokens before every text, as prefix, prompt and P-tuning learn them: a beginning of the key-value cache.

All three are keys and values of n positions that every text sees before its first token, so one hook makes a plain
model of each, whoever calls it: training aside, nothing else in the factory has to know. This module loads torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def load_opened(model: Any, folder: Path) -> Any:
    """The model, which sees the virtual tokens of an adapter folder before every text it is called with."""
    from peft import PeftModel
    from transformers import DynamicCache

    tuned = PeftModel.from_pretrained(model, folder).eval()
    with torch.no_grad():
        begin = tuned.get_prompt(1)
        if tuned.active_peft_config.peft_type != "PREFIX_TUNING":
            cache = DynamicCache(config=model.config)
            model(inputs_embeds=begin.to(model.dtype), past_key_values=cache, use_cache=True)
            begin = cache
    return _open(model, [(layer.keys.to(model.dtype), layer.values.to(model.dtype)) for layer in begin.layers])


def _open(model: Any, begin: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    """The model with a hook that puts keys and values, (1, heads, n, head width) for each layer, before every text."""
    from transformers import DynamicCache

    size = begin[0][0].shape[2]

    def prepend(module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            given["input_ids"], args = args[0], args[1:]
        text = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"]
        rows, length = text.shape[:2]
        cache = given.get("past_key_values")
        if cache is None:
            cache = given["past_key_values"] = DynamicCache(config=module.config)
        before = cache.get_seq_length()
        if not before:
            for layer, (keys, values) in enumerate(begin):
                cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
            before = size
        mask = given.get("attention_mask")
        if mask is None:
            mask = torch.ones(rows, before - size + length, dtype=torch.long, device=text.device)
        given["attention_mask"] = torch.nn.functional.pad(mask, (size, 0), value=1)
        if given.get("position_ids") is not None:
            given["position_ids"] = given["position_ids"] + size
        return args, given

    model.register_forward_pre_hook(prepend, with_kwargs=True)
    return model
