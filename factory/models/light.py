"""Two light ways of tuning that peft does not have: bottleneck adapters and BitFit. This module loads torch.

Both are small modules whose output is added by a hook: nothing of the model is replaced, so any base will do, in 4 bits
too. A folder of ours looks like one of peft's: adapter_config.json and adapter_model.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from factory import ModelError

NAME = "light"  # of the modules in the model
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ATTENTION = ("self_attn", "attn", "attention", "self_attention")
FEED_FORWARD = ("mlp", "feed_forward", "ffn", "block_sparse_moe")


class Bottleneck(nn.Module):  # type: ignore[misc]
    """h → h + W_up · gelu(W_down · h), with W_up zero at the start (Houlsby et al. 2019, section 2.1)."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        nn.init.normal_(self.down.weight, std=0.02)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.gelu(self.down(hidden.to(self.down.weight.dtype)))
        return hidden + self.up(inner).to(hidden.dtype)


class Shift(nn.Module):  # type: ignore[misc]
    """h → h + b: the change of a bias, whether or not the layer has one (Ben Zaken et al. 2022, section 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.bias.to(hidden.dtype)


def attach(model: Any, config: dict[str, Any]) -> Any:
    """The model with new modules in it, in float32, ready to train or to fill; all that it had before is frozen.

    config  peft_type BOTTLENECK with `size` (of the bottleneck) and `placement` (`pfeiffer`: behind each feed-forward
            block; `houlsby`: behind each attention, too), or BITFIT

    Raises ModelError for a model whose blocks are not found.
    """
    model.requires_grad_(False)
    modules = dict(model.named_modules())
    if config["peft_type"] == "BITFIT":
        places = {path: Shift(_width(modules[path])) for path in _linear_layers(model)}
    else:
        width = int(model.config.get_text_config().hidden_size)
        places = {path: Bottleneck(width, config["size"]) for path in _blocks(model, config["placement"])}
    device = model.get_input_embeddings().weight.device
    light = nn.ModuleDict({_key(path): module.to(device) for path, module in places.items()})
    model.add_module(NAME, light)
    for path in places:
        modules[path].register_forward_hook(partial(_through, model, _key(path)))
    return model


def load_light(model: Any, folder: Path, config: dict[str, Any]) -> Any:
    """The model with the modules of an adapter folder, in evaluation mode."""
    from safetensors.torch import load_file

    attach(model, config)
    getattr(model, NAME).load_state_dict(load_file(folder / WEIGHTS))
    return model.requires_grad_(False).eval()


def save_light(model: Any, folder: Path, config: dict[str, Any]) -> None:
    """Write the modules and what they are attached to."""
    from safetensors.torch import save_file

    state = {name: weight.detach().cpu().contiguous() for name, weight in getattr(model, NAME).state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _through(model: Any, key: str, _: nn.Module, __: Any, out: Any) -> Any:
    """A hook: what comes out of a part of the model goes through the module that stands behind it."""
    module = getattr(model, NAME)[key]
    return (module(out[0]), *out[1:]) if isinstance(out, tuple) else module(out)


def _blocks(model: Any, placement: str) -> Iterator[str]:
    """Paths of the parts of each layer that an adapter stands behind."""
    wanted = (FEED_FORWARD,) if placement == "pfeiffer" else (ATTENTION, FEED_FORWARD)
    layers = layers_of(model)
    for path, layer in layers:
        inside = dict(layer.named_children())
        for names in wanted:
            found = next((name for name in names if name in inside), None)
            if found is None:
                raise ModelError(
                    f"no place for an adapter in a layer of {type(model).__name__}: it has {', '.join(inside)}; "
                    f"expected one of {', '.join(names)}. Take method: lora"
                )
            yield f"{path}.{found}"


def layers_of(model: Any) -> list[tuple[str, nn.Module]]:
    """(path, layer) of the model's stack of layers: the longest list of modules of one class."""
    count = int(model.config.get_text_config().num_hidden_layers)
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and len({type(one) for one in module}) == 1:
            return [(f"{path}.{at}", layer) for at, layer in enumerate(module)]
    raise ModelError(f"the layers of {type(model).__name__} are not found; take method: lora")


def _linear_layers(model: Any) -> list[str]:
    """Paths of all layers that have, or could have, a bias, but the head."""
    head = model.get_output_embeddings()
    kinds = ("Linear", "Conv1D", "LayerNorm", "Linear4bit", "Linear8bitLt")
    return [path for path, module in model.named_modules() if type(module).__name__ in kinds and module is not head]


def _width(module: Any) -> int:
    if isinstance(module, nn.LayerNorm):
        return int(module.normalized_shape[-1])
    return int(getattr(module, "out_features", 0) or getattr(module, "nf", 0))


def _key(path: str) -> str:
    return path.replace(".", "/")  # a name in a ModuleDict has no dots
