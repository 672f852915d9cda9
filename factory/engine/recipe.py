"""A recipe: named targets, each a list of steps over what it is made from. Read with line numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, Problem, RecipeError, did_you_mean

ROOT_KEYS = {"name": str, "description": str, "seed": int, "threads": int, "evaluation": list, "targets": dict}
TARGET_KEYS = ("from", "steps", "description", "license")
NAME = re.compile(r"[a-z][a-z0-9_]*")
FOLDER_NAME = re.compile(r"\w[\w .-]*")


@dataclass(frozen=True)
class Call:
    """One line of a recipe: a step's name and its options. Picklable, so workers get this."""

    step: str
    options: dict[str, Any]
    line: int = field(default=0, compare=False)
    lines: dict[str, int] = field(default_factory=dict, compare=False)  # option -> line

    def line_of(self, option: str) -> int:
        return self.lines.get(option, self.line)


@dataclass(frozen=True)
class Target:
    """A name, what it is made from and the steps that make it."""

    name: str
    sources: list[str]
    calls: list[Call]
    line: int = 0
    source_lines: tuple[int, ...] = ()
    license: str = ""  # of what it is made from, for dataset cards; an SPDX identifier where there is one


@dataclass(frozen=True)
class Recipe:
    """A recipe as written. `problems` are the mistakes that reading alone can find."""

    name: str
    path: Path
    targets: dict[str, Target]
    seed: int = 0
    threads: int = 2
    evaluation: tuple[tuple[str, int], ...] = ()  # sets that no made record may be like, and their lines
    problems: tuple[Problem, ...] = ()


def is_name(reference: str) -> bool:
    """A bare lower_case word refers to a target; anything else is a URI that a plugin opens."""
    return NAME.fullmatch(reference) is not None


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file. Mistakes are collected in `problems`; only a file that is no YAML mapping raises.

    overrides  `target.step.option=value` settings from the command line
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise InputError(f"there is no recipe '{path}'; {did_you_mean(path.name, near)}") from None
    except IsADirectoryError:
        raise InputError(f"'{path}' is a folder; name the recipe file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe '{path}' cannot be read: {error}") from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        if "'\\t'" in said:
            said = "this line is indented with a tab; YAML wants spaces"
        raise RecipeError([(mark.line + 1 if mark else 1, f"this is not YAML: {said}")], str(path)) from None
    except yaml.YAMLError as error:
        raise RecipeError([(1, f"this is not YAML: {error}")], str(path)) from None
    problems: list[Problem] = []
    lines: dict[tuple[Any, ...], int] = {}
    try:
        data = _plain(root, (), lines, problems) if root is not None else None
    except RecursionError:
        raise RecipeError([(1, "this is not YAML: an alias stands inside what it is an alias of")], str(path)) from None
    if not isinstance(data, dict) or not isinstance(data.get("targets"), dict) or not data["targets"]:
        problems.append(Problem(1, "a recipe needs 'targets:', a mapping of names to what is made"))
        raise RecipeError(problems, str(path))
    recipe = _shape(path, data, lines, problems)
    for override in overrides:
        recipe = set_option(recipe, override)
    return replace(recipe, problems=tuple(problems))


def _shape(path: Path, data: dict[str, Any], lines: dict[tuple[Any, ...], int], problems: list[Problem]) -> Recipe:
    """Plain values to a Recipe, complaining about what has the wrong form."""
    for key, value in data.items():
        if key not in ROOT_KEYS:
            problems.append(
                Problem(lines[(key,)], f"unknown key '{key}' in the recipe; {did_you_mean(key, ROOT_KEYS)}")
            )
        elif not isinstance(value, ROOT_KEYS[key]) or isinstance(value, bool):
            problems.append(Problem(lines[(key,)], f"'{key}' must be {_article(ROOT_KEYS[key])}, not {value!r}"))
    name = data.get("name", path.stem)
    if isinstance(name, str) and not FOLDER_NAME.fullmatch(name):
        text = f"'{name}' cannot name the folder of the results; use letters, digits, '-' and '_'"
        problems.append(Problem(lines.get(("name",), 1), text))
    targets = {}
    for name, spec in data["targets"].items():
        if not is_name(name):
            problems.append(Problem(lines[("targets", name)], f"'{name}' is no target name; use lower_case words"))
        target = _target(name, spec, lines, problems)
        if target is not None:
            targets[name] = target

    def good(key: str, default: Any) -> Any:
        value = data.get(key, default)
        return value if isinstance(value, ROOT_KEYS[key]) else default

    sets = []
    for index, name in enumerate(good("evaluation", [])):
        line = lines[("evaluation", index)]
        if isinstance(name, str):
            sets.append((name, line))
        else:
            problems.append(Problem(line, f"an evaluation set is a target or a URI, not {name!r}"))
    return Recipe(good("name", path.stem), path, targets, good("seed", 0), good("threads", 2), tuple(sets))


def _article(kind: type) -> str:
    return {str: "text", int: "a whole number", dict: "a mapping", list: "a list"}[kind]


