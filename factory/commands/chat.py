"""`factory chat`: a conversation with a model that was built, or with any other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..engine.build import complete, load_project
from ..engine.model import Answer, CausalLM, Model, Request
from ..engine.project import project_root
from ..engine.records import Message
from ..engine.stage import opened
from ..errors import FactoryError, InputError, did_you_mean
from ..plugins import open_uri
from .planning import limit_option, planned, set_option

PROMPT = "> "
SLASHED = ("/reset", "/system", "/exit")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="[RECIPE] TARGET")
@click.option("--system", default="", metavar="TEXT", help="What the system says first.")
@click.option("--temperature", type=click.FloatRange(0), default=0.7, show_default=True, help="0: the likeliest token.")
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="The most of an answer.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what a model in this process draws.")
@limit_option
@set_option
@click.pass_obj
def chat(
    store: Path | None,
    names: tuple[str, ...],
    system: str,
    temperature: float,
    max_tokens: int,
    seed: int,
    limit: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Talk to TARGET of RECIPE; without RECIPE, to a target that is built in this project, or to a model by its URI.

    /reset begins anew, /system TEXT begins anew with another message of the system, /exit or Ctrl-D ends. Where the
    input is no terminal, each line is a turn and answers alone are printed.
    """
    model = _model(store, names, limit, overrides)
    if not isinstance(model, CausalLM):
        raise InputError(f"{model.uri} is a {type(model).__name__} and does not answer; name a language model")
    session = model.open(os.cpu_count() or 2)
    try:
        talk(session, _lines(sys.stdin.isatty()), system, Request([], seed, temperature, max_tokens=max_tokens))
    finally:
        session.close()


def talk(session: Any, lines: Iterator[str], system: str, asked: Request) -> None:
    """Answer line after line, with all that was said before. What fails is told, and forgotten."""
    history = _begin(system)
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "/exit":
            return
        if word in ("/reset", "/system"):
            system = rest.strip() if word == "/system" else system
            history = _begin(system)
        elif word.startswith("/"):
            click.echo(f"{word}: {did_you_mean(word, SLASHED)}", err=True)
        elif word:
            turn: list[Message] = [*history, {"role": "user", "content": line.strip()}]
            answer = _answered(session, replace(asked, messages=turn))
            if not answer.ok:
                hint = "; /reset begins anew" if answer.error.startswith("prompt too long") else ""
                click.echo(f"no answer: {answer.error}{hint}", err=True)
                continue
            history = [*turn, {"role": "assistant", "content": answer.text}]


def _answered(session: Any, request: Request) -> Answer:
    """The answer, printed while it comes where the session can tell."""
    stream = getattr(session, "stream", None)
    answers = stream(request) if stream else iter(session.submit([request]).result())
    shown, answer = "", Answer()
    for answer in answers:
        if answer.text.startswith(shown):
            click.echo(answer.text[len(shown) :], nl=False)
            shown = answer.text
    if answer.ok:
        click.echo()
    return answer


def _begin(system: str) -> list[Message]:
    return [{"role": "system", "content": system}] if system else []


def _lines(terminal: bool) -> Iterator[str]:
    """What is typed, until the end of the input."""
    if not terminal:
        yield from sys.stdin
        return
    import readline  # noqa: F401  (arrow keys and history for input())

    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            click.echo()
            return


def _model(store: Path | None, names: tuple[str, ...], limit: int | None, overrides: tuple[str, ...]) -> Model:
    if len(names) > 2:
        raise InputError(f"one TARGET after its RECIPE, not {len(names) - 1}: {' '.join(names[1:])}")
    if len(names) == 2:
        recipe, target = names
        found = opened(complete(planned(store, Path(recipe), (), limit, overrides), target))
        if not isinstance(found, Model):
            raise InputError(f"'{target}' is no model but records; `factory show` prints them")
        return found
    load_project(Path("recipe.yaml").resolve(), store)  # of this folder; the recipe itself is not read
    (name,) = names
    built = sorted(project_root().glob(f"build/*/{name}/model")) if "/" not in name and ":" not in name else []
    if len(built) > 1:
        recipes = ", ".join(path.parts[-3] for path in built)
        raise InputError(f"several recipes have built '{name}': {recipes}; name the recipe, too")
    try:
        model: Model = open_uri("model", str(built[0]) if built else name)
    except FactoryError as error:
        raise InputError(f"no target '{name}' is built in this project, and as a model: {error}") from error
    return model
