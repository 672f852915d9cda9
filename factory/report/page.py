"""The page a build leaves behind: one HTML file that needs nothing but itself."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from factory import Pending

from . import curves, dag, funnel, measured, pairs, samples, tables
from .artifacts import Found, look, read_json
from .markdown import section
from .markup import count, duration, element, escape, shorten, size, tag


def write_page(plan: Any, error: BaseException | None, now: datetime | None = None, again: float | None = None) -> Path:
    """Write `report.html` in the build's folder, whole or not at all, and return its path.

    again  while the build runs: the seconds after which a browser that shows the page loads it anew
    """
    path = Path(plan.folder) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = draw_page(plan, error, now or datetime.now().astimezone(), again).encode("utf-8", "replace")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
    return path


def draw_page(plan: Any, error: BaseException | None, now: datetime, again: float | None = None) -> str:
    """The page as HTML; with `again`, that of a build that runs."""
    founds = look(plan)
    targets = grouped(plan, founds)
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    state = "running" if again else state_of(error)
    title = f"{plan.recipe.name}: {state}"
    body = [
        _header(plan, founds, error, now, state),
        _part("plan", "Plan", tag("div", draw_plan(plan, targets), cls="scroll picture"), _legend()),
        _part("results", "Results", measured.results(founds)),
        _part("requests", "Model requests", tables.requests(founds)),
        *(_target(plan, name, stages) for name, stages in targets.items()),
        _part("artifacts", "Artifacts", tables.artifacts(founds)),
    ]
    reload = f'<meta http-equiv="refresh" content="{math.ceil(again)}">' if again else ""
    head = (
        f'{reload}<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title><style>\n{style}</style>'
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{"".join(body)}</main></body></html>\n'


def grouped(plan: Any, founds: Sequence[Found]) -> dict[str, list[Found]]:
    """Stages by target: those of the plan in running order, then the recipe's targets that this build left out."""
    targets: dict[str, list[Found]] = {}
    for found in founds:
        targets.setdefault(found.stage.target, []).append(found)
    for name in plan.recipe.targets:
        targets.setdefault(name, [])
    return targets


def state_of(error: BaseException | None) -> str:
    if error is None:
        return "complete"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "pending" if isinstance(error, Pending) else "failed"


def anchor(name: str) -> str:
    """An id for a target, also where its name is a URI."""
    return "target-" + re.sub(r"[^a-z0-9_]", lambda found: f"-{ord(found[0]):x}-", name)


def _header(plan: Any, founds: Sequence[Found], error: BaseException | None, now: datetime, state: str) -> str:
    done = [found for found in founds if found.manifest is not None]
    seconds = [found.seconds for found in founds if found.seconds is not None]
    facts = [
        (f"{now.day} {now:%B %Y, %H:%M}", "as of" if state == "running" else "built"),
        (f"{len(done)} of {len(founds)}", "stages complete"),
        (count(sum(_dropped(found) for found in done)), "records dropped, with reasons"),
        (size(sum(found.octets for found in done)), "in the store"),
    ]
    if seconds:
        facts.insert(1, (duration(sum(seconds)), "of work"))
    shown = "".join(tag("div", element("dt", escape(name)), element("dd", escape(value))) for value, name in facts)
    said = ""
    if error is not None:
        words = str(error) or type(error).__name__
        said = tag("p", escape(words), cls=f"said {state}")
    names = [name for name in grouped(plan, founds) if name in plan.recipe.targets]
    links = "".join(tag("a", escape(name), href=f"#{anchor(name)}") for name in names)
    return tag(
        "header",
        tag("p", escape(_shown_path(plan)), cls="path"),
        tag("h1", escape(plan.recipe.name), " ", tag("span", state, cls=f"state {state}")),
        said,
        tag("dl", shown),
        element("nav", links),
    )


def _shown_path(plan: Any) -> str:
    """The recipe's file as its project knows it."""
    path, project = Path(plan.recipe.path), Path(plan.folder).parent.parent
    absolute = Path(os.path.abspath(path))
    return absolute.relative_to(project).as_posix() if absolute.is_relative_to(project) else path.as_posix()


def _dropped(found: Found) -> int:
    return int(((found.manifest or {}).get("counts") or {}).get("dropped", 0))


def _part(name: str, title: str, *content: str) -> str:
    """A section of the page; nothing when there is nothing in it."""
    return tag("section", element("h2", escape(title)), *content, id=name) + "\n" if content[0] else ""


def draw_plan(plan: Any, targets: dict[str, list[Found]]) -> str:
    """Targets and sources as a graph: whole lines for `from`, broken ones for models and datasets that options name."""
    nodes: dict[str, dag.Node] = {}
    edges: list[dag.Edge] = []
    for name, founds in targets.items():
        if name in plan.recipe.targets:
            nodes[name] = _node(name, founds)
        else:
            note = count(founds[-1].records) if founds[-1].manifest else ""
            nodes[name] = dag.Node(name, note, "source", link=f"#{anchor(name)}")
    for name, target in plan.recipe.targets.items():
        for source in target.sources:
            if source not in nodes:
                nodes[source] = dag.Node(source, "", "source")
            edges.append(dag.Edge(source, name))
        for found in targets[name]:
            for stage in _referred(found.stage):
                if stage.target != name and dag.Edge(stage.target, name) not in edges:
                    edges.append(dag.Edge(stage.target, name, whole=False))
    return dag.draw(list(nodes.values()), edges)


