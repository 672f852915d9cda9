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
    """`.gguf`: weights and vocabulary, as llama.cpp reads them; of a tokenizer, and as `.vocab.gguf`, no weights."""
    if not uri.endswith(".gguf"):
        return None
    if uri.endswith(".vocab.gguf") or isinstance(model, factory.Tokenizer):
        from .gguf import save_vocabulary

        return f"the vocabulary of '{model.uri}': {save_vocabulary(model, Path(uri)):,} tokens, no weights"
    from .gguf_weights import save_gguf

    return save_gguf(model, Path(uri))
