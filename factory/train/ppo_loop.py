"""The loop of reinforcement learning; reference, policy, reward and value model are adapters on one base.

A step draws answers, scores them, and makes those that turned out better than expected likelier:

    collect   answers to the next prompts; their rewards; log-probabilities of policy and reference, and values
    improve   a few passes over these answers with a clipped loss, policy and value model in turn

PPO with generalised advantage estimation (Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019,
arXiv:1909.08593; details as in Huang et al. 2024, arXiv:2403.17031), GRPO or RLOO. What is random in a step depends on
the seed and the step's number alone, so that a resumed run goes on as an undisturbed one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from factory import StepError

from . import advantages as adv
from . import hacking, ppo_state, ranks
from .ppo_options import Practice
from .ppo_prompts import answers, evaluate, prompts_of
from .ppo_run import Run
from .ppo_tables import measured, minibatches_of, sampler_gap, values_of
from .rewards import MODEL
from .rollouts import Rollout


@dataclass
class Experience:
    """A step's answers. Tables are (answers, longest), float32, zero where `mask` is False.

    old, reference  log-probabilities of the tokens at the temperature they were drawn at, by training's forward pass
    values, returns of the state before each token; None without a value model
    portions        the first pass's minibatches, each in portions of answers that are read together. `old` comes from
                    these very forward passes, so that the first ratio is 1 to the bit
    """

    rollouts: list[Rollout]
    mask: Tensor
    old: Tensor
    reference: Tensor
    advantages: Tensor
    values: Tensor | None
    returns: Tensor | None
    portions: list[list[list[int]]]


def train(run: Run) -> None:
    """All steps from the last checkpoint on."""
    practice, ctx, total = run.practice, run.ctx, run.total
    ppo_state.restore(run)
    if run.done == 0 and run.held:
        ctx.log(0, **evaluate(run))
    every = practice.every(total)
    while run.done < total:
        number = run.done + 1
        with told_plainly(practice):
            experience, metrics = collect(run, number)
            with run.timed("learning"):
                metrics |= improve(run, experience, number)
        metrics["kl_coefficient"] = run.coefficient
        if practice.kl_target is not None:
            run.coefficient = adv.adapted(run.coefficient, metrics["kl"], practice.kl_target)
        run.done = number
        run.history.append(metrics)
        shown = evaluate(run) if run.held and (number % every == 0 or number == total) else {}
        ctx.log(number, **metrics, **shown, alarms=len(hacking.signs(run.history, practice.kl_target)))
        ctx.progress(number, total, f"reward {metrics['reward']:.3f}, KL {metrics['kl']:.2f}, {run.shares()}")
        if number % practice.checkpoint_every == 0 and number < total:
            ppo_state.save(run)
    ranks.meet()  # one that ended while another still hears it would be taken for dead


def collect(run: Run, number: int) -> tuple[Experience, dict[str, float]]:
    """Answers to a step's prompts with all that is needed to learn from them, and what can be said of them."""
    practice, count = run.practice, run.practice.prompts_per_step
    asked = [one for one in prompts_of(run, number, count) for _ in range(run.group)]
    with run.timed("drawing"):
        rollouts, texts = answers(run, asked, practice.temperature, partial(_seed, run, number))
    with run.timed("scoring"):
        terms, totals, told = run.scoring.of(texts, [one.record for one in asked])
        experience, entropy, scores = weighed(run, number, rollouts, totals)
    lengths, mask = [len(one.answer) for one in rollouts], experience.mask
    metrics = {
        "reward": statistics.fmean(totals),
        "reward_deviation": statistics.pstdev(totals),
        **{f"reward/{name}": statistics.fmean(given) for name, given in terms.items()},
        **told,
        "kl": float(torch.where(mask, adv.k3(experience.old, experience.reference), 0.0).sum(1).mean()),
        "entropy": float(entropy[mask].mean()),
        "answer_tokens": statistics.fmean(lengths),
        "ended": statistics.fmean(one.ended for one in rollouts),
        "repetition": statistics.fmean(hacking.repetition(one.said) for one in rollouts),
    }
    if (gap := sampler_gap(run, rollouts, experience.old)) is not None:
        metrics["sampler_gap"] = gap
    if run.group > 1:
        metrics["flat_groups"] = float(adv.flat_groups(scores, run.group).float().mean())
    if experience.values is not None and experience.returns is not None:
        metrics["explained_variance"] = adv.explained_variance(experience.values[mask], experience.returns[mask])
    return experience, metrics


def weighed(
    run: Run, number: int, rollouts: list[Rollout], totals: Sequence[float]
) -> tuple[Experience, Tensor, Tensor]:
    """(answers with the advantage of each token, entropies of the tokens, the answers' scores)."""
    practice = run.practice
    run.seen.add(totals)
    if number == 1 and practice.normalize and run.algorithm == "gae":
        run.one.expect_normal(run.scoring.weights.get(MODEL, 1.0), run.seen.mean, run.seen.deviation)
    worth = [run.seen.normal(total) if practice.normalize else total for total in totals]
    missing = [practice.missing_eos_penalty * (not one.ended) for one in rollouts]
    scores = torch.tensor([one - other for one, other in zip(worth, missing, strict=True)])
    portions = minibatches_of(rollouts, practice.minibatches, practice.batch_size, run.rng(number, "order", 0))
    parts = [rows for minibatch in portions for rows in minibatch]
    old, entropy, mask = measured(run, "policy", rollouts, parts)
    reference, _, _ = measured(run, "reference", rollouts, parts)
    kl = adv.k1(old, reference)
    values = returns = None
    if run.algorithm == "gae":
        values = values_of(run, rollouts, parts)
        earned = adv.token_rewards(scores, kl, mask, run.coefficient)
        table, returns = adv.gae(earned, values, mask, practice.gamma, practice.lam)
        table = adv.whiten(table, mask)
    elif run.algorithm == "rloo":
        whole = scores - run.coefficient * kl.sum(1)
        table = adv.leave_one_out(whole, run.group)[:, None] * mask
    else:
        table = adv.group_advantages(scores, run.group)[:, None] * mask
    return Experience(rollouts, mask, old, reference, table, values, returns, portions), entropy, scores


