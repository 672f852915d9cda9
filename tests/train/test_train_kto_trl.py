"""The loss of KTO and its gradients are those of TRL's trainer on equal batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM

pytestmark = pytest.mark.model
BETA = 0.3


@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.3, 0.7)])
def test_losses_and_gradients_are_those_of_trl(
    desirable: float, undesirable: float, tiny: CausalLM, tmp_path: Path, labelled: Any, make_context: Any
) -> None:
    import datasets
    import torch
    from trl import KTOConfig, KTOTrainer

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.kto import collate_labelled, encode_labelled, mismatched
    from factory.train.preference_objectives import answer_objective
    from factory.train.references import Referred, reference_logps

    def policy() -> Any:
        model = load_causal_lm(tiny)
        torch.manual_seed(5)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight) * 0.02)
        return model.train()

    context, _ = make_context(tmp_path)
    tokenizer, model, theirs = load_tokenizer(tiny), policy(), policy()
    found = mismatched(encode_labelled(labelled(4)[:7], tokenizer, 200, context), 200, context)
    both = [example for one in found for example in (one.answer, one.other)]
    logps = reference_logps(load_causal_lm(tiny), both, 4, 1, context).reshape(-1, 2).tolist()
    examples = [Referred(one, (own, other)) for one, (own, other) in zip(found, logps, strict=True)]
    batch = collate_labelled(examples, 1)
    objective = answer_objective(model.get_output_embeddings(), BETA, desirable, undesirable)
    sums = objective.sums(model, batch)
    ours = sums["loss"] / objective.items(batch)
    ours.backward()

    config = KTOConfig(
        str(tmp_path / "trl"),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        beta=BETA,
        desirable_weight=desirable,
        undesirable_weight=undesirable,
        per_device_train_batch_size=2,
    )
    data = datasets.Dataset.from_list([{"prompt": "a", "completion": "b", "label": at == 0} for at in range(2)])
    reference = load_causal_lm(tiny)
    trainer = KTOTrainer(theirs, reference, args=config, train_dataset=data, processing_class=tokenizer)
    rows = []
    for one in found:
        begin = one.answer.learned.index(1)
        ids, other = list(one.answer.ids), list(one.other.ids)
        assert ids[:begin] == other[:begin]
        row = {"prompt_ids": ids[:begin], "completion_ids": ids[begin:], "KL_completion_ids": other[begin:]}
        rows.append(row | {"label": one.label})
    expected = trainer.compute_loss(theirs, trainer.data_collator(rows))
    expected.backward()

    assert ours.item() == pytest.approx(expected.item(), abs=1e-5)
    gradients = dict(model.named_parameters())
    for path, weight in theirs.named_parameters():
        assert (weight.grad - gradients[path].grad).abs().max() < 1e-5
    kl = trainer._metrics["train"]["kl"][-1]
    assert float(sums["kl"][0]) == pytest.approx(kl, abs=1e-5)
    assert kl > 0.1
