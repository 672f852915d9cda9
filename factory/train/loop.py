"""A training run that survives kills: transformers' Trainer with our loss and checkpoints, whatever is learned from.

This module loads torch and transformers; only a training step that runs imports it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from factory import Context, StepError

from . import checkpoints, ranks, sharding
from .batches import LengthGrouped
from .even import COUNTS, EvenOrder, Examples, collate_some
from .objective import Objective, Tally, likelihood
from .shortage import told_plainly

TRAINERS_OWN = {"loss", "epoch", "grad_norm", "step", "total_flos", "train_loss", "train_runtime"} | {
    "train_samples_per_second", "train_steps_per_second",
}  # fmt: skip
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
}
TRAINED = "trained.safetensors"  # the weights in a checkpoint
NORMAL_BITS = 2**31 - 1  # seeds that numpy takes, too


@dataclass(frozen=True)
class Plan:
    """How long, how fast and in what portions to train; a step is one update of the weights.

    warmup      share of all steps over which the learning rate rises
    evaluations per epoch; there is one before the first step and one after the last besides
    patience    evaluations without a lower loss after which training stops and the best weights are taken; None: never
    optimizer   one of options.Optimizer
    neftune     strength of uniform noise on the embeddings while learning (Jain et al. 2023); None: none
    length      the option that bounds the tokens of an example
    epsilon     AdamW's: gradients far below it move a weight in proportion, those above it by the learning rate
    """

    total: int
    learning_rate: float
    schedule: str
    warmup: float
    weight_decay: float
    max_grad_norm: float
    batch_size: int
    accumulation: int
    evaluate_every: int
    checkpoint_every: int
    patience: int | None
    gradient_checkpointing: bool
    epsilon: float = 1e-8
    optimizer: str = "adamw"
    neftune: float | None = None
    length: str = "max_length"


@dataclass(frozen=True)
class Held:
    """Examples that are measured and not learned: the objective's summed loss over `unit`, lower is better.

    metric  begins with `eval_`; what the objective tells besides is logged after it: `eval_accuracy` beside `eval_loss`
    unit    what the sum is divided by: items for a loss, ln 2 · characters for bits per character
    """

    metric: str
    examples: Sequence[Any]
    unit: float


@dataclass(frozen=True)
class Material:
    """What a run learns from and is measured on.

    lengths    of the examples, in tokens: batches are of like length
    collate    makes of a few examples a batch: for the likelihood what the model is called with, and `labels` (IGNORED:
               no loss), each (few, longest)
    objective  what is made small; None: the likelihood of the labelled tokens
    """

    examples: Sequence[Any]
    lengths: Sequence[int]
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]]
    held: Sequence[Held] = ()
    objective: Objective | None = None


@dataclass(frozen=True)
class Run:
    """What a finished run tells: steps done, whose weights were taken, and of each metric the first value and that at
    the step taken (or the last before it).
    """

    steps: int
    taken: int
    ends: dict[str, tuple[float, float]]


def steps_of(records: int, batch_size: int, accumulation: int, epochs: float, max_steps: int | None) -> tuple[int, int]:
    """(steps in an epoch, steps in all)."""
    epoch = max(1, math.ceil(math.ceil(records / batch_size) / accumulation))
    return epoch, max_steps or math.ceil(epochs * epoch)


def train(model: Any, material: Material, plan: Plan, ctx: Context) -> Run:
    """Train `model` in place, from the newest whole checkpoint in `ctx.workdir` if there is one.

    In several processes (`ranks`) each step has the records that it has in one, some in each process.

    Resumed after a kill at any moment, a run on CPU gives the weights of one that was not killed, to the bit:
    optimizer, schedule, generators and the place in the data are in the checkpoint; the order of the data depends on
    seed and epoch alone. Raises StepError when the loss is not finite.
    """
    sharding.let_go(model)
    seed, folder = ctx.rng("training").randrange(NORMAL_BITS), ranks.checkpoint_folder(ctx)
    trainer = TokenTrainer(
        model=model,
        args=_arguments(plan, seed, folder),
        data_collator=partial(collate_some, material.collate, material.examples[0]),
        train_dataset=Examples(material.examples),
    )
    trainer.plan, trainer.material, trainer.told = plan, material, Tally()
    trainer.objective = material.objective or likelihood(model.get_output_embeddings())
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Watch(trainer, ctx, plan, material))
    if ranks.first():
        checkpoints.latest(folder)  # what a kill left half-written goes
    ranks.meet()
    newest = checkpoints.latest(folder)
    steps, log = checkpoints.history(newest) if newest else (0, [])
    # transformers would take one more step from a checkpoint that was the last
    if newest and (steps >= plan.total or out_of_patience(log, material.held, plan.patience)):
        source = newest
    else:
        with told_plainly(model, plan):
            trainer.train(resume_from_checkpoint=str(newest) if newest else None)
        steps, log, source = trainer.state.global_step, trainer.state.log_history, None
    taken = steps
    if plan.patience is not None:
        taken = best_step(log, material.held) or steps
        source = checkpoints.folder_of(folder, taken)
    if source is not None:
        trainer._load_from_checkpoint(str(source))
    ranks.meet()  # one that ended while another still asks it for its part would be taken for dead
    return Run(steps, taken, ends([entry for entry in log if int(entry.get("step", 0)) <= taken]))


def _arguments(plan: Plan, seed: int, workdir: Path) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    named = TrainingArguments.__dataclass_fields__
    recompute = "activation_checkpointing" if "activation_checkpointing" in named else "gradient_checkpointing"
    return TrainingArguments(
        output_dir=str(workdir),
        max_steps=plan.total,
        learning_rate=plan.learning_rate,
        lr_scheduler_type=plan.schedule,
        warmup_steps=math.ceil(plan.warmup * plan.total),
        weight_decay=plan.weight_decay,
        adam_epsilon=plan.epsilon,
        optim=OPTIMIZERS[plan.optimizer],
        neftune_noise_alpha=plan.neftune,
        max_grad_norm=plan.max_grad_norm,
        per_device_train_batch_size=plan.batch_size,
        gradient_accumulation_steps=ranks.share_of(plan.accumulation),
        ddp_backend="gloo" if ranks.size() > 1 and not gpu else None,
        ddp_find_unused_parameters=False,
        ddp_timeout=int(ranks.PATIENCE.total_seconds()),
        use_cpu=not gpu,
        seed=seed,
        data_seed=seed,
        bf16=gpu,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        # When to evaluate and to save is `Watch`'s to say.
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        **{recompute: plan.gradient_checkpointing, f"{recompute}_kwargs": {"use_reentrant": False}},
    )


class TokenTrainer(Trainer):  # type: ignore[misc]
    """The objective's loss, each item of a step weighing the same; checkpoints that are whole."""

    plan: Plan
    material: Material
    objective: Objective
    told: Tally  # what the objective told in the batches since the last step was logged
    control: Any  # transformers' flags: evaluate, save, stop
    loss_is_scaled_for_ga = True  # compute_loss divides by the items of the whole step

    def _get_train_sampler(self, train_dataset: Any = None) -> EvenOrder:
        return EvenOrder(LengthGrouped(self.material.lengths, self.args.train_batch_size, self.args.seed))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the items of all batches of this step."""
        counts = inputs.pop(COUNTS, 1)
        here = self.objective.items(inputs)
        sums = self.objective.sums(model, inputs)
        if counts:
            self.told.add({name: value for name, value in sums.items() if name != "loss"}, here)
        items = here if num_items_in_batch is None else num_items_in_batch
        # the count is over all processes, whose gradients are then averaged
        loss = cast(torch.Tensor, sums["loss"]) * counts / items * self.accelerator.num_processes
        return (loss, None) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """The items of all batches of a step, on all processes."""
        items = [self.objective.items(batch) for batch in batch_samples if COUNTS not in batch]
        here = torch.as_tensor(sum(items), device=device)
        if self.args.world_size == 1:
            return here
        return self.accelerator.gather(here.double()).sum()  # some count in whole numbers, a batch of nothing says 0

    def log(self, logs: dict[str, float], *args: Any, **more: Any) -> None:
        """With the loss of a step goes what the objective told beside it."""
        if "loss" in logs:
            logs |= self.told.means()
            self.told = Tally()
        super().log(logs, *args, **more)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The metrics of every held-out set, each item of a set weighing the same."""
        self.model_wrapped.eval()
        metrics: dict[str, float] = {}
        for held in self.material.held:
            tally = self._measured(held.examples)
            means = {name: value for name, value in tally.means().items() if name != "loss"}
            metrics[held.metric] = tally.total("loss") / held.unit
            metrics |= {f"{held.metric.removesuffix('_loss')}_{name}": value for name, value in means.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _measured(self, examples: Sequence[Any]) -> Tally:
        tally, size = Tally(), self.plan.batch_size
        with torch.no_grad():
            for start in range(0, len(examples), size):
                few = [examples[at] for at in range(start, min(start + size, len(examples)))]
                batch = {name: value.to(self.args.device) for name, value in self.data_collator(few).items()}
                tally.add(self.objective.sums(self.model_wrapped, batch), self.objective.items(batch))
        return tally

    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        """What is trained, by name: the rest is the base's, and peft leaves out what it can do without when asked."""
        sharding.let_go(self.model)
        trained = {name for name, weight in self.model.named_parameters() if weight.requires_grad}
        there = sharding.gathered(self.model, trained)
        if ranks.first():
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_file(there, Path(output_dir) / TRAINED, metadata={"format": "pt"})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        sharding.put(self.model, load_file(Path(resume_from_checkpoint) / TRAINED))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if ranks.sharded():
            sharding.save_state(self.optimizer, self.lr_scheduler, Path(output_dir))
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if ranks.sharded() and checkpoint is not None:
            sharding.load_state(self.optimizer, self.lr_scheduler, Path(checkpoint))
        else:
            if checkpoint is not None:
                sharding.require_whole(Path(checkpoint))
            super()._load_optimizer_and_scheduler(checkpoint)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        ranks.meet()  # each has written its generators' states
        if not self.args.should_save:
            return
        workdir, step = Path(self.args.output_dir), self.state.global_step
        checkpoints.seal(checkpoints.folder_of(workdir, step))
        best = best_step(self.state.log_history, self.material.held) if self.plan.patience is not None else None
        checkpoints.clear(workdir, {step, best or step})


class Watch(TrainerCallback):  # type: ignore[misc]
    """When to evaluate, to save and to stop; and news for who is watching."""

    def __init__(self, trainer: TokenTrainer, ctx: Context, plan: Plan, material: Material) -> None:
        self.trainer, self.ctx, self.plan, self.held = trainer, ctx, plan, material.held

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.held and state.global_step == 0:
            self.trainer.evaluate()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step, plan = state.global_step, self.plan
        control.should_evaluate = bool(self.held) and (step % plan.evaluate_every == 0 or step == plan.total)
        # An evaluated state may turn out the best, so it is saved; transformers evaluates before it saves.
        best_wanted = control.should_evaluate and plan.patience is not None
        control.should_save = step % plan.checkpoint_every == 0 or best_wanted

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop |= out_of_patience(state.log_history, self.held, self.plan.patience)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        step = state.global_step
        told = {name: value for name, value in logs.items() if name not in TRAINERS_OWN}
        if "loss" not in logs and told:
            self.ctx.log(step, **told)
        elif "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise StepError(f"the training loss is {logs['loss']} at step {step}; try a lower learning_rate")
            self.ctx.log(step, train_loss=logs["loss"], **told)
            self.ctx.progress(step, self.plan.total, f"loss {logs['loss']:.3f}")


def judged(log: Sequence[dict[str, Any]], held: Sequence[Held]) -> list[tuple[float, int]]:
    """(what an evaluation is judged by, its step) in order: the mean over the metrics of the held-out sets.

    Read from the log alone, which checkpoints keep, so a resumed run decides as an undisturbed one.
    """
    names = [one.metric for one in held]
    found = [entry for entry in log if names and names[0] in entry]
    return [(sum(entry[name] for name in names) / len(names), int(entry["step"])) for entry in found]


def out_of_patience(log: Sequence[dict[str, Any]], held: Sequence[Held], patience: int | None) -> bool:
    """Whether none of the last `patience` evaluations was better than all before them."""
    values = [value for value, _ in judged(log, held)]
    return patience is not None and bool(values) and len(values) - 1 - values.index(min(values)) >= patience


def best_step(log: Sequence[dict[str, Any]], held: Sequence[Held]) -> int | None:
    """The step, after the first, whose evaluation was lowest (the earliest of equals); None before any."""
    found = [(value, step) for value, step in judged(log, held) if step > 0]
    return min(found)[1] if found else None


def ends(log: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Name -> the first and the last value logged under it."""
    found: dict[str, tuple[float, float]] = {}
    for entry in log:
        for name, value in entry.items():
            found[name] = (found.get(name, (value, value))[0], value)
    return found
