"""`factory label`: people compare the answers of a target on a page that this machine serves."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from factory.errors import InputError

from .security import is_loopback

if TYPE_CHECKING:
    from factory import Dataset

    from .store import Labels

LARGEST_GUIDELINES = 1 << 20  # bytes
LONGEST_TITLE = 200
SETTINGS = ("mode", "pairs", "overlap", "gold_share", "repeat_share")

share = click.FloatRange(0, 1, max_open=True)


@click.command(short_help="Serve a page where people compare the answers of a target.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("target")
@click.option(
    "--annotator",
    "annotators",
    multiple=True,
    metavar="NAME",
    help="Who votes, once for each; by default everyone who has a link already, at first you.",
)
@click.option("--mode", type=click.Choice(["pair", "rank"]), help="Two answers at a time, or all of them ranked.")
@click.option("--pairs", type=click.Choice(["all", "best"]), help="All pairs of K answers, or the K-1 worth most.")
@click.option("--overlap", type=click.IntRange(1), metavar="N", help="How many people see each item.")
@click.option("--gold-share", type=share, metavar="SHARE", help="Share of items whose verdict is known (meta.gold).")
@click.option("--repeat-share", type=share, metavar="SHARE", help="Share of items that a person sees a second time.")
@click.option("--guidelines", type=click.Path(path_type=Path), help="A Markdown file that the page can show.")
@click.option("--title", help="What the page is called; by default the target.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; beyond loopback only if told.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 is any that is free.")
@click.option("--public", metavar="URL", default="", help="The address a proxy before it has; links begin with it.")
@click.option("--keep-links", is_flag=True, help="Leave links of earlier starts as they are; make only missing ones.")
@click.option("--sign-out", is_flag=True, help="Open pages need a new link.")
@click.option("--export", "exported", type=click.Path(path_type=Path), help="Write the votes to a file, and end.")
@click.option("--import", "imported", type=click.Path(path_type=Path), help="Read votes from a file, and end.")
@click.option("--no-open", is_flag=True, help="Open no browser.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The target as it was built with --limit.")
@click.option("--set", "overrides", multiple=True, metavar="TARGET.STEP.OPTION=VALUE", help="As it was built with it.")
@click.pass_obj
def label(
    store: Path | None,
    /,
    recipe: Path,
    target: str,
    annotators: tuple[str, ...],
    exported: Path | None,
    imported: Path | None,
    limit: int | None,
    overrides: tuple[str, ...],
    **options: Any,
) -> None:
    """Serve a page where people compare the answers of TARGET of RECIPE; votes lie in labels/TARGET.

    TARGET must be built: nothing is asked of a model here. Each person gets a link of their own, and nothing is shown
    without one. Links are made anew at each start and older ones end; a page that is open goes on. Votes are kept by
    prompt and answers, so building the target again loses none. `from: label:TARGET`, or a step
    `rank: {votes: label:TARGET}`, makes a dataset of them. Ctrl-C ends the page.

    With --export or --import (.json Label Studio, .jsonl Argilla, .csv) votes are moved and nothing is served. --mode,
    --pairs, --overlap, --gold-share and --repeat-share hold until they are told otherwise.
    """
    from factory import project_root

    from .items import items_of
    from .store import Labels

    records = _candidates(recipe, target, store, limit, overrides, unbuilt=exported is not None)
    changes = {name: options[name] for name in SETTINGS if options[name] is not None}
    with Labels.open(project_root() / "labels" / target) as labels:
        try:
            labels.configure(**changes)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if records is not None:
            labels.fill(items_of(records))
        if exported or imported:
            _move(labels, exported, imported)
            return
        if not labels.progress("")["total"]:
            raise InputError(f"'{target}' has no record with two answers to compare")
        _serve(labels, target, records or (), _names(labels, annotators), options)
    click.echo(f"\nThe votes are kept in labels/{target}; factory build {recipe} takes them in.")


def _candidates(
    recipe: Path, target: str, store: Path | None, limit: int | None, overrides: tuple[str, ...], unbuilt: bool
) -> Dataset[Any] | None:
    """The records of the target; None where it is not built, votes of it are there, and nothing else is needed."""
    from factory import Dataset, project_root, stored

    try:
        found = stored(recipe, target, limit=limit, overrides=overrides, store=store)
    except InputError:
        if unbuilt and (project_root() / "labels" / target / "labels.sqlite").exists():
            return None
        raise
    kind = found.kind.__name__ if isinstance(found, Dataset) else type(found).__name__
    if not isinstance(found, Dataset) or kind != "Candidates":
        raise InputError(f"'{target}' gives {kind}; people compare Candidates, several answers to a prompt")
    return found


def _move(labels: Labels, exported: Path | None, imported: Path | None) -> None:
    from .exchange import export_votes, import_votes

    if imported:
        click.echo(f"{_votes(import_votes(labels, imported))} read from {imported}")
    if exported:
        click.echo(f"{_votes(export_votes(labels, exported))} written to {exported}")


def _votes(count: int) -> str:
    return f"{count:,} vote{'' if count == 1 else 's'}"


def _names(labels: Labels, asked: tuple[str, ...]) -> list[str]:
    """Those named; else those who have been invited before; else whoever is at the keyboard."""
    from getpass import getuser

    if asked or (asked := tuple(labels.annotators())):
        return list(dict.fromkeys(asked))
    try:
        return [getuser()]
    except (KeyError, OSError):  # no login, as in a container
        return ["me"]


def _serve(labels: Labels, target: str, records: Iterable[Any], names: list[str], options: dict[str, Any]) -> None:
    """Until Ctrl-C."""
    import asyncio

    from ..comparisons import item_key
    from .api import Desk
    from .findings import findings
    from .security import Hosts, Sessions, unsafe
    from .server import application, running

    host, public = options["host"], options["public"].rstrip("/")
    if public and not re.fullmatch(r"https?://[^/?#\s]+", public):
        raise click.UsageError(f"--public is an address such as https://labels.example.org, not '{public}'")
    hosts, sessions = Hosts(host, public), Sessions(labels.folder)
    if options["sign_out"]:
        sessions.end_all()
    judged = {
        item_key(record["prompt"], record["completions"]): [one for one in said if not one.get("person")]
        for record in records
        if (said := record["meta"].get("comparisons"))
    }
    title = (options["title"] or target)[:LONGEST_TITLE]
    desk = Desk(labels, title, _guidelines(options["guidelines"]), findings(labels, title, judged))
    app = application(desk, sessions, hosts)

    async def serve() -> None:
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, ValueError):  # Windows; a thread that is not the main one
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
        async with running(app, host, options["port"]) as port:
            links = _links(labels, names, options["keep_links"], public or f"http://{_reached(host)}:{port}")
            _announce(labels, target, links, public or f"http://{_reached(host)}:{port}", unsafe(hosts))
            with _opened(links, options["no_open"] or not is_loopback(host)):
                await ended.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


def _links(labels: Labels, names: list[str], keep: bool, base: str) -> dict[str, str]:
    """Each annotator's link; "" where an earlier one stays, of which only a hash is known here."""
    known = set(labels.annotators()) if keep else set()
    try:
        return {name: "" if name in known else f"{base}/?token={labels.invite(name)}" for name in names}
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _announce(labels: Labels, target: str, links: dict[str, str], base: str, warnings: Iterable[str]) -> None:
    progress, settings = labels.progress(""), labels.settings
    people = "person" if settings.overlap == 1 else "people"
    click.echo(
        f"{target}: {progress['missing']:,} of {progress['total']:,} votes missing, "
        f"each {'ranking' if settings.mode == 'rank' else 'pair'} by {settings.overlap} {people}\n"
    )
    width = max(map(len, links))
    for name, link in links.items():
        click.echo(f"{name:{width}}  {link or f'the link of before, at {base}'}")
    for sentence in warnings:
        click.echo(f"\nwarning: {sentence}", err=True)
    click.echo("\nA link is personal: who has it votes in that name. Ctrl-C ends the page.")


def _guidelines(path: Path | None) -> str:
    from .rendering import render

    if path is None:
        return ""
    try:
        return render(path.read_bytes()[:LARGEST_GUIDELINES].decode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"the guidelines {path} cannot be read: {error.strerror}") from None


def _reached(host: str) -> str:
    """The address in a link: of a server that listens everywhere, the one by which this machine is known outside."""
    if host not in ("0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # kept for documentation (RFC 5737); connecting a UDP socket sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


@contextlib.contextmanager
def _opened(links: dict[str, str], not_wanted: bool) -> Iterator[None]:
    """A browser with the only annotator's page.

    By way of a file that only its owner can read: a link on a command line would be seen by every user of the machine.
    """
    import tempfile
    import webbrowser

    link = next(iter(links.values()))
    if not_wanted or len(links) > 1 or not link or not sys.stdout.isatty() or not _has_screen():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="factory-label-") as folder:  # mode 700
        page = Path(folder) / "open.html"
        page.write_text(
            f'<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0;url={escape(link)}"><a href="{escape(link)}">Label</a>'
        )
        webbrowser.open(page.as_uri())
        yield


def _has_screen() -> bool:
    """Whether a browser would come up in a window, and not inside this terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
