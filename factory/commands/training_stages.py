"""The training stages of a plan: what each starts from, how large that is, and the setting that fits into a memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..engine.model import Model
from ..engine.recipe import Call
from ..engine.stage import Plan, Stage, opened
from ..errors import ModelError
from ..train.fitting import STEPS, Setting, Task, pick, task_of
from ..train.shape import Shape, shape_of

BASES = ("base", "policy")  # options that name the model a step starts from


@dataclass(frozen=True)
class Fitted:
    """A training stage, what it needs as the recipe has it, and the setting that fits (None: none does).

    like     the model that it is sized as, where its own base is not built yet
    steps    of training, where they are known
    seconds  of all of them, at the rate that was given
    """

    stage: Stage
    call: Call
    task: Task
    setting: Setting | None
    like: str
    steps: int | None
    seconds: float | None = None


def fitted(plan: Plan, room: float, gpu: bool, rate: float | None = None) -> list[Fitted]:
    """Every training stage of the plan with the setting that fits into `room` bytes."""
    found = []
    for stage in plan.stages:
        for call in stage.calls:
            if call.step not in STEPS:
                continue
            shape, like, rows = sized(base_of(stage, call))
            beside = reward_beside(stage, call, shape, gpu)
            task = task_of(call.step, call.options, shape, gpu, rows, beside)
            setting, steps = pick(task, room), steps_of(stage, call, task)
            shown = setting or task.setting
            seconds = steps * task.flops(shown) / rate if steps and rate else None
            found.append(Fitted(stage, call, task, setting, like, steps, seconds))
    return found


def base_of(stage: Stage, call: Call) -> Stage | Model:
    """What a training step starts from."""
    return next(stage.references[call.options[name]] for name in BASES if call.options.get(name))


def there(base: Stage | Model) -> Model:
    """A model that can be read now: the base, or what it is to be made from."""
    while isinstance(base, Stage):
        if base.manifest:
            model = opened(base)
            assert isinstance(model, Model)
            return model
        base = below_of(base)
    return base


def sized(base: Stage | Model) -> tuple[Shape, str, int]:
    """(shape of a base, the model it is taken from where the base is not built yet, rows its vocabulary grew by)."""
    from ..models.extension import extension_of
    from ..models.loading import load_config

    if isinstance(base, Model) or base.manifest:
        model = there(base)
        added = extension_of(model)
        try:
            return shape_of(load_config(model)), "", added.count if added else 0
        except ValueError as error:
            raise ModelError(f"{model.uri}: {error}; `factory fit` knows decoders that transformers loads") from error
    below = below_of(base)
    shape, like, rows = sized(below)
    pieces = int(base.calls[0].options.get("pieces") or 0) if base.calls[0].step == "extend_vocabulary" else 0
    grown = pieces * shape.hidden
    shape = replace(
        shape,
        vocabulary=shape.vocabulary + pieces,
        embedding=shape.embedding + grown,
        head=shape.head + (grown if shape.head else 0),
    )
    return shape, like or there(below).uri, rows + pieces


def below_of(stage: Stage) -> Stage | Model:
    """The model that a stage which is not built yet starts from."""
    options = stage.calls[0].options if stage.calls else {}
    for name in BASES:
        if isinstance(options.get(name), str) and options[name] in stage.references:
            return stage.references[options[name]]
    models = [one for one in stage.inputs if one.is_model]
    if not models:
        raise ModelError(f"{stage.target} is not built yet, and {stage.label} names no base to take its size from")
    return models[0]


def reward_beside(stage: Stage, call: Call, shape: Shape, gpu: bool) -> float:
    """Bytes of a reward model of ppo that is whole, and so lies beside the policy; an adapter takes next to nothing."""
    reward = stage.references.get(str(call.options.get("reward")))
    if reward is None:
        return 0.0
    if isinstance(reward, Stage) and reward.manifest is None:
        return shape.parameters * (2.0 if gpu else 4.0) if reward.calls[0].options.get("method") == "full" else 0.0
    from ..models.loading import adapter_config, resolve_folder

    model = there(reward)
    whole = adapter_config(resolve_folder(model)) is None
    return sized(model)[0].parameters * (2.0 if gpu else 4.0) if whole else 0.0


def steps_of(stage: Stage, call: Call, task: Task) -> int | None:
    """Steps of training; None where the records are not counted yet, or are packed."""
    if call.options.get("max_steps"):
        return int(call.options["max_steps"])
    manifests = [one.manifest for one in stage.inputs]
    if call.step in ("pretrain", "ppo") or call.options.get("packing") or not all(manifests):
        return None
    records = sum(int((manifest or {})["counts"]["out"]) for manifest in manifests)
    learned = records * (1 - float(call.options.get("validation") or 0))
    each = task.setting.batch_size * task.setting.accumulation
    return math.ceil(float(call.options.get("epochs") or 1) * max(1, math.ceil(learned / each)))
