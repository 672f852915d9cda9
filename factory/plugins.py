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
    "factory.train",
    "factory.evaluate",
    "factory.backends",
    "factory.report",
)

pm = pluggy.PluginManager("factory")
pm.add_hookspecs(hookspecs)


def load_plugins(folder: Path | None = None) -> None:
    """Register the built-in plugins, the installed ones, then every `*.py` in `folder`. Safe to call again."""
    if not pm.has_plugin(DEFAULT_PLUGINS[0]):
        for name in DEFAULT_PLUGINS:
            pm.register(importlib.import_module(name), name)
        pm.load_setuptools_entrypoints("factory")
        all_steps.cache_clear()
    if folder is not None and folder.is_dir():
        for path in sorted(folder.resolve().glob("*.py")):
            if not path.name.startswith("_"):
                load_file(path)


def load_file(path: Path) -> None:
    """Register one drop-in file; the absolute path names it, so driver and workers agree."""
    name = f"factory_plugins.{path.stem}"
    if (known := sys.modules.get(name)) is not None:
        if known.__file__ == str(path):
            return
        pm.unregister(known)  # the same file name in another project
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        pm.register(module, str(path))
        all_steps.cache_clear()
    except PluginError as error:
        del sys.modules[name]
        raise PluginError(f"{path}: {error}") from error
    except Exception as error:
        del sys.modules[name]
        line = _line_in(path, error)
        raise PluginError(f"{path}:{line}: {type(error).__name__}: {error}") from error


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
        raise PluginError(f"no plugin opens the {kind} '{uri}'")
    return opened
