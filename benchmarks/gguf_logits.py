"""Whether llama.cpp gives the logits of transformers for the GGUF files that `factory export` writes.

    python benchmarks/gguf_logits.py PYTHON [MODEL ...]

PYTHON is an interpreter with llama-cpp-python. Without a MODEL, tiny random ones are made: Llama plain, with tied
embeddings, with heads wider than their share, with biases, with positions scaled in the two ways that are written,
Qwen2 and Qwen3. MODEL is anything a recipe can name (bundled:smollm2, a folder).

Printed are, of each file, the largest difference of a logit and the share of 40 positions with the same likeliest
token. llama.cpp computes with a key-value cache in float32 here; by default it has one in float16, which alone moves
the logits of such models by about 1e-2.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)  # fmt: skip

from factory import CausalLM, Model
from factory.models import open_model
from factory.models.loading import load_causal_lm
from factory.vocabulary.gguf_weights import save_gguf

TOKENS = 40
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
TINY: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama, tied": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": True}),
    "llama, wide heads": (LlamaConfig, LlamaForCausalLM, {"head_dim": 32}),
    "llama, biases": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True}),
    "llama, scaled as 3.1": (LlamaConfig, LlamaForCausalLM, {
        "head_dim": 64, "rope_parameters": {**LLAMA3, "original_max_position_embeddings": 64}
    }),
    "llama, scaled linearly": (LlamaConfig, LlamaForCausalLM, {
        "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    }),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 128}),
}  # fmt: skip
READER = """
import sys
import numpy as np
from llama_cpp import Llama
llama = Llama(model_path=sys.argv[1], n_ctx=128, logits_all=True, verbose=False, type_k=0, type_v=0, flash_attn=False)
llama.eval(list(range(int(sys.argv[3]))))
np.save(sys.argv[2], np.array(llama.scores[: int(sys.argv[3])]))
"""


def make(folder: Path, config: Any, kind: Any, options: dict[str, Any]) -> None:
    """A random model, its vectors too, since biases of zero and norms of one would hide an exchange."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(["a list of words"], trainers.BpeTrainer(
        vocab_size=280, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    ))  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>")
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(tokenizer) + 5, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.2,
    }  # fmt: skip
    model = kind(config(**shape, **options))
    for weight in model.parameters():
        if weight.ndim == 1:
            weight.data += 0.3 * torch.randn_like(weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def compare(name: str, model: Model, python: str, folder: Path) -> None:
    file, found = folder / "model.F32.gguf", folder / "logits.npy"
    save_gguf(model, file)
    subprocess.run([python, "-c", READER, str(file), str(found), str(TOKENS)], check=True, capture_output=True)
    with torch.no_grad():
        wanted = load_causal_lm(model)(input_ids=torch.arange(TOKENS)[None]).logits[0].float().cpu().numpy()
    given = np.load(found)
    same = (given.argmax(1) == wanted.argmax(1)).mean()
    print(f"{name:24}  {np.abs(given - wanted).max():.1e}  {same:.0%}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", metavar="PYTHON")
    parser.add_argument("models", metavar="MODEL", nargs="*")
    given = parser.parse_args()
    print(f"{'model':24}  {'largest':7}  same")
    with tempfile.TemporaryDirectory() as temporary:
        if given.models:
            for uri in given.models:
                opened = open_model(uri=uri)
                assert opened is not None, f"no plugin opens {uri}"
                compare(uri, opened, given.python, Path(temporary))
        else:
            for said, made in TINY.items():
                make(Path(temporary) / said, *made)
                compare(said, CausalLM(uri=said, path=Path(temporary) / said), given.python, Path(temporary))
