"""Label sets with a clock that the test turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import assistant, user
from factory.preference.labelling.store import Labels, items_of

sys.path.insert(0, str(Path(__file__).parent))  # for label_page


class Clock:
    """Seconds since 1970; every look takes a millisecond."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def candidates(number: int, answers: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "parents": [],
        "prompt": user(f"Question {number}?"),
        "completions": [assistant(f"Answer {number}.{place}") for place in range(answers)],
        "scores": [],
        "meta": {},
        **more,
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def label_set(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Labels]]:
    """(items, answers, **settings) -> a label set with the annotators ann and ben."""
    made: list[Labels] = []

    def make(items: int = 5, answers: int = 2, **settings: Any) -> Labels:
        labels = Labels(tmp_path / "labels" / f"set{len(made)}", clock)
        made.append(labels)
        labels.fill(items_of(candidates(number, answers) for number in range(items)))
        labels.configure(**{"repeat_share": 0.0, **settings})
        for name in ("ann", "ben"):
            labels.invite(name)
        return labels

    yield make
    for labels in made:
        labels.close()
