"""Models put on one base: the policy with its adapters, a reward model, a value model; and the policy saved."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from factory import CausalLM, ModelError, RewardModel
from factory.models.extension import extension_of
from factory.models.loading import adapter_base, adapter_config, load_causal_lm, resolve_folder
from factory.models.merging import note_quantized
from factory.models.reward_head import NAME, RewardHead

from .adapters import LoraOptions, embedding_names, root_of, without_dropout
from .one_base import OneBase
from .sums import WEIGHTS, Adapter, read_adapter, sum_of, write_adapter

HEAD = f"base_model.model.{NAME}.weight"  # in a reward adapter that peft saved
HEADS = {NAME, "classifier"}  # what peft itself takes for heads


def load_one_base(policy: CausalLM, quantize: str | None, lora: LoraOptions, seed: int) -> OneBase:
    """The policy's base with its earlier adapter ("sft", frozen) and a new one ("policy").

    Rows of embeddings that the earlier adapter changed are written into the base, where they are trained no more.
    Raises ModelError for an adapter that is no plain LoRA, and for target_modules that are not there.
    """
    root, earlier = root_of(policy)
    below = policy if earlier is None else adapter_base(earlier, adapter_config(earlier) or {})
    lm: Any = load_causal_lm(below, quantize)
    lm.requires_grad_(False)
    without_dropout(lm)
    before = read_adapter(earlier, embedding_names(lm)) if earlier is not None else None
    targets = _targets(lm, lora)
    torch.manual_seed(seed)
    peft = _with_adapter(lm, "policy", _config(targets, lora.r, lora.alpha))
    one = OneBase(lm, peft, {"reference": (), "policy": ("policy",)}, root, earlier)
    if before is not None:
        _put_rows(lm, before)
        if before.pairs:
            put_adapter(one, "sft", before)
            one.readers |= {"reference": ("sft",), "policy": ("sft", "policy")}
    for module in lm.modules():
        # bitsandbytes repacks 4-bit weights for the CPU when they are first measured; no gradient comes through these
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    one.use("policy")
    one.bare = _is_bare(one)
    return one


def _is_bare(one: OneBase) -> bool:
    ids = torch.arange(4, device=one.lm.device)[None]
    with torch.no_grad():
        own = one.lm.get_output_embeddings()(one.hidden(ids, torch.ones_like(ids)))
        return bool(torch.allclose(one.lm(input_ids=ids, use_cache=False).logits, own, rtol=1e-4, atol=1e-4))


def add_reward(one: OneBase, reward: RewardModel) -> bool:
    """Put a reward model on the base as a frozen adapter and a head; False where it does not stand on this base.

    It stands on it when it is a plain LoRA of a sequence classifier whose base is the very folder or hub id that the
    policy's is. Raises ModelError for one that does, and has another tokenizer or no head.
    """
    source = resolve_folder(reward)
    config = adapter_config(source)
    if config is None:
        return False
    below = resolve_folder(adapter_base(Path(source), config))
    odd = [name for name in ("use_dora", "rank_pattern", "alpha_pattern", "lora_bias") if config.get(name)]
    plain = config.get("peft_type") == "LORA" and not odd and set(config.get("modules_to_save") or ()) <= HEADS
    if not plain or config.get("bias", "none") != "none" or _place(below) != _place(one.root):
        return False
    adapter = read_adapter(Path(source), embedding_names(one.lm))
    before = read_adapter(one.earlier, embedding_names(one.lm)).rows if one.earlier is not None else {}
    unknown = any(rows.keys() - adapter.rows.get(name, {}).keys() for name, rows in before.items())
    if unknown or not _has_rows(one.lm, adapter):
        return False  # it was trained on other embeddings than the policy's
    put_adapter(one, "reward", adapter)
    one.readers["reward"] = ("reward",)
    one.heads["reward"] = _read_head(Path(source), reward, one.lm)
    return True


def add_value(one: OneBase, lora: LoraOptions) -> None:
    """The value model to train: a copy of the reward's adapter and head where it is on the base, else new ones."""
    if "reward" in one.heads:
        source = _adapter_of(one, "reward")
        put_adapter(one, "value", source)
        head = _head(one.lm, one.heads["reward"].weight)
    else:
        with _quiet():
            one.peft.add_adapter("value", _config(_targets(one.lm, lora), lora.r, lora.alpha))
        _to_float(one, "value")
        head = _head(one.lm, None)
    one.readers["value"] = ("value",)
    one.heads["value"] = head


def put_adapter(one: OneBase, name: str, adapter: Adapter) -> None:
    """An adapter that was read from a folder, or taken off another, under a name of its own. Its weights are copied."""
    saved = adapter.config
    config = _config(sorted(adapter.pairs), int(saved["r"]), float(saved["lora_alpha"]), bool(saved.get("use_rslora")))
    try:
        with _quiet():
            one.peft.add_adapter(name, config)
    except ValueError as error:
        raise ModelError(f"{one.root}: the {name} adapter does not fit: {str(error).splitlines()[0]}") from error
    _to_float(one, name)
    modules = dict(one.lm.named_modules())
    for path, (a, b) in adapter.pairs.items():
        module = modules[path]
        for weight, given in ((module.lora_A[name].weight, a), (module.lora_B[name].weight, b)):
            if weight.shape != given.shape:
                shapes = f"{tuple(given.shape)} instead of {tuple(weight.shape)}"
                raise ModelError(f"the {name} adapter does not fit the base {one.root}: {path} has {shapes}")
            with torch.no_grad():
                weight.copy_(given)


