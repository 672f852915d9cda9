"""The store: files appear whole, the manifest comes last, a stopped build goes on to the same bytes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from factory.engine import store as store_module
from factory.engine.store import Store, link, point, write_atomic

if TYPE_CHECKING:
    from conftest import Project


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / ".factory")
    store.prepare()
    return store


RECIPE = """
    targets:
      texts: {from: data/*.txt, steps: [shout, halves]}
      once: {from: [texts, texts], steps: [not_too_common: {most: 3}, measure]}
      pairs: {from: once, steps: [echo]}
      drawn: {from: texts, steps: [invent]}
      counted: {from: pairs, steps: [how_many]}
"""


def corpus(project: Project) -> Project:
    for number in range(2):
        project.write(f"data/{number}.txt", f"text {number}")
    project.recipe(RECIPE)
    return project


class Stopped(BaseException):
    """The build is stopped, as by a kill."""


def test_a_build_stopped_at_any_write_goes_on_to_the_same_bytes(
    new_project: Callable[[], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = corpus(new_project())
    whole.build()
    project = corpus(new_project())
    rename, left = Path.rename, 0

    def stopping(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left <= 0:  # and at every later one: a killed build writes nothing more
            raise Stopped
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopping)
    for stops in count():
        left = 3 + 4 * stops
        try:
            ran = project.build()
            break
        except Stopped:
            for manifest in project.root.glob(".factory/artifacts/*/manifest.json"):
                for entry in orjson.loads(manifest.read_bytes())["shards"]:
                    assert (manifest.parent / entry["file"]).exists()
                    assert (manifest.parent / entry["dropped_file"]).exists()
    assert stops > 4
    assert ran.stored, "what was finished before is not made again"
    assert project.artifacts() == whole.artifacts()


def test_finished_tasks_and_mapped_items_are_not_made_again(project: Project) -> None:
    corpus(project).build("r.yaml", "once")
    for manifest in project.root.glob(".factory/artifacts/*/manifest.json"):
        manifest.unlink()
    memos = {path: path.stat().st_mtime_ns for path in project.root.glob(".factory/memo/*/*")}
    assert memos
    ran = project.build("r.yaml", "once")
    assert (len(ran.stages), ran.tasks) == (2, {})
    assert {path: path.stat().st_mtime_ns for path in memos} == memos


def test_what_is_begun_is_empty_and_what_is_committed_is_complete(store: Store) -> None:
    folder = store.begin("f")
    (folder / "left.parquet").write_text("of a try that was killed")
    (store.work("f") / "checkpoint").write_text("step 3")
    assert store.manifest("f") is None
    assert list(store.begin("f").iterdir()) == []
    assert (store.work("f") / "checkpoint").exists(), "what it takes to resume stays"
    store.commit("f", {"b": 1, "a": 2})
    assert store.manifest("f") == {"a": 2, "b": 1}
    assert not store.work("f").exists()


def test_the_folder_explains_itself_and_stays_out_of_version_control(store: Store) -> None:
    assert "It can be deleted" in (store.root / "README.md").read_text()
    assert (store.root / ".gitignore").read_text() == "*\n"
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    (store.root / "README.md").write_text("mine")
    store.prepare()
    assert (store.root / "README.md").read_text() == "mine"


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"


def test_links_are_hard_or_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    link(source, tmp_path / "hard")
    assert (tmp_path / "hard").samefile(source)

    def refuse(*_: object) -> None:
        raise OSError("no links on this file system")

    monkeypatch.setattr(store_module.os, "link", refuse)
    link(source, tmp_path / "copy")
    link(source, tmp_path / "hard")
    assert not (tmp_path / "copy").samefile(source)
    assert (tmp_path / "copy").read_text() == (tmp_path / "hard").read_text() == "x"


def test_a_result_is_a_relative_link_that_is_replaced_in_one_move(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        point(tmp_path / "build" / "target", tmp_path / name)
        assert (tmp_path / "build" / "target").readlink() == Path("..") / name


def test_a_lock_is_waited_for_and_its_holder_named(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with store.lock("f", "recipe a, target b"):
            os.write(ready[1], b".")
            os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    warn = logging.Logger.warning

    def release(logger: logging.Logger, *args: object) -> None:
        warn(logger, *args)
        os.write(go[1], b".")

    monkeypatch.setattr(logging.Logger, "warning", release)
    with store.lock("f", "mine"):
        os.waitpid(child, 0)
    assert caplog.messages == [f"waiting for recipe a, target b (process {child})"]
    caplog.clear()
    with store.lock("f", "mine"), store.lock("g", "mine"):
        assert caplog.messages == []


def test_a_lock_ends_with_its_process(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    ready = os.pipe()
    child = os.fork()
    if child == 0:
        with store.lock("f", "recipe a, target b"):
            os.write(ready[1], b".")
            while True:
                os.read(ready[0], 0) or os.sched_yield()
    os.read(ready[0], 1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    with store.lock("f", "mine"):
        assert caplog.messages == []


def test_a_store_elsewhere(project: Project, tmp_path: Path) -> None:
    corpus(project).build(store=tmp_path / "elsewhere")
    assert not (project.root / ".factory").exists()
    assert (project.root / "build/r/texts/manifest.json").exists()
    assert project.build(store=tmp_path / "elsewhere").stages == []
