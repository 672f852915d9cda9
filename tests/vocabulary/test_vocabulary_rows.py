"""Rows for new tokens: how each way to begin makes them, and that all that was there stays as it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from factory import StepError
from factory.vocabulary.rows import INITIALISERS, add_rows

sys.path.insert(0, str(Path(__file__).parent))
from steps import llama

pytestmark = pytest.mark.model
FIRST = 300
PARTS = [(5, 6), (7,), (9, 9, 12), (299, 0)]
NEW = slice(FIRST, FIRST + len(PARTS))


def added(model: Any, initialise: Any = "mean", multiple: int = 64, seed: int = 1) -> tuple[Any, Any, int]:
    """(embedding, head, number of rows) after the parts were given rows."""
    rows = add_rows(model, PARTS, FIRST, multiple, initialise, seed)
    return model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach(), rows


def matrices(model: Any) -> list[Any]:
    return [one.weight.detach().clone() for one in (model.get_input_embeddings(), model.get_output_embeddings())]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("initialise", INITIALISERS)
def test_old_rows_stay_and_the_rest_is_padding(initialise: str, tied: bool) -> None:
    import torch

    model = llama(FIRST, tied)
    before = matrices(model)
    *after, rows = added(model, initialise)
    assert rows == 320 == model.config.vocab_size == model.get_output_embeddings().out_features
    assert (after[0].data_ptr() == after[1].data_ptr()) is tied
    for old, new in zip(before, after, strict=True):
        assert new.shape == (320, 32)
        assert torch.equal(new[:FIRST], old)
        torch.testing.assert_close(new[FIRST + 4 :], old.mean(0).expand(16, -1))
        assert new.isfinite().all()


@pytest.mark.parametrize("tied", [False, True])
def test_each_way_to_begin_is_what_it_is_called(tied: bool) -> None:
    import torch

    for name in INITIALISERS:
        model = llama(FIRST, tied)
        for old, new in zip(matrices(model), added(model, name)[:2], strict=True):
            got = new[NEW]
            mean = torch.stack([old[list(some)].mean(0) for some in PARTS])
            norm = old.norm(dim=1).mean()
            if name == "mean":
                torch.testing.assert_close(got, mean)
            elif name == "last":
                assert torch.equal(got, old[[6, 7, 12, 0]])
            elif name == "rescaled_mean":
                torch.testing.assert_close(got.norm(dim=1), norm.expand(4))
                torch.testing.assert_close(torch.nn.functional.cosine_similarity(got, mean), torch.ones(4))
            elif name == "distribution":
                assert (got - old.mean(0)).abs().max() < 1e-3 * old.std()
                assert len({tuple(row) for row in got.tolist()}) == 4
            else:
                assert 0.015 < got.std() < 0.025
                assert got.mean().abs() < 0.01


def test_chance_is_that_of_the_seed() -> None:
    import torch

    for name in ("normal", "distribution"):
        rows = [added(llama(FIRST), name, seed=seed)[0][NEW] for seed in (1, 1, 2)]
        assert torch.equal(rows[0], rows[1])
        assert not torch.equal(rows[0], rows[2])


@pytest.mark.parametrize(
    ("before", "multiple", "rows"), [(302, 1, 304), (304, 64, 320), (512, 64, 512), (510, 64, 512)]
)
def test_rows_that_pad_the_base_are_used_first(before: int, multiple: int, rows: int) -> None:
    import torch

    model = llama(before)
    old = matrices(model)
    *new, found = added(model, multiple=multiple)
    assert found == rows
    for matrix, now in zip(old, new, strict=True):
        assert len(now) == rows
        torch.testing.assert_close(now[FIRST], matrix[[5, 6]].mean(0))
        assert torch.equal(now[:FIRST], matrix[:FIRST])
        kept = min(before, rows)
        assert torch.equal(now[FIRST + 4 : kept], matrix[FIRST + 4 : kept])  # padding stays what it was


def gptj(rows: int) -> Any:
    from transformers import GPTJConfig, GPTJForCausalLM

    return GPTJForCausalLM(GPTJConfig(vocab_size=rows, n_embd=32, n_layer=1, n_head=2, rotary_dim=8, n_positions=64))


def phi(rows: int) -> Any:
    from transformers import PhiConfig, PhiForCausalLM

    return PhiForCausalLM(
        PhiConfig(
            vocab_size=rows,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
        )
    )


@pytest.mark.parametrize("make", [gptj, phi])
@pytest.mark.parametrize("before", [FIRST, 400])
def test_a_head_with_a_bias_is_given_the_mean_of_it(make: Any, before: int) -> None:
    import torch

    model = make(before).eval()
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.bias.copy_(torch.arange(before) / 100)
    text = torch.tensor([[3, 1, 4, 1, 5, 9]])
    with torch.no_grad():
        logits = model(text).logits
    *_, rows = added(model)
    bias = model.get_output_embeddings().bias.detach()
    assert len(bias) == rows == {300: 320, 400: 448}[before]
    torch.testing.assert_close(bias[NEW], bias[:FIRST].mean().expand(4))
    torch.testing.assert_close(bias[before:], bias[:FIRST].mean().expand(rows - before))
    torch.testing.assert_close(bias[FIRST + 4 : before], (torch.arange(before) / 100)[FIRST + 4 :])
    with torch.no_grad():
        assert torch.equal(model(text).logits[..., :FIRST], logits[..., :FIRST])


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_numbers_keep_their_type(kind: str) -> None:
    import torch

    model = llama(FIRST).to(getattr(torch, kind))
    old = matrices(model)
    new = added(model)[:2]
    for matrix, now in zip(old, new, strict=True):
        assert now.dtype == matrix.dtype == getattr(torch, kind)
        assert torch.equal(now[:FIRST], matrix)
        torch.testing.assert_close(now[FIRST], matrix[[5, 6]].float().mean(0).to(now.dtype))


@pytest.mark.parametrize("tied", [False, True])
def test_old_logits_are_the_same_bits(tied: bool) -> None:
    import torch

    model = llama(FIRST, tied)
    text = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    with torch.no_grad():
        before = model(text).logits
        added(model)
        assert torch.equal(model(text).logits[..., :FIRST], before)


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(StepError, match=r"the base has no head over its vocabulary; expected a causal language model"):
        add_rows(llama(FIRST).model, PARTS, FIRST, 64, "mean", 1)
