"""What trainers are timed on: models of given shapes with random weights, the memory in use, a machine's peak."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

# vocabulary (None: the bundled tokenizer's), hidden, intermediate, layers, heads, key-value heads
SHAPES = {
    "tiny": (None, 64, 128, 2, 4, 2),
    "150k": (151_936, 576, 1536, 4, 9, 3),
    "1b": (128_256, 2048, 8192, 16, 32, 8),  # those of Llama 3.2 1B
    "7b": (32_000, 4096, 11_008, 32, 32, 32),  # those of Llama 2 7B
}
MODELS = ("bundled", *SHAPES)


def make_model(name: str, folder: Path) -> None:
    """Write model and tokenizer: the bundled one, or a Llama of this shape, from 1b on in bfloat16 and made on a GPU if
    there is one.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from factory.models.bundled import converted_folder

    source = converted_folder()
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(folder)
    if name == "bundled":
        AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).save_pretrained(folder)
        return
    vocabulary, hidden, intermediate, layers, heads, kv_heads = SHAPES[name]
    large = layers >= 16
    config = LlamaConfig(
        vocab_size=vocabulary or len(tokenizer), hidden_size=hidden, intermediate_size=intermediate,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=2048, tie_word_embeddings=name != "7b",
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if large else torch.float32)
    with torch.device("cuda" if large and torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)


def load_base(folder: Path, quantize: str | None) -> Any:
    """The model as a trainer of others is given it: float32 on a CPU, bfloat16 on a GPU, or in nf4 on either."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    options: dict[str, Any] = {"device_map": {"": 0}} if gpu else {}
    if quantize == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **options)


def held() -> float:
    """Megabytes in use now: of a GPU those that are allocated, else those of this process that are in memory."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 1e6
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak() -> float:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def matrix_peak() -> float:
    """Operations a second of one large matrix product, the best of five: bfloat16 on a GPU, float32 on a CPU."""
    import torch

    gpu = torch.cuda.is_available()
    size = 8192 if gpu else 2048
    a = torch.randn(size, size, dtype=torch.bfloat16 if gpu else torch.float32, device="cuda" if gpu else "cpu")
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        if gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
