"""What a build would do: which stages are stored, which resume, which run, and how many model calls that means."""

from __future__ import annotations

from dataclasses import dataclass

from .stage import Plan, Stage, task_keys


@dataclass
class Forecast:
    """One stage of a plan. `calls` is the most it will ask models; None when its input is not built yet."""

    target: str
    label: str
    kind: str
    state: str  # stored, retries (requests that failed), resumes or runs
    fingerprint: str
    records: int | None = None
    tasks: int = 0
    tasks_stored: int = 0
    calls: int | None = 0


def forecast(plan: Plan) -> list[Forecast]:
    """The stages of a plan in running order."""
    return [_of(stage) for stage in plan.stages]


def _of(stage: Stage) -> Forecast:
    row = Forecast(stage.target, stage.label, stage.kind, "runs", stage.fingerprint)
    manifest = stage.manifest
    if manifest is not None:
        row.state = "retries" if manifest.get("retry") else "stored"
        row.calls = manifest.get("retry", 0)
        row.records = None if stage.is_model else manifest["counts"]["out"]
        return row
    ready = all(one.manifest is not None for one in stage.inputs)
    keys = task_keys(stage)
    row.tasks = len(keys)
    row.tasks_stored = sum(stage.store.task(key).with_suffix(".json").exists() for key in keys)
    work = stage.store.work(stage.fingerprint)
    if row.tasks_stored or (work.is_dir() and any(work.iterdir())):
        row.state = "resumes"
    row.calls = _calls(stage, ready)
    return row


def _calls(stage: Stage, ready: bool) -> int | None:
    """What the step declares it will ask, given the records that come in."""
    head = stage.head
    if head is None or not stage.asks or head.requests is None:
        return 0
    if not ready:
        return None
    records = sum((one.manifest or {"counts": {"out": 0}})["counts"]["out"] for one in stage.inputs)
    options = stage.calls[0].options
    most = int(head.requests(records, **options))
    bound = (options.get("budget") or {}).get("max_requests")
    return most if bound is None else min(most, bound)
