"""`factory fit`: what the training stages of a recipe need, what of it fits, and what to write into the recipe."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..engine.stage import Plan
from ..errors import FactoryError, InputError, did_you_mean
from ..train.fitting import STEPS, USABLE, remedies, smallest
from .dry_run import tried
from .planning import json_option, planned, recipe_argument, set_option, targets_argument
from .training_stages import Fitted, fitted

UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
RATES = {"G": 1e9, "T": 1e12, "P": 1e15}


@click.command()
@recipe_argument
@targets_argument
@click.option("--memory", required=True, metavar="SIZE", help="Of the GPU (or with --cpu of the machine), as 24GB.")
@click.option("--cpu", is_flag=True, help="Plan for a CPU, which trains in float32, instead of a GPU.")
@click.option("--flops", metavar="RATE", help="Operations a second that training reaches, as 60T: tells the time, too.")
@click.option("--check", is_flag=True, help="Train two steps of every stage here, and measure the memory they take.")
@set_option
@json_option
@click.pass_obj
def fit(
    store: Path | None,
    recipe: Path,
    targets: tuple[str, ...],
    memory: str,
    cpu: bool,
    flops: str | None,
    check: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say whether the training stages of RECIPE fit into a memory, and with what batches.

    The plan is arithmetic over the models' configs: no weights are loaded. It is made for records as long as max_length
    allows, and keeps the effective batch of the recipe.
    """
    given, rate = memory_of(memory), None if flops is None else rate_of(flops)
    room = given * USABLE[not cpu]
    plan = planned(store, recipe, targets, None, overrides)
    found = fitted(plan, room, not cpu, rate)
    if not found:
        trains = ", ".join(sorted(STEPS))
        raise InputError(f"{recipe}: no stage trains a model; a training step is one of {trains}")
    if as_json:
        click.echo(json.dumps([row(one) | checked(plan, one, check) for one in found], ensure_ascii=False))
    else:
        place = "CPU" if cpu else "GPU"
        click.echo(f"{size(given)} on a {place}, of which {size(room)} can be planned with\n")
        click.echo("\n".join(table([cells(one) for one in found])))
        click.echo("\n" + "\n".join(lines(found)))
        for one in found:
            if two := checked(plan, one, check):
                click.echo(told(one, two["check"]))
    if lacking := [sentence(one, room) for one in found if one.setting is None]:
        raise InputError("\n".join(lacking))


def memory_of(text: str) -> float:
    """Bytes of a size as `24GB`. Raises InputError for anything else, with what was probably meant."""
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if parts is None or float(parts[1]) == 0:
        raise InputError(f"--memory: '{text}' is no size; expected a number with a unit, as 24GB or 80GiB")
    number, unit = parts[1], parts[2]
    if unit in UNITS:
        return float(number) * UNITS[unit]
    known = next((name for name in UNITS if name.lower() == unit.lower()), "")
    near = f"did you mean '{number}{known}'?" if known else did_you_mean(unit, UNITS) if unit else f"as {number}GB"
    raise InputError(f"--memory: '{text}' has {f'the unit {unit!r}' if unit else 'no unit'}; {near}")


def rate_of(text: str) -> float:
    """Operations a second of a rate as `60T` or `6e13`."""
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([GTP]?)\s*", text)
    if parts is None or float(parts[1]) == 0:
        raise InputError(f"--flops: '{text}' is no rate; expected operations a second, as 60T (60e12)")
    return float(parts[1]) * RATES.get(parts[2], 1.0)


def cells(one: Fitted) -> list[str]:
    """A line of the table: what a step takes with the setting that fits, else with the recipe's."""
    setting = one.setting or one.task.setting
    need, tuned = one.task.need(setting), one.task.tuned
    passing = max(need.activations + need.logits, need.cache)
    time = "" if one.seconds is None else duration(one.seconds)
    return [
        one.stage.target, one.call.step, f"{tuned.method}, {tuned.base}" if tuned.base != "bf16" else tuned.method,
        size(need.weights), size(need.gradients + need.optimizer), size(passing), size(need.peak),
        "does not fit" if one.setting is None else f"{setting.batch_size} × {setting.accumulation}",
        "recomputed" if setting.recompute else "kept", f"{one.task.flops(setting) / 1e12:,.3g}", time,
    ]  # fmt: skip


