"""A training stage handed over to another trainer: records with their masks, options, base and tokenizer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from ..engine.build import complete
from ..engine.model import Model
from ..engine.records import digest
from ..engine.stage import Plan, Stage, opened
from ..engine.store import write_atomic
from ..errors import InputError
from .model_card import HUB_ID
from .trainers import TOOLS, TRAIN, VALIDATION, Handover, Turns

STEP = "sft"


def hand_over(plan: Plan, target: str, tool: str, folder: Path) -> str:
    """Write what `tool` needs to train `target` again into a new folder; what was written, in words.

    train.jsonl and validation.jsonl hold the records that the stage learned from and held out: neither those that it
    dropped nor any other. A base that is no hub id is written to base/, an adapter below it merged in.
    """
    stage = complete(plan, target)
    if [call.step for call in stage.calls] != [STEP]:
        made = next((name for name, one in plan.targets.items() if [c.step for c in one.calls] == [STEP]), None)
        hint = f"name one that is, such as '{made}'" if made else "there is none in this recipe"
        raise InputError(f"'{target}' is not made by the step {STEP} alone, which is what --for hands over; {hint}")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"'{folder}' is there already and not empty; it is left as it is, so name another folder")
    row, files, start = TOOLS[tool]
    options = dict(stage.calls[0].options)
    learned, held = _split(stage, options["validation"])
    if tool != "axolotl":
        _require_last_turns(stage, learned | held, tool, options["learn"])
    facts = _facts(plan, stage, options, len(learned), bool(held))
    written = files(facts)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, wanted in ((TRAIN, learned), (VALIDATION, held)):
        if wanted:
            counts[name] = _write_rows(stage, wanted, folder / name, row, options["learn"])
    for name, content in written.items():
        write_atomic(folder / name, content.encode())
    _write_models(stage, facts.base, folder)
    told = ", ".join(f"{count:,} records in {name}" for name, count in counts.items())
    return f"{told}; start it there with: {start}"


def _given(stage: Stage) -> Iterator[dict[str, Any]]:
    for one in stage.inputs:
        yield from stage.store.dataset(one.fingerprint)


def _split(stage: Stage, share: float) -> tuple[set[str], set[str]]:
    """(ids learned from, ids held out), as the stage itself told them apart."""
    from ..train.batches import split_validation

    lost = {row["id"] for row in stage.store.dropped(stage.fingerprint)}
    kept = [_Kept(record["id"], digest(["validation", record["prompt"]])) for record in _given(stage)
            if record["id"] not in lost]  # fmt: skip
    learned, held = split_validation(kept, share)
    return {one.id for one in learned}, {one.id for one in held}


class _Kept:
    """A record's id and the hash of its prompt."""

    __slots__ = ("group", "id")

    def __init__(self, record: str, group: str) -> None:
        self.id, self.group = record, group


def _require_last_turns(stage: Stage, wanted: set[str], tool: str, learn: str) -> None:
    """TRL and LLaMA-Factory learn a completion as a whole, or its last turn: it has to be one turn of the assistant."""
    for record in _given(stage) if learn == "completion" else ():
        if record["id"] in wanted and [turn["role"] for turn in record["completion"]] != ["assistant"]:
            raise InputError(
                f"record {record['id']} has several turns in its completion, whose masks {tool} cannot be told; "
                "take --for axolotl"
            )


def _facts(plan: Plan, stage: Stage, options: dict[str, Any], learned: int, held: bool) -> Handover:
    from ..models.loading import adapter_config, load_config
    from ..train.methods import LEARNING_RATES

    base = _base(stage)
    if options["learning_rate"] is None:
        options["learning_rate"] = LEARNING_RATES[options["method"]]
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
    return Handover(
        target=stage.target,
        recipe=plan.recipe.name,
        base=base.uri if HUB_ID.fullmatch(base.uri) and base.path is None else "./base",
        options=SimpleNamespace(**options),
        seed=plan.recipe.seed,
        held=held,
        per_epoch=per_epoch,
        steps=options["max_steps"] or math.ceil(options["epochs"] * per_epoch),
        targets=targets,
        layers=layers,
    )


def _base(stage: Stage) -> Model:
    value = stage.references[stage.calls[0].options["base"]]
    model = opened(value) if isinstance(value, Stage) else value
    assert isinstance(model, Model)
    return model


def _write_rows(stage: Stage, wanted: set[str], path: Path, row: Any, learn: str) -> int:
    count = 0
    with path.open("wb") as file:
        for record in _given(stage):
            if record["id"] in wanted:
                prompt, completion = _plain(record["prompt"]), _plain(record["completion"])
                file.write(orjson.dumps(row(prompt, completion, learn), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    return count


def _plain(turns: Any) -> Turns:
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _write_models(stage: Stage, base: str, folder: Path) -> None:
    """The tokenizer with the chat template that was trained with, and a base that can be had nowhere else."""
    from ..models.loading import load_tokenizer
    from ..models.merging import save_alone

    tokenizer = load_tokenizer(opened(stage))  # type: ignore[arg-type]
    tokenizer.save_pretrained(folder / "tokenizer")
    if base == "./base":
        save_alone(_base(stage), folder / "base")
        tokenizer.save_pretrained(folder / "base")
    note = {"target": stage.target, "step": STEP, "options": stage.calls[0].options, "fingerprint": stage.fingerprint}
    write_atomic(folder / "factory.json", (json.dumps(note, indent=2, ensure_ascii=False) + "\n").encode())
