"""@step: a typed function becomes a step. Its signature says what kind of step it is."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict, overload

from pydantic import BaseModel, ConfigDict, create_model

from ..errors import PluginError
from .batch import Batch
from .context import Context
from .dataset import Dataset
from .flat import fields_of, flat_class, gathering, written_out
from .model import Model
from .records import Drops, Record, declare_type
from .schema import type_name


class Kind(Enum):
    """The kinds of step, by first parameter and return."""

    FILTER = "filter"  # record -> bool
    MAP = "map"  # record -> record
    FLAT_MAP = "flat map"  # record -> Iterator[record]
    VECTORISED = "vectorised"  # Batch -> Batch
    STREAM = "stream"  # Iterator[record] -> Iterator[record]
    GLOBAL_FILTER = "global filter"  # Dataset -> Drops
    GENERATE = "generate"  # Dataset -> Iterator[record]
    TRAIN = "train"  # Dataset -> Model
    TRANSFORM = "transform"  # Model -> Model


PER_SHARD = frozenset({Kind.FILTER, Kind.MAP, Kind.FLAT_MAP, Kind.VECTORISED})

SIGNATURES = """a step's first parameter and return type are one of
  record: R             -> bool | R2 | Iterator[R2]
  batch: Batch[R]       -> Batch[R2]
  records: Iterator[R]  -> Iterator[R2]
  dataset: Dataset[R]   -> Drops | Iterator[R2] | Model
  model: Model          -> Model
where R and R2 are Record or one of its subtypes; a type variable that a model option shares with the return
type means: what comes out is of that model's kind"""


@dataclass(frozen=True)
class Step:
    """A function a recipe can name, and what its signature declares."""

    name: str
    function: Callable[..., Any]
    kind: Kind
    takes: Any  # a record type, or a Model class for transforms
    gives: Any  # likewise; Record means: the type that came in
    options: type[BaseModel]
    references: dict[str, type] = field(default_factory=dict)  # option -> Model class, or Dataset
    paths: tuple[str, ...] = ()  # options of type Path, whose files' contents count in the fingerprint
    context: str | None = None  # the parameter that wants the Context
    version: int = 1
    requests: Callable[..., int] | None = None  # (records in, **options) -> how many model calls, for `plan`
    judges: bool = True  # whether it drops records for what they are
    ranks: bool = False  # whether several processes can share its work, as torch.distributed has it
    groups: dict[str, BaseModel] = field(default_factory=dict)  # parameter whose fields are options -> their defaults
    like: str | None = None  # the option whose kind of model comes out: a tokenizer of one, a language model of another

    @property
    def signature(self) -> str:
        """What goes in and what comes out: `Text → bool`, say."""
        wrap = {Kind.STREAM: "Iterator[{}]", Kind.VECTORISED: "Batch[{}]", Kind.TRANSFORM: "{}"}
        whole = {Kind.GLOBAL_FILTER, Kind.GENERATE, Kind.TRAIN}
        outer = "Dataset[{}]" if self.kind in whole else wrap.get(self.kind, "{}")
        result = {
            Kind.FILTER: "bool",
            Kind.GLOBAL_FILTER: "Drops",
            Kind.VECTORISED: f"Batch[{type_name(self.gives)}]",
            Kind.MAP: type_name(self.gives),
            Kind.TRAIN: type_name(self.gives),
            Kind.TRANSFORM: type_name(self.gives),
        }.get(self.kind, f"Iterator[{type_name(self.gives)}]")
        return f"{outer.format(type_name(self.takes))} → {result}"

    def turns(self, kind: Any) -> Any:
        """What comes out when records of type `kind` go in."""
        return kind if self.gives is Record or self.kind in (Kind.FILTER, Kind.GLOBAL_FILTER) else self.gives

    @property
    def summary(self) -> str:
        return self.doc.split("\n")[0]

    @property
    def doc(self) -> str:
        return written_out(inspect.getdoc(self.function) or "", self.groups)

    @property
    def module(self) -> str:
        return self.function.__module__


@overload
def step(function: Callable[..., Any]) -> Step: ...
@overload
def step(
    *, version: int = 1, requests: Callable[..., int] | None = None, judges: bool = True, ranks: bool = False
) -> Callable[[Callable[..., Any]], Step]: ...
def step(
    function: Callable[..., Any] | None = None,
    *,
    version: int = 1,
    requests: Callable[..., int] | None = None,
    judges: bool = True,
    ranks: bool = False,
) -> Step | Callable[[Callable[..., Any]], Step]:
    """Make a typed function a step.

    version   raise it when the same code must give other results (a new library, say)
    requests  (records in, **options) -> int: how many model calls the step will make at most; shown by `plan`
    judges    False for a step that drops by number, or only rewrites: that it drops much or nothing is no alarm
    ranks     True for a step that trains and, run by several processes of torch.distributed, has them share its work

    Raises PluginError when the signature is none of the kinds.
    """
    if function is None:
        return lambda inner: declare(inner, version, requests, judges, ranks)
    return declare(function, version, requests, judges, ranks)


