"""Direct preference optimisation: a language model that prefers the chosen answers, without a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from factory import CausalLM, Context, Dataset, Flat, InputError, ModelError, Preference, step
from factory.models.loading import load_tokenizer
from factory.models.rewards import is_reward_model

from .batches import collate, split_validation
from .comparisons import Pair, encode_pairs
from .methods import Tuning, prepare, room_of
from .options import Count, Positive, Share, Training, require_material
from .results import table, told_rows, training_rows

if TYPE_CHECKING:
    import torch

    from .references import Referred

# Of the rate of supervised fine-tuning: 1e-6 for all weights is that of Rafailov et al. 2023, appendix B; adapters take
# about ten times as much, here as there.
SLOWER = 1 / 20
TOLD = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")


@step(ranks=True)
def dpo(
    dataset: Dataset[Preference],
    ctx: Context,
    base: CausalLM,
    tuning: Flat[Tuning],
    training: Flat[Training],
    beta: Positive = 0.1,
    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid",
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
    max_length: Count = 1024,
    validation: Share = 0.1,
) -> CausalLM:
    """Make chosen answers likelier than rejected ones, held against the base itself (Rafailov et al. 2023).

    base             the model to start from, and the reference: its log-probabilities of all answers are computed once,
                     before training. A LoRA built earlier is merged into its base, and what is saved is the sum of both
    {tuning}
    {training}
    beta             how strongly the model is held to the base; the reward of an answer is beta · (log π − log π_base)
    loss             sigmoid: −log σ of the gap of two rewards; ipo: (gap per token − 1 / 2 beta)² (Azar et al. 2023);
                     hinge: max(0, 1 − gap) (Zhao et al. 2023)
    label_smoothing  of sigmoid: share of the pairs whose order is taken for wrong
    max_length       tokens of prompt and answer; longer records are dropped (`too long`), never cut
    validation       share held out, by the hash of the prompt: equal prompts stay together, none ever moves

    A record of batch_size is here a pair. learning_rate is by default a twentieth of what `sft` takes (1e-6 for all
    weights, 1e-5 for lora). Dropout is off, because the reference has none. What is trained is float32: at these rates
    hardly a weight of a bfloat16 adapter would ever change.

    Saves a model as `sft` does. Raises InputError for options that do not go together, ModelError for a base that is a
    reward model or that the method cannot train, StepError when no pair can be learned or the loss is not finite.
    """
    if training.early_stopping is not None and validation == 0:
        raise InputError("dpo: early_stopping needs held-out records; give validation a share above 0")
    if label_smoothing and loss != "sigmoid":
        raise InputError(f"dpo: label_smoothing goes with loss: sigmoid, not {loss}")
    if is_reward_model(base):
        raise ModelError(f"dpo: {base.uri} is a reward model; give base a language model")
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(base)
    pairs = encode_pairs(dataset, tokenizer, room_of(base, max_length, tuning), ctx)
    learned, held = split_validation(pairs, validation)
    require_material("dpo", len(dataset), len(learned), len(held), training.early_stopping)
    tuned = prepare(base, tuning, ctx.rng("adapters").randrange(2**31 - 1), training)
    from .preference_objectives import pair_objective
    from .references import train_against_base

    objective = partial(pair_objective, beta=beta, loss=loss, label_smoothing=label_smoothing)
    plan = training.plan(len(learned), SLOWER * tuning.learning_rate, tuning.quantized)
    run = train_against_base(tuned, learned, held, tokenizer, plan, ctx, collate_pairs, objective)
    tuned.save(tokenizer, ctx.output)
    counts = {"pairs learned": len(learned), "held out": len(held), "dropped": len(dataset) - len(pairs)}
    rows = training_rows(base, tuning.method, tuned.model, plan, run, counts) | {"beta": f"{beta:g}", "loss": loss}
    rows |= told_rows(run, TOLD)
    ctx.report("Training", table(rows, "Per pair, first → last; rewards are beta · (log π − log π_base), in nats."))
    return CausalLM(uri=str(ctx.output), path=ctx.output)


def collate_pairs(pairs: Sequence[Referred[Pair]], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each (2 · pairs, longest), and reference, (2 · pairs): first all chosen
    answers, then all rejected ones.
    """
    import torch

    answers = [one.two.chosen for one in pairs] + [one.two.rejected for one in pairs]
    reference = [one.reference[0] for one in pairs] + [one.reference[1] for one in pairs]
    return collate(answers, pad_id) | {"reference": torch.tensor(reference, dtype=torch.float32)}
