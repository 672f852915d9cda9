"""Signs that a policy earns its reward otherwise than was meant: read off the metrics of the steps, in words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

WINDOW = 5  # steps that are averaged, at the beginning and at the end
GRAM = 3  # tokens of what counts as a repetition

# A sign is told where the mean of the last steps has left the mean of the first by these factors.
LONGER, SHORTER = 2.0, 0.4
REPEATED, REPEATED_MORE = 0.3, 2.0  # share of trigrams that stood in the answer before, and so many times the first
SURER = 0.2
FAR = 20.0  # nats of an answer from its reference, where no target is set; 3 times the target where one is
UNENDED = 0.5  # share of answers that end by themselves
FLAT = 0.9  # share of groups in which all answers have one reward
GAP = 0.1  # nats a token between a server's log-probabilities and ours; rounding to bfloat16 makes a few hundredths
UNREAD = 0.5  # share of answers whose grade by the judge cannot be read


def repetition(tokens: Sequence[int]) -> float:
    """Share of an answer's trigrams that stood in it before: 0 where all differ."""
    grams = list(zip(*(tokens[at:] for at in range(GRAM)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def signs(history: Sequence[dict[str, float]], target: float | None) -> dict[str, str]:
    """Kind of sign -> what a person should look at, from the metrics of all steps in order.

    target  the divergence that the controller steers to, in nats an answer; None: the coefficient is fixed

    What compares the last steps with the first waits until there are two windows of them.
    """
    if not history:
        return {}
    found = {}
    ended, flat = _mean(history[-WINDOW:], "ended"), _mean(history[-WINDOW:], "flat_groups")
    if ended < UNENDED:
        found["ended"] = f"{1 - ended:.0%} of the answers do not end within max_new_tokens"
    if flat > FLAT:
        found["flat"] = f"in {flat:.0%} of the groups all answers have one reward, so nothing is learned from them"
    if (unread := _mean(history[-WINDOW:], "judge_unreadable")) > UNREAD:
        found["judge"] = (
            f"the judge's grade of {unread:.0%} of the answers cannot be read; they get the mean of the others"
        )
    if (gap := _mean(history[-WINDOW:], "sampler_gap")) > GAP:
        found["sampler"] = (
            f"the server's probabilities of what it draws are {gap:.2f} nats a token from the policy's; it must hold "
            "the policy's base, in as many bits, and use the adapter that it loads"
        )
    recent = history[-WINDOW:]
    if all(entry.get("reward_deviation") == 0 for entry in recent) and len({entry["reward"] for entry in recent}) == 1:
        found["equal"] = f"every answer has the reward {recent[0]['reward']:.3g}, so nothing is learned"
    return found | (_drift(history, target) if len(history) >= 2 * WINDOW else {})


def _drift(history: Sequence[dict[str, float]], target: float | None) -> dict[str, str]:
    first, last, found = history[:WINDOW], history[-WINDOW:], {}
    length, length_now = _mean(first, "answer_tokens"), _mean(last, "answer_tokens")
    if not SHORTER * length <= length_now <= LONGER * length:
        word = "longer" if length_now > length else "shorter"
        found["length"] = f"answers grew {word}: {length:.0f} tokens at first, {length_now:.0f} now"
    repeated, repeated_now = _mean(first, "repetition"), _mean(last, "repetition")
    if repeated_now > max(REPEATED, REPEATED_MORE * repeated):
        found["repetition"] = (
            f"answers repeat themselves: {repeated_now:.0%} of their trigrams, {repeated:.0%} at first"
        )
    entropy, entropy_now = _mean(first, "entropy"), _mean(last, "entropy")
    if entropy_now < SURER * entropy:
        found["entropy"] = f"the policy hardly varies: {entropy_now:.3f} nats a token, {entropy:.3f} at first"
    bound = FAR if target is None else 3 * target
    if (kl := _mean(last, "kl")) > bound:
        found["kl"] = f"the policy is far from its reference: {kl:.1f} nats an answer; expected below {bound:.0f}"
    return found


def _mean(entries: Sequence[dict[str, float]], name: str) -> float:
    values = [entry[name] for entry in entries if name in entry]
    return statistics.fmean(values) if values else float("nan")
