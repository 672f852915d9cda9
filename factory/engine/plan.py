"""Recipe to plan: references resolved, options checked, steps fused into stages, stages fingerprinted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ..errors import FactoryError, InputError, Problem, RecipeError, did_you_mean
from ..plugins import all_steps, open_uri
from .binding import Bound, bind, leaves, no_target
from .budget import unpriced
from .fingerprint import FORMAT, code_hash
from .forgotten import Forgotten
from .model import MODEL_KINDS, Model
from .options import replace_names
from .project import hash_path, project_path, project_root
from .recipe import Call, Recipe, Target, is_name
from .records import Record, declare_type, digest, satisfies
from .schema import type_name
from .source import Piece, Source
from .stage import OWN_PROCESS, Plan, Stage
from .step import PER_SHARD, Kind, Step, is_model
from .store import Store

ALONE = frozenset({Kind.STREAM, Kind.GENERATE, Kind.TRAIN, Kind.TRANSFORM})


def make_plan(recipe: Recipe, store: Store, wanted: tuple[str, ...] = (), limit: int | None = None) -> Plan:
    """Resolve a recipe. Raises RecipeError with every mistake that can be known before anything runs.

    wanted  only these targets and what they need
    limit   records taken of each source, and the most that any `count` option may say
    """
    problems = list(recipe.problems)
    for name in wanted:
        if name not in recipe.targets:
            raise InputError(f"{recipe.path}: no target '{name}'; {did_you_mean(name, recipe.targets)}")
    builder = _Builder(recipe, store, limit, problems)
    recipe = replace(recipe, evaluation=tuple(builder.evaluation()))
    bound = {name: bind(target, recipe, limit, problems) for name, target in recipe.targets.items()}
    graph = {name: _needs(it, recipe) for name, it in bound.items()}
    _measurable(bound, graph, recipe, problems)
    order = _order(graph, recipe, problems)
    needed = _closure(graph, wanted or tuple(recipe.targets))
    for name in order:
        builder.target(bound[name])
    if problems:
        raise RecipeError(problems, str(recipe.path))
    stages = [stage for stage in builder.stages if stage.target in needed or stage in builder.shared(needed)]
    targets = {name: builder.ends[name] for name in recipe.targets if name in needed}
    return Plan(recipe, stages, targets, store, project_root())


def _needs(bound: Bound, recipe: Recipe) -> set[str]:
    named = {source for source in bound.target.sources if is_name(source)}
    for _, _, references in bound.calls:
        named |= {name for name in references if is_name(name)}
    return named & set(recipe.targets)


def _measurable(bound: dict[str, Bound], graph: dict[str, set[str]], recipe: Recipe, problems: list[Problem]) -> None:
    """Report evaluation sets that are made from what they are given to; take their edges away."""
    lines = dict(recipe.evaluation)
    plain = {name: needs - set(bound[name].measured) | (needs & _said(bound[name])) for name, needs in graph.items()}
    for target, it in bound.items():
        for name, call in it.measured.items():
            if name in graph and target in _closure(plain, (name,)):
                text = (
                    f"the evaluation set '{name}' is made from '{target}', whose step {call.step} must not come near "
                    f"it: name another set, or write `evaluation: []` at {call.step} (line {call.line})"
                )
                problems.append(Problem(lines[name], text))
                graph[target].discard(name)


def _said(bound: Bound) -> set[str]:
    """Names that a target's own lines say, besides those the recipe gives it."""
    named = set(bound.target.sources)
    for call, step, _ in bound.calls:
        named |= {name for option in step.references if option != "evaluation"
                  for name in leaves(call.options.get(option))}  # fmt: skip
    return named


