"""The loss of chunks is the loss of the whole, with its gradients, and no more than a chunk's logits are ever made."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.model
TOKENS, WIDTH, VOCABULARY = 70, 8, 50


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_loss_and_gradients_are_those_of_the_whole(
    weighted: bool, bias: bool, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from factory.train import cross_entropy

    monkeypatch.setattr(cross_entropy, "LOGITS", 20 * VOCABULARY)
    torch.manual_seed(1)
    head = torch.nn.Linear(WIDTH, VOCABULARY, bias=bias).requires_grad_(not frozen)
    hidden = torch.randn(TOKENS, WIDTH, requires_grad=True)
    labels = torch.randint(VOCABULARY, (TOKENS,))
    weights = torch.rand(TOKENS) if weighted else None
    sizes: list[int] = []
    head.register_forward_hook(lambda _, given, made: sizes.append(len(made)))
    total, each = cross_entropy.chunked_nll(hidden, labels, head, weights)
    assert sizes == [20, 20, 20, 10]
    wanted = [hidden, *(weight for weight in head.parameters() if weight.requires_grad)]
    ours = torch.autograd.grad(3 * total, wanted)
    whole = torch.nn.functional.cross_entropy(head(hidden), labels, reduction="none")
    plain = (whole if weights is None else whole * weights).sum()
    assert total.item() == pytest.approx(plain.item(), abs=1e-4)
    assert torch.allclose(each, whole, atol=1e-5)
    for one, other in zip(ours, torch.autograd.grad(3 * plain, wanted), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def gemma(capped: float | None) -> Any:
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(2)
    config = Gemma2Config(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=4, final_logit_softcapping=capped,
    )  # fmt: skip
    return Gemma2ForCausalLM(config).eval()


@pytest.mark.parametrize("capped", [None, 0.05])
def test_logits_that_are_capped_behind_the_head_are_seen_capped(capped: float | None) -> None:
    import torch

    from factory.train.cross_entropy import token_nll

    model = gemma(capped)
    ids = torch.randint(VOCABULARY, (2, 12))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    batch["labels"][:, :5] = -100
    ours = token_nll(model, model.get_output_embeddings(), batch)[0]
    theirs = model(**batch).loss * (batch["labels"][:, 1:] >= 0).sum()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    ours.backward()
    found = model.model.embed_tokens.weight.grad.clone()
    model.zero_grad()
    theirs.backward()
    assert torch.allclose(found, model.model.embed_tokens.weight.grad, atol=1e-5)


@pytest.mark.parametrize("capped", [None, 0.05])
def test_each_token_has_a_gradient_of_its_own(capped: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from factory.train import cross_entropy

    monkeypatch.setattr(cross_entropy, "LOGITS", 16 * VOCABULARY)
    model = gemma(capped)
    ids = torch.randint(VOCABULARY, (4, 12))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    batch["labels"][:, :3] = -100
    head = model.get_output_embeddings()
    sizes: list[int] = []
    head.register_forward_hook(lambda _, given, made: sizes.append(len(made)))
    ours = cross_entropy.token_logps(model, head, batch)
    whole = torch.log_softmax(model(input_ids=ids).logits[:, 2:-1].float(), -1)
    theirs = whole.gather(-1, ids[:, 3:, None]).flatten()
    assert torch.allclose(ours, theirs, atol=1e-5)
    if capped is None:
        assert 36 not in sizes  # 16, 16 and 4, where no chunk is too large
    weights = torch.rand(36)
    found = torch.autograd.grad((weights * ours).sum(), model.model.embed_tokens.weight)[0]
    assert torch.allclose(
        found, torch.autograd.grad((weights * theirs).sum(), model.model.embed_tokens.weight)[0], atol=1e-5
    )


def test_a_base_in_bfloat16_under_autocast_gives_the_loss_of_its_own_forward() -> None:
    """As on a GPU: mixed precision wraps the model's forward alone, and the head is called beside it, too."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from transformers import LlamaConfig, LlamaForCausalLM

    from factory.train.cross_entropy import token_logps, token_nll

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    ids = torch.arange(24).view(2, 12) % VOCABULARY
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(3)
        model = LlamaForCausalLM(config).to(dtype).eval()
        AcceleratorState._reset_state(True)
        try:
            model = Accelerator(cpu=True, mixed_precision="bf16").prepare_model(model)
            theirs = model(input_ids=ids, attention_mask=batch["attention_mask"]).logits.float()
            each = torch.nn.functional.cross_entropy(
                theirs[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
            )
            total, found = token_nll(model, model.get_output_embeddings(), batch)
            assert torch.allclose(found, each, atol=2e-2)
            total.backward()
            assert model.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0
            assert torch.allclose(-token_logps(model, model.get_output_embeddings(), batch), each, atol=2e-2)
        finally:
            AcceleratorState._reset_state(True)
