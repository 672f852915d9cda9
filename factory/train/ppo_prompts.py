"""A PPO run's prompts: encoded, held out, put in order; what was answered to them, shown before and after."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from factory import CausalLM, Context, Dataset, Prompt, RewardModel, StepError, digest, text_of
from factory.models.chat import encode_prompt
from factory.models.loading import load_config

from . import ranks
from .batches import Example, split_validation
from .hacking import signs
from .ppo_options import EVALUATED
from .ppo_run import Asked, Run, Shown
from .results import table
from .rollouts import Rollout, answers_to

ROWS, CHARACTERS = 8, 240  # of the table of samples, and of a text in it


def ask_for(
    dataset: Dataset[Prompt], policy: CausalLM, tokenizer: Any, room: int, validation: float, ctx: Context
) -> tuple[list[Asked], list[Asked]]:
    """(to learn from, held out): prompts that leave room for an answer; the others are dropped as `too long`."""
    context = getattr(load_config(policy).get_text_config(), "max_position_embeddings", None) or 1 << 30
    asked: list[tuple[Asked, Example]] = []
    for record in dataset:
        ids = encode_prompt(tokenizer, record["prompt"])
        if not text_of(record["prompt"]).strip() or not ids:
            ctx.drop(record, "empty prompt")
        elif len(ids) + room > context:
            ctx.drop(record, "too long", tokens=len(ids), max_new_tokens=room, context=context)
        else:
            group = digest(["validation", record["prompt"]])
            asked.append((Asked(record, ids), Example(array("i", ids), b"", group)))
    if not asked:
        needs = f"a prompt and {room} new tokens must fit into {context}"
        raise StepError(f"ppo: of {len(dataset)} prompts none is left to answer; {needs}")
    held = {example.group for example in split_validation([example for _, example in asked], validation)[1]}
    learned = [one for one, example in asked if example.group not in held]
    if not learned:
        raise StepError("ppo: the prompts are one and the same, and it is held out; give validation: 0")
    shown = {example.group: one for one, example in asked if example.group in held}  # equal prompts once
    return learned, list(shown.values())[:EVALUATED]


def prompts_of(run: Run, number: int, count: int) -> list[Asked]:
    """The prompts of a step: all of them in an order of their own in each pass, so that each is used as often."""
    found = []
    orders: dict[int, list[int]] = {}
    for place in range((number - 1) * count, number * count):
        turn, at = divmod(place, len(run.asked))
        if turn not in orders:
            orders[turn] = list(range(len(run.asked)))
            run.rng("prompts", turn).shuffle(orders[turn])
        found.append(run.asked[orders[turn][at]])
    return found


def answers(
    run: Run, asked: Sequence[Asked], temperature: float, seed: Callable[[int], int]
) -> tuple[list[Rollout], list[str]]:
    """(answers of the policy, their texts) in the order of the prompts."""
    prompts = [one.ids for one in asked]
    shared: Any = {"ends": run.ends, "most": run.practice.max_new_tokens, "temperature": temperature, "seed": seed}
    if (served := run.served) is not None:

        def draw() -> list[Rollout]:
            served.renew(run.done)
            return served.answers_to(prompts, **shared)

        rollouts = ranks.of_first(draw)
    else:
        run.one.use("policy")
        rollouts = answers_to(run.one.lm, prompts, pad=run.tokenizer.pad_token_id or 0, **shared)
    texts = [
        run.tokenizer.decode(one.said, skip_special_tokens=True, clean_up_tokenization_spaces=False) for one in rollouts
    ]
    return rollouts, texts


def evaluate(run: Run) -> dict[str, float]:
    """Answer the held-out prompts with what is likeliest, show them beside the first such answers, give the rewards."""
    _, texts = answers(run, run.held, 0.0, lambda place: place)
    terms, totals, told = run.scoring.of(texts, [one.record for one in run.held], shown=True)
    run.shown.append(Shown(run.done, texts, totals))
    show(run, run.shown[-1])
    return {
        "eval_reward": statistics.fmean(totals),
        **{f"eval_reward/{name}": statistics.fmean(given) for name, given in terms.items()},
        **{f"eval_{name}": value for name, value in told.items()},
    }


def show(run: Run, now: Shown) -> None:
    """A section of an evaluation: prompts, answers and rewards, before the first step and now."""
    before = run.shown[0]
    lines = ["| prompt | answer before | reward | answer now | reward |", "|---|---|---|---|---|"]
    for at, asked in enumerate(run.held[:ROWS]):
        cells = [_cell(text_of(asked.record["prompt"]))]
        for one in (before, now):
            cells += [_cell(one.answers[at]), f"{one.rewards[at]:.3g}"]
        lines.append(f"| {' | '.join(cells)} |")
    note = f"Likeliest answers to held-out prompts, before the first step and after step {now.step}."
    run.ctx.report(f"Samples after step {now.step}", "\n".join([*lines, "", note]))


def report(run: Run, policy: CausalLM, reward: RewardModel | None) -> None:
    """What was done, first → last, and what a person should look at."""
    first, last = run.history[0], run.history[-1]
    trained = sum(weight.numel() for reader in run.optimizers for weight in run.one.trained(reader).values())
    where = "none" if reward is None else reward.uri
    if reward is not None:
        where += ", apart" if run.scoring.apart is not None else ", on the policy's base"
    judge = run.scoring.judge
    rows = {
        "policy": policy.uri,
        "reward model": where,
        "judge": "none" if judge is None else judge.model.uri,
        "algorithm": run.algorithm,
        "trained parameters": f"{trained:,}",
        "prompts learned from": f"{len(run.asked):,}",
        "steps": f"{run.done}",
    }
    told = [name for name in last if name.startswith("reward/")]
    for name in ("reward", *told, "kl", "entropy", "answer_tokens", "ended", "explained_variance"):
        if name in last:
            rows[name.replace("_", " ")] = f"{first.get(name, 0.0):.4f} → {last[name]:.4f}"
    note = "Rewards are as the terms give them; KL is nats an answer, entropy nats a token, first → last step."
    alarms = signs(run.history, run.practice.kl_target).values()
    run.ctx.report("Training", table(rows, note) + "".join(f"\n\n- {says}." for says in alarms))
    for says in alarms:
        run.ctx.alarm(f"ppo: {says}")


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    short = " ".join(text.split())
    short = short if len(short) <= CHARACTERS else f"{short[:CHARACTERS]}…"
    return short.replace("\\", "\\\\").replace("|", "\\|") or "–"