def declare(
    function: Callable[..., Any], version: int, requests: Callable[..., int] | None, judges: bool, ranks: bool
) -> Step:
    name = f"{function.__module__}.{function.__name__}"
    try:
        hints = get_type_hints(function, include_extras=True)  # Annotated[float, Field(ge=0)] keeps its bounds
    except NameError as error:
        raise PluginError(f"step {name}: an annotation is not defined: {error}") from None
    result = hints.pop("return", None)
    like = None
    if isinstance(result, TypeVar):
        like = next((option for option, hint in hints.items() if hint is result), None)
        if like is None or result.__bound__ is None:
            raise PluginError(f"step {name}: no option is of the type {result} that it returns. {SIGNATURES}")
        hints = {option: hint.__bound__ if hint is result else hint for option, hint in hints.items()}
        result = result.__bound__
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise PluginError(f"step {name}: {SIGNATURES}")
    first, *rest = parameters
    kind, takes, gives = classify(hints.get(first.name), result, name)
    for one in (takes, gives):
        if not is_model(one):
            declare_type(one)
    fields: dict[str, Any] = {}
    references: dict[str, type] = {}
    paths = []
    groups: dict[str, BaseModel] = {}
    context = None
    for parameter in rest:
        if parameter.name not in hints:
            raise PluginError(f"step {name}: option '{parameter.name}' has no type annotation")
        hint = hints[parameter.name]
        default = ... if parameter.default is parameter.empty else parameter.default
        if hint is Context:
            context = parameter.name
            continue
        if group := flat_class(hint):
            groups[parameter.name] = group() if default is ... else default
            if again := fields.keys() & group.model_fields.keys():
                raise PluginError(f"step {name}: option '{min(again)}' stands there twice; {parameter.name} has it too")
            for option, info in group.model_fields.items():
                if any(one is Path or is_model(one) or one is Dataset for one in mentioned(info.annotation)):
                    raise PluginError(
                        f"step {name}: option '{option}' of {parameter.name} must be a parameter of its own"
                    )
            fields |= fields_of(groups[parameter.name])
            continue
        if parameter.name in fields:
            raise PluginError(f"step {name}: option '{parameter.name}' stands there twice; a group has it too")
        inner = list(mentioned(hint))
        if found := next((h for h in inner if h is Dataset or (isinstance(h, type) and issubclass(h, Model))), None):
            references[parameter.name] = found
            hint = as_names(hint)
        elif Path in inner:
            paths.append(parameter.name)
        fields[parameter.name] = (hint, default)
    options = create_model(function.__name__, __config__=ConfigDict(extra="forbid", strict=False), **fields)
    return Step(
        function.__name__.rstrip("_"), gathering(function, groups), kind, takes, gives, options, references,
        tuple(paths), context, version, requests, judges, ranks, groups, like,
    )  # fmt: skip


def mentioned(hint: Any) -> Iterator[Any]:
    """Every type inside an annotation, without type arguments."""
    origin = get_origin(hint)
    yield origin or hint
    for argument in get_args(hint):
        yield from mentioned(argument)


def as_names(hint: Any) -> Any:
    """An annotation with every Model and Dataset replaced by str: what a recipe may write there."""
    origin = get_origin(hint)
    if hint is Dataset or origin is Dataset or (isinstance(hint, type) and issubclass(hint, Model)):
        return str
    if origin in (Union, types.UnionType):
        return reduce(or_, (as_names(argument) for argument in get_args(hint)))
    if origin is list:
        return list[as_names(get_args(hint)[0])]  # type: ignore[misc]
    if origin is dict:
        return dict[str, as_names(get_args(hint)[1])]  # type: ignore[misc]
    return hint


def is_record(hint: Any) -> bool:
    return is_typeddict(hint) and (hint is Record or "id" in hint.__annotations__ or "id" in get_type_hints(hint))


def is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Model)


def classify(first: Any, result: Any, name: str) -> tuple[Kind, Any, Any]:
    """The kind of a step, what it takes and what it gives, from its first and its return annotation."""
    origin, item = get_origin(first) or first, (get_args(first) or (Record,))[0]
    out_origin, out_item = get_origin(result) or result, (get_args(result) or (Record,))[0]
    made = is_record(out_item)
    if is_record(first):
        if result is bool:
            return Kind.FILTER, first, first
        if is_record(result):
            return Kind.MAP, first, result
        if out_origin is Iterator and made:
            return Kind.FLAT_MAP, first, out_item
    elif origin is Batch and out_origin is Batch and made:
        return Kind.VECTORISED, item, out_item
    elif origin is Iterator and out_origin is Iterator and made:
        return Kind.STREAM, item, out_item
    elif origin is Dataset:
        if result is Drops:
            return Kind.GLOBAL_FILTER, item, item
        if out_origin is Iterator and made:
            return Kind.GENERATE, item, out_item
        if is_model(result):
            return Kind.TRAIN, item, result
    elif is_model(first) and is_model(result):
        return Kind.TRANSFORM, first, result
    raise PluginError(f"step {name}: {SIGNATURES}")
