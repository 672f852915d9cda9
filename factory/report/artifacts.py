"""What the stages of a build left in their folders, read for the page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory import Model

from .curves import read_metrics


@dataclass(frozen=True)
class Found:
    """One stage and its artifact. `manifest` is None while the stage is not complete."""

    stage: Any
    manifest: dict[str, Any] | None = None
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    sections: list[dict[str, str]] = field(default_factory=list)
    octets: int = 0
    seconds: float | None = None

    @property
    def shards(self) -> list[dict[str, Any]]:
        return list((self.manifest or {}).get("shards") or ())

    @property
    def records(self) -> int:
        return int(((self.manifest or {}).get("counts") or {}).get("out", 0))

    @property
    def gives(self) -> str:
        """The record type or kind of model that comes out."""
        return str((self.manifest or {}).get("type") or getattr(self.stage.gives, "__name__", self.stage.gives))

    @property
    def is_model(self) -> bool:
        return isinstance(self.stage.gives, type) and issubclass(self.stage.gives, Model)

    def dropped_files(self) -> list[Path]:
        """The files of dropped records that hold any."""
        names = [entry["dropped_file"] for entry in self.shards if entry.get("dropped")]
        return [path for name in names if (path := self.stage.folder / name).is_file()]

    def kept_files(self) -> list[Path]:
        names = [entry["file"] for entry in self.shards if entry.get("records")]
        return [path for name in names if (path := self.stage.folder / name).is_file()]


def look(plan: Any) -> list[Found]:
    """Every stage of the plan, in order, with what it left. Missing or torn files count as nothing left."""
    times = read_json(plan.folder / "timings.json", {})
    return [_look_at(stage, times) for stage in plan.stages]


def _look_at(stage: Any, times: Any) -> Found:
    folder = Path(stage.folder)
    manifest = read_json(folder / "manifest.json", None)
    if manifest is None:
        folder = Path(stage.work)  # what an unfinished stage has logged and reported so far
    sections = read_json(folder / "sections.json", [])
    metrics: dict[int, dict[str, float]] = {}
    try:
        with (folder / "metrics.jsonl").open(encoding="utf-8", errors="replace") as lines:
            metrics = read_metrics(lines)
    except OSError:
        pass  # most stages log nothing
    seconds = times.get(stage.fingerprint) if isinstance(times, dict) else None
    return Found(
        stage,
        manifest if isinstance(manifest, dict) else None,
        metrics,
        [entry for entry in sections if isinstance(entry, dict)] if isinstance(sections, list) else [],
        _octets(folder) if manifest else 0,
        float(seconds) if isinstance(seconds, int | float) else None,
    )


def read_json(path: Path, default: Any) -> Any:
    """A JSON file, or `default` when it is missing or no JSON: a report is written after failures too."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return default


def _octets(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # removed while we looked
    return total
