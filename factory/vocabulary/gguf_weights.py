"""A language model as one GGUF file, weights and vocabulary, as llama.cpp and transformers (`gguf_file=`) read it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import CausalLM, InputError, Model

from .gguf import add_tokens, described

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from transformers import PreTrainedConfig, PreTrainedModel

# model_type of transformers -> llama.cpp's name of an architecture with the same tensors
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
SCALED = ("default", "linear", "llama3")  # kinds of positions
STORED = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}
# Forms that the gguf package writes, and their numbers in `general.file_type`; k-quants need llama.cpp's own tool.
FORMS = {"F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7}
NAMED = re.compile(r"[.-]([a-z0-9_]+)\.gguf$", re.IGNORECASE)


def save_gguf(model: Model, path: Path) -> str:
    """Write a model to `path` and say in words what was written; an adapter is merged into its base first.

    The file's name may say the form of the weights, as llama.cpp's do: `tutor.Q8_0.gguf`, `tutor-f16.gguf`. Else they
    stay in the type they are stored in. Vectors (norms, biases) are always F32. Raises InputError, in a sentence, for
    models that llama.cpp has no counterpart to or that are not written here, and for tokenizers that it cuts otherwise.
    """
    if not isinstance(model, CausalLM):
        raise InputError(f"a .gguf file holds a language model, and {model.uri} is a {type(model).__name__}")
    from gguf import GGUFWriter

    from factory.models.loading import load_causal_lm, load_config, load_tokenizer

    _check(load_config(model).get_text_config(), model.uri)  # before the weights are read
    tokenizer = load_tokenizer(model)
    lm = load_causal_lm(model, as_stored=True)
    config = lm.config.get_text_config()
    form = _form(path, lm)
    try:
        vocabulary = described(tokenizer, int(lm.get_input_embeddings().weight.shape[0]))
    except InputError as error:
        raise InputError(f"{model.uri}: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    writer = GGUFWriter(temporary, ARCHITECTURES[config.model_type])
    try:
        _add_settings(writer, config, path.name.split(".")[0], form)
        add_tokens(writer, vocabulary, tokenizer)
        total = _write(writer, lm, config, form)
        writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return f"{total:,} weights as {form} and {len(vocabulary.tokens):,} tokens"


def _check(config: PreTrainedConfig, uri: str) -> None:
    """Raise InputError for what would be written wrongly or in part."""
    kind = config.model_type
    if kind not in ARCHITECTURES:
        raise InputError(
            f"{uri} is a {kind}, whose weights are not written as GGUF here ({', '.join(ARCHITECTURES)} are); export "
            "it to a folder and give that to llama.cpp's convert_hf_to_gguf.py"
        )
    rope = config.rope_parameters.get("rope_type", "default")
    windowed = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    for odd in (f"positions scaled by {rope}" if rope not in SCALED else "", "a sliding window" if windowed else ""):
        if odd:
            raise InputError(
                f"{uri} has {odd}, which is not written as GGUF here; export it to a folder and give that to "
                "llama.cpp's convert_hf_to_gguf.py"
            )


def _form(path: Path, lm: PreTrainedModel) -> str:
    """What the name says, else the stored type."""
    found = NAMED.search(path.name)
    said = found[1].upper() if found else ""
    if said in FORMS:
        return said
    if re.fullmatch(r"I?Q\d_.*", said):
        raise InputError(f"'{path.name}' asks for {said}; written here are {', '.join(FORMS)}, in the file's name")
    return STORED[str(lm.dtype)]


def _add_settings(writer: GGUFWriter, config: PreTrainedConfig, name: str, form: str) -> None:
    from gguf import RopeScalingType

    head = _head(config)
    writer.add_name(name)
    writer.add_file_type(FORMS[form])
    if form.startswith("Q"):
        writer.add_quantization_version(2)  # GGML_QNT_VERSION
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    if config.rope_parameters.get("rope_type") == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(config.rope_parameters["factor"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _write(writer: GGUFWriter, lm: PreTrainedModel, config: PreTrainedConfig, form: str) -> int:
    """Write the file with one tensor in memory at a time, besides the model; how many weights it has."""
    from gguf import GGML_QUANT_SIZES
    from gguf.quants import quantize

    total = 0
    for name, weight, kind in _tensors(lm, config, form):
        block, size = GGML_QUANT_SIZES[kind]
        writer.add_tensor_info(name, weight.shape, weight.dtype, weight.size // block * size, raw_dtype=kind)
        total += weight.size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, weight, kind in _tensors(lm, config, form):
        writer.write_tensor_data(quantize(weight, kind))
    return total


def _tensors(
    lm: PreTrainedModel, config: PreTrainedConfig, form: str
) -> Iterator[tuple[str, np.ndarray[Any, Any], GGMLQuantizationType]]:
    """(llama.cpp's name, values in float32, what they are written as) of every tensor.

    Rows that no block of a quantized form fits into are F16, as llama.cpp's converter writes them.
    """
    from gguf import GGML_QUANT_SIZES, MODEL_ARCH_NAMES, GGMLQuantizationType, get_tensor_name_map

    arch = next(one for one, name in MODEL_ARCH_NAMES.items() if name == ARCHITECTURES[config.model_type])
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    wanted, half, exact = GGMLQuantizationType[form], GGMLQuantizationType.F16, GGMLQuantizationType.F32
    if config.rope_parameters.get("rope_type") == "llama3":
        yield "rope_freqs.weight", _slowing(config), exact
    for own, tensor in lm.state_dict().items():
        if own == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise InputError(f"llama.cpp's {ARCHITECTURES[config.model_type]} has no tensor for {own}")
        weight = tensor.float().numpy()
        if ARCHITECTURES[config.model_type] == "llama" and ".attn_q." in name:
            weight = _interleaved(weight, config.num_attention_heads)
        elif ARCHITECTURES[config.model_type] == "llama" and ".attn_k." in name:
            weight = _interleaved(weight, config.num_key_value_heads)
        fits = weight.shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0
        yield name, weight, exact if weight.ndim == 1 else wanted if fits else half


def _interleaved(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of a projection as llama.cpp's rotation pairs them, neighbours; transformers pairs halves of a head."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape).copy()


def _head(config: PreTrainedConfig) -> int:
    """Numbers in a head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _slowing(config: PreTrainedConfig) -> np.ndarray[Any, Any]:
    """By how much Llama 3.1 slows each rotation, (head / 2): the slow ones by `factor`, the fast ones not at all."""
    import numpy as np

    said, head = config.rope_parameters, _head(config)
    turns = (
        said["original_max_position_embeddings"] / (2 * np.pi) / said["rope_theta"] ** (np.arange(0, head, 2) / head)
    )
    low, high = said["low_freq_factor"], said["high_freq_factor"]  # turns in the original context
    kept = np.clip((turns - low) / (high - low), 0, 1)
    slowing: np.ndarray[Any, Any] = 1 / (kept + (1 - kept) / said["factor"])
    return slowing.astype(np.float32)
