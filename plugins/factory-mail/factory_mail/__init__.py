"""Mail archives for the dataset factory: a source, a filter and a command, each through a hook of its own."""

from __future__ import annotations

import click

import factory


@factory.hookimpl
def open_dataset(uri: str) -> factory.Source | None:
    """`mbox:archive.mbox`, `mbox:lists/*.mbox.gz`, `maildir:inbox`, each also with `?quotes=keep&addresses=keep`."""
    from .archives import open_mail

    return open_mail(uri)


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from .automatic import no_automatic_mail

    return [no_automatic_mail]


@factory.hookimpl
def register_commands(cli: click.Group) -> None:
    from .looking import mail

    cli.add_command(mail)
