"""Write docs/steps.md, docs/cli.md and docs/hooks.md from the code, or with --check say which of them is stale.

Only what comes with the factory counts: neither entry points nor drop-in files of the machine are loaded.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType

import click

from factory import Step, hookspecs
from factory.cli import cli
from factory.commands.listing import option_rows
from factory.plugins import DEFAULT_PLUGINS

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
WIDTH = 100  # of the commands' help, whatever the terminal is
NOTE = "<!-- Written by docs/generate.py from the code; edit the code instead. -->\n"
HOOKS = """\
What a plugin may implement, each with `@factory.hookimpl`. An implementation asks only for the arguments it wants.
Of a hook marked *first result*, the first plugin that does not answer None is heard.

A plugin is a module with such functions: a file in the project's `plugins/` folder, an installed package with an
entry point in the group `factory`, or a room of the factory itself. Commands come from installed packages alone,
since a drop-in file is loaded only when the recipe is known."""


@cache
def pages() -> dict[str, str]:
    """File name → text of every generated page."""
    return {"steps.md": steps_page(), "cli.md": cli_page(), "hooks.md": hooks_page()}


@cache
def built_ins() -> tuple[ModuleType, ...]:
    return tuple(importlib.import_module(name) for name in DEFAULT_PLUGINS)


def steps_page() -> str:
    """Every built-in step by room: signature, kind, docstring, options."""
    lines = [NOTE, "# Steps", ""]
    rooms: dict[str, list[Step]] = {}
    for module in built_ins():
        brought = module.register_steps() if hasattr(module, "register_steps") else []
        if brought:
            rooms[module.__name__.rpartition(".")[2]] = sorted(brought, key=lambda step: step.name)
    lines += [
        "What a recipe can say without any plugin. `factory steps NAME` explains one step on the command line.",
        "",
    ]
    for room, steps in rooms.items():
        named = ", ".join(f"[{step.name}](#{step.name})" for step in steps)
        lines.append(f"- [{room}](#{room}): {named}")
    for room, steps in rooms.items():
        purpose = inspect.getdoc(importlib.import_module(f"factory.{room}")) or ""
        lines += ["", f"## {room}", "", purpose.split("\n")[0]]
        for step in steps:
            lines += ["", *_step(step)]
    return "\n".join(lines) + "\n"


def _step(step: Step) -> Iterator[str]:
    yield f"### {step.name}"
    yield ""
    yield f"`{step.signature}` · {step.kind.value}"
    yield ""
    yield "```text"
    yield step.doc
    yield "```"
    rows = option_rows(step)
    if rows:
        yield ""
        yield "| option | type | default |"
        yield "|---|---|---|"
        for name, kind, default in rows:
            yield f"| `{name}` | `{_cell(kind)}` | {'required' if default == 'required' else f'`{_cell(default)}`'} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def cli_page() -> str:
    """The help of every command, as `--help` prints it on a screen of WIDTH columns."""
    for module in built_ins():
        if hasattr(module, "register_commands"):
            module.register_commands(cli)
    root = cli.make_context("factory", [], resilient_parsing=True, terminal_width=WIDTH)
    lines = [NOTE, "# Commands", "", *_help(cli, root)]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        lines += ["", f"## factory {name}", ""]
        context = click.Context(command, info_name=name, parent=root, terminal_width=WIDTH)
        lines += _help(command, context)
        for part, within in command.commands.items() if isinstance(command, click.Group) else ():
            lines += ["", f"### factory {name} {part}", ""]
            lines += _help(within, click.Context(within, info_name=part, parent=context, terminal_width=WIDTH))
    return "\n".join(lines) + "\n"


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    yield "```text"
    yield "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield "```"


def hooks_page() -> str:
    """Every hook with its exact signature, its docstring and a file that uses it."""
    used = _users()
    lines = [NOTE, "# Hooks", "", "What a plugin may implement, each with `@factory.hookimpl`."]
    lines += [
        "An implementation asks only for the arguments it wants. Of a hook marked *first result*, the first plugin"
    ]
    lines += ["that does not answer None is heard.", ""]
    lines += [
        "A plugin is a module with such functions: a file in the project's `plugins/` folder, an installed package"
    ]
    lines += ["with an entry point in the group `factory`, or a room of the factory itself."]
    for hook in specified():
        marks = vars(getattr(hookspecs, hook.name))["factory_spec"]
        lines += ["", f"## {hook.name}", "", "```python", signature(hook), "```", ""]
        lines += [ast.get_docstring(hook) or ""]
        if marks["firstresult"]:
            lines += ["", "*First result.*"]
        lines += ["", f"Used by `{used[hook.name]}`."]
    return "\n".join(lines) + "\n"


def specified() -> list[ast.FunctionDef]:
    """The hooks of factory/hookspecs.py in the order they are written."""
    tree = ast.parse(Path(inspect.getfile(hookspecs)).read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and _marked(node, "hookspec")]


def signature(hook: ast.FunctionDef) -> str:
    """The definition as written, without its body."""
    return f"def {hook.name}({ast.unparse(hook.args)}) -> {ast.unparse(hook.returns) if hook.returns else 'None'}"


def _users() -> dict[str, str]:
    """Hook → the first file that implements it: the plugins that people copy, then the rooms, then what they load."""
    found: dict[str, str] = {}
    files = (sorted(ROOT.glob(where)) for where in ("plugins/**/*.py", "factory/*/__init__.py", "factory/*/*.py"))
    for path in chain.from_iterable(files):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and _marked(node, "hookimpl"):
                found.setdefault(node.name, path.relative_to(ROOT).as_posix())
    return found


def _marked(node: ast.FunctionDef, mark: str) -> bool:
    names = [ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in node.decorator_list]
    return any(name.rpartition(".")[2] == mark for name in names)


def main(arguments: list[str]) -> int:
    """Write the pages; with --check write nothing and return 1 when one of them is not what the code says."""
    stale = []
    for name, text in pages().items():
        path = DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(f"docs/{name}")
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    if stale and "--check" in arguments:
        print(f"stale, since the code has changed: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
