"""The plugin manager, and the lookups that are made through it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from . import hookspecs
from .errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from .engine.step import Step

DEFAULT_PLUGINS = (
    "factory.corpus",
    "factory.models",
    "factory.instruct",
    "factory.preference",
    "factory.vocabulary",
    "factory.train",
    "factory.evaluate",
    "factory.backends",
    "factory.report",
)

FORMS = {
    "dataset": "built in are files, hf:owner/name, python:stdlib, and the targets of the recipe",
    "model": "built in are openai:NAME (a server), owner/name (the hub), ./folder, bundled:smollm2, and targets",
    "executor": "built in are serial, local:N and ray:ADDRESS",
}
DROP_IN = "factory_plugins."  # + a drop-in file's stem: the name of its module

pm = pluggy.PluginManager("factory")
pm.add_hookspecs(hookspecs)


def load_plugins(folder: Path | None = None) -> None:
    """Register the built-in plugins, the installed ones, then every `*.py` in `folder`. Safe to call again."""
    if not pm.has_plugin(DEFAULT_PLUGINS[0]):
        for name in DEFAULT_PLUGINS:
            pm.register(importlib.import_module(name), name)
        pm.load_setuptools_entrypoints("factory")
        all_steps.cache_clear()
    for path in drop_ins(folder):
        load_file(path)


def drop_ins(folder: Path | None) -> list[Path]:
    """The drop-in files of a folder, by absolute path, so driver and workers agree on their names."""
    if folder is None or not folder.is_dir():
        return []
    return [path for path in sorted(folder.resolve().glob("*.py")) if not path.name.startswith("_")]


def load_file(path: Path) -> None:
    """Register one drop-in file, unless it is registered already.

    Its source is kept in the module: what runs, and what fingerprints are made of, is what was read here.
    """
    name = f"{DROP_IN}{path.stem}"
    if (known := sys.modules.get(name)) is not None:
        if known.__file__ == str(path):
            return
        _unload(known)  # the same file name in another project
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # Classes of a drop-in file travel to workers by name, and pickle imports what stands before the dot.
    sys.modules.setdefault(DROP_IN.rstrip("."), ModuleType(DROP_IN.rstrip(".")))
    sys.modules[name] = module
    try:
        module.__dict__["__source__"] = source = path.read_bytes()
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        pm.register(module, str(path))
        for hook in pm.get_hookcallers(module) or []:
            if not hook.has_spec():
                known_hooks = [name for name in vars(hookspecs) if hasattr(getattr(pm.hook, name, None), "spec")]
                raise PluginError(f"there is no hook '{hook.name}'; {did_you_mean(hook.name, known_hooks)}")
    except Exception as error:
        _unload(module)
        where = path if isinstance(error, PluginError) else f"{path}:{_line_in(path, error)}"
        said = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        raise PluginError(f"{where}: {said}") from error
    all_steps.cache_clear()


def unload_files(folder: Path | None = None) -> None:
    """Unregister the drop-in files that are not in `folder`, and those that were edited since they were loaded."""
    there = {str(path): path for path in drop_ins(folder)}
    for module in [module for name, module in sys.modules.items() if name.startswith(DROP_IN)]:
        path = there.get(str(module.__file__))
        if path is None or path.read_bytes() != module.__dict__.get("__source__"):
            _unload(module)


def _unload(module: ModuleType) -> None:
    if pm.is_registered(module):
        pm.unregister(module)
    sys.modules.pop(module.__name__, None)
    all_steps.cache_clear()


def _line_in(path: Path, error: Exception) -> int:
    """The last line of `path` that the traceback passes, or a syntax error's own."""
    if isinstance(error, SyntaxError):
        return error.lineno or 1
    line, at = 1, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == str(path):
            line = at.tb_lineno
        at = at.tb_next
    return line


def plugin_of(module: ModuleType | Any) -> str:
    """A registered plugin's name as people know it."""
    return pm.get_name(module) or repr(module)


def registered() -> list[tuple[str, list[Step]]]:
    """(plugin, its steps) in order of registration."""
    found = []
    for module in pm.get_plugins():
        bring = getattr(module, "register_steps", None)
        try:
            found.append((plugin_of(module), list(bring()) if bring else []))
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise PluginError(f"plugin {plugin_of(module)}: register_steps failed: {said}") from error
    return sorted(found)


@cache
def all_steps() -> Mapping[str, Step]:
    """Every step a recipe can name. Raises PluginError naming both plugins when two register one name."""
    from .engine.step import Step

    found: dict[str, Step] = {}
    owners: dict[str, str] = {}
    for plugin, steps in registered():
        for step in steps:
            if not isinstance(step, Step):
                raise PluginError(f"plugin {plugin}: register_steps returned {step!r}; decorate it with @factory.step")
            if step.name in found and owners[step.name] == plugin:
                raise PluginError(f"plugin {plugin} registers two steps named '{step.name}'")
            if owners.setdefault(step.name, plugin) != plugin:
                raise PluginError(f"two plugins register a step named '{step.name}': {owners[step.name]} and {plugin}")
            found[step.name] = step
    return MappingProxyType(found)


def get_step(name: str) -> Step:
    steps = all_steps()
    if name not in steps:
        raise PluginError(f"no step named '{name}'; {did_you_mean(name, steps)}")
    return steps[name]


def open_uri(kind: str, uri: str) -> Any:
    """What a URI means to the first plugin that knows: kind is dataset, model or executor.

    Raises PluginError when no plugin does.
    """
    opened = getattr(pm.hook, f"open_{kind}")(uri=uri)
    if opened is None:
        raise PluginError(f"no plugin opens the {kind} '{uri}'; {FORMS[kind]}")
    return opened
