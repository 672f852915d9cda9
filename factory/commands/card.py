"""A dataset card: what an exported dataset holds, where it comes from and what was done to it.

Markdown under the YAML header that the Hugging Face Hub reads (hub docs, "Dataset Cards"). All of it is taken from the
plan, the manifests and the records; what nobody stated, a licence say, is said to be unknown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import yaml

from ..engine.dataset import Dataset
from ..engine.model import CausalLM, RewardModel
from ..engine.records import KEPT
from ..engine.schema import schema_of, type_name
from ..engine.stage import Plan, Stage

CARD = "This card was written by `factory export`."
EXAMPLES = 3
LONGEST = 600  # characters of one text in an example
LOOKED_AT = 20_000  # records whose language and licence are counted
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
         (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))  # fmt: skip
HUB_LICENSES = (  # what the Hub's header may say; anything else is `other` there, with a name
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "odc-by",
    "odbl", "pddl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "gfdl", "mpl-2.0", "isc", "unlicense", "artistic-2.0",
    "openrail", "cdla-permissive-2.0", "cdla-sharing-1.0",
)  # fmt: skip
TASKS = {"Choice": ["multiple-choice"], "Metric": []}
UNKNOWN = "not stated"
ASKED = (CausalLM, RewardModel)


def dataset_card(plan: Plan, stage: Stage, dataset: Dataset[Any], file: str, form: str) -> str:
    """The card of `dataset`, the output of `stage`, which was written to `file` in the columns of `form`."""
    stages = list(upstream(stage, {}).values())
    sources = [one for one in stages if one.source is not None]
    models = models_asked(stages)
    languages, stated = _counted(dataset)
    licenses = {one: license_of(plan, one, stated) for one in sources}
    parts = [
        _header(stage, dataset, file, sorted(set(licenses.values())), languages, bool(models)),
        f"# {stage.target}",
        f"{len(dataset):,} records of type {type_name(dataset.kind)}: the target `{stage.target}` of the recipe "
        f"`{plan.recipe.name}`. {CARD}",
        _columns(dataset) if form == "plain" else f"The columns are those of the form {form}.",
        sources_table(sources, licenses),
        written_by(models),
        _languages(languages),
        history(stages),
        _examples(dataset, ("parents",) if form == "plain" else KEPT),
        "## The recipe\n\n" + fenced(plan.recipe.path.read_text(encoding="utf-8").strip(), "yaml"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def upstream(stage: Stage, found: dict[str, Stage]) -> dict[str, Stage]:
    """The stage and all that its records come from, in the order in which they run."""
    for one in stage.inputs:
        upstream(one, found)
    found.setdefault(stage.fingerprint, stage)
    return found


def models_asked(stages: list[Stage]) -> dict[str, list[str]]:
    """The models that were asked on the way, each with the steps that asked it."""
    asked: dict[str, list[str]] = {}
    for stage in stages:
        for name, one in stage.references.items():
            if isinstance(one, ASKED) or (isinstance(one, Stage) and one.gives in ASKED):
                asked.setdefault(name, []).append(stage.label)
    return asked


def _counted(dataset: Dataset[Any]) -> tuple[Counter[str], Counter[str]]:
    """Languages and licences that the records name in their meta."""
    languages: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    for record in islice(dataset, LOOKED_AT):
        meta = record["meta"]
        if isinstance(language := meta.get("language"), str):
            languages[language] += 1
        if isinstance(license := meta.get("license", meta.get("licence")), str):
            licenses[license] += 1
    return languages, licenses


def license_of(plan: Plan, stage: Stage, stated: Counter[str]) -> str:
    """What the recipe says of the target, else what the source knows, else what its records say, if they agree."""
    assert stage.source is not None
    target = plan.recipe.targets.get(stage.target)
    said = (target.license if target else "") or stage.source.license
    return said or (next(iter(stated)) if len(stated) == 1 else UNKNOWN)


def _header(
    stage: Stage, dataset: Dataset[Any], file: str, licenses: list[str], languages: Counter[str], synthetic: bool
) -> str:
    size = next((name for most, name in SIZES if len(dataset) < most), "n>100M")
    head: dict[str, Any] = {"pretty_name": stage.target}
    if len(licenses) == 1 and licenses[0].lower() in HUB_LICENSES:
        head["license"] = licenses[0].lower()
    elif licenses and licenses != [UNKNOWN]:
        head |= {"license": "other", "license_name": ", ".join(licenses)}
    if languages:
        head["language"] = [name for name, _ in languages.most_common()]
    head["size_categories"] = [size]
    if tasks := TASKS.get(type_name(dataset.kind), ["text-generation"]):
        head["task_categories"] = tasks
    head["tags"] = ["dataset-factory", *(["synthetic"] if synthetic else [])]
    head["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": file}]}]
    return "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip() + "\n---"


def _columns(dataset: Dataset[Any]) -> str:
    rows = [(f"`{entry.name}`", f"`{entry.type}`") for entry in schema_of(dataset.kind) if entry.name != "parents"]
    return "## Columns\n\n" + table(("column", "type"), rows)


def sources_table(sources: list[Stage], licenses: dict[Stage, str]) -> str:
    rows = []
    for stage in sources:
        assert stage.source is not None
        counts = (stage.manifest or {}).get("counts", {})
        rows.append((f"`{stage.source.uri}`", f"{counts.get('in', 0):,}", licenses[stage]))
    return "## Sources\n\n" + table(("source", "rows read", "licence"), rows)


def written_by(models: dict[str, list[str]]) -> str:
    if not models:
        return ""
    rows = [(f"`{name}`", ", ".join(f"`{label}`" for label in labels)) for name, labels in models.items()]
    return "## Models that wrote or judged\n\n" + table(("model", "in"), rows)


def _languages(languages: Counter[str]) -> str:
    if not languages:
        return ""
    rows = [(name, f"{n:,}") for name, n in languages.most_common(20)]
    return "## Languages\n\n" + table(("language", "records"), rows)


def history(stages: list[Stage]) -> str:
    """Every step on the way with its options, what came in and went out, and what it dropped for which reasons."""
    rows = []
    for stage in stages:
        funnel = (stage.manifest or {}).get("funnel", [])
        read = len(funnel) - len(stage.calls)  # 1 where the stage reads a source, which is no step
        for place, line in enumerate(funnel):
            options = stage.calls[place - read].options if place >= read else {}
            said = ", ".join(f"{name}: {as_json(value)}" for name, value in options.items())
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(line["reasons"].items(), key=lambda r: -r[1]))
            step = f"`{line['step']}`" + (f" ({said})" if said else "")
            rows.append((stage.target, step, f"{line['in']:,}", f"{line['out']:,}", reasons))
    return "## What was done\n\n" + table(("target", "step", "in", "out", "dropped because"), rows)


def _examples(dataset: Dataset[Any], hidden: tuple[str, ...]) -> str:
    """Some records without what is not in the file: meta may name people."""
    records = list(_spread(dataset))
    if not records:
        return ""
    shown = [{name: value for name, value in record.items() if name not in hidden} for record in records]
    return "## Examples\n\n" + "\n\n".join(fenced(as_json(_short(record), indent=1), "json") for record in shown)


def _spread(dataset: Dataset[Any]) -> Iterator[dict[str, Any]]:
    """The first record, and others at even distances."""
    every = max(1, len(dataset) // EXAMPLES)
    yield from islice(islice(dataset, 0, None, every), EXAMPLES)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + f"… ({len(value):,} characters)"
    if isinstance(value, list):
        return [_short(one) for one in value]
    return {key: _short(one) for key, one in value.items()} if isinstance(value, dict) else value


def fenced(text: str, language: str) -> str:
    """A block whose fence is longer than any run of backticks inside."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def table(names: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [names, ("---",) * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def as_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, indent=indent)
