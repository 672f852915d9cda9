"""Returns, advantages, losses and divergences beside a NumPy reference that goes answer by answer, token by token."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.model
NEAR = {"rtol": 1e-6, "atol": 1e-6}
GARBAGE = 1e6  # stands where there is no token; it must never be read


@st.composite
def answers(draw: Any) -> dict[str, Any]:
    """Answers of different lengths: a score each, and for each token a log-ratio and a value. Padding is garbage."""
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wide = max(lengths) + draw(st.integers(0, 2))
    mask = np.arange(wide)[None] < np.array(lengths)[:, None]

    def table() -> Any:
        return np.where(mask, rng.normal(size=mask.shape), GARBAGE)

    return {
        "lengths": lengths,
        "mask": mask,
        "scores": rng.normal(size=len(lengths)),
        "kl": table(),
        "values": table(),
        "coefficient": draw(st.floats(0, 1)),
        "gamma": draw(st.floats(0.5, 1)),
        "lam": draw(st.floats(0, 1)),
    }


def tensors(made: dict[str, Any], *names: str) -> list[Any]:
    import torch

    return [torch.tensor(made[name]) for name in names]


@given(answers())
def test_rewards_of_tokens_sum_to_score_minus_divergence(made: dict[str, Any]) -> None:
    from factory.train.advantages import token_rewards

    earned = token_rewards(*tensors(made, "scores", "kl", "mask"), made["coefficient"]).numpy()
    for row, length in enumerate(made["lengths"]):
        expected = -made["coefficient"] * made["kl"][row, :length]
        expected[-1] += made["scores"][row]
        np.testing.assert_allclose(earned[row, :length], expected, **NEAR)
        assert not earned[row, length:].any()
        whole = made["scores"][row] - made["coefficient"] * made["kl"][row, :length].sum()
        assert earned[row].sum() == pytest.approx(whole, abs=1e-6)


def gae_of_one(rewards: Any, values: Any, gamma: float, lam: float) -> list[float]:
    """The sum of Schulman et al. 2016, equation 16, as it stands there: of all later errors, each discounted."""
    end = len(rewards)
    errors = [rewards[t] + (gamma * values[t + 1] if t + 1 < end else 0.0) - values[t] for t in range(end)]
    return [sum((gamma * lam) ** ahead * errors[t + ahead] for ahead in range(end - t)) for t in range(end)]


@given(answers())
def test_gae_is_the_discounted_sum_of_later_errors(made: dict[str, Any]) -> None:
    from factory.train.advantages import gae, token_rewards

    scores, kl, mask, values = tensors(made, "scores", "kl", "mask", "values")
    earned = token_rewards(scores, kl, mask, made["coefficient"])
    found, returns = (table.numpy() for table in gae(earned, values, mask, made["gamma"], made["lam"]))
    for row, length in enumerate(made["lengths"]):
        own = made["values"][row, :length]
        expected = gae_of_one(earned.numpy()[row, :length], own, made["gamma"], made["lam"])
        np.testing.assert_allclose(found[row, :length], expected, **NEAR)
        np.testing.assert_allclose(returns[row, :length], np.array(expected) + own, **NEAR)
        assert not found[row, length:].any()
        assert not returns[row, length:].any()


@given(answers())
def test_with_lambda_1_a_return_is_what_is_still_earned(made: dict[str, Any]) -> None:
    """A law that needs no value: with γ = λ = 1 the values cancel out of the returns."""
    from factory.train.advantages import gae, token_rewards

    scores, kl, mask, values = tensors(made, "scores", "kl", "mask", "values")
    earned = token_rewards(scores, kl, mask, made["coefficient"])
    returns = gae(earned, values, mask, 1.0, 1.0)[1].numpy()
    still = np.cumsum(earned.numpy()[:, ::-1], 1)[:, ::-1]
    np.testing.assert_allclose(returns[made["mask"]], still[made["mask"]], rtol=1e-6, atol=1e-6)


@given(answers())
def test_whitening_looks_at_tokens_alone(made: dict[str, Any]) -> None:
    from factory.train.advantages import whiten

    white = whiten(*tensors(made, "values", "mask")).numpy()
    valid = made["values"][made["mask"]]
    if valid.std() > 1e-3:
        np.testing.assert_allclose(white[made["mask"]], (valid - valid.mean()) / valid.std(), rtol=1e-5, atol=1e-5)
    assert not white[~made["mask"]].any()


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_groups_are_compared_within_themselves(groups: int, size: int, seed: int, equal: bool) -> None:
    import torch

    from factory.train.advantages import flat_groups, group_advantages, leave_one_out

    scores = np.random.default_rng(seed).normal(size=(groups, size))
    scores[0] = scores[0, 0] if equal else scores[0]
    flat = torch.tensor(scores.reshape(-1))
    expected_group, expected_others = np.zeros_like(scores), np.zeros_like(scores)
    for group in range(groups):
        for one in range(size):
            others = np.delete(scores[group], one)
            expected_others[group, one] = scores[group, one] - others.mean()
            if np.ptp(scores[group]):
                deviation = scores[group].std(ddof=1) + 1e-8
                expected_group[group, one] = (scores[group, one] - scores[group].mean()) / deviation
    np.testing.assert_allclose(group_advantages(flat, size).numpy().reshape(groups, size), expected_group, **NEAR)
    np.testing.assert_allclose(leave_one_out(flat, size).numpy().reshape(groups, size), expected_others, **NEAR)
    assert flat_groups(flat, size).tolist() == [not np.ptp(row) for row in scores]


@given(st.integers(1, 20), st.integers(0, 2**32 - 1), st.floats(0.05, 0.5))
def test_clipped_losses_and_their_gradients(tokens: int, seed: int, clip: float) -> None:
    import torch

    from factory.train.advantages import policy_losses, value_losses

    rng = np.random.default_rng(seed)
    old = rng.normal(size=tokens) - 3
    new = old + rng.normal(size=tokens) * 0.4
    gains, values, before, returns = rng.normal(size=(4, tokens))
    given_new = torch.tensor(new, requires_grad=True)
    losses, clipped = policy_losses(given_new, torch.tensor(old), torch.tensor(gains), clip)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    for token in range(tokens):
        ratio = math.exp(new[token] - old[token])
        bounded = min(max(ratio, 1 - clip), 1 + clip)
        assert losses[token].item() == pytest.approx(-min(ratio * gains[token], bounded * gains[token]), abs=1e-6)
        outside = ratio > 1 + clip if gains[token] > 0 else ratio < 1 - clip
        assert bool(clipped[token]) == outside
        gradient = 0.0 if outside else -ratio * gains[token]
        assert given_new.grad is not None
        assert given_new.grad[token].item() == pytest.approx(gradient, abs=1e-6)
    found = value_losses(*(torch.tensor(one) for one in (values, before, returns)), clip).numpy()
    near = before + np.clip(values - before, -clip, clip)
    np.testing.assert_allclose(found, np.maximum((values - returns) ** 2, (near - returns) ** 2) / 2, **NEAR)


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_both_estimators_have_the_divergence_as_their_mean(size: int, seed: int) -> None:
    import torch

    from factory.train.advantages import k1, k3

    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(size) * 3), rng.dirichlet(np.ones(size) * 3)
    logs = torch.tensor(np.log(p)), torch.tensor(np.log(q))
    divergence = float((p * np.log(p / q)).sum())
    assert float((torch.tensor(p) * k1(*logs)).sum()) == pytest.approx(divergence, abs=1e-6)
    assert float((torch.tensor(p) * k3(*logs)).sum()) == pytest.approx(divergence, abs=1e-6)
    assert bool((k3(*logs) >= 0).all())


def test_the_divergence_of_equals_is_exactly_0() -> None:
    import torch

    from factory.train.advantages import k1, k3

    logs = -torch.rand(100) * 10
    assert not k1(logs, logs).any()
    assert not k3(logs, logs).any()


def test_explained_variance() -> None:
    import torch

    from factory.train.advantages import explained_variance

    returns = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert explained_variance(returns + 3, returns) == pytest.approx(1)
    assert explained_variance(torch.zeros(50), returns) == pytest.approx(0)
    assert explained_variance(torch.zeros(50), torch.ones(50)) == 0.0


@given(st.floats(1e-4, 10), st.floats(0, 100), st.floats(0.1, 20))
def test_the_coefficient_goes_the_way_of_the_error_by_at_most_2_percent(
    coefficient: float, kl: float, target: float
) -> None:
    from factory.train.advantages import adapted

    change = adapted(coefficient, kl, target) / coefficient - 1
    assert abs(change) <= 0.02 + 1e-9
    if abs(kl / target - 1) > 1e-6:
        assert (change > 0) == (kl > target)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(0, 30))
def test_running_statistics_are_those_of_all_values_wherever_a_run_was_cut(values: list[float], cut: int) -> None:
    from dataclasses import asdict

    from factory.train.scoring import Running

    seen = Running()
    seen.add(values[:cut])
    seen = Running(**asdict(seen))
    seen.add(values[cut:])
    assert seen.mean == pytest.approx(np.mean(values), abs=1e-6)
    assert seen.deviation == pytest.approx(np.std(values), abs=1e-6)
    if np.std(values) > 1e-3:
        assert seen.normal(values[0]) == pytest.approx((values[0] - np.mean(values)) / np.std(values), abs=1e-4)
