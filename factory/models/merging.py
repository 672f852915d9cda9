"""Adapters merged into their bases, in float32 whatever the base is stored in; models as folders that stand alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import CausalLM, InputError, Model, ModelError

from .extension import extension_of
from .loading import BESIDE, adapter_base, adapter_config, load_causal_lm, load_tokenizer, resolve_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Types = dict[str, "torch.dtype"]  # by the name of a parameter
NOTE = "trained_on.json"  # beside an adapter whose base was quantized; peft's own file holds nothing else than peft's


def parts_of(model: Model) -> tuple[Model, Path]:
    """(the base, the adapter's folder). Raises ModelError where there is nothing that could be merged."""
    source = resolve_folder(model)
    config = adapter_config(source)
    if config is None:
        raise ModelError(f"{model.uri} is a full model with no adapter on it; use it as it is")
    if (kind := str(config.get("peft_type"))) in BESIDE:
        raise ModelError(
            f"{model.uri} is an adapter of the kind {kind}, which works beside the weights of its base and cannot be "
            "merged into them; use it as it is, or train with method: lora"
        )
    return adapter_base(Path(source), config), Path(source)


def note_quantized(lm: Any, folder: Path) -> None:
    """Leave a note beside an adapter of how its base was held while it was trained, if it was not as it is stored."""
    held = {"nf4": "is_loaded_in_4bit", "int8": "is_loaded_in_8bit"}
    if found := [kind for kind, flag in held.items() if getattr(lm, flag, False)]:
        (folder / NOTE).write_text(json.dumps({"quantized": found[0]}) + "\n", encoding="utf-8")


def noted_quantized(folder: Path) -> Any:
    """nf4 or int8 if that is how an adapter's base was held while it was trained, else None."""
    note = folder / NOTE
    return json.loads(note.read_text(encoding="utf-8"))["quantized"] if note.is_file() else None


def put_on(base: PreTrainedModel, folder: Path) -> Any:
    """The base with the adapter in front of its weights, as it was trained."""
    import warnings

    from peft import PeftModel

    for module in base.modules():
        # bitsandbytes would compute 4-bit layers in bfloat16 where the CPU can; training does not
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft reads a name that transformers has renamed
            return PeftModel.from_pretrained(base, folder).eval()
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"peft cannot put {folder} on its base: {str(error).splitlines()[0]}") from error


def merge_into(lm: PreTrainedModel, folder: Path, types: Types | None = None) -> tuple[PreTrainedModel, Types]:
    """The base with the adapter merged in, its values rounded once to `types` but held in float32; and these types.

    types  by default those that the base comes in. Raises ModelError for an adapter with values that are not finite.
    """
    types = types or {name: weight.dtype for name, weight in lm.named_parameters()}
    for weight in lm.parameters():
        weight.data = weight.data.float()
    try:
        merged = put_on(lm, folder).merge_and_unload(safe_merge=True).eval()
    except ValueError as error:
        raise ModelError(f"{folder} holds values that are not finite; it cannot be merged") from error
    for name, weight in merged.named_parameters():
        weight.data = weight.data.to(types[name]).float()
        weight.requires_grad_(False)
    return merged, types


def save_merged(merged: PreTrainedModel, types: Types, model: Model, base: Model, output: Path) -> None:
    """Write weights in `types`, tokenizer, chat template and the note of new rows. `merged` is changed to these types.

    model, base  what was merged and what it stood on
    """
    for name, weight in merged.named_parameters():
        weight.data = weight.data.to(types[name])
    merged.save_pretrained(output)
    load_tokenizer(model).save_pretrained(output)
    if added := extension_of(model) or extension_of(base):
        added.save(output)


def save_alone(model: Model, folder: Path) -> str:
    """Write a model to a new folder, an adapter merged into its base, and say in words what was written.

    What cannot be merged is copied as it is. Raises InputError for a folder that holds something.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"'{folder}' is there already and not empty; it is left as it is, so name another folder")
    source = Path(resolve_folder(model))
    if not source.is_dir():
        raise InputError(f"'{model.uri}' is no folder on this machine, so there is nothing to copy")
    config = adapter_config(source)
    if config is None or not isinstance(model, CausalLM) or config.get("peft_type") in BESIDE:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return "a copy" if config is None else f"an adapter, which needs its base {adapter_base(source, config).uri}"
    base, adapter = parts_of(model)
    merged, types = merge_into(load_causal_lm(base, as_stored=True), adapter)
    save_merged(merged, types, model, base, folder)
    stored = ", ".join(sorted({str(one).removeprefix("torch.") for one in types.values()}))
    return f"merged into its base, as {stored}"