def save_policy(one: OneBase, policy: CausalLM, tokenizer: Any, output: Path) -> None:
    """Write the policy as one LoRA on the root: its earlier adapter and the new one side by side, with tokenizer."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    write_adapter(policy_adapter(one), output)
    note_quantized(one.lm, output)
    tokenizer.save_pretrained(output)
    if added := extension_of(policy):
        added.save(output)


def policy_adapter(one: OneBase) -> Adapter:
    """The policy's earlier adapter and the new one as it is now, as one."""
    made = _adapter_of(one, "policy")
    return made if one.earlier is None else sum_of(read_adapter(one.earlier, embedding_names(one.lm)), made)


def _adapter_of(one: OneBase, name: str) -> Adapter:
    """An adapter as it is now, copied, in the form of a folder that was read."""
    pairs = {}
    for path, module in one.lm.named_modules():
        if name in getattr(module, "lora_A", ()):
            pair = module.lora_A[name].weight, module.lora_B[name].weight
            pairs[path] = tuple(weight.detach().float().cpu().clone().contiguous() for weight in pair)
    config = one.peft.peft_config[name].to_dict()
    config |= {"target_modules": sorted(pairs), "base_model_name_or_path": str(one.root), "inference_mode": True}
    plain = json.loads(
        json.dumps(config, default=lambda value: sorted(value) if isinstance(value, set) else str(value))
    )
    return Adapter(plain, pairs, {})


def _with_adapter(lm: Any, name: str, config: Any) -> Any:
    from peft import PeftModel

    with _quiet():
        return PeftModel(lm, config, adapter_name=name, autocast_adapter_dtype=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """peft reads a name that transformers has renamed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _config(targets: Sequence[str], r: int, alpha: float, rslora: bool = False) -> Any:
    from peft import LoraConfig

    # Dropout would make the policy differ from itself: its ratio at the first minibatch would not be 1.
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=r,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=list(targets),
        bias="none",
        use_rslora=rslora,
    )


def _targets(lm: Any, lora: LoraOptions) -> list[str]:
    """Full paths of the linear layers that an adapter changes; the head is none of them."""
    head = lm.get_output_embeddings()
    linear = [
        name.removesuffix(".base_layer")
        for name, module in lm.named_modules()
        if isinstance(module, nn.Linear) and module is not head and ".lora_" not in name
    ]
    if lora.target_modules != "all-linear":
        wanted = [lora.target_modules] if isinstance(lora.target_modules, str) else lora.target_modules
        linear = [name for name in linear if any(name == one or name.endswith(f".{one}") for one in wanted)]
    if lora.layers:
        total = int(lm.config.get_text_config().num_hidden_layers)
        last = {str(at) for at in range(total - lora.layers, total)}
        linear = [name for name in linear if last & set(name.split("."))]
    if not linear:
        raise ModelError(f"lora.target_modules {lora.target_modules}: the model has no such linear layer")
    return sorted(set(linear))


def _put_rows(lm: Any, adapter: Adapter) -> None:
    for name, rows in adapter.rows.items():
        weight = lm.get_submodule(name).weight
        with torch.no_grad():
            for token, row in rows.items():
                weight[token] = row.to(weight)


def _has_rows(lm: Any, adapter: Adapter) -> bool:
    """Whether the base's embeddings hold the adapter's rows already."""
    return all(
        torch.equal(lm.get_submodule(name).weight[token], row.to(lm.get_submodule(name).weight))
        for name, rows in adapter.rows.items()
        for token, row in rows.items()
    )


def _to_float(one: OneBase, name: str) -> None:
    """What is trained is float32 whatever the base is; a bfloat16 weight loses updates below 1/256 of it."""
    for path, weight in one.lm.named_parameters():
        if path.endswith(f".{name}.weight"):
            weight.data = weight.data.to(one.lm.device, torch.float32)


def _read_head(folder: Path, reward: RewardModel, lm: Any) -> RewardHead:
    from safetensors.torch import load_file

    state = load_file(folder / WEIGHTS)
    if HEAD not in state:
        raise ModelError(f"{reward.uri}: it holds no head ({HEAD}); expected an adapter of a sequence classifier")
    return _head(lm, state[HEAD])


def _head(lm: Any, weight: Tensor | None) -> RewardHead:
    """A head of one number; without a weight it says 0 of everything."""
    head = RewardHead(int(lm.config.get_text_config().hidden_size))
    head.weight.data = torch.zeros_like(head.weight) if weight is None else weight.detach().float().clone()
    head.to(lm.device).requires_grad_(False)
    return head


def _place(source: Path | str) -> str:
    return str(source.resolve()) if isinstance(source, Path) else source
