"""Answers scored by a reward model, on the policy's base or apart, a judge, the terms of a recipe; the weighted sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from factory import Context, ModelError, StepError, assistant
from factory.models.chat import encode_turns
from factory.models.loading import load_tokenizer
from factory.models.rewards import batch_rewards, batches_of, load_reward_model, padded

from . import ranks
from .judging import Judge
from .loading import add_reward
from .one_base import OneBase
from .rewards import JUDGE, MODEL, Rewarding, Scorer, scores_of


@dataclass
class Running:
    """Mean and deviation of everything seen so far (Welford 1962), kept in checkpoints."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean

    def add(self, values: Sequence[float]) -> None:
        for value in values:
            self.count += 1
            distance = value - self.mean
            self.mean += distance / self.count
            self.squares += distance * (value - self.mean)

    @property
    def deviation(self) -> float:
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def normal(self, value: float) -> float:
        """The value with the mean taken off, in deviations; as it is where all were equal so far."""
        return (value - self.mean) / self.deviation if self.deviation > 1e-8 else value - self.mean


@dataclass
class Scoring:
    """All that rewards an answer.

    tokenizer  the reward model's own: it reads exactly the text form that it was trained on
    apart      a reward model with weights of its own; None where it is an adapter of `one`, or where there is none
    """

    one: OneBase
    scorers: dict[str, Scorer]
    weights: dict[str, float]
    tokenizer: Any = None
    apart: Any = None
    judge: Judge | None = None

    def of(
        self, texts: Sequence[str], records: Sequence[Any], shown: bool = False
    ) -> tuple[dict[str, list[float]], list[float], dict[str, float]]:
        """(term -> its rewards, the weighted sums, what else is to be told): rewards are one number an answer.

        shown  nothing is learned from them
        """
        found, told = ranks.of_first(lambda: self._checked(texts, records, shown))
        if self.tokenizer is not None:
            found = {MODEL: self._model_rewards(texts, records), **found}
        return found, [sum(self.weights[name] * found[name][at] for name in found) for at in range(len(texts))], told

    def _checked(
        self, texts: Sequence[str], records: Sequence[Any], shown: bool
    ) -> tuple[dict[str, list[float]], dict[str, float]]:
        """The rewards of checks and of the judge, and what is to be told of the latter."""
        found = scores_of(self.scorers, texts, records)
        if self.judge is None:
            return found, {}
        given, unreadable = self.judge.rewards(texts, records, shown)
        return {JUDGE: given, **found}, {"judge_unreadable": unreadable}

    def _model_rewards(self, texts: Sequence[str], records: Sequence[Any]) -> list[float]:
        encoded = [tuple(read_as(self.tokenizer, *one)) for one in zip(records, texts, strict=True)]
        batches = batches_of(encoded, ranks.evenly(len(encoded), len(encoded)))
        if self.apart is not None:
            read = partial(batch_rewards, self.apart, pad=self.tokenizer.pad_token_id or 0)
        else:
            self.one.use("reward")
            read = partial(adapter_rewards, self.one)
        found: dict[tuple[int, ...], float] = {}
        for batch, values in zip(batches, ranks.shared(batches, read), strict=True):
            found.update(zip(batch, values, strict=True))
        given = [found[ids] for ids in encoded]
        for value, record in zip(given, records, strict=True):
            if not math.isfinite(value):
                raise StepError(f"ppo: the reward model gives {value} to an answer to {record['id']}")
        return given


def load_scoring(
    one: OneBase,
    policy_tokenizer: Any,
    rewarding: Rewarding,
    scorers: dict[str, Scorer],
    ctx: Context,
) -> Scoring:
    """The reward model put on the base if it stands on it, else loaded beside it.

    Raises ModelError for one that stands on the base and has another vocabulary than the policy.
    """
    judge = None if rewarding.judge is None else Judge(rewarding.judge, ctx, rewarding.budget)
    if (reward := rewarding.reward) is None:
        return Scoring(one, scorers, rewarding.weights, judge=judge)
    tokenizer = load_tokenizer(reward)
    on_base = add_reward(one, reward)
    if on_base and tokenizer.get_vocab() != policy_tokenizer.get_vocab():
        raise ModelError(f"ppo: {reward.uri} stands on the policy's base and has another vocabulary than its tokenizer")
    apart = None if on_base else load_reward_model(reward)
    return Scoring(one, scorers, rewarding.weights, tokenizer, apart, judge)


def read_as(tokenizer: Any, record: Any, text: str) -> list[int]:
    """Prompt and answer as a reward model was trained on them: up to the end-of-turn token, what follows it cut.

    A prompt that begins the answer itself has its beginning and the answer as one turn.
    """
    prompt = record["prompt"]
    if prompt and prompt[-1]["role"] == "assistant":
        prompt, text = prompt[:-1], prompt[-1]["content"] + text
    ids, learned = encode_turns(tokenizer, prompt, assistant(text))
    return ids[: len(learned) - learned[::-1].index(1)] if 1 in learned else ids


def adapter_rewards(one: OneBase, batch: Sequence[Sequence[int]]) -> list[float]:
    """The reward adapter's number for each sequence: its head on the last token that is there, whatever the pad is."""
    ids, mask = (table.to(one.lm.device) for table in padded(batch, 0))
    with torch.no_grad():
        last = one.hidden(ids, mask)[torch.arange(len(batch)), mask.sum(1) - 1]
        return one.heads["reward"](last).squeeze(-1).tolist()  # type: ignore[no-any-return]
