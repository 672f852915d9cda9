"""Weights and tokenizers, loaded through transformers: full folders, LoRA adapters, hub ids, the bundled model."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import Model, ModelError, project_path

from .quiet import quiet

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


# Kinds of adapter that work beside the weights of their base and are never merged into them.
BESIDE = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "BOTTLENECK", "BITFIT")


def resolve_folder(model: Model) -> Path | str:
    """Where the model's files are: a folder, or a hub id that transformers downloads.

    The bundled model is converted first if it never was (seconds). Raises ModelError for a model asked over HTTP.
    """
    if model.path is not None:
        return model.path
    if model.uri.startswith("bundled:"):
        from .bundled import converted_folder

        return converted_folder()
    if model.uri.startswith("openai:"):
        raise ModelError(f"{model.uri} is asked over HTTP; it has no weights to load. Name a folder or a hub id")
    return model.uri.partition("@")[0]


def load_tokenizer(model: Model) -> PreTrainedTokenizerBase:
    """The model's tokenizer, always with a pad token and a chat template.

    Where it brings none, the pad token is the eos token (so mask by lengths) and the template is `chat.PLAIN`.
    """
    from transformers import AutoTokenizer

    from .chat import PLAIN

    quiet()
    source = _with_tokenizer(resolve_folder(model))
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **_revision(model))
    except Exception as error:
        raise ModelError(f"{model.uri}: its tokenizer cannot be loaded: {_first_line(error)}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN
    return tokenizer


def load_causal_lm(
    model: Model, quantize: str | None = None, as_stored: bool = False, sharded: bool = False
) -> PreTrainedModel:
    """The model's weights in evaluation mode: float32 on CPU, bfloat16 on a GPU, where they are then also placed.

    An adapter folder comes as its base with the adapter merged in. `quantize` is None, `nf4` (4 bits with double
    quantization, Dettmers et al. 2023, section 3) or `int8`; an adapter is merged before its base is quantized.
    `as_stored` keeps the type that the weights are stored in, and leaves them on the CPU: to change and save them.
    `sharded` splits the weights over the processes of torch.distributed, all of which have to call it (FSDP2).
    Raises ModelError when the files are missing or are no causal language model.
    """
    if quantize not in (None, "nf4", "int8"):
        raise ModelError(f"quantize is '{quantize}'; expected nf4 or int8")
    from transformers import AutoModelForCausalLM

    quiet()
    source = resolve_folder(model)
    try:
        if adapter := adapter_config(source):
            if sharded:
                raise ModelError(
                    f"{model.uri} is an adapter, and --sharded splits whole weights; put the step merge before this one"
                )
            return _load_adapter(Path(source), adapter, quantize, as_stored)
        if as_stored:
            return AutoModelForCausalLM.from_pretrained(source, dtype="auto", **_revision(model)).eval()
        return _load_full(source, quantize, sharded, **_revision(model))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{model.uri}: its weights cannot be loaded: {_first_line(error)}") from error


def load_config(model: Model) -> PreTrainedConfig:
    """What the model is made like; of an adapter, what its base is. Raises ModelError when there is nothing to read."""
    from transformers import AutoConfig

    quiet()
    source = resolve_folder(model)
    if adapter := adapter_config(source):
        return load_config(adapter_base(Path(source), adapter))
    try:
        return AutoConfig.from_pretrained(source, **_revision(model))
    except Exception as error:
        raise ModelError(f"{model.uri}: its config cannot be read: {_first_line(error)}") from error


def adapter_config(source: Path | str) -> dict[str, Any] | None:
    """What a folder's adapter_config.json says, or None when it holds no adapter."""
    path = Path(source) / "adapter_config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def adapter_base(folder: Path, config: dict[str, Any]) -> Model:
    """The model below an adapter. Its folder may be named absolutely or relative to the project or to the adapter."""
    from . import open_model
    from .bundled import FOLDER, URI

    name = str(config["base_model_name_or_path"])
    for place in (project_path(name), folder / name):
        if place.is_dir():
            return Model(uri=name, path=place)
    if Path(name).name == FOLDER:  # trained in another cache, or on another machine
        name = URI
    base = None if name.startswith((".", "/", "~")) else open_model(uri=name)
    if base is None:
        raise ModelError(f"{folder}: the adapter's base model '{name}' is not there")
    return base


def device() -> torch.device:
    """The GPU of this process when there is one, else the CPU."""
    import torch

    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def _load_full(source: Path | str, quantize: str | None, sharded: bool = False, **options: Any) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    place = device()
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    if quantize == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    elif quantize == "int8":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    if sharded:
        from transformers.distributed import DistributedConfig

        count = int(os.environ["WORLD_SIZE"])
        options["distributed_config"] = DistributedConfig(fsdp_size=count, fsdp_mixed_precision=place.type == "cuda")
    elif quantize or place.type == "cuda":
        options["device_map"] = {"": place}
    return AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **options).eval()


def _load_adapter(folder: Path, config: dict[str, Any], quantize: str | None, as_stored: bool) -> PreTrainedModel:
    """Base and adapter as one plain model; what is quantized is the merged model, read back from a temporary folder.

    Adapters that no weight can hold (virtual tokens, bottlenecks, biases) work beside the base, which may be quantized.
    """
    kind, below = str(config.get("peft_type")), adapter_base(folder, config)
    if kind in BESIDE:
        if as_stored:
            raise ModelError(
                f"{folder.name}: an adapter of the kind {kind} cannot be merged into weights; use it as it is"
            )
        base = load_causal_lm(below, quantize)
        if kind in ("BOTTLENECK", "BITFIT"):
            from .light import load_light

            return load_light(base, folder, config)
        from .opening import load_opened

        return load_opened(base, folder)
    from peft import PeftModel

    base = load_causal_lm(below, as_stored=as_stored)
    merged = PeftModel.from_pretrained(base, folder).merge_and_unload().eval()
    if quantize is None:
        return merged
    with tempfile.TemporaryDirectory() as temporary:
        merged.save_pretrained(temporary)
        return _load_full(Path(temporary), quantize)


def _with_tokenizer(source: Path | str) -> Path | str:
    """The folder itself, or an adapter's base when the tokenizer was not saved beside the adapter."""
    config = adapter_config(source)
    if config is None or any((Path(source) / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return source
    return _with_tokenizer(resolve_folder(adapter_base(Path(source), config)))


def _revision(model: Model) -> dict[str, str]:
    """The revision a hub model was planned with, so that what is loaded is what the identity says."""
    name, _, revision = model.identity.partition("@")
    return {"revision": revision} if revision and model.path is None and name == model.uri.partition("@")[0] else {}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
