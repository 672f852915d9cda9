"""Stages and plans: what a recipe becomes, and what a stage reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..plugins import all_steps, open_uri
from .dataset import Dataset
from .forgotten import Forgotten
from .model import Model
from .recipe import Call, Recipe
from .records import digest
from .source import Piece, Source
from .step import PER_SHARD, Kind, Step, is_model
from .store import Store

OWN_PROCESS = frozenset({Kind.TRAIN, Kind.TRANSFORM})


@dataclass(frozen=True, eq=False)
class Stage:
    """Steps that run as one pass: the unit of the plan and of the store."""

    target: str
    index: int
    calls: tuple[Call, ...]
    inputs: tuple[Stage, ...]
    input_names: tuple[str, ...]
    gives: Any  # a record type, or a Model class
    fingerprint: str
    recipe: Recipe = field(repr=False)
    store: Store = field(repr=False)
    source: Source | None = None
    pieces: tuple[Piece, ...] = ()
    limit: int | None = None
    references: Mapping[str, Stage | Model] = field(default_factory=dict)  # name or URI in the options -> what it is
    task_identity: str = ""  # what a per-shard task's result depends on besides its shard

    @property
    def steps(self) -> list[Step]:
        known = all_steps()
        return [known[call.step] for call in self.calls]

    @cached_property
    def head(self) -> Step | None:
        """The step that decides how the stage runs; None when it only reads."""
        return self.steps[0] if self.calls else None

    @property
    def kind(self) -> str:
        """`read`, `per shard`, or the kind of the step that heads the stage."""
        if self.head is None:
            return "read"
        return "per shard" if self.head.kind in PER_SHARD else self.head.kind.value

    @property
    def per_shard(self) -> bool:
        return self.head is None or self.head.kind in PER_SHARD

    @property
    def is_model(self) -> bool:
        return is_model(self.gives)

    @property
    def asks(self) -> bool:
        """Whether a model is referred to, so that the stage runs in a process of its own."""
        found = [value for value in self.references.values() if isinstance(value, Model) or value.is_model]
        return bool(found) and not self.per_shard

    @property
    def own_process(self) -> bool:
        return self.head is not None and (self.head.kind in OWN_PROCESS or self.asks)

    @property
    def label(self) -> str:
        names = [call.step for call in self.calls]
        return " → ".join(["read", *names] if self.source is not None else names or ["gather"])

    @property
    def folder(self) -> Path:
        return self.store.artifact(self.fingerprint)

    @property
    def work(self) -> Path:
        """What lies there while the stage is not complete: its log, metrics and sections so far, checkpoints."""
        return self.store.work(self.fingerprint)

    @property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest of the complete artifact, or None; also when what it was made from has since become another.

        Only a stage with failed requests is ever made again under its fingerprint, so only what was made from such a
        one says of what content.
        """
        found = self.store.manifest(self.fingerprint)
        for upstream, content in (found or {}).get("unsettled", {}).items():
            now = self.store.manifest(upstream)
            if now is not None and content_of(now) != content:
                return None
        return found

    @property
    def needs(self) -> list[Stage]:
        """The stages whose results it reads."""
        return [*self.inputs, *(value for value in self.references.values() if isinstance(value, Stage))]

    def __repr__(self) -> str:
        return f"Stage({self.target}: {self.label}, {self.fingerprint})"


@dataclass(frozen=True)
class Plan:
    """A recipe resolved: stages in an order that can be run, and the last stage of each target."""

    recipe: Recipe
    stages: list[Stage]
    targets: dict[str, Stage]
    store: Store
    project: Path

    @property
    def folder(self) -> Path:
        """Where results are linked: build/RECIPE in the project."""
        return self.project / "build" / self.recipe.name

    def of_target(self, name: str) -> list[Stage]:
        """The stages of one target in order."""
        return [stage for stage in self.stages if stage.target == name]


def content_of(manifest: dict[str, Any]) -> str:
    """What tells two artifacts of one fingerprint apart: the bytes of the records, or what a model was made from."""
    shards = [entry["key"] for entry in manifest["shards"] if entry["file"]]
    return digest(shards or sorted(manifest.get("unsettled", {}).items()))


def opened(stage: Stage) -> Dataset[Any] | Model:
    """A complete stage as what a step gets: its records, or its model."""
    if not stage.is_model:
        return stage.store.dataset(stage.fingerprint)
    model: Model = open_uri("model", str(stage.folder / "model"))
    return replace(model, uri=stage.target, identity=stage.fingerprint)


def referred(stage: Stage) -> dict[str, Any]:
    """What the names in a stage's options mean, opened."""
    return {name: opened(value) if isinstance(value, Stage) else value for name, value in stage.references.items()}


def reading(stage: Stage) -> list[tuple[list[Any], dict[str, Any]]]:
    """What each reading task is known by, and what it reads. With a limit, one task takes the first records."""
    forgotten = Forgotten.load()
    groups: list[tuple[Piece, ...]] = [(piece,) for piece in stage.pieces] or [()]
    found: list[tuple[list[Any], dict[str, Any]]] = []
    for group in groups if stage.limit is None else [stage.pieces]:
        hidden = frozenset(record for piece in group for record in forgotten.of(piece))
        known = [[piece.identity for piece in group], stage.limit]
        found.append((known, {"pieces": group, "limit": stage.limit, "forgotten": hidden}))
    return found


def task_keys(stage: Stage) -> list[str]:
    """Keys of a stage's tasks, where they are known before it runs: per shard, of a source or one complete input."""
    if stage.source is not None:
        return [digest([stage.task_identity, *known], 12) for known, _ in reading(stage)]
    if not stage.per_shard or len(stage.inputs) != 1 or stage.inputs[0].manifest is None:
        return []
    shards = stage.store.dataset(stage.inputs[0].fingerprint).shards
    return [digest([stage.task_identity, shard.key], 12) for shard in shards]
