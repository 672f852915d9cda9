"""Supervised fine-tuning on prompt and completion, of all weights or by a light method."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from factory import CausalLM, Context, Dataset, Flat, InputError, PromptCompletion, step
from factory.models.loading import load_tokenizer

from .batches import Example, Learn, collate, encode_examples, split_validation
from .methods import Tuned, Tuning, prepare, room_of
from .options import Count, Positive, Share, Training, require_material
from .packing import packed_rows
from .results import first_to_last, table, training_rows
from .sources import source_of, told_apart

if TYPE_CHECKING:
    from .loop import Plan, Run


@step(ranks=True)
def sft(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    base: CausalLM,
    tuning: Flat[Tuning],
    training: Flat[Training],
    max_length: Count = 1024,
    learn: Learn = "completion",
    packing: bool = False,
    weigh: Annotated[str, Field(pattern="^(token|example)$")] = "token",
    neftune: Positive | None = None,
    losses_by: str | None = None,
    validation: Share = 0.1,
) -> CausalLM:
    """Teach a model to answer prompts with their completions; the loss is on the completion's tokens only.

    What keeps old skills (replayed examples, the weights of several tasks) comes from the step `mix` before this one.

    base             the model to start from. A LoRA built earlier is merged into its base, a new one is trained on
                     top, and what is saved is the sum of both, so the result stands on the same base
    {tuning}
    {training}
    max_length       tokens of prompt and completion; longer records are dropped (`too long`), never cut
    learn            completion: the completion's assistant turns; assistant: those of the prompt, too; all: every turn
    packing          put several records into a row of max_length tokens, none seen by another
    weigh            token: every learned token weighs the same; example: every record does
    neftune          noise on the embeddings while learning, 5 to 15 (Jain et al. 2023, arXiv:2310.05914)
    losses_by        a field of meta by whose value losses are told apart, as `seed`; by default the names in `from:`
    validation       share held out, by the hash of the prompt: equal prompts stay together, none ever moves

    Saves a folder that transformers (full, freeze), peft (most) or `factory` alone (adapter, bitfit) loads, with
    tokenizer and chat template. Raises InputError for options that do not go together, ModelError for a base that the
    method cannot train, StepError when no record can be learned or the loss is not finite.
    """
    if training.early_stopping is not None and validation == 0:
        raise InputError("sft: early_stopping needs held-out records; give validation a share above 0")
    room = room_of(base, max_length, tuning)
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(base)
    examples = encode_examples(dataset, tokenizer, room, ctx, learn, source_of(dataset, losses_by))
    names, examples = told_apart(examples)
    learned, held = split_validation(examples, validation)
    require_material("sft", len(dataset), len(learned), len(held), training.early_stopping)
    tuned = prepare(base, tuning, ctx.rng("adapters").randrange(2**31 - 1), training)
    rows: Sequence[Any] = learned
    if packing:
        _require_isolation(tuned)
        rows = packed_rows(learned, room)
    plan, run = fine_tune(tuned, rows, held, tokenizer, training, ctx, names, weigh == "example", neftune)
    tuned.save(tokenizer, ctx.output)
    counts = {"records learned": len(learned), "held out": len(held), "dropped": len(dataset) - len(examples)}
    if packing:
        counts |= {f"rows of {room} tokens": len(rows)}
    told = training_rows(base, tuning.method, tuned.model, plan, run, counts)
    for name, metric in (("training loss", "loss"), ("held-out loss", "eval_loss")):
        told |= first_to_last(name, run, metric)
    for name in names:
        told |= first_to_last(f"held-out loss, {name}", run, f"eval_loss/{name}")
    ctx.report("Training", table(told, f"Losses are nats per {weigh}, first → last.".replace("token", "learned token")))
    return CausalLM(uri=str(ctx.output), path=ctx.output)


def fine_tune(
    tuned: Tuned,
    rows: Sequence[Any],
    held: Sequence[Example],
    tokenizer: Any,
    training: Training,
    ctx: Context,
    sources: Sequence[str] = (),
    by_example: bool = False,
    neftune: float | None = None,
) -> tuple[Plan, Run]:
    """Train on the likelihood of what is learned of each row, and measure that of what is held out.

    rows     examples, or lists of them that stand packed in one row
    sources  names under which losses are told apart; none: only the whole is told
    """
    from .loop import Held, Material, train
    from .objective import likelihood

    tuning = tuned.tuning
    plan = training.plan(len(rows), tuning.learning_rate, tuning.quantized, neftune=neftune)
    # the first token of an example is never predicted
    unit = len(held) if by_example else sum(sum(one.learned[1:]) for one in held)
    material = Material(
        examples=rows,
        lengths=[len(row) if isinstance(row, Example) else sum(map(len, row)) for row in rows],
        collate=partial(collate, pad_id=tokenizer.pad_token_id or 0, sources=sources, by_example=by_example),
        held=[Held("eval_loss", sorted(held, key=len), unit)] if held else [],
        objective=likelihood(tuned.model.get_output_embeddings(), sources),
    )
    return plan, train(tuned.model, material, plan, ctx)


def _require_isolation(tuned: Tuned) -> None:
    from .isolation import require_isolation
    from .methods import VIRTUAL

    if tuned.tuning.method in VIRTUAL:
        raise InputError(
            "sft: packing would put virtual tokens before a row's first record only; "
            "leave packing out, or take method: lora"
        )
    require_isolation(tuned.model, tuned.base.uri)