def _order(graph: dict[str, set[str]], recipe: Recipe, problems: list[Problem]) -> list[str]:
    """Targets in an order that can be built; those on a cycle are reported and left out."""
    graph = dict(graph)
    while True:
        try:
            return [name for name in TopologicalSorter(graph).static_order() if name in graph]
        except CycleError as error:
            cycle: list[str] = error.args[1]
            first = min(cycle, key=lambda name: recipe.targets[name].line)
            turn = cycle.index(first)
            around = [*cycle[turn:-1], *cycle[:turn], first] if turn else cycle
            said = " needs ".join(f"'{name}'" for name in reversed(around))
            problems.append(Problem(recipe.targets[first].line, f"a cycle: {said}"))
            for name in cycle:
                graph.pop(name, None)


def _closure(graph: dict[str, set[str]], wanted: tuple[str, ...]) -> set[str]:
    seen: set[str] = set()
    todo = list(wanted)
    while todo:
        if (name := todo.pop()) not in seen:
            seen.add(name)
            todo += graph[name]
    return seen


class _Builder:
    """Targets to stages, one after the other; mistakes are collected."""

    def __init__(self, recipe: Recipe, store: Store, limit: int | None, problems: list[Problem]) -> None:
        self.recipe, self.store, self.limit, self.problems = recipe, store, limit, problems
        self.stages: list[Stage] = []
        self.ends: dict[str, Stage] = {}
        self.reads: dict[str, Stage] = {}
        self.users: dict[str, set[str]] = {}  # uri of a shared read -> targets
        self.sources: dict[str, tuple[Source, tuple[Piece, ...]]] = {}
        self.forgotten = Forgotten.load()

    def evaluation(self) -> Iterator[tuple[str, int]]:
        """The recipe's evaluation sets, without those that are not to be had."""
        for name, line in self.recipe.evaluation:
            if is_name(name) and name not in self.recipe.targets:
                self.problems.append(Problem(line, no_target(name, self.recipe)))
            elif is_name(name) or self.open(name, line) is not None:
                yield name, line

    def shared(self, needed: set[str]) -> list[Stage]:
        return [stage for uri, stage in self.reads.items() if self.users[uri] & needed]

    def target(self, bound: Bound) -> None:
        """Add the stages of one target, or the reasons why there are none."""
        target = bound.target
        missing = [s for s in target.sources if is_name(s) and s not in self.ends]
        references = self.resolve(bound)
        if missing or references is None or bound.broken or not target.sources:
            self.check_sources(target)
            return
        groups = _fuse([(call, step) for call, step, _ in bound.calls])
        transform = bool(bound.calls) and bound.calls[0][1].kind is Kind.TRANSFORM
        alone = len(target.sources) == 1 and not is_name(target.sources[0]) and not transform
        fused = alone and (not groups or groups[0][0][1].kind in PER_SHARD)
        inputs: tuple[Stage, ...] = ()
        opened: tuple[Source, tuple[Piece, ...]] | None = None
        gives: Any = Record
        if fused:
            opened = self.open(target.sources[0], target.source_lines[0])
            if opened is None:
                return
            gives = opened[0].kind
        else:
            found = [self.input(s, line, target) for s, line in zip(target.sources, target.source_lines, strict=True)]
            if None in found:
                return
            inputs = tuple(stage for stage in found if stage is not None)
            gives = self.common(inputs, target)
            if is_model(gives) and not groups:
                text = f"'{target.name}' is made from a model, so it needs a step, such as one that makes another of it"
                self.problems.append(Problem(target.line, text))
                return
        for index, group in enumerate(groups or [[]]):
            gives = self.flow(group, gives, target, references)
            if gives is None:
                return
            names = tuple(target.sources) if index == 0 else (target.name,)
            stage = self.stage(target, index, group, inputs, names, gives, opened, references)
            self.stages.append(stage)
            inputs, opened = (stage,), None
        self.ends[target.name] = self.stages[-1]

    def resolve(self, bound: Bound) -> dict[str, Stage | Model] | None:
        """What the names and URIs in the options are; None when one is not to be had."""
        found: dict[str, Stage | Model] = {}
        complete = True
        for call, step, references in bound.calls:
            for name, kind in references.items():
                try:
                    value = self.reference(name, kind, bound.target)
                except FactoryError as error:
                    self.problems.append(Problem(call.line, f"{step.name}: {error}"))
                    value = None
                if value is None:
                    complete = False
                    continue
                given = value.gives if isinstance(value, Stage) else type(value)
                if is_model(kind) != is_model(given) or (is_model(kind) and not issubclass(given, kind)):
                    text = f"{step.name} needs a {type_name(kind)}, but '{name}' is {_what(given)}"
                    self.problems.append(Problem(call.line, text))
                found[name] = value
            if _counts_money(call):
                self.problems += [
                    Problem(call.line_of("budget"), f"{step.name}: {unpriced(name)}")
                    for name in references
                    if name in found and is_model(references[name]) and _prices(found[name]) is None
                ]
        return found if complete else None

    def reference(self, name: str, kind: type, target: Target) -> Stage | Model | None:
        if is_name(name):
            return self.ends.get(name)
        if is_model(kind):
            model: Model = open_uri("model", name)
            return model
        return self.input(name, target.line, target)

    def check_sources(self, target: Target) -> None:
        """A target that cannot be planned still tells about its missing files."""
        for source, line in zip(target.sources, target.source_lines, strict=True):
            if not is_name(source):
                self.open(source, line)

    def open(self, uri: str, line: int) -> tuple[Source, tuple[Piece, ...]] | None:
        """A source and its pieces; mistakes are reported once for each line."""
        if uri not in self.sources:
            try:
                source: Source = open_uri("dataset", uri)
                declare_type(source.kind)
                pieces = tuple(self.forgotten.mark(piece) for piece in source.pieces())
            except FactoryError as error:
                self.problems.append(Problem(line, str(error)))
                return None
            self.sources[uri] = source, pieces
        return self.sources[uri]

    def input(self, source: str, line: int, target: Target) -> Stage | None:
        """The stage that a `from:` entry means; a URI is read by a stage of its own, shared by all who name it."""
        if is_name(source):
            return self.ends[source]
        first = target.calls and all_steps().get(target.calls[0].step)
        if first and first.kind is Kind.TRANSFORM:
            self.problems.append(Problem(line, f"{first.name} takes a model of this recipe; name a target"))
            return None
        if source not in self.reads:
            opened = self.open(source, line)
            if opened is None:
                return None
            read = Target(source, [source], [], line, (line,))
            self.reads[source] = self.stage(read, 0, [], (), (source,), opened[0].kind, opened, {})
            self.stages.append(self.reads[source])
        self.users.setdefault(source, set()).add(target.name)
        return self.reads[source]

    def common(self, inputs: tuple[Stage, ...], target: Target) -> Any:
        """The type that several inputs share: the one all others satisfy."""
        kinds = [stage.gives for stage in inputs]
        if len(kinds) == 1:
            return kinds[0]
        for kind in kinds:
            if not is_model(kind) and all(not is_model(other) and satisfies(other, kind) for other in kinds):
                return kind
        said = ", ".join(f"{n} ({type_name(k)})" for n, k in zip(target.sources, kinds, strict=True))
        self.problems.append(
            Problem(target.line, f"'{target.name}' is made from things that do not go together: {said}")
        )
        return None

    def flow(
        self, group: list[tuple[Call, Step]], gives: Any, target: Target, references: Mapping[str, Stage | Model]
    ) -> Any:
        """Check types through a group of steps; the type that comes out, or None after a mistake."""
        for call, step in group:
            if gives is None:
                return None
            fits = (
                is_model(gives) and issubclass(gives, step.takes)
                if step.kind is Kind.TRANSFORM
                else not is_model(gives) and satisfies(gives, step.takes)
            )
            if not fits:
                text = f"{step.name} takes {_what(step.takes)}, but what comes in is {_what(gives)}"
                self.problems.append(Problem(call.line, text))
                return None
            gives = step.turns(gives)
            if step.like is not None:
                base = references.get(call.options.get(step.like, ""))
                gives = None if base is None else _model_kind(base)  # a mistake that is told already
        return gives

    def stage(
        self, target: Target, index: int, group: list[tuple[Call, Step]], inputs: tuple[Stage, ...],
        names: tuple[str, ...], gives: Any, opened: tuple[Source, tuple[Piece, ...]] | None,
        references: Mapping[str, Stage | Model],
    ) -> Stage:  # fmt: skip
        mine = {name: references[name] for call, step in group for name in _names(call, step) if name in references}
        known_by = {name: _identity(value) for name, value in mine.items()}
        identity: list[Any] = [FORMAT, type_name(gives)]
        if len(names) > 1 and group and group[0][1].kind not in PER_SHARD:
            identity.append(list(names))  # `dataset.parts` has them: they may be labels
        for call, step in group:
            identity.append(_call_identity(call, step, known_by, self.recipe))
            if _counts_money(call):
                identity.append({name: _prices(value) for name, value in mine.items()})
        source, pieces = opened or (None, ())
        if source is not None:
            identity.append(code_hash(type(source)))  # how the rows are read
        upstream = [stage.fingerprint for stage in inputs]
        fingerprint = digest(
            [identity, upstream, [piece.identity for piece in pieces], self.limit if source else None], 10
        )
        return Stage(
            target.name, index, tuple(call for call, _ in group), inputs, names, gives, fingerprint, self.recipe,
            self.store, source, pieces, self.limit if source else None, mine, digest(identity),
        )  # fmt: skip


