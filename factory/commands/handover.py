"""A training stage handed over to another trainer: records with their masks, options, base and tokenizer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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
COLUMNS = {  # step -> the turns of its records: a prompt, and the answers to it
    "sft": ("prompt", "completion"),
    "dpo": ("prompt", "chosen", "rejected"),
    "kto": ("prompt", "completion"),
    "reward_model": ("prompt", "chosen", "rejected"),
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that was not dropped, and the hash of its prompt, by which the steps tell validation apart."""

    id: str
    group: str


def hand_over(plan: Plan, target: str, tool: str, folder: Path) -> str:
    """Write what `tool` needs to train `target` again into a new folder; what was written, in words.

    train.jsonl and validation.jsonl hold the records that the stage learned from and held out: neither those that it
    dropped nor any other. A base that is no hub id is written to base/, an adapter below it merged in. Where anything
    fails, as for a base that is not on this machine, nothing is left behind.
    """
    stage = complete(plan, target)
    step = _step(plan, stage)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is there already and not empty; it is left as it is, so name another folder")
    learned, held = _split(stage, stage.calls[0].options["validation"])
    handed = _handed(plan, stage, step, len(learned), bool(held))
    _require_told(stage, learned | held, handed, tool)
    written = TOOLS[tool].files(handed)
    counts = {}
    with _whole(folder) as part:
        _write_models(stage, handed, part)
        for name, wanted in ((TRAIN, learned), (VALIDATION, held)):
            if wanted:
                counts[name] = _write_rows(stage, wanted, part / name, handed, tool)
        for name, content in written.items():
            write_atomic(part / name, content.encode())
    told = ", ".join(f"{count:,} records in {name}" for name, count in counts.items())
    return f"{told}; start it there with: {TOOLS[tool].START}"


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when all is written."""
    folder = folder.resolve()  # where it is the one that we stand in it has no name
    above = next(one for one in folder.absolute().parents if one.is_dir())
    with TemporaryDirectory(dir=above, prefix=f".{folder.name}-") as temporary:
        part = Path(temporary) / folder.name
        part.mkdir()
        yield part
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.replace(folder)


def _step(plan: Plan, stage: Stage) -> str:
    """The step that made a stage, if it is one that can be handed over."""
    names = [call.step for call in stage.calls]
    if len(names) == 1 and names[0] in COLUMNS:
        return names[0]
    fitting = [name for name, one in plan.targets.items() if one.calls and one.calls[-1].step in COLUMNS]
    hint = f"name one that is, such as '{fitting[0]}'" if fitting else "this recipe has none that is"
    raise InputError(f"'{stage.target}' is made by none of {', '.join(COLUMNS)}, which --for hands over; {hint}")


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


def _require_told(stage: Stage, wanted: set[str], handed: Handed, tool: str) -> None:
    """Raise InputError for turns that the tool cannot be told of: most learn an answer as a whole, or its last turn."""
    whole = handed.step != "sft" or (tool != "axolotl" and handed.options.learn == "completion")
    question = tool == "axolotl" and handed.step == "reward_model"
    hint = "; take --for axolotl" if handed.step == "sft" else ""
    for record in _given(stage) if whole or question else ():
        if record["id"] not in wanted:
            continue
        for column in COLUMNS[handed.step][1:]:
            if [turn["role"] for turn in record[column]] != ["assistant"]:
                raise InputError(
                    f"record {record['id']} has several turns in its {column}, whose masks {tool} cannot be told{hint}"
                )
        if question and [turn["role"] for turn in record["prompt"]] not in (["user"], ["system", "user"]):
            said = "has several turns in its prompt, and axolotl's reward model reads one question"
            raise InputError(f"record {record['id']} {said}; take --for trl")


def _handed(plan: Plan, stage: Stage, step: str, learned: int, held: bool) -> Handed:
    from ..models.loading import adapter_config, load_config, load_tokenizer

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
        tokenizer=load_tokenizer(opened(stage)),  # type: ignore[arg-type]
    )


def _learning_rate(step: str, method: str) -> float:
    """What the step takes where the recipe says nothing."""
    from ..train import dpo, reward_model
    from ..train.methods import LEARNING_RATES

    slower = {"sft": 1, "dpo": dpo.SLOWER, "kto": dpo.SLOWER, "reward_model": reward_model.SLOWER}
    return LEARNING_RATES[method] * slower[step]


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
                plain: dict[str, Any] = {column: _plain(record[column]) for column in COLUMNS[handed.step]}
                if handed.step == "kto":
                    plain["label"] = bool(record["label"])
                if getattr(handed.options, "margin", False):
                    plain["margin"] = float(record["meta"]["margin"])
                file.write(orjson.dumps(TOOLS[tool].row(plain, handed), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    return count


def _plain(turns: Any) -> Turns:
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _write_models(stage: Stage, handed: Handed, folder: Path) -> None:
    """The tokenizer with the chat template that was trained with, and a base that can be had nowhere else."""
    from ..models.merging import save_alone

    if handed.base == "./base":
        save_alone(_base(stage), folder / "base")
        handed.tokenizer.save_pretrained(folder / "base")
    handed.tokenizer.save_pretrained(folder / "tokenizer")
    options, made = stage.calls[0].options, stage.fingerprint
    note = {"target": stage.target, "step": handed.step, "options": options, "fingerprint": made}
    write_atomic(folder / "factory.json", (json.dumps(note, indent=2, ensure_ascii=False) + "\n").encode())
