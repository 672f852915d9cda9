"""A model card: what a model was trained from, on what and how, down to the documents, and what was measured of it.

Markdown under the YAML header that the Hugging Face Hub reads (hub docs, "Model Cards"). All of it is taken from the
plan, the manifests and what the steps reported.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import yaml

from ..engine.model import CausalLM, Model
from ..engine.records import Metric
from ..engine.schema import type_name
from ..engine.stage import Plan, Stage
from .card import CARD, as_json, fenced, history, license_of, models_asked, sources_table, table, upstream, written_by
from .documents import MOST, documents_of

LIBRARIES = ("dataset-factory", "torch", "transformers", "peft", "bitsandbytes", "tokenizers")
LONGEST_LIST = 40  # documents and metrics that are named; the others are counted
HUB_ID = re.compile(r"[A-Za-z0-9][\w-]*/[\w.-]+")


def model_card(plan: Plan, stage: Stage, said: str) -> str:
    """The card of the model that `stage` gives. `said` is what was written of it, in words."""
    made = list(models_upstream(stage, {}).values())
    data: dict[str, Stage] = {}
    for one in made:
        for given in one.inputs:
            if not given.is_model:
                upstream(given, data)
    stages = list(data.values())
    sources = [one for one in stages if one.source is not None]
    bases = [name for one in made for name, value in one.references.items() if isinstance(value, Model)]
    parts = [
        _header(stage, bases),
        f"# {stage.target}",
        f"A {type_name(stage.gives)}, {said}: the target `{stage.target}` of the recipe `{plan.recipe.name}`. {CARD}",
        _training(made),
        _measured(plan, stage),
        _data(made),
        sources_table(sources, {one: license_of(plan, one, Counter()) for one in sources}) if sources else "",
        _documents(made),
        written_by(models_asked(stages)),
        history(stages) if stages else "",
        _reports(made),
        "## Versions\n\n" + table(("library", "version"), list(_versions())),
        "## The recipe\n\n" + fenced(plan.recipe.path.read_text(encoding="utf-8").strip(), "yaml"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def models_upstream(stage: Stage, found: dict[str, Stage]) -> dict[str, Stage]:
    """The stage and all models it was made from (bases, reward models), in the order in which they were made."""
    for one in stage.needs:
        if one.is_model:
            models_upstream(one, found)
    found.setdefault(stage.fingerprint, stage)
    return found


def _header(stage: Stage, bases: list[str]) -> str:
    head: dict[str, Any] = {"library_name": "transformers"}
    if issubclass(stage.gives, CausalLM):
        head["pipeline_tag"] = "text-generation"
    if known := sorted({base.partition("@")[0] for base in bases if HUB_ID.fullmatch(base.partition("@")[0])}):
        head["base_model"] = known
    head["tags"] = ["dataset-factory", *dict.fromkeys(call.step for call in stage.calls)]
    return "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip() + "\n---"


def _training(made: list[Stage]) -> str:
    """Each model on the way: what step made it of what, with all options."""
    rows = []
    for stage in made:
        for call in stage.calls:
            options = ", ".join(
                f"{name}: {as_json(value)}" for name, value in call.options.items() if value is not None
            )
            rows.append(
                (f"`{stage.target}`", f"`{call.step}`", ", ".join(f"`{n}`" for n in stage.input_names), options)
            )
    return "## How it was made\n\n" + table(("model", "step", "from", "options"), rows)


def _measured(plan: Plan, stage: Stage) -> str:
    """Metrics of the recipe's evaluations that refer to this model, with what else they measured beside it."""
    rows = []
    for one in plan.stages:
        if one.gives is not Metric or one.manifest is None:
            continue
        asked = {name for name, value in one.references.items() if _is(value, stage)}
        called = set().union(*(_names(call.options, asked) for call in one.calls)) if asked else set()
        for record in one.store.dataset(one.fingerprint) if asked else ():
            mine = "this model" if record["of"] in called or len(one.references) == 1 else ""
            rows.append((f"`{one.target}`", record["name"], record["of"], f"{record['value']:.6g}", mine))
    if not rows:
        return "## Evaluation\n\nNo evaluation of the recipe that is built refers to this model."
    left = len(rows) - LONGEST_LIST * 5
    more = f"\n\nand {left:,} more" if left > 0 else ""
    return "## Evaluation\n\n" + table(("target", "metric", "of", "value", ""), rows[: LONGEST_LIST * 5]) + more


def _is(value: Stage | Model, stage: Stage) -> bool:
    return isinstance(value, Stage) and value.fingerprint == stage.fingerprint


def _names(options: Any, asked: set[str]) -> set[str]:
    """What the model is called where options name it: `{after: tutor}` calls it after, and a plain `tutor` tutor."""
    if isinstance(options, str):
        return {options} & asked
    if isinstance(options, dict):
        own = {name for name, value in options.items() if isinstance(value, str) and value in asked}
        return own | {name for value in options.values() for name in _names(value, asked)}
    return {name for value in options for name in _names(value, asked)} if isinstance(options, list) else set()


def _data(made: list[Stage]) -> str:
    """The targets whose records were learned from, and what each training step left out."""
    rows = []
    for stage in made:
        names = [name for name, given in zip(stage.input_names, stage.inputs, strict=True) if not given.is_model]
        for line in (stage.manifest or {}).get("funnel", []) if names else ():
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(line["reasons"].items(), key=lambda r: -r[1]))
            rows.append((", ".join(f"`{name}`" for name in names), f"`{stage.target}`", f"{line['in']:,}", reasons))
    return "## Data\n\n" + table(("target", "read by", "records", "left out because"), rows) if rows else ""


def _documents(made: list[Stage]) -> str:
    """Files and how many of the records learned from were made from each."""
    total: dict[str, int] = {}
    for stage in made:
        for given in stage.inputs:
            if given.is_model:
                continue
            found = documents_of(given)
            if found is None:
                return f"## Documents\n\nMore than {MOST:,} records; `factory trace` says where one of them comes from."
            for file, count in found.items():
                total[file] = total.get(file, 0) + count
    if not total:
        return ""
    ranked = sorted(total.items(), key=lambda entry: (-entry[1], entry[0]))
    rows = [(f"`{file}`", f"{count:,}") for file, count in ranked[:LONGEST_LIST]]
    left = ranked[LONGEST_LIST:]
    more = f"\n\nand {len(left):,} more documents with {sum(n for _, n in left):,} records" if left else ""
    return "## Documents\n\n" + table(("document", "records learned from it"), rows) + more


def _reports(made: list[Stage]) -> str:
    """What the steps said of their runs; pictures are left out."""
    told = []
    for stage in made:
        path = stage.folder / "sections.json"
        sections = json.loads(path.read_bytes()) if path.is_file() else ()
        written = [one for one in sections if not one["body"].lstrip().startswith("<svg")]
        told += [f"### {stage.target}: {one['title']}\n\n{one['body']}" for one in written]
    return "## What the steps reported\n\n" + "\n\n".join(told) if told else ""


def _versions() -> Iterator[tuple[str, str]]:
    """Of the libraries that are installed where the card is written."""
    for name in LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
