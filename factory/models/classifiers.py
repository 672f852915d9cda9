"""A fastText classifier on disk: `model.bin`, and `classifier.json`, which says what its labels are called.

Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification", arXiv:1607.01759: the mean of the vectors of
words and hashed word n-grams, then one linear layer. Texts are cut by `factory.text.words`, in training and in use,
so scripts without spaces are not one endless word. Inside the file a label is a number: names may be anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from factory import Classifier, ModelError, PluginError
from factory.text.words import words

WEIGHTS, DESCRIPTION = "model.bin", "classifier.json"
FORMAT = 1
PREFIX = "__label__"  # no word begins so: underscores are parted from words


def line_of(text: str) -> str:
    """A text as fastText reads it: its words in one line; empty for a text without words."""
    return " ".join(words(text))


def train(path: Path, seed: int, **options: Any) -> Any:
    """A model from lines `__label__NUMBER word word …`; one thread, so that equal lines make equal bytes.

    options  those of `fasttext.train_supervised`
    """
    return _fasttext().train_supervised(str(path), seed=seed, thread=1, verbose=0, **options)


def save(folder: Path, trained: Any, labels: Sequence[str], **more: Any) -> None:
    """Write a trained model into an empty folder; `more` is kept in the description."""
    trained.save_model(str(folder / WEIGHTS))
    described = {"format": FORMAT, "kind": "fasttext", "labels": list(labels), "words": "factory.text.words", **more}
    text = json.dumps(described, ensure_ascii=False, indent=2)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def labels_of(model: Classifier) -> list[str]:
    """The names of a classifier's labels, in the order in which it was taught them."""
    return list(_loaded(*_place(model))[1])


def probabilities(model: Classifier, text: str) -> dict[str, float]:
    """label → probability, to four places, the likeliest first; empty for a text without words.

    Raises ModelError when the classifier's folder cannot be read.
    """
    trained, labels = _loaded(*_place(model))
    line = line_of(text)
    return {labels[number]: score for number, score in predicted(trained, line)} if line else {}


def predicted(trained: Any, line: str) -> Iterator[tuple[int, float]]:
    """(number of the label, probability) for every label, the likeliest first."""
    for name, score in zip(*trained.predict(line, k=-1), strict=True):
        # fastText adds 1e-5 before it takes the logarithm: a probability may come out above 1
        yield int(name.removeprefix(PREFIX)), min(1.0, round(float(score), 4))


def _place(model: Classifier) -> tuple[str, str]:
    if model.path is None:
        raise ModelError(f"classifier '{model.uri}': it has no folder")
    return str(model.path), model.identity


@lru_cache(maxsize=4)
def _loaded(folder: str, identity: str) -> tuple[Any, tuple[str, ...]]:
    """(fastText's model, the names of its labels), loaded once a process; `identity` is the content's."""
    described = _description(Path(folder))
    try:
        return _fasttext().load_model(str(Path(folder, WEIGHTS))), tuple(described["labels"])
    except ValueError as error:
        raise ModelError(f"classifier {folder}: its {WEIGHTS} cannot be read: {error}") from error


def _description(folder: Path) -> Mapping[str, Any]:
    path = folder / DESCRIPTION
    try:
        described = json.loads(path.read_bytes())
        known = described["format"] == FORMAT and described["kind"] == "fasttext" and described["labels"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"classifier {folder}: {path.name} cannot be read: {type(error).__name__}: {error}") from error
    if not known:
        raise ModelError(f"classifier {folder}: {path.name} is of another format; expected fasttext, format {FORMAT}")
    return dict(described)


def _fasttext() -> Any:
    """The fasttext module that can train. Raises PluginError where fasttext-predict has put its own in its place."""
    import fasttext

    if not hasattr(fasttext, "train_supervised"):
        line = "pip install --force-reinstall --no-deps fasttext-community"
        raise PluginError(f"the installed fasttext can only predict (the wheel fasttext-predict wrote over it): {line}")
    return fasttext
