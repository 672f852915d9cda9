"""Texts as vectors: from a server's embeddings endpoint, or from a transformer in this process by mean pooling."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from factory import Model, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 32  # texts to a forward pass
ASKED = 128  # texts to a request
MOST_TOKENS = 512  # of a text that are read
ATTEMPTS = 6


def embed(model: Model, texts: Sequence[str], threads: int = 1) -> NDArray[Any]:
    """Unit vectors of the texts: float32 (texts, dimensions). A text without tokens is the zero vector.

    A transformer's vector is the mean of its last hidden states over the text's tokens (Reimers and Gurevych 2019,
    arXiv:1908.10084, section 3). Raises ModelError when the model cannot be loaded or reached.
    """
    import numpy as np

    if not texts:
        return np.zeros((0, 0), np.float32)
    found = _asked(model, texts) if model.uri.startswith("openai:") else _pooled(model, texts, threads)
    sizes = np.linalg.norm(found, axis=1, keepdims=True)
    scaled: NDArray[Any] = (found / np.where(sizes > 0, sizes, 1)).astype(np.float32)
    return scaled


def _pooled(model: Model, texts: Sequence[str], threads: int) -> NDArray[Any]:
    import numpy as np
    import torch
    from transformers import AutoModel

    from .loading import load_tokenizer, resolve_folder
    from .quiet import quiet

    quiet()
    torch.set_num_threads(threads)
    tokenizer = load_tokenizer(model)
    tokenizer.padding_side = "right"
    try:
        encoder = AutoModel.from_pretrained(resolve_folder(model), dtype=torch.float32).eval()
    except Exception as error:
        raise ModelError(f"{model.uri}: its weights cannot be loaded: {str(error).splitlines()[0]}") from error
    most = min(MOST_TOKENS, getattr(encoder.config, "max_position_embeddings", None) or MOST_TOKENS)
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # little padding
    found: Any = None
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        held = tokenizer(
            [texts[at] or " " for at in chosen], padding=True, truncation=True, max_length=most, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = encoder(input_ids=held["input_ids"], attention_mask=held["attention_mask"]).last_hidden_state
        mask = held["attention_mask"].unsqueeze(-1).float()
        mean = (hidden.float() * mask).sum(1) / mask.sum(1).clamp(min=1)
        if found is None:
            found = np.zeros((len(texts), mean.shape[1]), np.float32)
        found[chosen] = mean.numpy()
    for at, text in enumerate(texts):
        if not text.strip():
            found[at] = 0
    return np.asarray(found)


def _asked(model: Any, texts: Sequence[str]) -> NDArray[Any]:
    """By the openai package, which tries again after 429 and 5xx and honours Retry-After."""
    import numpy as np
    import openai

    from .openai_api import DEFAULT_URL

    variable = model.key_env or "OPENAI_API_KEY"
    key = os.environ.get(variable, "").strip()
    if not key and (model.key_env or model.base_url == DEFAULT_URL):
        raise ModelError(f"openai:{model.name}: the environment variable {variable} is not set; it must hold your key")
    client = openai.OpenAI(
        api_key=key or "none", base_url=model.base_url, timeout=model.timeout, max_retries=ATTEMPTS - 1
    )
    rows: list[Any] = []
    try:
        for start in range(0, len(texts), ASKED):
            some = [text if text.strip() else " " for text in texts[start : start + ASKED]]
            answer = client.embeddings.create(model=model.name, input=some, encoding_format="float")
            rows += [one.embedding for one in sorted(answer.data, key=lambda one: one.index)]
    except openai.OpenAIError as error:
        said = str(error).replace(key, "***") if key else str(error)
        raise ModelError(f"{model.uri.partition('?')[0]}: no embeddings: {said.splitlines()[0][:300]}") from None
    if len(rows) != len(texts):
        raise ModelError(f"{model.uri.partition('?')[0]}: {len(texts)} texts were sent, {len(rows)} vectors came back")
    found = np.array(rows, np.float32)
    found[[not text.strip() for text in texts]] = 0
    return found
