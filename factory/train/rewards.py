"""What an answer is worth by the checks that a recipe names: each gives a number, their weighted sum is the score."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import math
import re
import resource
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from factory import Budget, CausalLM, InputError, RewardModel, StepError
from factory.errors import did_you_mean, said

KINDS = ("regex", "length", "format", "unit_test", "function")
# The names of terms that no recipe's own may have, and whose they are.
MODEL, JUDGE = "model", "judge"
OWNERS = {MODEL: "the reward model", JUDGE: "the judge"}
FENCE = re.compile(r"```[\w+-]*\n(.*?)```", re.DOTALL)
SECONDS, MEGABYTES = 5, 1024  # of processor time and of memory that a unit test may take

Scorer = Callable[[str, Any], float]  # (the answer's text, the prompt's record) -> its reward


@dataclass(frozen=True)
class Rewarding:
    """All that a recipe names to reward answers: a reward model, a judge, terms, and the file with their functions."""

    reward: RewardModel | None
    reward_weight: float
    judge: CausalLM | None
    judge_weight: float
    budget: Budget | None  # of the judge
    terms: dict[str, Term]
    code: Path | None

    @property
    def weights(self) -> dict[str, float]:
        """Of every term in the sum of rewards."""
        own = {name: term.weight for name, term in self.terms.items()}
        return {MODEL: self.reward_weight, JUDGE: self.judge_weight, **own}

    def scorers(self) -> dict[str, Scorer]:
        """The functions behind the terms. Raises InputError where nothing rewards, or where one cannot be had."""
        if self.reward is None and self.judge is None and not self.terms:
            named = "a reward model as `reward`, a language model as `judge`, or checks as `rewards`"
            raise InputError(f"ppo: nothing rewards the answers; name {named}")
        return scorers(self.terms, self.code)


class Term(BaseModel):
    """One part of the reward: one of these checks, and how much it counts.

    regex      1 where the expression is found in the answer, else 0
    length     [least, most] characters: 1 between them, falling to 0 at none and at twice the most
    format     json: 1 where the whole answer is a JSON value; python: 1 where its code is Python
    unit_test  a field of the record's meta with Python code: 1 where it runs without an error behind the answer's code
    function   a Python function of (answer, record) that returns a number: its name in the file `code`, or
               `module:name` of an installed or dropped-in plugin
    weight     its factor in the sum. With 0 it is only measured, and below 0 it is a penalty
    """

    model_config = ConfigDict(extra="forbid")

    regex: str | None = None
    length: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = None
    format: Literal["json", "python"] | None = None
    unit_test: str | None = None
    function: str | None = None
    weight: float = 1.0

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in given:
                if name not in cls.model_fields:
                    raise ValueError(f"there is no reward term '{name}'; {did_you_mean(name, cls.model_fields)}")
        return given

    @model_validator(mode="after")
    def _one(self) -> Term:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"a reward term is exactly one of {', '.join(KINDS)}; this one is {given or 'none'}")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"the regex cannot be read: {error}") from error
        if self.length is not None and self.length[0] > self.length[1]:
            raise ValueError(f"the least length {self.length[0]} is above the most, {self.length[1]}")
        return self


def scorers(terms: dict[str, Term], code: Path | None) -> dict[str, Scorer]:
    """The function behind every term. Raises InputError for a term that cannot be had."""
    for name, owner in OWNERS.items():
        if name in terms:
            raise InputError(f"ppo: a reward term is named '{name}', which is {owner}'s own name; rename it")
    module = _loaded(code) if code is not None else None
    return {name: _scorer(name, term, module) for name, term in terms.items()}


def _scorer(name: str, term: Term, module: ModuleType | None) -> Scorer:
    if term.regex is not None:
        expression = re.compile(term.regex)
        return lambda answer, record: float(expression.search(answer) is not None)
    if term.length is not None:
        least, most = term.length
        return lambda answer, record: length_reward(len(answer), least, most)
    if term.format is not None:
        check = {"json": is_json, "python": is_python}[term.format]
        return lambda answer, record: float(check(answer))
    if term.unit_test is not None:
        field = term.unit_test
        return lambda answer, record: float(passes(answer, _field(record, field, name)))
    assert term.function is not None
    function = _function(name, term.function, module)
    return lambda answer, record: _number(function(answer, record), name, term.function)


def scores_of(scorers: dict[str, Scorer], answers: Sequence[str], records: Sequence[Any]) -> dict[str, list[float]]:
    """What every term gives every answer. A term that fails is one sentence with the record it failed on."""
    found: dict[str, list[float]] = {name: [] for name in scorers}
    for answer, record in zip(answers, records, strict=True):
        for name, scorer in scorers.items():
            try:
                found[name].append(scorer(answer, record))
            except StepError:
                raise
            except Exception as error:
                where = f"an answer to {record['id']}"
                raise StepError(f"ppo: the reward '{name}' failed on {where}: {said(error)}") from error
    return found


def length_reward(length: int, least: int, most: int) -> float:
    if length < least:
        return length / least
    return 1.0 if length <= most else max(0.0, 2 - length / most)


def is_json(answer: str) -> bool:
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True


def is_python(answer: str) -> bool:
    try:
        ast.parse(code_in(answer))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(code_in(answer).strip())


def code_in(answer: str) -> str:
    """The fenced code of an answer, all blocks in order; without fences the whole answer."""
    blocks = FENCE.findall(answer)
    return "\n".join(blocks) if blocks else answer


def passes(answer: str, test: str) -> bool:
    """Whether the test runs to its end behind the answer's code, in a process of its own.

    The process has limits of time, memory and file size and an empty folder, and is otherwise one of this machine:
    it is a guard against mistakes, not against malice. It passes by reaching the end, so an answer that exits early
    with success does not.
    """
    mark = secrets.token_hex(8)
    script = f"{code_in(answer)}\n{test}\nprint('{mark}', flush=True)\n"
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", script],
                cwd=folder,
                env={"PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=2 * SECONDS,
                preexec_fn=_limit,
                check=False,
            )
        except (subprocess.TimeoutExpired, ValueError):  # a null byte is no argument
            return False
    return done.returncode == 0 and done.stdout.rstrip().endswith(mark.encode())


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 << 20, 10 << 20))


def _field(record: Any, field: str, name: str) -> str:
    held = record.get("meta", {}).get(field)
    if not isinstance(held, str):
        raise StepError(f"ppo: the reward '{name}' needs a test in meta.{field}, which record {record['id']} has not")
    return held


def _function(name: str, spelled: str, module: ModuleType | None) -> Callable[..., Any]:
    where, _, wanted = spelled.rpartition(":")
    if where:
        try:
            module = importlib.import_module(where)
        except Exception as error:
            raise InputError(f"ppo: reward '{name}': {where} cannot be imported: {said(error)}") from error
    if module is None:
        raise InputError(f"ppo: reward '{name}' names a function; give its file as `code`, or write module:function")
    found = getattr(module, wanted, None)
    if not callable(found):
        known = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        near = did_you_mean(wanted, known)
        raise InputError(f"ppo: reward '{name}': {module.__name__} has no function '{wanted}'; {near}")
    return found  # type: ignore[no-any-return]


def _loaded(code: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(code.stem, code)
    if spec is None or spec.loader is None:
        raise InputError(f"ppo: code: {code} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"ppo: code: {code} cannot be loaded: {said(error)}") from error
    return module


def _number(value: Any, name: str, function: str | None) -> float:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise StepError(f"ppo: the reward '{name}' ({function}) returned {value!r}; expected a finite number")
    return float(value)
