"""LoRA adapters: put on a model, laid on top of an earlier one, saved so that peft and transformers load them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from factory import Model, ModelError
from factory.models.loading import adapter_base, adapter_config, resolve_folder

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
# What an adapter may not have if another is to be added to it: each makes it more than a sum of products B·A.
NOT_PLAIN = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "trainable_token_indices", "lora_bias")


class LoraOptions(BaseModel):
    """Low-rank adapters (Hu et al. 2021, section 4.1): W + alpha/r · B·A, with B zero at the start.

    target_modules  `all-linear` (every linear layer but the head; Dettmers et al. 2023, section 4) or names
    layers          only the last so many layers; the backward pass stops below them. None: all
    """

    model_config = ConfigDict(extra="forbid")

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    layers: int | None = Field(default=None, ge=1)


def add_lora(model: PreTrainedModel, lora: LoraOptions, seed: int) -> PeftModel:
    """The model frozen, with adapters to train. They are float32 whatever the base is: an update of a bfloat16 weight
    is lost where it is below 1/256 of it.
    """
    import warnings

    import torch
    from peft import LoraConfig, get_peft_model

    total = int(model.config.get_text_config().num_hidden_layers)
    last = list(range(max(0, total - lora.layers), total)) if lora.layers else None
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_linear_layers(model) if last and lora.target_modules == "all-linear" else lora.target_modules,
        layers_to_transform=last,
        bias="none",
    )
    torch.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft reads a name that transformers has renamed
            adapted = get_peft_model(model, config, autocast_adapter_dtype=True)
    except ValueError as error:
        raise ModelError(f"lora.target_modules {lora.target_modules}: {str(error).splitlines()[0]}") from error
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise ModelError(f"the adapter weight {name} is {parameter.dtype}; expected float32")
    return adapted


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers but the head: peft takes its word `all-linear` only for all blocks."""
    import torch

    head = model.get_output_embeddings()
    found = [
        name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head
    ]
    return sorted({name.rpartition(".")[2] for name in found})


def root_of(base: Model) -> tuple[Path | str, Path | None]:
    """(folder or hub id of the weights below, folder of the adapter on them or None).

    Raises ModelError when the adapter is not a plain LoRA or lies itself on an adapter.
    """
    source = resolve_folder(base)
    config = adapter_config(source)
    if config is None:
        return source, None
    folder = Path(source)
    odd = [name for name in NOT_PLAIN if config.get(name)]
    if config.get("peft_type") != "LORA" or odd or config.get("bias", "none") != "none":
        kind = ", ".join(odd) or f"{config.get('peft_type')}, bias {config.get('bias')}"
        raise ModelError(
            f"{base.uri} is an adapter that no LoRA can be added to ({kind}); merge it into its base first"
        )
    below = resolve_folder(adapter_base(folder, config))
    if adapter_config(below) is not None:
        raise ModelError(f"{base.uri} is an adapter on the adapter {below}; merge it into its base first")
    return below, folder


def save_lora(model: PeftModel, output: Path, root: Path | str, earlier: Path | None) -> None:
    """Write adapter_config.json and adapter_model.safetensors, nothing else.

    With an `earlier` adapter, which the model below was merged with, what is saved is the sum of both as one adapter
    on `root`: [s1·B1, s2·B2] · [A1; A2] = s1·B1·A1 + s2·B2·A2, of rank r1 + r2. So it needs no other artifact of ours.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = str(root)
    config.inference_mode = True
    # peft keeps the names in a set, whose order changes with the hash seed
    config.target_modules = sorted(config.target_modules)
    model.save_pretrained(str(output), save_embedding_layers=False)
    (output / "README.md").unlink(missing_ok=True)  # a model card full of blanks
    if earlier is not None:
        _add_earlier(earlier, output)


def _add_earlier(earlier: Path, output: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    configs = [_read(earlier), _read(output)]
    modules = [_by_module(load_file(folder / WEIGHTS)) for folder in (earlier, output)]
    scales = [_scale(config) for config in configs]
    ranks = [int(config["r"]) for config in configs]
    weights: dict[str, torch.Tensor] = {}
    names = sorted({*modules[0], *modules[1]})
    for name in names:
        like = modules[0].get(name) or modules[1][name]
        # where one of the two leaves a module alone its share is zero, so that every rank is r1 + r2
        absent = [(like[0].new_zeros(r, like[0].shape[1]), like[1].new_zeros(like[1].shape[0], r)) for r in ranks]
        (a1, b1), (a2, b2) = (found.get(name, none) for found, none in zip(modules, absent, strict=True))
        weights[f"{name}.lora_A.weight"] = torch.cat([a1.float(), a2.float()]).contiguous()
        weights[f"{name}.lora_B.weight"] = torch.cat([scales[0] * b1.float(), scales[1] * b2.float()], 1).contiguous()
    save_file(weights, output / WEIGHTS, metadata={"format": "pt"})
    paths = [name.removeprefix("base_model.model.") for name in names]
    merged = {**configs[1], "r": sum(ranks), "lora_alpha": sum(ranks), "use_rslora": False}
    merged |= {"target_modules": paths, "layers_to_transform": None, "layers_pattern": None}
    (output / CONFIG).write_text(json.dumps(merged, indent=2, sort_keys=True), encoding="utf-8")


def _by_module(state: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Module path -> (A of shape (r, in), B of shape (out, r))."""
    ends = (".lora_A.weight", ".lora_B.weight")
    names = [key.removesuffix(ends[0]) for key in state if key.endswith(ends[0])]
    return {name: (state[name + ends[0]], state[name + ends[1]]) for name in names}


def _scale(config: dict[str, Any]) -> float:
    rank = float(config["r"])
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return found
