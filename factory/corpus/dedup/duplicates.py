"""Exact duplicates."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import factory
from factory import Context, Dataset, Drop, Drops, Record, Shard, digest, texts

from ..reshape import KEPT, rewrite

if TYPE_CHECKING:
    import numpy as np

_ODD_BLANKS = re.compile(r" \s+|[^\S ]\s*")  # not single blanks: cutting a text there takes 12 times its size


@factory.step
def dedup_exact(dataset: Dataset[Record], ctx: Context) -> Drops:
    """Drop records that say the same as an earlier one in all their columns, spacing and Unicode form aside.

    The first in dataset order stays. Case, digits and roles count; meta does not. Records without text all stay.
    """
    first: dict[bytes, str] = {}
    drops = Drops()
    for shard, keys in zip(dataset.shards, ctx.map(hash_shard, dataset.shards), strict=True):
        for name, key in zip(shard.ids(), keys.tolist(), strict=True):
            if not key:
                continue
            if (kept := first.setdefault(key, name)) != name:
                drops[name] = Drop("duplicate", of=kept)
    return drops


def hash_shard(shard: Shard) -> np.ndarray[Any, Any]:
    """One 32-character hash of each record's content, empty for a record without text."""
    import numpy as np

    return np.array([content_hash(record) for record in shard.records()], dtype="S32")


def content_hash(record: Record) -> str:
    """Hash of all columns with their text in one spacing; empty when there is no text."""
    if not any(text.strip() for _, text in texts(record)):
        return ""
    same = rewrite(record, spaced)
    return digest([[name, value] for name, value in same.items() if name not in KEPT], 16)


def spaced(text: str) -> str:
    """NFC with every run of whitespace as one blank, none at the ends."""
    return _ODD_BLANKS.sub(" ", unicodedata.normalize("NFC", text).strip())


def folded(text: str) -> str:
    """The same without case."""
    return unicodedata.normalize("NFC", spaced(text).casefold())
