"""The loss of sft and its gradients are those of TRL's trainer on an equal batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM

pytestmark = pytest.mark.model


@pytest.mark.parametrize("learn", ["completion", "all"])
def test_loss_and_gradients_are_trls(
    learn: Any, tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    import datasets
    import torch
    from trl import SFTConfig, SFTTrainer

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.batches import collate, encode_examples
    from factory.train.objective import likelihood

    tokenizer, model = load_tokenizer(tiny), load_causal_lm(tiny)
    examples = encode_examples(dataset, tokenizer, 256, make_context(tmp_path)[0], learn)
    objective, batch = likelihood(model.get_output_embeddings()), collate(examples, 0)
    loss = objective.sums(model, batch)["loss"] / objective.items(batch)
    loss.backward()
    ours = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()

    config = SFTConfig(
        str(tmp_path / "trl"), report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
        completion_only_loss=learn == "completion",
    )  # fmt: skip
    data = datasets.Dataset.from_list([{"prompt": "a", "completion": "b"}])
    trainer = SFTTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
    rows = []
    for one in examples:
        labels = [token if learned else -100 for token, learned in zip(one.ids, one.learned, strict=True)]
        rows.append({"input_ids": list(one.ids), "labels": labels})
    theirs = trainer.compute_loss(model, trainer.data_collator(rows))
    theirs.backward()
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)
    for name, weight in model.named_parameters():
        assert torch.allclose(ours[name], weight.grad, atol=1e-5), name
    assert max(float(weight.abs().max()) for weight in ours.values()) > 1e-2
