"""Which rows of a model are new: the note that an extended vocabulary leaves beside the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from factory import Model

from .loading import resolve_folder

FILE = "extension.json"


@dataclass(frozen=True)
class Extension:
    """The ids `first` to `first + count - 1` were added to a vocabulary; a model that is trained on keeps the note."""

    first: int
    count: int

    @property
    def ids(self) -> range:
        return range(self.first, self.first + self.count)

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def extension_of(model: Model) -> Extension | None:
    """What was added to the model's vocabulary by `extend_vocabulary`, or None."""
    path = Path(resolve_folder(model)) / FILE
    return Extension(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