HEADER = ["target", "step", "method", "weights", "trained", "passing", "peak", "batch", "activations", "TFLOP/step", ""]


def table(rows: list[list[str]]) -> list[str]:
    """Rows under the header, in columns; the last one is the time, where it is known."""
    rows = [[*HEADER[:-1], "time" if any(row[-1] for row in rows) else ""], *rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def lines(found: list[Fitted]) -> list[str]:
    """What to write into the recipe, and what the sizes are taken from."""
    said = []
    for one in found:
        if one.setting is None:
            continue
        if one.setting == one.task.setting:
            said.append(f"{one.stage.target}: fits as the recipe has it")
        else:
            said.append(f"{one.stage.target}: {one.call.step}: {{{options(one)}}}")
        if one.like:
            said[-1] += f"   # its base is not built yet; sized as {one.like}"
    return said


def options(one: Fitted) -> str:
    """The options that differ from the recipe's, as YAML; what both say is left out."""
    setting = one.setting or one.task.setting
    said = {"batch_size": str(setting.batch_size)}
    if one.call.step != "ppo":
        said["accumulation"] = str(setting.accumulation)
    said["gradient_checkpointing"] = str(setting.recompute).lower()
    return ", ".join(f"{name}: {value}" for name, value in said.items())


def sentence(one: Fitted, room: float) -> str:
    """Why a stage cannot be trained, and what would help."""
    least = size(smallest(one.task))
    helps = remedies(one.task, room)
    help_with = f"try {' or '.join(helps)}" if helps else "no shorter record and no 4 bits help: take a smaller base"
    return (
        f"{one.stage.target}: {one.call.step} does not fit into {size(room)}: the least it takes is {least}, with "
        f"batch_size: 1 and gradient_checkpointing: true; {help_with}"
    )


def checked(plan: Plan, one: Fitted, wanted: bool) -> dict[str, Any]:
    """What two steps took, as `check`; nothing where they are not wanted or the stage does not fit."""
    if not wanted or one.setting is None:
        return {}
    try:
        return {"check": asdict(tried(plan, one))}
    except FactoryError as error:  # the other stages can be tried all the same
        return {"check": {"error": str(error)}}


def told(one: Fitted, check: dict[str, Any]) -> str:
    """What was planned and what was measured, in a line."""
    if "error" in check:
        return f"{one.stage.target}: two steps could not be trained here: {check['error']}"
    machine = "GPU" if check["gpu"] else "CPU, in float32"
    return (
        f"{one.stage.target}: two steps on this machine ({machine}): {size(check['planned'])} planned, "
        f"{size(check['measured'])} measured ({check['planned'] / check['measured']:.2f}); "
        f"{check['seconds']:.3g} s a step, {check['rate'] / 1e12:.3g} TFLOP/s"
    )


def row(one: Fitted) -> dict[str, Any]:
    """A stage for programs."""
    need = one.task.need(one.setting or one.task.setting)
    return {
        "target": one.stage.target,
        "step": one.call.step,
        "fits": one.setting is not None,
        "setting": asdict(one.setting) if one.setting else None,
        "need": {**asdict(need), "peak": need.peak},
        "least": smallest(one.task),
        "parameters": one.task.shape.parameters,
        "flops": one.task.flops(one.setting or one.task.setting),
        "steps": one.steps,
        "seconds": one.seconds,
        "like": one.like,
    }


def size(octets: float) -> str:
    """Decimal units, three digits."""
    unit = next((name for name in ("GB", "MB") if octets >= 10 ** {"GB": 9, "MB": 6}[name]), "kB")
    return f"{octets / {'GB': 1e9, 'MB': 1e6, 'kB': 1e3}[unit]:,.3g} {unit}"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
