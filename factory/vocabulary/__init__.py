"""Plugin: tokenizers made, extended and measured."""

from __future__ import annotations

from pathlib import Path

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .extend import extend_vocabulary
    from .measure import measure_vocabulary
    from .train_tokenizer import train_tokenizer

    return [extend_vocabulary, measure_vocabulary, train_tokenizer]


@factory.hookimpl
def save_model(model: factory.Model, uri: str) -> str | None:
    """`.gguf`: the model's vocabulary, as llama.cpp reads it."""
    if not uri.endswith(".gguf"):
        return None
    from .gguf import save_vocabulary

    return f"the vocabulary of '{model.uri}': {save_vocabulary(model, Path(uri)):,} tokens, no weights"
