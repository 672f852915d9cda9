"""`label:NAME`: everything that people have said in a label set, as Candidates."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

from factory import Candidates, InputError, Piece, Row, Source, assistant, digest, place_of, project_path
from factory.errors import did_you_mean

from ..comparisons import Comparison, win_shares
from .database import FILE, connect_read_only
from .items import Item, best_pairs
from .opening import command
from .queue import Settings
from .reading import items_in, settings_in, tally_in, votes_in
from .votes import comparisons_of

PIECE = 1000  # items in a piece, so that a vote has one of them read again
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class LabelSet(Source):
    """The items of a label set that have votes, with scores by them.

    Known by what was said, not by the bytes of the file: by items, comparisons and edits that stand. A piece's detail
    is (first item, last item, change of the file it was planned at, key), and what came in since is not read.
    """

    kind = Candidates

    @property
    def folder(self) -> Path:
        return project_path(Path("labels") / self.uri.partition(":")[2])

    @property
    def awaited(self) -> str:
        """Why there is nothing to read yet."""
        name = self.folder.name
        if not (self.folder / FILE).exists():
            others = sorted(path.parent.name for path in self.folder.parent.glob(f"*/{FILE}"))
            near = f" ({did_you_mean(name, others)})" if others else ""
            return f"there is no label set '{name}' yet{near}: run `{command(name)}`"
        with closing(connect_read_only(self.folder)) as db:
            if db.execute("SELECT 1 FROM votes WHERE undone IS NULL LIMIT 1").fetchone():
                return ""
        return f"nobody has voted in the label set '{name}' yet: run `{command(name)}`"

    @property
    def asks(self) -> str:
        """What people are asked about: all pairs of an item's answers, the best of them, or to rank all at once."""
        if not (self.folder / FILE).exists():
            return asked_by(Settings())
        with closing(connect_read_only(self.folder)) as db:
            return asked_by(settings_in(db))

    def pieces(self) -> list[Piece]:
        if not (self.folder / FILE).exists():
            return []
        with closing(connect_read_only(self.folder)) as db:
            db.execute("BEGIN")
            event = tally_in(db)["event"]
            most = db.execute("SELECT coalesce(max(number), 0) FROM items").fetchone()[0]
            parts = [(first, first + PIECE - 1, event) for first in range(1, most + 1, PIECE)]
            keyed = [(_key(rows), part) for part in parts if (rows := self._rows(db, part))]
        return [Piece(key, (self._place,), (*part, key)) for key, part in keyed]

    def rows(self, piece: Piece) -> Iterator[Row]:
        *part, key = piece.detail
        with closing(connect_read_only(self.folder)) as db:
            db.execute("BEGIN")
            rows = self._rows(db, part)
        if _key(rows) != key:
            raise InputError(f"{self._place} was filled anew since this build was planned; build again")
        return iter(rows)

    @property
    def _place(self) -> str:
        return place_of(self.folder / FILE)

    def _rows(self, db: sqlite3.Connection, part: Sequence[int]) -> list[Row]:
        first, last, event = part
        settings = settings_in(db)
        said = defaultdict(list)
        for vote in votes_in(db, event, first, last):
            said[vote["item"]].append(vote)
        items = sorted(items_in(db, first, last).values(), key=lambda item: item.key) if said else []
        return [(f"{self._place}#{i.key}", _fields(i, said[i.key], settings)) for i in items if i.key in said]


def open_label(uri: str) -> LabelSet | None:
    """The label set that `label:NAME` means, in labels/NAME of the project; None for any other URI."""
    scheme, colon, name = uri.partition(":")
    if scheme != "label" or not colon:
        return None
    if not NAME.fullmatch(name):
        raise InputError(f"'{uri}': a label set is named by letters, digits, - and _, as in label:answers")
    return LabelSet(uri)


def asked_by(settings: Settings) -> str:
    return "rank" if settings.mode == "rank" else settings.pairs


def _key(rows: list[Row]) -> str:
    return digest(rows) if rows else ""


def _fields(item: Item, votes: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """An item with its votes as the columns and meta of a Candidates record.

    meta.asked are the pairs that are asked about; meta.asks says of which kind they are: all, best, or rank where all
    answers are ranked at once; meta.edited says who wrote each of the last completions, no answers of the item.
    """
    asks = asked_by(settings)
    pairs = list(combinations(range(len(item.completions)), 2)) if settings.pairs == "all" else best_pairs(item)
    comparisons = [one for vote in votes for one in comparisons_of(vote)]
    completions = [list(answer) for answer in item.completions]
    authors: list[str] = []
    better = []
    for edit in edits_of(votes):
        answer = _edited(item, edit)
        if answer not in completions:
            completions.append(answer)
            authors.append(f"edited by {edit['by']}")
        if (place := completions.index(answer)) != edit["answer"]:
            better.append(_beats(edit, place))
    meta: dict[str, Any] = {
        "item": item.key,
        "models": [*item.models, *authors] if item.models else [],
        "comparisons": [*sorted(comparisons, key=_order), *better],
        "asks": asks,
        "asked": [list(pair) for pair in pairs] if asks != "rank" else [],
        "edited": authors,
    }
    if item.gold is not None:
        meta["gold"] = item.gold
    scores = scores_by(meta["comparisons"], len(completions))
    return {"prompt": item.prompt, "completions": completions, "scores": scores or [], "meta": meta}


def scores_by(comparisons: list[Any], answers: int) -> list[float] | None:
    """Win shares by people, each item counted once for an annotator: repeats are left out."""
    return win_shares((one for one in comparisons if one.get("check") != "repeat"), answers)


def edits_of(votes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Edited answers in a fixed order, equal ones of one annotator once: by, answer it was made from, text, at."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for vote in sorted(votes, key=lambda vote: (vote["by"], vote["at"], vote["check"])):
        if edit := vote["edit"]:
            one = {"by": vote["by"], "answer": edit["answer"], "text": edit["text"], "at": vote["at"]}
            found.setdefault((one["by"], one["answer"], one["text"]), one)
    return list(found.values())


def _edited(item: Item, edit: Mapping[str, Any]) -> list[Any]:
    """The better answer; the turns before its last stay."""
    return [*item.completions[edit["answer"]][:-1], *assistant(edit["text"])]


def _beats(edit: Mapping[str, Any], place: int) -> Comparison:
    """An edited answer is better than the one it was made from."""
    before = edit["answer"]
    return Comparison(
        by=edit["by"], person=True, aspect="", first=min(before, place), second=max(before, place),
        verdict="second" if place > before else "first", strength=1.0, reason="edited", at=edit["at"],
    )  # fmt: skip


def _order(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["first"], one["second"], one["by"], one.get("check", ""), one["at"]
