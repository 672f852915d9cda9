"""A training stage handed over to another trainer: records with their masks, options, base and tokenizer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import orjson

from ..engine.build import complete
from ..engine.model import Model
from ..engine.records import digest
from ..engine.stage import Plan, Stage, opened
from ..engine.store import write_atomic
from ..errors import InputError
from . import for_axolotl, for_llamafactory, for_trl
from .handed import TRAIN, VALIDATION, Handed, Turns
from .model_card import HUB_ID

TOOLS: dict[str, ModuleType] = {"trl": for_trl, "axolotl": for_axolotl, "llamafactory": for_llamafactory}
# step -> the columns of its records; the answers in them
COLUMNS = {"sft": ("prompt", "completion"), "dpo": ("prompt", "chosen", "rejected")}


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that was not dropped, and the hash of its prompt, by which the steps tell validation apart."""

    id: str
    group: str


def hand_over(plan: Plan, target: str, tool: str, folder: Path) -> str:
    """Write what `tool` needs to train `target` again into a new folder; what was written, in words.

    train.jsonl and validation.jsonl hold the records that the stage learned from and held out: neither those that it
    dropped nor any other. A base that is no hub id is written to base/, an adapter below it merged in.
    """
    stage = complete(plan, target)
    step = _step(plan, stage)
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"'{folder}' is there already and not empty; it is left as it is, so name another folder")
    learned, held = _split(stage, stage.calls[0].options["validation"])
    handed = _handed(plan, stage, step, len(learned), bool(held))
    _require_single_answers(stage, learned | held, handed, tool)
    written = TOOLS[tool].files(handed)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, wanted in ((TRAIN, learned), (VALIDATION, held)):
        if wanted:
            counts[name] = _write_rows(stage, wanted, folder / name, handed, tool)
    for name, content in written.items():
        write_atomic(folder / name, content.encode())
    _write_models(stage, step, handed.base, folder)
    told = ", ".join(f"{count:,} records in {name}" for name, count in counts.items())
    return f"{told}; start it there with: {TOOLS[tool].START}"


def _step(plan: Plan, stage: Stage) -> str:
    """The step that made a stage, if it is one that can be handed over."""
    names = [call.step for call in stage.calls]
    if len(names) == 1 and names[0] in COLUMNS:
        return names[0]
    fitting = [name for name, one in plan.targets.items() if one.calls and one.calls[-1].step in COLUMNS]
    hint = f"name one that is, such as '{fitting[0]}'" if fitting else "this recipe has none that is"
    raise InputError(f"'{stage.target}' is not made by {' or '.join(COLUMNS)}, which --for hands over; {hint}")


def _given(stage: Stage) -> Iterator[dict[str, Any]]:
    for one in stage.inputs:
        yield from stage.store.dataset(one.fingerprint)


def _split(stage: Stage, share: float) -> tuple[set[str], set[str]]:
    """(ids learned from, ids held out), as the stage itself told them apart."""
    from ..train.batches import split_validation

    lost = {row["id"] for row in stage.store.dropped(stage.fingerprint)}
    records = (record for record in _given(stage) if record["id"] not in lost)
    kept = [Kept(record["id"], digest(["validation", record["prompt"]])) for record in records]
    learned, held = split_validation(kept, share)
    return {one.id for one in learned}, {one.id for one in held}


def _require_single_answers(stage: Stage, wanted: set[str], handed: Handed, tool: str) -> None:
    """Raise InputError for answers of several turns, where the tool learns them as a whole, or their last turn."""
    if handed.step == "sft" and (tool == "axolotl" or handed.options.learn != "completion"):
        return
    for record in _given(stage):
        for column in COLUMNS[handed.step][1:] if record["id"] in wanted else ():
            if [turn["role"] for turn in record[column]] != ["assistant"]:
                hint = "; take --for axolotl" if handed.step == "sft" else ""
                raise InputError(
                    f"record {record['id']} has several turns in its {column}, whose masks {tool} cannot be told{hint}"
                )


def _handed(plan: Plan, stage: Stage, step: str, learned: int, held: bool) -> Handed:
    from ..models.loading import adapter_config, load_config

    options, base = dict(stage.calls[0].options), _base(stage)
    if options["learning_rate"] is None:
        options["learning_rate"] = _learning_rate(step, options["method"])
    per_epoch = max(1, math.ceil(math.ceil(learned / options["batch_size"]) / options["accumulation"]))
    lora = options["lora"]
    targets: str | list[str] = lora["target_modules"]
    layers: tuple[int, ...] = ()
    if lora["layers"]:
        total = int(load_config(base).get_text_config().num_hidden_layers)
        layers = tuple(range(max(0, total - lora["layers"]), total))
        if targets == "all-linear":  # peft takes this word for all layers only
            saved = (adapter_config(stage.folder / "model") or {}).get("target_modules", [])
            targets = sorted({name.rpartition(".")[2] for name in saved})
    return Handed(
        target=stage.target,
        recipe=plan.recipe.name,
        step=step,
        base=base.uri if HUB_ID.fullmatch(base.uri.partition("@")[0]) and base.path is None else "./base",
        options=SimpleNamespace(**options),
        seed=plan.recipe.seed,
        held=held,
        per_epoch=per_epoch,
        steps=options["max_steps"] or math.ceil(options["epochs"] * per_epoch),
        targets=targets,
        layers=layers,
    )


def _learning_rate(step: str, method: str) -> float:
    """What the step takes where the recipe says nothing."""
    from ..train.dpo import SLOWER
    from ..train.methods import LEARNING_RATES

    return LEARNING_RATES[method] * (SLOWER if step == "dpo" else 1)


def _base(stage: Stage) -> Model:
    value = stage.references[stage.calls[0].options["base"]]
    model = opened(value) if isinstance(value, Stage) else value
    assert isinstance(model, Model)
    return model


def _write_rows(stage: Stage, wanted: set[str], path: Path, handed: Handed, tool: str) -> int:
    count = 0
    with path.open("wb") as file:
        for record in _given(stage):
            if record["id"] in wanted:
                plain = {column: _plain(record[column]) for column in COLUMNS[handed.step]}
                file.write(orjson.dumps(TOOLS[tool].row(plain, handed), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    return count


def _plain(turns: Any) -> Turns:
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _write_models(stage: Stage, step: str, base: str, folder: Path) -> None:
    """The tokenizer with the chat template that was trained with, and a base that can be had nowhere else."""
    from ..models.loading import load_tokenizer
    from ..models.merging import save_alone

    tokenizer = load_tokenizer(opened(stage))  # type: ignore[arg-type]
    tokenizer.save_pretrained(folder / "tokenizer")
    if base == "./base":
        save_alone(_base(stage), folder / "base")
        tokenizer.save_pretrained(folder / "base")
    note = {"target": stage.target, "step": step, "options": stage.calls[0].options, "fingerprint": stage.fingerprint}
    write_atomic(folder / "factory.json", (json.dumps(note, indent=2, ensure_ascii=False) + "\n").encode())
