"""Answers scored by a reward model of the recipe."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Candidates, Context, RewardModel, text_of

from .comparisons import Grade
from .habits import Habits

CHUNK = 64  # records whose answers are sorted by length and read together


@factory.step
def reward_score(
    records: Iterator[Candidates],
    ctx: Context,
    model: RewardModel,
    max_length: Annotated[int, Field(ge=1)] | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Iterator[Candidates]:
    """Score each answer by a reward model: a sequence classifier with one label, in Hugging Face form.

    `scores` are its rewards as they come, any number, higher is better; they are in meta.grades, too. The answer is
    read behind its prompt, by the chat template of the model's tokenizer and up to the token that ends a turn.

    max_length  in tokens, of prompt and answer; a record with a longer one is dropped, none is cut. The model's
                context unless set
    precision   of the weights; bfloat16 takes half the memory and makes ties of rewards that are close
    """
    import torch

    from factory.models.chat import encode_turns
    from factory.models.loading import load_tokenizer
    from factory.models.rewards import context_of, load_reward_model, rewards

    torch.set_num_threads(ctx.threads)
    lm, tokenizer = load_reward_model(model, precision), load_tokenizer(model)
    limit = min(max_length or context_of(lm), context_of(lm))
    habits, all_rewards = Habits(model.uri), list[float]()
    while chunk := list(islice(records, CHUNK)):
        read: list[tuple[Any, list[list[int]]]] = []
        for record in chunk:
            encoded = [encode_turns(tokenizer, record["prompt"], answer)[0] for answer in record["completions"]]
            longest = max(map(len, encoded), default=0)
            if not encoded or longest > limit:
                reason, details = ("too long", {"tokens": longest}) if encoded else ("no answers", {})
                ctx.drop(record, reason, **details)
            else:
                read.append((record, encoded))
        flat = iter(rewards(lm, [ids for _, encoded in read for ids in encoded], tokenizer.pad_token_id or 0))
        for record, encoded in read:
            scores = list(islice(flat, len(encoded)))
            if not all(map(math.isfinite, scores)):
                ctx.drop(record, "reward is no number")
                continue
            all_rewards += scores
            yield scored(record, scores, model.uri, habits)
    tell(ctx, habits, all_rewards)


def scored(record: Any, scores: list[float], name: str, habits: Habits) -> Any:
    """The record with its rewards."""
    grades = [Grade(by=name, person=False, aspect="", answer=at, grade=score) for at, score in enumerate(scores)]
    rounded = [Grade({**grade, "grade": round(score, 2)}) for grade, score in zip(grades, scores, strict=True)]
    habits.graded(record, rounded, [len(text_of(answer)) for answer in record["completions"]])
    meta = record.get("meta", {})
    return {**record, "scores": scores, "meta": {**meta, "grades": [*meta.get("grades", ()), *grades]}}


def tell(ctx: Context, habits: Habits, found: list[float]) -> None:
    """How the rewards lie, and whether they go by length."""
    if not found:
        return
    says = [says for says, _ in habits.alarms()]
    for one in says:
        ctx.alarm(f"{habits.judge} {one}")
    low, *_, high = cuts = statistics.quantiles(found, n=20) if len(found) > 1 else [found[0]] * 19
    longer = habits.longer_share
    rows = [
        f"| {habits.judge} | {len(found):,} | {statistics.fmean(found):.3g} | {statistics.pstdev(found):.3g} "
        f"| {low:.3g} | {cuts[9]:.3g} | {high:.3g} | {'–' if longer is None else f'{longer:.0%}'} |"
    ]
    head = "| reward model | answers | mean | deviation | 5% | median | 95% | longer |"
    ctx.report("Rewards", "\n".join([head, "|---" * 8 + "|", *rows, "", *(f"- {one}." for one in says)]))
