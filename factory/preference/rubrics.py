"""Rubrics as data: what an answer is judged by, aspect by aspect, each a YAML file of ours or of the user's.

A file says `aspect`, `scale: [lowest, highest]`, and for one or more languages (`en`, `zh`) a `question` and
`anchors`, which say in words what grades mean, those at both ends at least.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory import InputError, digest
from factory.errors import did_you_mean

LANGUAGES = ("en", "zh")
KEYS = ("aspect", "scale", *LANGUAGES)
OVERALL = "overall"  # in a verdict the aspect "" stands for it: the answer as a whole
MOST = 100  # of a scale
# Of the files beside this module: they are data, which a fingerprint does not see, and this line is code.
SHIPPED = "bb6f3c0c79eb2c0f"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Words:
    """A rubric in one language."""

    question: str
    anchors: Mapping[int, str]  # grade -> what it means


@dataclass(frozen=True)
class Rubric:
    """What is asked of an answer, and the scale it is graded on."""

    aspect: str
    lowest: int
    highest: int
    words: Mapping[str, Words]  # by language

    @property
    def key(self) -> str:
        """The aspect as verdicts name it."""
        return "" if self.aspect == OVERALL else self.aspect

    def said(self, language: str) -> Words:
        """In that language, or in the one there is."""
        return self.words.get(language) or next(iter(self.words.values()))

    def share(self, grade: float) -> float:
        """A grade as a share of the scale, 0 to 1."""
        return (grade - self.lowest) / (self.highest - self.lowest)


def rubrics_for(aspects: Sequence[str], files: Iterable[Path] = ()) -> list[Rubric]:
    """The rubric of each aspect, the user's before ours. Raises InputError with a sentence about what is wrong."""
    known = {path.stem: path for path in shipped()}
    given = [read_rubric(path) for path in files]
    mine = {rubric.aspect: rubric for rubric in given}
    if len(mine) < len(given):
        raise InputError("two rubric files are of the same aspect; each file needs one of its own")
    found: list[Rubric] = []
    for aspect in aspects:
        if aspect not in mine and aspect not in known:
            raise InputError(f"there is no rubric for the aspect '{aspect}'; {did_you_mean(aspect, [*mine, *known])}")
        if aspect in [rubric.aspect for rubric in found]:
            raise InputError(f"the aspect '{aspect}' is named twice")
        found.append(mine.get(aspect) or read_rubric(known[aspect]))
    if not found:
        raise InputError(f"no aspect is named; expected some of {', '.join(sorted([*mine, *known]))}")
    return found


def shipped() -> list[Path]:
    """Our own rubric files."""
    return sorted((Path(__file__).parent / "rubrics").glob("*.yaml"))


def shipped_digest() -> str:
    """A hash of what our rubrics say."""
    return digest([path.read_text(encoding="utf-8") for path in shipped()])


def read_rubric(path: Path) -> Rubric:
    """The rubric in a file. Raises InputError that says where it is none."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the rubric '{path.name}' cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path.name}{where}: no YAML: {getattr(error, 'problem', None) or error}") from None
    try:
        return _rubric(data)
    except ValueError as fault:
        raise InputError(f"the rubric '{path.name}': {fault}") from None


def _rubric(data: Any) -> Rubric:
    """Raises ValueError with a clause that says what was expected."""
    if not isinstance(data, dict):
        raise ValueError(f"holds {type(data).__name__}; expected the keys {', '.join(KEYS)}")
    for key in data:
        if key not in KEYS:
            raise ValueError(f"has no key '{key}'; {did_you_mean(str(key), KEYS)}")
    aspect = data.get("aspect")
    if not isinstance(aspect, str) or not _NAME.fullmatch(aspect):
        raise ValueError(f"aspect is {aspect!r}; expected a lower_case name")
    lowest, highest = _scale(data.get("scale"))
    words = {name: _words(name, data[name], lowest, highest) for name in LANGUAGES if name in data}
    if not words:
        raise ValueError(f"has words in no language; expected {' or '.join(LANGUAGES)}")
    return Rubric(aspect, lowest, highest, words)


def _scale(scale: Any) -> tuple[int, int]:
    whole = isinstance(scale, list) and len(scale) == 2 and all(type(end) is int for end in scale)
    if not whole or not 0 <= scale[0] < scale[1] <= MOST:
        raise ValueError(f"scale is {scale!r}; expected [lowest, highest], whole numbers from 0 to {MOST}")
    return scale[0], scale[1]


def _words(language: str, said: Any, lowest: int, highest: int) -> Words:
    if not isinstance(said, dict) or set(said) != {"question", "anchors"}:
        raise ValueError(f"{language}: expected the keys question and anchors")
    question, anchors = said["question"], said["anchors"]
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{language}: question is {question!r}; expected a sentence")
    if not isinstance(anchors, dict) or not {lowest, highest} <= set(anchors):
        raise ValueError(f"{language}: anchors must say what {lowest} and {highest} mean")
    for grade, meaning in anchors.items():
        if type(grade) is not int or not lowest <= grade <= highest:
            raise ValueError(f"{language}: anchors: {grade!r} is not on the scale from {lowest} to {highest}")
        if not isinstance(meaning, str) or not meaning.strip():
            raise ValueError(f"{language}: anchors: {grade} is {meaning!r}; expected words")
    return Words(question.strip(), {grade: anchors[grade].strip() for grade in sorted(anchors)})
