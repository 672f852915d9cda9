"""How long a text is: in words, in characters, or in the tokens of a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from factory import InputError, Model, Shard
from factory.text.words import words

from ..reshape import full_text

if TYPE_CHECKING:
    import numpy as np

Unit = Literal["words", "characters"]  # what is counted where no tokenizer is named
AT_ONCE = 256  # texts given to a tokenizer together


def lengths(texts: Sequence[str], unit: Unit, tokenizer: Model | None) -> list[int]:
    """The length of each text. Words are those of `factory.text.words`: characters where words are not spaced.

    Tokens are counted without those that a model puts around a text (begin, end).
    """
    if tokenizer is not None:
        found = tokenizer_of(tokenizer)
        if not texts:
            return []
        return [len(ids) for ids in found(list(texts), add_special_tokens=False, verbose=False)["input_ids"]]
    return [len(text) for text in texts] if unit == "characters" else [len(words(text)) for text in texts]


def shard_lengths(shard: Shard, unit: Unit, tokenizer: Model | None) -> np.ndarray[Any, Any]:
    """[records] the length of each record's text, all columns together; for `ctx.map`."""
    import numpy as np

    found: list[int] = []
    held: list[str] = []
    for record in shard.records():
        held.append(full_text(record))
        if len(held) == AT_ONCE:
            found += lengths(held, unit, tokenizer)
            held = []
    return np.array(found + lengths(held, unit, tokenizer), np.int64)


def unit_name(unit: Unit, tokenizer: Model | None) -> str:
    """What is counted, for a person to read."""
    return unit if tokenizer is None else f"tokens of {tokenizer.uri}"


@lru_cache(maxsize=2)
def tokenizer_of(model: Model) -> Any:
    """The model's tokenizer, loaded once in each process. Raises InputError for one that does not know positions."""
    from factory.models.loading import load_tokenizer

    tokenizer = load_tokenizer(model)
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer of {model.uri} does not tell where its tokens stand; name a fast one")
    return tokenizer
