"""The `factory` command: click commands, each loaded when it is used. The only code that prints or exits."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from . import __version__
from .errors import FactoryError, did_you_mean

INTERRUPTED = 130

# command -> (module in factory.commands, its one line of help); the command itself is the function of that name
COMMANDS = {
    "build": ("building", "Bring the targets of a recipe up to date."),
    "plan": ("building", "Show what is stored, what resumes, what runs, and how many model calls that means."),
    "show": ("looking", "Show a sample of a target and its funnel: in, kept, dropped by reason."),
    "trace": ("looking", "Trace a record back to the file and line it came from."),
    "answers": ("answers", "Write the answers of models that a target was made with, to be replayed in tests."),
    "fit": ("fit", "Say whether the training stages of a recipe fit into a memory, and with what batches."),
    "rules": ("rules", "Show how many records two settings of a rule decide differently."),
    "steps": ("listing", "List the steps a recipe can use, or explain one."),
    "plugins": ("listing", "List the plugins that are loaded and what each brings."),
    "seeds": ("seeds", "Check a set of seed tasks: mistakes, near-duplicates, what it covers."),
    "doctor": ("doctor", "Tell what this machine has and lacks, and whether training is correct on it."),
    "chat": ("chat", "Talk to a model that was built, or to any other."),
    "export": ("copying", "Write a dataset to a file, a model to a folder, or both for another trainer."),
    "new": ("copying", "Copy a recipe that comes with the factory, with its seed tasks."),
    "forget": ("removing", "Remove a source record and everything that was made from it."),
    "gc": ("removing", "Remove from the store what no recipe of this project reaches."),
}


class Commands(click.Group):
    """A group that imports a command's module only when the command runs, and draws errors as sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(set(super().list_commands(ctx)) - set(COMMANDS))]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return super().get_command(ctx, name)
        module = import_module(f".commands.{COMMANDS[name][0]}", __package__)
        return getattr(module, name)  # type: ignore[no-any-return]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            raise click.UsageError(f"no command '{name}'; {did_you_mean(name, self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, help_line) for name, (_, help_line) in COMMANDS.items()]
        rows += [(name, self.commands[name].get_short_help_str(80)) for name in sorted(self.commands)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="factory")
@click.option(
    "--store", type=click.Path(path_type=Path), help="Keep artifacts here instead of .factory/ in the project."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, store: Path | None, debug: bool) -> None:
    """From a pile of documents to a tuned language model: one recipe, one command.

    Exit codes: 0 done, 1 a step failed, 2 you can mend it, 3 something is pending, 130 interrupted.
    """
    ctx.obj = store
    logging.basicConfig(format="factory: %(message)s", level=logging.WARNING, stream=sys.stderr)


def main() -> None:
    """Run the command line; errors a user can act on become one sentence each and an exit code."""
    from .plugins import load_plugins, pm

    debug = "--debug" in sys.argv
    try:
        load_plugins()
        pm.hook.register_commands(cli=cli)
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except FactoryError as error:
        if debug:
            raise
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; what is finished is stored, and the same command goes on from there", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