def _names(call: Call, step: Step) -> Iterator[str]:
    for option in step.references:
        yield from leaves(call.options.get(option))


def _identity(value: Stage | Model) -> str:
    return value.fingerprint if isinstance(value, Stage) else value.identity or value.uri


def _model_kind(value: Stage | Model) -> Any:
    """The kind of model that a reference is; how it is opened (in this process, over HTTP) is no kind."""
    given = value.gives if isinstance(value, Stage) else type(value)
    return next(kind for kind in given.__mro__ if MODEL_KINDS.get(kind.__name__) is kind)


def _counts_money(call: Call) -> bool:
    """Whether what a call does depends on what models cost."""
    budget = call.options.get("budget")
    return isinstance(budget, dict) and budget.get("max_cost") is not None


def _prices(value: Stage | Model) -> tuple[float, float] | None:
    return value.prices if isinstance(value, Model) else None


def _what(kind: Any) -> str:
    if is_model(kind):
        return f"a {type_name(kind)}"
    return "records of any type" if kind is Record else f"{type_name(kind)} records"


def _call_identity(call: Call, step: Step, known_by: dict[str, str], recipe: Recipe) -> list[Any]:
    """What the result of a call depends on besides its input."""
    options = dict(call.options)
    for option in step.references:
        options[option] = replace_names(options.get(option), known_by.get)
    named = {option: [project_path(name) for name in leaves(options.get(option))] for option in step.paths}
    files = {option: [hash_path(path) for path in paths if path.exists()] for option, paths in named.items()}
    drawn = recipe.seed if step.context else None
    threads = recipe.threads if step.kind in OWN_PROCESS or step.references else None
    return [step.name, options, step.version, code_hash(step.function), files, drawn, threads]


def _fuse(calls: list[tuple[Call, Step]]) -> list[list[tuple[Call, Step]]]:
    """Runs of per-shard steps become one stage; a global filter heads the run after it; all else stands alone."""
    groups: list[list[tuple[Call, Step]]] = []
    open_end = False
    for pair in calls:
        kind = pair[1].kind
        if kind in PER_SHARD and open_end:
            groups[-1].append(pair)
        else:
            groups.append([pair])
        open_end = kind not in ALONE
    return groups
