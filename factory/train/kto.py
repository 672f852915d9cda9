"""Kahneman-Tversky optimisation: a language model that prefers good answers, from single answers with a label."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from factory import CausalLM, Context, Dataset, Flat, InputError, ModelError, StepError, Unpaired, step
from factory.models.loading import load_tokenizer
from factory.models.rewards import is_reward_model

from .batches import Example, collate, split_validation
from .comparisons import encode_answer
from .dpo import SLOWER
from .methods import Tuning, prepare, room_of
from .options import Count, Positive, Share, Training, require_material
from .results import table, told_rows, training_rows

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from .references import Referred

TOLD = ("rewards/chosen", "rewards/rejected", "kl")


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answer with its label, beside another record's answer to the same prompt."""

    answer: Example
    label: bool
    other: Example

    @property
    def group(self) -> str:
        return self.answer.group

    @property
    def answers(self) -> tuple[Example, Example]:
        return self.answer, self.other

    def __len__(self) -> int:
        return max(map(len, self.answers))


@step(ranks=True)
def kto(
    dataset: Dataset[Unpaired],
    ctx: Context,
    base: CausalLM,
    tuning: Flat[Tuning],
    training: Flat[Training],
    beta: Positive = 0.1,
    desirable: Positive = 1.0,
    undesirable: Positive = 1.0,
    max_length: Count = 1024,
    validation: Share = 0.1,
) -> CausalLM:
    """Make good answers likelier and bad ones less likely, held against the base itself (Ethayarajh et al. 2024).

    base             the model to start from, and the reference: its log-probabilities of all answers are computed once,
                     before training. A LoRA built earlier is merged into its base, and what is saved is the sum of both
    {tuning}
    {training}
    beta             how strongly the model is held to the base; the reward of an answer is beta · (log π − log π_base)
    desirable, undesirable  weights of good and bad answers; where there are more of one kind, weight · count should be
                     alike, up to 4 : 3 (section 4 there)
    max_length       tokens of prompt and answer; longer records are dropped (`too long`), never cut
    validation       share held out, by the hash of the prompt: equal prompts stay together, none ever moves

    How far the model is from the base is estimated in each batch on prompts with answers to other prompts. Each prompt
    gets such an answer once, so their log-probabilities by the base are computed once, too. learning_rate is by default
    a twentieth of what `sft` takes (1e-6 for all weights, 1e-5 for lora). Dropout is off: the reference has none.

    Saves a model as `sft` does. Raises InputError for options that do not go together, ModelError for a base that is a
    reward model or that the method cannot train, StepError when no record can be learned, when there is but one prompt,
    or the loss is not finite.
    """
    if training.early_stopping is not None and validation == 0:
        raise InputError("kto: early_stopping needs held-out records; give validation a share above 0")
    if is_reward_model(base):
        raise ModelError(f"kto: {base.uri} is a reward model; give base a language model")
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(base)
    room = room_of(base, max_length, tuning)
    answers = encode_labelled(dataset, tokenizer, room, ctx)
    learned, held = split_validation(mismatched(answers, room, ctx), validation)
    require_material("kto", len(dataset), len(learned), len(held), training.early_stopping)
    tuned = prepare(base, tuning, ctx.rng("adapters").randrange(2**31 - 1), training)
    from .preference_objectives import answer_objective
    from .references import train_against_base

    objective = partial(answer_objective, beta=beta, desirable=desirable, undesirable=undesirable)
    plan = training.plan(len(learned), SLOWER * tuning.learning_rate, tuning.quantized)
    run = train_against_base(tuned, learned, held, tokenizer, plan, ctx, collate_labelled, objective)
    tuned.save(tokenizer, ctx.output)
    good = sum(one.label for one in learned)
    counts = {"good answers learned": good, "bad answers learned": len(learned) - good, "held out": len(held)}
    counts |= {"dropped": len(dataset) - len(learned) - len(held)}
    rows = training_rows(base, tuning.method, tuned.model, plan, run, counts) | {"beta": f"{beta:g}"}
    rows |= told_rows(run, TOLD)
    ctx.report("Training", table(rows, "Per answer, first → last; rewards are beta · (log π − log π_base), in nats."))
    return CausalLM(uri=str(ctx.output), path=ctx.output)


def encode_labelled(
    dataset: Iterable[Unpaired], tokenizer: PreTrainedTokenizerBase, max_length: int, ctx: Context
) -> list[tuple[Any, Example]]:
    """(record, its prompt and answer as tokens) of the records that can be learned; the others are dropped."""
    found = ((one, encode_answer(tokenizer, one, one["prompt"], one["completion"], max_length, ctx)) for one in dataset)
    return [(record, answer) for record, answer in found if answer is not None]


def mismatched(answers: Sequence[tuple[Any, Example]], max_length: int, ctx: Context) -> list[Labelled]:
    """Each answer with another one to its prompt: that of the next record, in an order drawn once, of another prompt.

    So the mismatched answers are the matched ones in another order, as in the microbatches of Ethayarajh et al. 2024,
    section 4. Drops a record when no answer fits behind its prompt. Raises StepError when there is but one prompt.
    """
    if answers and len({answer.group for _, answer in answers}) == 1:
        raise StepError("kto: all records have one prompt, and the distance to the base needs answers to another")
    order = list(range(len(answers)))
    ctx.rng("mismatched").shuffle(order)
    found: dict[int, Labelled] = {}
    for place, at in enumerate(order):
        record, answer = answers[at]
        others = (answers[one][1] for one in (*order[place + 1 :], *order[:place]))
        other = next((made for one in others if (made := _behind(answer, one, max_length)) is not None), None)
        if other is None:
            ctx.drop(record, "no other answer fits", tokens=len(answer), max_length=max_length)
            continue
        found[at] = Labelled(answer, bool(record["label"]), other)
    return [found[at] for at in sorted(found)]


def _behind(own: Example, other: Example, max_length: int) -> Example | None:
    """The prompt of one example with the answer of another; None if that is of the same prompt or does not fit."""
    if own.group == other.group:
        return None
    prompt, answer = own.learned.index(1), other.learned.index(1)
    if prompt + len(other) - answer > max_length:
        return None
    ids = array("i", [*own.ids[:prompt], *other.ids[answer:]])
    return Example(ids, own.learned[:prompt] + other.learned[answer:], own.group)


def collate_labelled(examples: Sequence[Referred[Labelled]], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each (answers, longest), reference and label, each (answers); and the same
    but label of the other answers, under names that begin with `other_`.
    """
    import torch

    batch = collate([one.two.answer for one in examples], pad_id)
    other = collate([one.two.other for one in examples], pad_id)
    batch["reference"], other["reference"] = torch.tensor([one.reference for one in examples]).unbind(1)
    batch["label"] = torch.tensor([one.two.label for one in examples])
    return batch | {f"other_{name}": value for name, value in other.items()}
