"""Answers drawn from a policy: as each prompt alone is answered, from the whole distribution, up to the first end."""

from __future__ import annotations

from typing import Any

import pytest

from factory import CausalLM

pytestmark = pytest.mark.model
END = 1  # <|im_end|>, which is the pad token, too
PROMPTS = [[5, 6, 7, 8, 9, 10], [40], [7, 300, 2], [11, 12, 13, 14, 15, 16, 17, 18, 19, 20], [40]]


@pytest.fixture(scope="module")
def lm(tiny: CausalLM) -> Any:
    from factory.models.loading import load_causal_lm

    return load_causal_lm(tiny)


def drawn(
    lm: Any, prompts: Any = PROMPTS, temperature: float = 0.0, most: int = 6, ends: Any = (), seed: int = 0
) -> Any:
    from factory.train.rollouts import answers_to

    return answers_to(
        lm,
        prompts,
        ends=frozenset(ends),
        pad=END,
        most=most,
        temperature=temperature,
        seed=lambda place: 1000 * seed + place,
    )


def likeliest_alone(lm: Any, prompt: list[int], most: int) -> list[int]:
    """One token at a time, without a cache and without padding."""
    import torch

    ids = list(prompt)
    for _ in range(most):
        with torch.no_grad():
            ids.append(int(lm(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_a_batch_of_unequal_prompts_is_answered_as_each_alone(lm: Any) -> None:
    found = drawn(lm)
    assert [one.prompt for one in found] == PROMPTS
    for one in found:
        assert one.answer == likeliest_alone(lm, one.prompt, 6)
        assert not one.ended


def test_an_answer_stops_at_the_first_of_several_ends_and_holds_it(lm: Any) -> None:
    free = drawn(lm)
    early, late = free[0].answer[1], free[3].answer[2]
    for one, whole in zip(drawn(lm, ends=[early, late]), free, strict=True):
        places = [at for at, token in enumerate(whole.answer) if token in (early, late)]
        assert one.ended == bool(places)
        assert one.answer == (whole.answer[: places[0] + 1] if places else whole.answer)
        assert one.said == (one.answer[:-1] if places else one.answer)
    assert any(one.ended for one in drawn(lm, ends=[early, late]))


def test_an_end_in_a_prompt_ends_nothing(lm: Any) -> None:
    inside = [[5, END, 6], [END, 7, END]]
    for one in drawn(lm, inside, ends=[END]):
        assert one.answer == likeliest_alone(lm, one.prompt, 6)[: len(one.answer)]
        assert len(one.answer) > 1 or one.answer == [END]


def test_draws_depend_on_the_seed_alone(lm: Any) -> None:
    first, again, other = (drawn(lm, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert [one.answer for one in first] == [one.answer for one in again]
    assert [one.answer for one in first] != [one.answer for one in other]
    assert first[1].answer != first[4].answer  # equal prompts are read once, and answered by draws of their own


def test_an_answer_does_not_depend_on_those_that_are_drawn_beside_it(lm: Any) -> None:
    """Some of these end early and leave their batch."""
    many = [prompt for prompt in PROMPTS for _ in range(14)]
    ends = range(1, 330, 4)
    together = drawn(lm, many, temperature=1.0, ends=ends)
    assert len({len(one.answer) for one in together}) > 2
    for count in (1, 20):
        few = drawn(lm, many[:count], temperature=1.0, ends=ends)
        assert [one.answer for one in few] == [one.answer for one in together[:count]]


def test_tokens_are_drawn_from_the_whole_distribution_at_the_temperature(lm: Any) -> None:
    """Frequencies of 6,400 draws lie within sampling noise of the softmax; a cut at the likeliest 50 would be seen."""
    import torch

    prompt, temperature, times = [5, 6, 7], 0.7, 6400
    with torch.no_grad():
        p = torch.softmax(lm(input_ids=torch.tensor([prompt])).logits[0, -1] / temperature, -1)
    found = drawn(lm, [prompt] * times, temperature=temperature, most=1)
    counts = torch.bincount(torch.tensor([one.answer[0] for one in found]), minlength=len(p))
    expected = p * times
    # Pearson's statistic has the mean `freedom` and the deviation √(2 · freedom)
    often = expected > 5
    statistic = float(((counts - expected) ** 2 / expected)[often].sum())
    freedom = int(often.sum())
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5
    rare = expected.argsort(descending=True)[50:]
    assert counts[rare].sum() / times == pytest.approx(float(p[rare].sum()), abs=0.03)


def test_masks_come_from_lengths_and_count_the_end(lm: Any) -> None:
    import torch

    from factory.train.rollouts import Rollout, answer_mask, batch_of

    rows = [Rollout([5, END, 6], [7, 8, END], True), Rollout([9], [10], False), Rollout([3, 4], [END], True)]
    batch = batch_of(rows, END)
    assert batch.attention.sum(1).tolist() == [6, 2, 3]
    assert batch.drawn.tolist() == [7, 8, END, 10, END]
    assert answer_mask(rows).tolist() == [[True] * 3, [True, False, False], [True, False, False]]
    with torch.no_grad():
        logits = lm(input_ids=batch.ids, attention_mask=batch.attention).logits
        before = logits[batch.before]
        for row, at, place in ((0, 2, 0), (0, 4, 2), (1, 0, 3), (2, 1, 4)):
            alone = lm(input_ids=torch.tensor([rows[row].ids])).logits[0, at]
            assert torch.allclose(before[place], alone, atol=1e-5)


def test_what_ends_an_answer_is_named_in_several_places(tiny: CausalLM, lm: Any) -> None:
    from copy import deepcopy

    from factory.models.loading import load_tokenizer
    from factory.train.rollouts import stop_ids

    tokenizer, other = load_tokenizer(tiny), deepcopy(lm)
    assert stop_ids(lm, tokenizer) == {END}
    other.config.eos_token_id, other.generation_config.eos_token_id = 8, [9, 10]
    assert stop_ids(other, tokenizer) == {END, 8, 9, 10}
    tokenizer.eos_token = "<|im_start|>"  # a base whose own end is not what the template closes a turn with
    assert stop_ids(lm, tokenizer) == {0, END}
