"""Tables of a step's answers, read by one of the base's readers in portions; and how answers are cut into these."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from . import ranks
from .ppo_run import Run
from .rollouts import Rollout, answer_mask


def measured(
    run: Run, reader: str, rollouts: Sequence[Rollout], parts: Sequence[list[int]], temperature: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(log-probabilities, entropies, mask): tables of all answers by one reader, read in these parts. Entropies are the
    policy's alone; they cost as much as the logits do.

    temperature  that of the draws, where it is None
    """
    heat = run.practice.temperature if temperature is None else temperature
    mask = answer_mask(rollouts)
    found, entropies = torch.zeros(mask.shape), torch.zeros(mask.shape)
    run.one.use(reader)

    def read(part: list[int]) -> tuple[Tensor, Tensor]:
        logs, entropy = run.one.log_probs(run.batch(rollouts, part), heat, entropy=reader == "policy")
        return logs.cpu(), entropy.cpu()

    with torch.no_grad():
        for part, (logs, entropy) in zip(parts, ranks.shared(parts, read), strict=True):
            _fill(found, part, mask, logs)
            _fill(entropies, part, mask, entropy)
    return found, entropies, mask


def sampler_gap(run: Run, rollouts: Sequence[Rollout], old: Tensor) -> float | None:
    """Nats a token that a server's log-probabilities of what it drew are from ours (`old`); None where it tells none.

    Servers give them as they were before temperature, as vLLM does, or behind it: what is nearer to ours counts, and
    before temperature a batch of answers is looked at.
    """
    told = [row for row, one in enumerate(rollouts) if one.theirs]
    if not told:
        return None
    found = _apart([rollouts[row] for row in told], old[told])
    if run.practice.temperature != 1:
        some = [rollouts[row] for row in told[: run.practice.batch_size]]
        found = min(found, _apart(some, measured(run, "policy", some, [list(range(len(some)))], 1.0)[0]))
    return found


def _apart(rollouts: Sequence[Rollout], table: Tensor) -> float:
    pairs = zip(rollouts, table.tolist(), strict=True)
    return statistics.fmean(abs(a - b) for one, row in pairs for a, b in zip(one.theirs, row, strict=False))


def values_of(run: Run, rollouts: Sequence[Rollout], parts: Sequence[list[int]]) -> Tensor:
    """The table of what the value model expects before each token."""
    mask = answer_mask(rollouts)
    found = torch.zeros(mask.shape)
    run.one.use("value")
    with torch.no_grad():
        given = ranks.shared(parts, lambda part: run.one.values(run.batch(rollouts, part)).cpu())
    for part, values in zip(parts, given, strict=True):
        _fill(found, part, mask, values)
    return found


def _fill(table: Tensor, rows: list[int], mask: Tensor, values: Tensor) -> None:
    """Write the numbers of some rows' tokens, which stand one behind the other, where the tokens are."""
    some = table[rows]
    some[mask[rows]] = values.float()
    table[rows] = some


def minibatches_of(
    rollouts: Sequence[Rollout], minibatches: int, size: int, order: random.Random
) -> list[list[list[int]]]:
    """All answers, shuffled into minibatches, each in portions of at most `size` answers of like length, which are
    as many for each process.
    """
    rows = list(range(len(rollouts)))
    order.shuffle(rows)
    cut = [rows[at * len(rows) // minibatches : (at + 1) * len(rows) // minibatches] for at in range(minibatches)]
    found = []
    for minibatch in cut:
        minibatch.sort(key=lambda row: -len(rollouts[row].ids))
        portion = ranks.evenly(len(minibatch), size)
        found.append([minibatch[at : at + portion] for at in range(0, len(minibatch), portion)])
    return found
