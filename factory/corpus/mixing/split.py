"""Parts of a dataset that a record never moves between."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

import factory
from factory import Drop, InputError, Record, digest, texts
from factory.errors import did_you_mean

from ..dedup.duplicates import folded

Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@factory.step(judges=False)
def split(
    record: Record,
    keep: str,
    parts: dict[str, Share] = {"train": 0.9, "held_out": 0.1},
    by: Literal["content", "source"] = "content",
) -> bool:
    """Keep the records of one part; use it in one target per part.

    A record's part follows from a hash of what it says, so it stays when others come and go, and equal texts are
    never on both sides.

    keep   the part to keep
    parts  name → share; shares count relative to their sum
    by     content: the first text column (the prompt, where there is one), without case and spacing;
           source: the file it came from (meta.path or its place), or the record it was made from
    """
    if keep not in parts:
        raise InputError(f"split: keep: no part named '{keep}'; {did_you_mean(keep, parts)}")
    if not sum(parts.values()) > 0:
        raise InputError(f"split: parts: at least one share must be above 0, found {parts}")
    if (part := part_of(_fixed_by(record, by), parts)) != keep:
        raise Drop("other part", part=part)
    return True


def part_of(key: str, parts: dict[str, float]) -> str:
    """The part whose share of [0, 1) holds the hash of `key`."""
    point = int(digest(key.encode()), 16) / 2**64 * sum(parts.values())
    for name, share in parts.items():
        if (point := point - share) < 0:
            return name
    return next(reversed([name for name, share in parts.items() if share]))  # rounding at the very end


def _fixed_by(record: Record, by: str) -> str:
    if by == "source":
        path = record.get("meta", {}).get("path")
        return str(path) if path else record["parents"][0].rsplit("#", 1)[0]
    found = texts(record)
    return folded(found[0][1]) if found else record["id"]
