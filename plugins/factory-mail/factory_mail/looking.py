"""`factory mail URI`: a look into an archive before a recipe is written about it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from factory import Drop, InputError

from .archives import open_mail


@click.command()
@click.argument("uri")
@click.option("-n", "count", default=2, show_default=True, help="How many messages to show.")
def mail(uri: str, count: int) -> None:
    """Show what the archive URI (mbox:PATH or maildir:PATH) holds: how many messages can be read, and the first few."""
    if uri.partition(":")[0] not in ("mbox", "maildir"):
        uri = f"{'maildir' if Path(uri).is_dir() else 'mbox'}:{uri}"
    source = open_mail(uri)
    if source is None:
        raise InputError(f"'{uri}' is no mail archive; expected mbox:PATH or maildir:PATH")
    reasons: Counter[str] = Counter()
    read = 0
    for place, row in (row for piece in source.pieces() for row in source.rows(piece)):
        if isinstance(row, Drop):
            reasons[row.reason] += 1
            continue
        read += 1
        if read <= count:
            click.echo(f"{place}  {row['meta'].get('date', '')}  {row['meta'].get('subject', '')}")
            click.echo("".join(f"  {line}\n" for line in row["text"].splitlines()[:12]))
    lost = "".join(f", {number:,} {reason}" for reason, number in reasons.most_common())
    click.echo(f"{read:,} messages can be read{lost}")
