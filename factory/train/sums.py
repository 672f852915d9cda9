"""Two adapters as one: products of low rank side by side, rows of embeddings by the later of the two."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import ModelError

if TYPE_CHECKING:
    import torch

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX, ROWS, WRAPPED = "base_model.model.", ".trainable_tokens_delta", ".token_adapter"
LORA_A, LORA_B, WEIGHT = ".lora_A.weight", ".lora_B.weight", ".weight"


@dataclass(frozen=True)
class Adapter:
    """An adapter folder of peft, read.

    pairs  module -> (A of shape (r, in), B of shape (out, r))
    rows   embedding module -> {token: its row, of shape (hidden,)}
    whole  module that is saved whole -> its weight: the head of a reward model
    """

    config: dict[str, Any]
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]
    rows: dict[str, dict[int, torch.Tensor]]
    whole: dict[str, torch.Tensor] = field(default_factory=dict)

    def covers(self, earlier: Adapter) -> bool:
        """Whether nothing of an adapter below is left where this one lies on it."""
        return not earlier.pairs and all(
            earlier.rows[name].keys() <= self.rows.get(name, {}).keys() for name in earlier.rows
        )


def read_adapter(folder: Path, embeddings: Sequence[str]) -> Adapter:
    """The adapter in a folder; of its rows those of these modules, since peft stores rows of a tied head twice."""
    from safetensors.torch import load_file

    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    state = load_file(folder / WEIGHTS)
    names = [key.removesuffix(LORA_A) for key in state if key.endswith(LORA_A)]
    pairs = {name.removeprefix(PREFIX): (state[name + LORA_A], state[name + LORA_B]) for name in names}
    rows = {}
    for key in state:
        name = key.removeprefix(PREFIX).removesuffix(ROWS).removesuffix(WRAPPED)
        if key.endswith(ROWS) and name in embeddings:
            rows[name] = dict(zip(_tokens(config, name), state[key], strict=True))
    saved = {name: f"{PREFIX}{name}{WEIGHT}" for name in config.get("modules_to_save") or ()}
    return Adapter(config, pairs, rows, {name: state[key] for name, key in saved.items() if key in state})


def _tokens(config: dict[str, Any], name: str) -> list[int]:
    """The tokens whose rows of a module an adapter holds, in their order."""
    found = config.get("token_indices") or config["trainable_token_indices"]
    if isinstance(found, dict):
        found = next(ids for part, ids in found.items() if name.endswith(part))
    return list(found)


def sum_of(earlier: Adapter, later: Adapter) -> Adapter:
    """What gives the model that `later` makes of a base with `earlier` merged in.

    [s1·B1, s2·B2] · [A1; A2] = s1·B1·A1 + s2·B2·A2, of rank r1 + r2. Rows replace and do not add: those of both are
    the later ones.
    """
    import torch

    both = (earlier, later)
    ranks = [int(one.config["r"]) if one.pairs else 0 for one in both]
    scales = [_scale(one.config) if one.pairs else 1.0 for one in both]
    pairs = {}
    for name in sorted({*earlier.pairs, *later.pairs}):
        like = earlier.pairs.get(name) or later.pairs[name]
        # where one of the two leaves a module alone its share is zero, so that every rank is r1 + r2
        absent = [(like[0].new_zeros(r, like[0].shape[1]), like[1].new_zeros(like[1].shape[0], r)) for r in ranks]
        (a1, b1), (a2, b2) = (one.pairs.get(name, none) for one, none in zip(both, absent, strict=True))
        low = torch.cat([a1.float(), a2.float()]).contiguous()
        pairs[name] = low, torch.cat([scales[0] * b1.float(), scales[1] * b2.float()], 1).contiguous()
    rows = {name: earlier.rows.get(name, {}) | later.rows.get(name, {}) for name in {*earlier.rows, *later.rows}}
    config = dict(later.config if later.pairs or not earlier.pairs else earlier.config)
    config["base_model_name_or_path"] = later.config["base_model_name_or_path"]
    if pairs:
        config |= {"r": sum(ranks), "lora_alpha": sum(ranks), "use_rslora": False}
        config |= {"target_modules": list(pairs), "layers_to_transform": None, "layers_pattern": None}
    return Adapter(config, pairs, rows, earlier.whole | later.whole)


def write_adapter(adapter: Adapter, folder: Path) -> None:
    """Write the two files of an adapter. Raises ModelError for rows alone that are not the same in all modules."""
    import torch
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    for name, (a, b) in adapter.pairs.items():
        weights |= {PREFIX + name + LORA_A: a, PREFIX + name + LORA_B: b}
    weights |= {PREFIX + name + WEIGHT: weight for name, weight in adapter.whole.items()}
    tokens = {name: sorted(rows) for name, rows in sorted(adapter.rows.items())}
    for name, ids in tokens.items():
        key = f"{PREFIX}{name}{WRAPPED if adapter.pairs else ''}{ROWS}"
        weights[key] = torch.stack([adapter.rows[name][at].float() for at in ids])
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = dict(adapter.config)
    if adapter.pairs:
        config["trainable_token_indices"] = tokens or None
    else:
        first, *others = tokens.values()
        if any(ids != first for ids in others):
            raise ModelError("an adapter of rows holds the same tokens of every module; merge the earlier one first")
        config |= {"token_indices": first, "target_modules": list(tokens)}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _scale(config: dict[str, Any]) -> float:
    rank = float(config["r"])
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)
