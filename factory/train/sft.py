"""Supervised fine-tuning on prompt and completion: full, LoRA or QLoRA."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from factory import CausalLM, Context, Dataset, InputError, PromptCompletion, StepError, step
from factory.models.loading import load_causal_lm, load_tokenizer

from .adapters import LoraOptions, add_lora, root_of
from .batches import collate, encode_examples, split_validation
from .results import first_to_last, save_model, table, training_rows

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
# An adapter takes about ten times the rate of full fine-tuning; 2e-4 is that of QLoRA up to 13B (Dettmers et al. 2023,
# table 9), 2e-5 that of Alpaca's full fine-tuning.
LEARNING_RATES = {"lora": 2e-4, "qlora": 2e-4, "full": 2e-5}


@step
def sft(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    base: CausalLM,
    method: Literal["lora", "qlora", "full"] = "lora",
    lora: LoraOptions = LoraOptions(),  # noqa: B008  (never changed)
    epochs: Positive = 1,
    max_steps: Count | None = None,
    learning_rate: Positive | None = None,
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine",
    warmup: Share = 0.05,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
    max_grad_norm: Positive = 1.0,
    batch_size: Count = 8,
    accumulation: Count = 1,
    max_length: Count = 1024,
    validation: Share = 0.1,
    evaluations: Count = 2,
    early_stopping: Count | None = None,
    checkpoint_every: Count = 50,
    gradient_checkpointing: bool | None = None,
) -> CausalLM:
    """Teach a model to answer prompts with their completions; the loss is on the completion's tokens only.

    base             the model to start from. A LoRA built earlier is merged into its base, a new one is trained on
                     top, and what is saved is the sum of both, so the result stands on the same base
    method           lora: adapters; qlora: adapters on a base in 4 bits (nf4, double quantization); full: all weights
    lora             r, alpha, dropout, target_modules (`all-linear` or names), layers (only the last so many)
    epochs, max_steps  how long; max_steps, where given, decides. A step is one update of the weights
    learning_rate    by default 2e-4 for lora and qlora, 2e-5 for full; AdamW
    warmup           share of the steps over which the learning rate rises from 0
    batch_size, accumulation  records in a batch, batches in a step
    max_length       tokens of prompt and completion; longer records are dropped (`too long`), never cut
    validation       share held out, by the hash of the prompt: equal prompts stay together, none ever moves
    evaluations      of the held-out share in each epoch; besides, before the first and after the last step
    early_stopping   stop after so many evaluations without a lower loss, and take the best weights
    checkpoint_every steps between checkpoints; a killed run resumes at the last, and on CPU ends with equal weights
    gradient_checkpointing  recompute activations to save memory; by default for qlora on a GPU

    Saves a folder that transformers (full) or peft (lora, qlora) loads, with tokenizer and chat template.
    Raises InputError for options that do not go together, StepError when no record can be learned or the loss is not
    finite.
    """
    if early_stopping is not None and validation == 0:
        raise InputError("sft: early_stopping needs held-out records; give validation a share above 0")
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(base)
    examples = encode_examples(dataset, tokenizer, max_length, ctx)
    learned, held = split_validation(examples, validation)
    if not learned:
        raise StepError(f"sft: of {len(dataset)} records none is left to learn from ({len(held)} are held out)")
    if early_stopping is not None and not held:
        raise StepError("sft: early_stopping needs held-out records, but the records have only one prompt")
    from .loop import Held, Material, Plan, steps_of, train

    per_epoch, total = steps_of(len(learned), batch_size, accumulation, epochs, max_steps)
    if gradient_checkpointing is None:
        gradient_checkpointing = method == "qlora" and torch.cuda.is_available()
    plan = Plan(
        total=total,
        learning_rate=LEARNING_RATES[method] if learning_rate is None else learning_rate,
        schedule=schedule,
        warmup=warmup,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm,
        batch_size=batch_size,
        accumulation=accumulation,
        evaluate_every=max(1, round(per_epoch / evaluations)),
        checkpoint_every=checkpoint_every,
        patience=early_stopping,
        gradient_checkpointing=gradient_checkpointing,
    )
    root, earlier = root_of(base) if method != "full" else ("", None)
    model: Any = load_causal_lm(base, "nf4" if method == "qlora" else None)
    stored_as = model.dtype
    # full: float32 weights to update, even where a GPU computes in bfloat16 (by autocast)
    model = model.float() if method == "full" else add_lora(model, lora, ctx.rng("adapters").randrange(2**31 - 1))
    material = Material(
        examples=learned,
        lengths=[len(example) for example in learned],
        collate=partial(collate, pad_id=tokenizer.pad_token_id or 0),
        # the first token of an example is never predicted
        held=[Held("eval_loss", sorted(held, key=len), sum(sum(one.learned[1:]) for one in held))] if held else [],
    )
    run = train(model, material, plan, ctx)
    save_model(model, tokenizer, base, ctx.output, root, earlier, stored_as if method == "full" else None)
    counts = {"records learned": len(learned), "held out": len(held), "dropped": len(dataset) - len(examples)}
    rows = training_rows(base, method, model, plan, run, counts)
    for name, metric in (("training loss", "loss"), ("held-out loss", "eval_loss")):
        rows |= first_to_last(name, run, metric)
    ctx.report("Training", table(rows, "Losses are nats per completion token, first → last."))
    return CausalLM(uri=str(ctx.output), path=ctx.output)