def improve(run: Run, experience: Experience, number: int) -> dict[str, float]:
    """A few passes over a step's answers; each token of a minibatch weighs the same, however that is cut up."""
    practice, one = run.practice, run.one
    made: list[dict[str, float]] = []  # of each update
    stopped = False
    recompute = practice.gradient_checkpointing
    with one.recomputing(one.lm.device.type == "cuda" if recompute is None else recompute):
        for turn in range(practice.ppo_epochs):
            portions = experience.portions
            if turn > 0:
                order = run.rng(number, "order", turn)
                portions = minibatches_of(experience.rollouts, practice.minibatches, practice.batch_size, order)
            for minibatch in portions:
                found = policy_gradient(run, experience, minibatch)
                _require_finite(found["policy_loss"], "policy", number)
                stopped = practice.kl_stop is not None and found["step_kl"] > practice.kl_stop
                if stopped:
                    run.optimizers["policy"].zero_grad(set_to_none=True)
                    break
                _update(run, "policy")
                if experience.values is not None:
                    found["value_loss"] = value_gradient(run, experience, minibatch)
                    _require_finite(found["value_loss"], "value", number)
                    _update(run, "value")
                made.append(found)
            if stopped:
                break
    means = {name: statistics.fmean(one[name] for one in made) for name in made[0] if name != "ratio_off"}
    return means | {"first_ratio_off": made[0]["ratio_off"], "step_kl": found["step_kl"], "updates": len(made)}


def policy_gradient(run: Run, experience: Experience, minibatch: list[list[int]]) -> dict[str, float]:
    """Add the gradient of a minibatch's portions that are this process's; of all of them the loss, the share of clipped
    tokens, nats a token that the policy is from the one that drew the answers, and the largest |ratio − 1|.
    """
    rows = [row for part in minibatch for row in part]
    tokens = int(experience.mask[rows].sum())
    run.one.use("policy", train=True)

    def learn(part: list[int]) -> tuple[float, float, float, float]:
        batch = run.batch(experience.rollouts, part)
        new, _ = run.one.log_probs(batch, run.practice.temperature)
        mask = experience.mask[part]
        old, reference, advantages = (
            table[part][mask].to(new.device) for table in (experience.old, experience.reference, experience.advantages)
        )
        losses, clipped = adv.policy_losses(new, old, advantages, run.practice.clip)
        loss = losses.sum() / tokens
        if run.algorithm == "grpo":
            loss = loss + run.coefficient * adv.k3(new, reference).sum() / tokens
        loss.backward()
        with torch.no_grad():
            kl, off = adv.k3(old, new).sum().item(), (torch.exp(new - old) - 1).abs().max().item()
            return loss.item(), clipped.sum().item(), kl, off

    losses, clips, kls, offs = zip(*ranks.shared(minibatch, learn), strict=True)
    shares = {"clip_fraction": sum(clips) / tokens, "step_kl": sum(kls) / tokens}
    return {"policy_loss": sum(losses), **shares, "ratio_off": max(offs)}


def value_gradient(run: Run, experience: Experience, minibatch: list[list[int]]) -> float:
    """Add the gradient of the value loss of this process's portions of a minibatch, and give the loss of all.

    It comes after the policy's update, not beside it: with recomputed activations a backward pass reads the adapters
    that are on at that time.
    """
    assert experience.values is not None
    assert experience.returns is not None
    tables = experience.values, experience.returns
    rows = [row for part in minibatch for row in part]
    tokens = int(experience.mask[rows].sum())
    run.one.use("value", train=True)

    def learn(part: list[int]) -> float:
        values, mask = run.one.values(run.batch(experience.rollouts, part)), experience.mask[part]
        old, returns = (table[part][mask].to(values.device) for table in tables)
        loss = adv.value_losses(values, old, returns, run.practice.value_clip).sum() / tokens
        loss.backward()
        return float(loss.item())

    return sum(ranks.shared(minibatch, learn))


@contextmanager
def told_plainly(practice: Practice) -> Iterator[None]:
    """Turn an allocation that failed, a GPU's or the machine's, into a StepError that says what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # of the CPU's allocator there is only the text
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        remedy = "fewer max_new_tokens, or quantize: nf4"
        if practice.batch_size > 1:
            remedy = f"batch_size: {practice.batch_size // 2}"
        elif not practice.gradient_checkpointing:
            remedy = "gradient_checkpointing: true"
        raise StepError(f"ppo: out of memory at batch_size {practice.batch_size}; try {remedy}") from error


def _seed(run: Run, number: int, place: int) -> int:
    return run.rng(number, "draws", place).getrandbits(62)


def _update(run: Run, reader: str) -> None:
    run.one.assert_trains(reader)
    ranks.add_up(run.one.trained(reader).values())
    torch.nn.utils.clip_grad_norm_(run.one.trained(reader).values(), run.practice.max_grad_norm)
    run.optimizers[reader].step()
    run.optimizers[reader].zero_grad(set_to_none=True)


def _require_finite(loss: float, which: str, number: int) -> None:
    if not math.isfinite(loss):
        raise StepError(f"ppo: the {which} loss is {loss} at step {number}; try a lower learning rate")