def _target(name: str, spec: Any, lines: dict[tuple[Any, ...], int], problems: list[Problem]) -> Target | None:
    at = ("targets", name)
    if not isinstance(spec, dict):
        problems.append(Problem(lines[at], f"target '{name}' needs 'from:' and 'steps:', not {spec!r}"))
        return None
    for key in spec:
        if key not in TARGET_KEYS:
            text = f"unknown key '{key}' in target '{name}'; {did_you_mean(key, TARGET_KEYS)}"
            problems.append(Problem(lines[(*at, key)], text))
    sources = spec.get("from")
    if sources is None:
        problems.append(Problem(lines[at], f"target '{name}' does not say what it is made 'from:'"))
    sources = sources if isinstance(sources, list) else [sources]
    places = [lines.get((*at, "from", i), lines.get((*at, "from"), lines[at])) for i in range(len(sources))]
    for source, line in zip(sources, places, strict=True):
        if source is not None and not isinstance(source, str):
            problems.append(Problem(line, f"target '{name}' is made from names or URIs, not {source!r}"))
    named = [(s, line) for s, line in zip(sources, places, strict=True) if isinstance(s, str)]
    calls = []
    steps = spec.get("steps") or []
    if not isinstance(steps, list):
        problems.append(Problem(lines[(*at, "steps")], f"the steps of '{name}' are a list, one '- step' a line"))
        steps = []
    for index, item in enumerate(steps):
        call = _call(item, (*at, "steps", index), lines)
        if call is None:
            text = f"a step is a name, or a name with options ('- dedup_minhash: {{threshold: 0.8}}'), not {item!r}"
            problems.append(Problem(lines[(*at, "steps", index)], text))
        else:
            calls.append(call)
    license = spec.get("license", "")
    if not isinstance(license, str):
        text = f"the license of '{name}' is a name such as cc-by-4.0, not {license!r}"
        problems.append(Problem(lines[(*at, "license")], text))
        license = ""
    return Target(name, [s for s, _ in named], calls, lines[at], tuple(line for _, line in named), license)


def read_call(text: str, problems: list[Problem]) -> Call:
    """A step as a line of a recipe has it, "name" or "name: {option: value}". Raises InputError when it is none."""
    lines: dict[tuple[Any, ...], int] = {}
    value = _value(
        text, f"'{text}' is not YAML; write a step as a recipe does: 'name: {{option: value}}'", lines, problems
    )
    call = None if value is None else _call(value, (), lines)
    if call is None:
        raise InputError(f"'{text}' is no step; write it as a recipe does: 'name' or 'name: {{option: value}}'")
    return call


def _value(text: str, wrong: str, lines: dict[tuple[Any, ...], int], problems: list[Problem]) -> Any:
    """A value written as in a recipe. Raises InputError, saying `wrong`, when it is not YAML."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        return None if node is None else _plain(node, (), lines, problems)
    except (yaml.YAMLError, RecursionError):
        raise InputError(wrong) from None


def _call(item: Any, at: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> Call | None:
    if isinstance(item, str):
        return Call(item, {}, lines[at])
    if isinstance(item, dict) and len(item) == 1:
        name, options = next(iter(item.items()))
        if isinstance(options, dict | None):
            named = {option: lines[(*at, name, option)] for option in options or {}}
            return Call(name, options or {}, lines[(*at, name)], named)
    return None


def _plain(node: Any, at: tuple[Any, ...], lines: dict[tuple[Any, ...], int], problems: list[Problem]) -> Any:
    """YAML nodes to Python values, remembering each value's line and refusing repeated keys."""
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in result:
                first = lines[(*at, key)]
                problems.append(Problem(line, f"'{key}' is given twice, first on line {first}; keep one"))
                continue
            lines[(*at, key)] = line
            result[key] = _plain(value_node, (*at, key), lines, problems)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*at, i), lines, problems) for i, child in enumerate(node.value)]
    return _scalar(node.value) if node.style is None else node.value


SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"|~|null"), lambda text: None),
    (re.compile(r"true|false"), lambda text: text == "true"),
    (re.compile(r"[-+]?[0-9][0-9_]*"), lambda text: int(text.replace("_", ""))),
    (re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|nan)"), lambda text: float(text.replace(".", "", 1))),
)


def _scalar(text: str) -> Any:
    """A plain scalar by YAML 1.2's core rules: `no` is a word (Norwegian), `1e-4` is a number."""
    for pattern, read in SCALARS:
        if pattern.fullmatch(text):
            return read(text)
    return text


def set_option(recipe: Recipe, override: str) -> Recipe:
    """The recipe with one option set: `target.step.option=value`, the value written as in the recipe.

    Raises InputError naming the part that does not exist.
    """
    path, equals, text = override.partition("=")
    parts = path.split(".")
    if not equals or len(parts) < 3:
        raise InputError(f"--set {override}: expected target.step.option=value")
    target_name, step, option, *inner = parts
    if target_name not in recipe.targets:
        raise InputError(f"--set {override}: no target '{target_name}'; {did_you_mean(target_name, recipe.targets)}")
    target = recipe.targets[target_name]
    steps = [call.step for call in target.calls]
    if step not in steps:
        raise InputError(f"--set {override}: '{target_name}' has no step '{step}'; {did_you_mean(step, steps)}")
    problems: list[Problem] = []
    value = _value(text, f"--set {override}: the value is not YAML", {}, problems)
    if problems:
        raise InputError(f"--set {override}: {problems[0].text}")
    calls = [call if call.step != step else _with(call, [option, *inner], value) for call in target.calls]
    return replace(recipe, targets={**recipe.targets, target_name: replace(target, calls=calls)})


def _with(call: Call, path: list[str], value: Any) -> Call:
    def put(options: Any, keys: list[str]) -> Any:
        if not keys:
            return value
        below = options if isinstance(options, dict) else {}
        return {**below, keys[0]: put(below.get(keys[0]), keys[1:])}

    return replace(call, options=put(call.options, path))
