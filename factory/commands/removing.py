"""`factory forget` and `factory gc`: what must go, and what nobody needs any more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from ..engine.build import load_project
from ..engine.forgotten import FILE, remember
from ..engine.lineage import Touched, descendants, mentioned, read_again, resolve_id
from ..engine.lineage import trace as trace_record
from ..engine.plan import make_plan
from ..engine.project import project_root
from ..engine.recipe import read_recipe
from ..engine.responses import Responses
from ..engine.stage import Plan, task_keys
from ..engine.store import Store
from ..errors import FactoryError, InputError
from .planning import json_option, planned, recipe_argument


@click.command()
@recipe_argument
@click.argument("record_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@json_option
@click.pass_obj
def forget(store: Path | None, recipe: Path, record_id: str, yes: bool, as_json: bool) -> None:
    """Remove the source record ID (or the place it was read from, such as data/x.jsonl#17).

    Lists every artifact and model made from it, removes them and the model responses about it, and writes the
    record's id into forgotten.jsonl in the project, so that no build reads it again. The file it came from is yours
    and is left as it is.
    """
    plan = planned(store, recipe, (), None, ())
    place = record_id if "#" in record_id or "/" in record_id else _place(plan, record_id)
    source_id = read_again(plan, place)
    if source_id is None:
        raise InputError(f"no source of {recipe} has a record at '{place}'")
    touched = descendants(plan.store, source_id, place)
    rows = [_row(one) for one in touched]
    if as_json:
        if not yes:
            raise InputError("--json asks nothing: add --yes")
    else:
        click.echo(f"{source_id}  {place}\n")
        for row in rows:
            what = "model" if row["model"] else f"{row['kept']:,} kept, {row['dropped']:,} dropped"
            click.echo(f"  {row['target']:16} {row['stage']:40} {what:28} {row['fingerprint']}")
        question = f"\nRemove these {len(rows)} artifacts and never read the record again?"
        if not yes and not _confirmed(question):
            click.echo("nothing is removed")
            return
    remember(source_id, place)
    for page in project_root().glob("build/*/report.html"):
        page.unlink()  # its samples may show the record; the next build draws it again
    responses = _remove(plan.store, touched, {source_id, place})
    if as_json:
        summary = {"id": source_id, "place": place, "artifacts": rows, "responses": responses}
        click.echo(json.dumps(summary, ensure_ascii=False))
        return
    click.echo(f"removed {len(rows)} artifacts and {responses} model responses; {FILE} keeps the record out")
    models = [row["target"] for row in rows if row["model"]]
    if models:
        click.echo(f"copies of these models elsewhere have seen the record too: {', '.join(map(str, models))}")


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.Abort:  # Ctrl-C, or nobody there to answer
        click.echo()
        return False


def _place(plan: Plan, record_id: str) -> str:
    """The one place a record comes from. Raises InputError when there is none, or more than one."""
    for stage in plan.stages:
        if stage.is_model or not (found := resolve_id(stage, record_id)):
            continue
        places = {stop.place for stop in trace_record(stage, found[0]) if stop.record is None}
        if len(found) == 1 and len(places) == 1:
            return places.pop()
        if len(found) > 1:
            raise InputError(f"'{record_id}' begins {len(found)} ids: {', '.join(found)}")
        raise InputError(
            f"'{record_id}' was made from several records; forget the place you mean: {', '.join(sorted(places))}"
        )
    raise InputError(f"no built target of {plan.recipe.path} has a record '{record_id}'")


def _row(touched: Touched) -> dict[str, object]:
    counts = {"kept": len(touched.kept), "dropped": len(touched.dropped), "model": touched.model}
    target = touched.manifest["target"]
    return {"target": target, "stage": touched.label, "fingerprint": touched.fingerprint, **counts}


def _remove(store: Store, touched: list[Touched], names: set[str]) -> int:
    """Remove artifacts and the tasks and memos behind them, also of builds that were killed.

    The manifest goes first, so nothing half-removed counts. Returns how many model responses went.
    """
    made = names.union(*(one.kept | one.dropped for one in touched))
    for one in touched:
        for memo in one.manifest["memos"]:
            store.memo(memo).unlink(missing_ok=True)
        _remove_artifact(store, one.fingerprint)
    for folder in (store.root / "artifacts").glob("*"):
        if store.manifest(folder.name) is None and any(mentioned(path, made) for path in folder.glob("*.parquet")):
            _remove_artifact(store, folder.name)
    tasks = (store.root / "tasks").glob("*/*.parquet")
    for key in {path.name.partition(".")[0] for path in tasks if mentioned(path, made)}:
        for signals in _signals(store, key):
            (store.signals / signals[:2] / f"{signals}.parquet").unlink(missing_ok=True)
        for path in sorted(store.task(key).parent.glob(f"{key}.*"), key=lambda path: path.suffix):  # .json first
            path.unlink()
    if not store.responses.exists():
        return 0
    responses = Responses(store.responses)
    try:
        return responses.forget(made)
    finally:
        responses.close()


def _signals(store: Store, task: str) -> list[str]:
    """Keys of what a task measured."""
    note = store.task(task).with_suffix(".json")
    return list(json.loads(note.read_bytes())["signals"]) if note.exists() else []


def _remove_artifact(store: Store, fingerprint: str) -> None:
    folder = store.artifact(fingerprint)
    (folder / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(store.work(fingerprint), ignore_errors=True)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@click.pass_obj
def gc(store: Path | None, dry_run: bool, as_json: bool) -> None:
    """Remove from the store what no recipe of this project reaches any more.

    Recipes are the *.yaml and *.yml files of the project's folder and of its recipes/ folder, and every recipe that
    was built from this store. Votes and model responses stay.
    """
    found = load_project(Path("recipe.yaml"), store)
    root = project_root()
    places = ("*.yaml", "*.yml", "recipes/*.yaml", "recipes/*.yml")
    paths = sorted({*(path.resolve() for place in places for path in root.glob(place)), *found.recipes()})
    if not paths:
        raise InputError(f"there is no recipe in {root} to say what to keep; nothing was removed")
    artifacts, tasks, memos = _reached(found, paths)
    doomed = list(_doomed(found, artifacts, tasks, memos))
    size = sum(path.stat().st_size for path in _files(doomed))
    if not dry_run:
        for path in doomed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if as_json:
        click.echo(json.dumps({"removed": len(doomed), "bytes": size, "dry_run": dry_run}))
        return
    verb = "would remove" if dry_run else "removed"
    reached = f"{len(artifacts)} artifacts are reached by {len(paths)} recipes"
    click.echo(f"{verb} {len(doomed)} items, {size / 1e6:,.1f} MB; {reached}")


def _reached(store: Store, recipes: list[Path]) -> tuple[set[str], set[str], set[str]]:
    """Fingerprints, task keys and memo keys that the recipes reach. A recipe with mistakes stops the collection."""
    artifacts: set[str] = set()
    tasks: set[str] = set()
    for path in recipes:
        try:
            plan = make_plan(read_recipe(path), store)
        except FactoryError as error:
            if "targets:" in str(error) and "a recipe needs" in str(error):
                continue  # some other YAML file
            raise InputError(f"{error}\nnothing was removed: mend this recipe, or move it away") from error
        artifacts |= {stage.fingerprint for stage in plan.stages}
        tasks |= {key for stage in plan.stages if stage.manifest is None for key in task_keys(stage)}
    memos: set[str] = set()
    for fingerprint in artifacts:
        manifest = store.manifest(fingerprint) or {"shards": [], "memos": []}
        tasks |= {entry["task"] for entry in manifest["shards"] if entry.get("task")}
        memos |= set(manifest["memos"])
    return artifacts, tasks, memos


def _doomed(store: Store, artifacts: set[str], tasks: set[str], memos: set[str]) -> Iterator[Path]:
    for kind in ("artifacts", "work"):
        yield from (path for path in (store.root / kind).glob("*") if path.name not in artifacts)
    yield from (path for path in (store.root / "tasks").glob("*/*") if path.name.partition(".")[0] not in tasks)
    yield from (path for path in (store.root / "memo").glob("*/*") if path.stem not in memos)
    signals = {key for task in tasks for key in _signals(store, task)}
    yield from (path for path in store.signals.glob("*/*") if path.stem not in signals)


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield from (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else iter((path,))
