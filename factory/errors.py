"""Errors a user can act on. The command line prints these without a traceback.

FactoryError
├── RecipeError    the recipe is wrong; carries file and line of every mistake found      exit 2
├── PluginError    no plugin provides what was asked for, or a plugin is malformed        exit 2
├── InputError     something named on the command line or by a URI cannot be had          exit 2
├── ModelError     a model cannot be opened or refuses every request                      exit 2
├── StepError      a step raised while it worked                                          exit 1
└── Pending        something from outside is awaited (votes, a batch job)                 exit 3
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOST_LISTED = 10  # names in a message; of more only the nearest are told


class FactoryError(Exception):
    """Root of everything the command line shows as a plain sentence."""

    exit_code = 1


class Problem(NamedTuple):
    """One mistake in a recipe: the line it is on and a sentence about it."""

    line: int
    text: str


class RecipeError(FactoryError):
    """Every mistake found in one recipe, each drawn as `file:line: sentence`."""

    exit_code = 2

    def __init__(self, problems: Sequence[tuple[int, str]], path: str = "recipe") -> None:
        self.problems = sorted({Problem(*problem) for problem in problems})
        self.path = path
        super().__init__("\n".join(f"{path}:{line}: {text}" for line, text in self.problems))


class PluginError(FactoryError):
    """A plugin is malformed, or none provides what was asked for."""

    exit_code = 2


class InputError(FactoryError):
    """A file, a target, an id or a URI that cannot be had."""

    exit_code = 2


class ModelError(FactoryError):
    """A model that cannot be opened, or that refuses every request (a wrong key, say)."""

    exit_code = 2


class StepError(FactoryError):
    """A step raised; the message names the step and, where there is one, the record."""

    exit_code = 1


class Pending(FactoryError):
    """Raise in a step that waits for something from outside; the stage stays open."""

    exit_code = 3


def said(error: BaseException) -> str:
    """An exception of somebody else's code as a clause; a missing package comes with the line that installs it."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("factory"):
        return f"the package '{error.name.partition('.')[0]}' is missing: pip install 'dataset-factory[train]'"
    return f"{type(error).__name__}: {error}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest right word as a short clause, or all the words when none is near."""
    known = sorted(set(known))
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.55):
        return f"did you mean '{close[0]}'?"
    if len(known) > MOST_LISTED:
        return f"the nearest are: {', '.join(difflib.get_close_matches(word, known, n=4, cutoff=0.0))}"
    return f"known: {', '.join(known)}" if known else "there are none"
