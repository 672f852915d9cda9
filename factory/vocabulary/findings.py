"""What measuring a vocabulary finds, and the metrics that are made of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from factory import CausalLM, Model
from factory.models.loading import resolve_folder

from .comparing import Comparison, Tally
from .scripts import SCRIPTS
from .using import Use


@dataclass(frozen=True)
class Size:
    """What a model's config says of its embeddings: tokens of context, columns, rows, and bytes of a number."""

    context: int
    hidden: int
    rows: int
    tied: bool
    width: int

    def added(self, rows: int) -> int:
        """Parameters that so many more rows are, in the embedding and, where it is not tied to it, the head."""
        return rows * self.hidden * (1 if self.tied else 2)


@dataclass
class Found:
    """All that was measured; `None` where it was not."""

    comparison: Comparison
    vocabulary: tuple[int, int]
    new: list[int]
    halves: list[int]
    dead: list[str]
    uses: list[Use]
    sizes: tuple[Size | None, Size | None]
    protected: int | None = None  # lines of `protect`
    changed: int = 0  # of these with other tokens
    changes: tuple[str, ...] = ()  # a few of these
    leak: float | None = None


def size_of(model: Model) -> Size | None:
    """What the config beside a model's weights says; None for a tokenizer, or where the config says no such thing."""
    from transformers import AutoConfig

    if not isinstance(model, CausalLM):
        return None
    try:
        config = AutoConfig.from_pretrained(resolve_folder(model)).get_text_config()
        width = getattr(config.dtype, "itemsize", 4)
        tied = bool(config.tie_word_embeddings)
        return Size(config.max_position_embeddings, config.hidden_size, config.vocab_size, tied, width)
    except (OSError, ValueError, AttributeError):
        return None


def figures(found: Found) -> Iterator[tuple[str, str, float]]:
    """(name, of, value) of every metric."""
    whole = found.comparison
    for of, tally, size, known in zip(
        ("before", "after"), (whole.before, whole.after), found.sizes, found.vocabulary, strict=True
    ):
        yield from _of_text(whole, tally, of, slice(None))
        yield "coverage", of, 1 - int(tally.unknown.sum()) / int(whole.characters.sum())
        yield "byte_fallback", of, int(tally.partial.sum()) / max(1, int(tally.tokens.sum()))
        yield "round_trip", of, 1 - tally.broken / whole.lines
        yield "vocabulary", of, float(known)
        if size is not None:
            characters = int(whole.characters.sum()) / max(1, int(tally.tokens.sum()))
            yield "characters_in_context", of, size.context * characters
        for place, script in enumerate(SCRIPTS):
            if whole.characters[place]:
                for name, _, value in _of_text(whole, tally, of, slice(place, place + 1)):
                    yield f"{name} ({script})", of, value
    yield "new_tokens", "after", float(len(found.new))
    yield "intermediates", "after", float(len(found.halves))
    yield "unreachable", "after", float(len(found.dead))
    yield "lines_longer", "after", whole.longer / whole.lines
    if found.protected:
        yield "drift", "after", found.changed / found.protected
    if found.leak is not None and not math.isnan(found.leak):
        yield "leak", "after", found.leak
    if (grown := growth(found)) is not None:
        yield "parameters_added", "after", float(grown[0])
        yield "bytes_added", "after", float(grown[1])


def growth(found: Found) -> tuple[int, int] | None:
    """(parameters, bytes) that the new rows add; by the number of new tokens where only `after` is a model."""
    before, after = found.sizes
    if after is None:
        return None
    parameters = after.added(after.rows - before.rows if before is not None else len(found.new))
    return parameters, parameters * after.width


def _of_text(whole: Comparison, tally: Tally, of: str, scripts: slice) -> Iterator[tuple[str, str, float]]:
    tokens = int(tally.tokens[scripts].sum())
    for unit in ("character", "byte", "word"):
        count = int(getattr(whole, "bytes" if unit == "byte" else f"{unit}s")[scripts].sum())
        if count:
            yield f"tokens_per_{unit}", of, tokens / count