def _referred(stage: Any) -> list[Any]:
    """Stages that the options name; models from elsewhere are not part of the plan."""
    references = stage.references
    values = references.values() if hasattr(references, "values") else references
    return [value for value in values if hasattr(value, "target")]


def _node(name: str, founds: list[Found]) -> dag.Node:
    if not founds:
        return dag.Node(name, "not in this build", state="waiting", link=f"#{anchor(name)}")
    last = founds[-1]
    model = last.is_model
    state = "done" if last.manifest else "waiting"
    note = last.gives if model else f"{count(last.records)} records" if last.records != 1 else "1 record"
    kind = "model" if model else "dataset"
    return dag.Node(name, note if last.manifest else "not built", kind, state, f"#{anchor(name)}")


def _legend() -> str:
    keys = (("dataset", "dataset"), ("model", "model"), ("source", "source"), ("whole", "made from"), ("asks", "uses"))
    return tag("p", *(tag("span", tag("i", "", cls=f"key {cls}"), words) for cls, words in keys), cls="legend")


def _target(plan: Any, name: str, founds: list[Found]) -> str:
    """Everything about one target: how it is made, its funnel, its curves, its sections, its records."""
    known = plan.recipe.targets.get(name)
    if known is None and not any(_dropped(found) for found in founds):
        return tag("span", "", id=anchor(name))  # a source that is read whole needs no section
    parts = [_recipe_line(known, founds)]
    complete = [found for found in founds if found.manifest is not None]
    if not complete and not any(found.metrics or found.sections for found in founds):
        parts.append(tag("p", "Not built yet." if founds else "Not part of this build.", cls="note"))
    rows = funnel.rows_of([found.manifest for found in complete if found.manifest])
    if rows and founds[-1].gives != "Metric":
        parts.append(tag("div", funnel.draw(rows, name, "used" if founds[-1].is_model else "out"), cls="picture"))
    parts += _alarms([alarm for found in complete for alarm in read_json(found.stage.folder / "alarms.json", [])])
    for found in founds:
        if drawn := curves.charts(found.metrics):
            parts += [element("h3", "Curves"), tag("div", drawn, cls="curves")]
        for number, entry in enumerate(found.sections):
            parts.append(element("h3", escape(entry.get("title", ""))))
            prefix = f"{anchor(name)}-{found.stage.index}-{number}-"
            parts.append(tag("div", section(str(entry.get("body", "")), prefix), cls="told"))
    if complete and complete[-1] is founds[-1] and (about := pairs.told(complete)):
        parts += [element("h3", "Pairs"), tag("div", section(about, f"{anchor(name)}-pairs-"), cls="told")]
    if complete and complete[-1] is founds[-1] and complete[-1].gives != "Metric":
        parts += _samples("Kept", samples.kept(complete[-1]))
    parts += _samples("Dropped", samples.dropped(complete), cls="")
    return tag("section", element("h2", escape(name)), *parts, id=anchor(name), cls="target") + "\n"


def _alarms(alarms: list[dict[str, Any]]) -> list[str]:
    """What a person should look at: rules that never fire or empty a source, records that stand for many."""
    rows = []
    for alarm in alarms:
        shown = "".join(
            element("li", tag("code", escape(one["id"])), " ", escape(one["text"])) for one in alarm["examples"]
        )
        said = tag("b", escape(alarm["step"])), " ", escape(alarm["says"])
        rows.append(element("li", *said, element("ul", shown) if shown else ""))
    return [element("h3", "Look at"), tag("ul", *rows, cls="told")] if rows else []


def _samples(title: str, cards: str, cls: str = "cards three") -> list[str]:
    return [element("h3", title), tag("div", cards, cls=cls or None)] if cards else []


def _recipe_line(target: Any, founds: Sequence[Found]) -> str:
    """`from` and the steps with the options that the recipe sets, as the recipe has them."""
    sources = target.sources if target else []
    calls = target.calls if target else [call for found in founds for call in found.stage.calls]
    parts = []
    if sources:
        parts.append(tag("span", tag("i", "from"), " ", escape(", ".join(shorten(s, 60) for s in sources))))
    for call in calls:
        options = ", ".join(f"{key}: {shorten(_plain(value), 48)}" for key, value in (call.options or {}).items())
        parts.append(tag("span", element("b", escape(call.step)), f" {escape(options)}" if options else ""))
    return tag("p", *parts, cls="made") if parts else ""


def _plain(value: Any) -> str:
    """A value much as YAML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_plain(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_plain(item)}' for key, item in value.items())}}}"
    return str(value)
