"""What a training step leaves behind: the model's folder, and a table of what was done."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import Model
from factory.models.extension import extension_of
from factory.models.merging import note_quantized

from . import ranks
from .adapters import save_adapter

if TYPE_CHECKING:
    from .loop import Plan, Run


def save_model(
    model: Any, tokenizer: Any, base: Model, output: Path, root: Path | str, earlier: Path | None, full: Any
) -> None:
    """Write the folder afresh, for a kill may have left half of one: weights, tokenizer, notes of how the base was
    held and of its new rows.

    root, earlier  of an adapter: what it stands on, and the adapter that was merged into that
    full           the type in which all weights are stored, a torch.dtype; None: the model is an adapter
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    if full is not None:
        model = model.to(full)
    weights = _whole(model, full is not None) if ranks.sharded() else None
    if not ranks.first():
        return
    if full is not None:
        model.config.use_cache = True  # off while training; a saved config would slow every answer
        model.save_pretrained(output, state_dict=weights)
    elif hasattr(model, "light_config"):
        from factory.models.light import save_light

        save_light(model, output, model.light_config)
    else:
        save_adapter(model, output, root, earlier, weights)
        note_quantized(model, output)
    tokenizer.save_pretrained(output)
    if added := extension_of(base):
        added.save(output)


def _whole(model: Any, full: bool) -> dict[str, Any]:
    """In the first process the weights to save of a model that is split over all: all, or those of the adapter."""
    from .sharding import gathered, let_go

    let_go(model)
    once = dict(model.named_parameters())  # a tied head is its embedding's weight under a second name
    names = {name for name, weight in once.items() if weight.requires_grad}
    if full:
        second = dict(model.named_parameters(remove_duplicate=False)).keys() - once.keys()
        names = set(model.state_dict()) - second
    weights = gathered(model, names)
    ranks.meet()  # one that ended would take with it what the first still reads
    model.config.distributed_config = None  # or saving it would ask all processes for their parts once more
    return weights


def training_rows(base: Model, method: str, model: Any, plan: Plan, run: Run, counts: dict[str, int]) -> dict[str, str]:
    """What was trained, on what and for how long: the name of a row of the table -> what stands in it."""
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    # a 4-bit weight holds two values in a byte, so peft's own count is asked where there is one
    counted = hasattr(model, "get_nb_trainable_parameters")
    whole = model.get_nb_trainable_parameters()[1] if counted else sum(weight.numel() for weight in model.parameters())
    stopped = f"{run.steps} of {plan.total}" if run.steps < plan.total else f"{run.steps}"
    return {
        "base": base.uri,
        "method": method,
        "trained parameters": f"{trained:,} of {whole:,} ({trained / whole:.2%})",
        **{name: f"{value:,}" for name, value in counts.items()},
        "steps": stopped if run.taken == run.steps else f"{stopped}; weights of step {run.taken}",
        "learning rate": f"{plan.learning_rate:g}",
    }


def first_to_last(name: str, run: Run, metric: str) -> dict[str, str]:
    """The row of a metric; none where it was never measured."""
    return {name: "{:.4f} → {:.4f}".format(*run.ends[metric])} if metric in run.ends else {}


def told_rows(run: Run, told: Iterable[str]) -> dict[str, str]:
    """The rows of the losses, and of what the objective tells beside them: held out where it was measured there."""
    rows = first_to_last("training loss", run, "loss") | first_to_last("held-out loss", run, "eval_loss")
    for metric in told:
        rows |= first_to_last(f"held-out {metric}", run, f"eval_{metric}") or first_to_last(metric, run, metric)
    return rows


def table(rows: dict[str, str], note: str) -> str:
    """Two columns in Markdown, with a sentence below."""
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines, "", note])
