"""The steps run as the engine would: datasets and models as folders, a context, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factory import CausalLM, Context, Dataset, Shard, Text, Tokenizer
from factory.engine.schema import encode, schema_of, shape_record
from factory.vocabulary.extend import extend_vocabulary
from factory.vocabulary.train_tokenizer import train_tokenizer

CHATML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"


class Notebook:
    """The engine's side of a context, as far as these steps use it."""

    def __init__(self) -> None:
        self.sections: dict[str, str] = {}

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body


def context(folder: Path) -> Context:
    return Context("extend_vocabulary", 7, 1, folder / "work", folder / "model", Notebook())  # type: ignore[arg-type]


def dataset(path: Path, texts: list[str]) -> Dataset[Any]:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    records = [{"id": f"{at:04x}", "text": text} for at, text in enumerate(texts)]
    pq.write_table(encode([shape_record(record, ["text"]) for record in records], schema_of(Text)), path)
    return Dataset([Shard(str(path), "texts")], Text)


def save(tokenizer: Any, folder: Path, model: Any = None, **named: Any) -> Any:
    """A tokenizer, or a model with it, as a folder that a recipe can name."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    if "chat" in folder.name:
        wrapped.chat_template = CHATML
    wrapped.save_pretrained(folder)
    if model is None:
        return Tokenizer(str(folder), str(folder), folder)
    model.save_pretrained(folder)
    return CausalLM(str(folder), str(folder), folder)


def llama(rows: int, tied: bool = False, **more: Any) -> Any:
    """One layer with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, **more}
    config = LlamaConfig(
        vocab_size=rows, max_position_embeddings=128, initializer_range=0.3, tie_word_embeddings=tied, bos_token_id=0,
        eos_token_id=0, **sizes,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def extend(folder: Path, base: Any, texts: list[str], **options: Any) -> tuple[Any, str]:
    """The step on some texts: (what it makes, its section in the report)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("protect",):
        if name in options:
            options[name] = dataset(folder / f"{name}.parquet", options[name])
    ctx = context(folder)
    found = extend_vocabulary.function(dataset(folder / "texts.parquet", texts), ctx, base, **options)
    return found, ctx.runtime.sections["Vocabulary"]  # type: ignore[attr-defined]


def train(folder: Path, texts: list[str], **options: Any) -> tuple[Any, str]:
    folder.mkdir(parents=True, exist_ok=True)
    ctx = context(folder)
    found = train_tokenizer.function(dataset(folder / "texts.parquet", texts), ctx, **options)
    return found, ctx.runtime.sections["Tokenizer"]  # type: ignore[attr-defined]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
