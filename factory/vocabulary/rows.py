"""Rows of a model for new tokens: embedding and head resized, the new rows made from the tokens that they replace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from factory import StepError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Chinese bits per character of SmolLM2-135M with 8,000 new pieces, untrained: 7.3 for `mean`, the base has 6.4.
Initialise = Literal["mean", "last", "normal", "distribution", "rescaled_mean"]


def add_rows(
    model: PreTrainedModel, parts: Sequence[Sequence[int]], first: int, multiple: int, initialise: Initialise, seed: int
) -> int:
    """Give the ids from `first` on a row each, and pad to a multiple. Returns the number of rows.

    parts       for each new id the base's tokens that it replaces
    initialise  mean: of their rows (Koto et al. 2021 and others); last: the row of the last; normal: N(0, .02);
                distribution: drawn with the mean and covariance of the base's rows (Hewitt 2021, transformers'
                default); rescaled_mean: the mean, as long as the base's rows are on average

    Rows that only pad are the mean of the base's: each takes no more probability than an average token. Raises
    StepError when a head has no rows of its own for tokens.
    """
    import torch

    last = first + len(parts)
    embedding = model.get_input_embeddings()
    if model.get_output_embeddings() is None:
        raise StepError("extend_vocabulary: the base has no head over its vocabulary; expected a causal language model")
    before = int(embedding.weight.shape[0])
    rows = math.ceil(max(last, before) / multiple) * multiple
    torch.manual_seed(seed)
    if rows > before:
        model.resize_token_embeddings(rows, mean_resizing=False)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with torch.no_grad():
        for matrix in [model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])]:
            _fill(matrix.weight, parts, first, min(first, before), before, INITIALISERS[initialise])
            bias = getattr(matrix, "bias", None)
            if bias is not None:
                mean = bias[: min(first, before)].mean()
                bias[first:last] = bias[max(before, first) :] = mean
    return rows


def _fill(weight: Any, parts: Sequence[Sequence[int]], first: int, known: int, before: int, make: Make) -> None:
    base = weight[:known].float()
    weight[max(before, first) :] = base.mean(0).to(weight.dtype)
    for start in range(0, len(parts), 1024):
        some = parts[start : start + 1024]
        weight[first + start : first + start + len(some)] = make(base, some).to(weight.dtype)


Make = Callable[["torch.Tensor", Sequence[Sequence[int]]], "torch.Tensor"]


def _mean(base: torch.Tensor, parts: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    return torch.stack([base[list(some)].mean(0) for some in parts])


def _last(base: torch.Tensor, parts: Sequence[Sequence[int]]) -> torch.Tensor:
    return base[[some[-1] for some in parts]]


def _normal(base: torch.Tensor, parts: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    return torch.randn(len(parts), base.shape[1]) * 0.02


def _distribution(base: torch.Tensor, parts: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    centred = (base - base.mean(0)).double()
    covariance = centred.T @ centred / len(base)
    # transformers scales it by 1e-9, which makes all new rows about equal; so do we, to be what the name says
    values, vectors = torch.linalg.eigh(1e-9 * covariance)
    noise = torch.randn(len(parts), base.shape[1], dtype=torch.float64)
    return (base.mean(0) + ((noise * values.clamp(min=0).sqrt()) @ vectors.T)).float()


def _rescaled_mean(base: torch.Tensor, parts: Sequence[Sequence[int]]) -> torch.Tensor:
    found = _mean(base, parts)
    return found * (base.norm(dim=1).mean() / found.norm(dim=1, keepdim=True).clamp(min=1e-6))


INITIALISERS: dict[Initialise, Make] = {
    "mean": _mean, "last": _last, "normal": _normal, "distribution": _distribution, "rescaled_mean": _rescaled_mean,
}  # fmt: skip
