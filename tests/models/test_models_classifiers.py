"""A classifier's folder: opened by its URI, asked, and refused when it is broken."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import factory
from factory import Classifier, ModelError
from factory.engine.project import enter_project
from factory.models import CLASSIFIER, classifiers, open_model

LINES = [
    ("0", "the cat sat on the mat"),
    ("1", "buy cheap watches now"),
    ("0", "a dog ran home"),
    ("1", "click to win"),
]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    before = factory.project_root()
    enter_project(tmp_path)
    yield tmp_path
    enter_project(before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    taught = folder / "examples.txt"
    taught.write_text("".join(f"{classifiers.PREFIX}{label} {line}\n" for label, line in LINES * 10))
    trained = classifiers.train(taught, 1, epoch=30, lr=0.5, dim=8, bucket=100, wordNgrams=2)
    (folder / "quality").mkdir()
    classifiers.save(folder / "quality", trained, ["good prose", "广告"], options={"epoch": 30})
    return folder / "quality"


@pytest.mark.parametrize("form", ["./models/quality", "models/quality", "{}/models/quality"])
def test_a_folder_however_it_is_named(project: Path, saved: Path, form: str) -> None:
    shutil.copytree(saved, project / "models" / "quality")
    model = open_model(uri=form.format(project))
    assert isinstance(model, Classifier)
    assert model.path == project / "models" / "quality"
    assert pickle.loads(pickle.dumps(model)) == model
    assert classifiers.labels_of(model) == ["good prose", "广告"]
    found = classifiers.probabilities(model, "Buy cheap watches, NOW!")
    assert next(iter(found)) == "广告"
    assert sum(found.values()) == pytest.approx(1, abs=1e-3)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert classifiers.probabilities(model, " …\n") == {}


def test_its_identity_is_its_content(project: Path, saved: Path) -> None:
    """What was loaded from a folder is not taken for what lies there after it was taught anew."""
    shutil.copytree(saved, project / "one")
    before = open_model(uri="./one")
    assert isinstance(before, Classifier)
    assert classifiers.labels_of(before) == ["good prose", "广告"]
    described = json.loads((project / "one" / CLASSIFIER).read_text())
    (project / "one" / CLASSIFIER).write_text(json.dumps({**described, "labels": ["x", "y"]}))
    after = open_model(uri="./one")
    assert isinstance(after, Classifier)
    assert after.identity != before.identity
    assert classifiers.labels_of(after) == ["x", "y"]


def test_text_of_any_kind_is_one_line() -> None:
    assert classifiers.line_of("Two\nlines, __label__1 and\tmore\0") == "two lines label 1 and more"
    assert classifiers.line_of("今天 天气") == "今 天 天 气"
    assert classifiers.line_of("\ud800") == ""


def test_broken_folders(project: Path, saved: Path) -> None:
    def opened(name: str, **files: str) -> Classifier:
        folder = Path(shutil.copytree(saved, project / name))
        for file, text in files.items():
            (folder / file.replace("__", ".")).write_text(text)
        return Classifier(name, "", folder)

    with pytest.raises(ModelError, match=r"model\.bin cannot be read"):
        classifiers.labels_of(opened("weights", model__bin="no weights"))
    with pytest.raises(ModelError, match=r"classifier\.json cannot be read: JSONDecodeError"):
        classifiers.labels_of(opened("json", classifier__json="{"))
    with pytest.raises(ModelError, match="cannot be read: KeyError"):
        classifiers.labels_of(opened("keys", classifier__json="{}"))
    newer = json.dumps({"format": 99, "kind": "fasttext", "labels": ["a"]})
    with pytest.raises(ModelError, match="of another format; expected fasttext, format 1"):
        classifiers.labels_of(opened("newer", classifier__json=newer))
    with pytest.raises(ModelError, match=r"classifier\.json cannot be read: FileNotFoundError"):
        classifiers.labels_of(Classifier("empty", "", project))
    with pytest.raises(ModelError, match="it has no folder"):
        classifiers.labels_of(Classifier("openai:clever"))
