"""Repeated parts cut out of texts: shards cut by kernels, records with the text that is left, the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from factory import Context, Dataset, Record

from .matching import Arrays, Places, places_of, portions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from factory.text.column import TextColumn
    from factory.text.segments import Segments

SHOWN = 20  # repeats in the report
EXCERPT = 120  # characters of each


class Changes:
    """What cutting a shard changes, gathered portion by portion; `result` has an entry for each changed record.

    row      which record
    offsets  its text is now data[offsets[i]:offsets[i + 1]]
    parts    how many went, of how many (`whole`)
    removed  characters that went
    left     characters that are left, blanks at the ends aside
    source   the place of what the first part that went repeats; -1 when nothing of it stays
    """

    names = ("row", "size", "data", "parts", "whole", "removed", "left", "source")

    def __init__(self) -> None:
        import numpy as np

        kinds = {"data": np.uint8}
        self.found = {name: [np.zeros(0, kinds.get(name, np.int64))] for name in self.names}

    def add(
        self, column: TextColumn, parts: Segments, gone: NDArray[np.bool_], sources: NDArray[np.int64], start: int
    ) -> None:
        """Cut a portion whose first text is record `start`; `sources` is of the parts that go, in order."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from factory.text.spans import cut

        if not gone.any():
            return
        done = cut(column.texts, parts, gone)
        texts = pa.LargeStringArray.from_buffers(len(done.rows), pa.py_buffer(done.offsets), pa.py_buffer(done.data))
        before = np.concatenate([[0], np.cumsum(gone)])  # parts that go before each part
        begin, end = parts.rows[done.rows], parts.rows[done.rows + 1]
        entry = {
            "row": done.rows + start,
            "size": np.diff(done.offsets),
            "data": done.data,
            "parts": before[end] - before[begin],
            "whole": end - begin,
            "removed": done.removed,
            "left": pc.utf8_length(pc.utf8_trim_whitespace(texts)).to_numpy(zero_copy_only=False),
            "source": sources[before[begin]],
        }
        for name, values in entry.items():
            self.found[name].append(values)

    def result(self) -> dict[str, NDArray[Any]]:
        import numpy as np

        found = {name: np.concatenate(values) for name, values in self.found.items()}
        found["offsets"] = np.concatenate([np.zeros(1, np.int64), np.cumsum(found.pop("size"))])
        return found


@dataclass(frozen=True)
class Rule:
    """When a changed record is dropped.

    reason     as it is counted
    min_chars  characters that must be left
    most       the share of its parts that may go
    """

    reason: str
    min_chars: int
    most: float = 1.0

    def ends(self, change: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Which changed records are dropped."""
        gone: NDArray[np.bool_] = (change["left"] < self.min_chars) | (change["parts"] > self.most * change["whole"])
        return gone


class Repeats(NamedTuple):
    """What the report shows of what went: rows of numbers, called as in `columns`, and the place of the first."""

    columns: tuple[str, ...]
    found: list[tuple[int, ...]]
    size: int = 1  # parts each


def cut_out(
    dataset: Dataset[Any], ctx: Context, cut: Callable[..., Arrays], setting: Any, found: Sequence[Any],
    matches: Sequence[Any], unit: str, rule: Rule, repeats: Repeats,
) -> Iterator[Record]:  # fmt: skip
    """All records in order without what repeats, and the report.

    cut      a function of ([number of a shard, the shard], setting, found, matches): what changes, see `Changes`
    found    of each shard: a result with the `rows` of its parts
    matches  of each range of hashes: a result with `gone` and `source`, see `going`
    unit     what the parts are called, plural
    """
    numbered = [[number, shard] for number, shard in enumerate(dataset.shards)]
    changes = list(ctx.map(cut, numbered, setting, found, matches))
    places = places_of([memo.load() for memo in found])
    ctx.report(f"What {ctx.step} cut", _summary(changes, places, unit, rule) + _common(dataset, places, unit, repeats))
    yield from _records_left(dataset, ctx, changes, places, unit, rule)


def _records_left(
    dataset: Dataset[Any], ctx: Context, changes: Sequence[Any], places: Places, unit: str, rule: Rule
) -> Iterator[Record]:
    """Changed records have the text that is left, or are dropped by the rule; meta tells what went."""
    ends = [rule.ends(change) for change in changes]
    sources = [change["source"][gone] for change, gone in zip(changes, ends, strict=True)]
    names = _named(dataset, places, sources)
    done, total = 0, int(sum(len(rows) - 1 for rows in places.rows))
    for shard, change, gone in zip(dataset.shards, changes, ends, strict=True):
        at = {row: i for i, row in enumerate(change["row"].tolist())}
        for row, record in enumerate(shard.records()):
            if done % 1000 == 0:
                ctx.progress(done, total, "records")
            done += 1
            i = at.get(row)
            if i is None:
                yield record
                continue
            told = {unit: int(change["parts"][i]), "characters": int(change["removed"][i])}
            if gone[i]:
                of = names.get(int(change["source"][i]))
                ctx.drop(record, rule.reason, **told, left=int(change["left"][i]), **({"of": of} if of else {}))
                continue
            text = change["data"][change["offsets"][i] : change["offsets"][i + 1]].tobytes().decode()
            record["meta"][ctx.step] = told
            record["text"] = text
            yield record


def _named(dataset: Dataset[Any], places: Places, sources: Sequence[NDArray[np.int64]]) -> dict[int, str]:
    """Ids of the records at places, -1 left out; only shards that hold one are read."""
    import numpy as np

    wanted = np.unique(np.concatenate([np.zeros(0, np.int64), *sources]))
    wanted = wanted[wanted >= 0]
    found: dict[int, str] = {}
    cuts = np.searchsorted(wanted, places.starts)
    for shard, rows, start, (begin, end) in zip(
        dataset.shards, places.rows, places.starts.tolist(), pairwise(cuts.tolist()), strict=False
    ):
        if begin < end:
            ids = shard.ids()
            records = np.searchsorted(rows, wanted[begin:end] - start, side="right") - 1
            found.update((place, ids[row]) for place, row in zip(wanted[begin:end].tolist(), records, strict=True))
    return found


def as_cell(text: str) -> str:
    """Text that may stand in a table of Markdown."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _summary(changes: Sequence[Any], places: Places, unit: str, rule: Rule) -> str:
    """How much went, as Markdown."""
    parts, removed = (int(sum(change[name].sum() for change in changes)) for name in ("parts", "removed"))
    changed = sum(len(change["row"]) for change in changes)
    dropped = sum(int(rule.ends(change).sum()) for change in changes)
    records = sum(len(rows) - 1 for rows in places.rows)
    whole = int(places.starts[-1])
    return (
        f"{parts:,} of {whole:,} {unit} ({parts / max(1, whole):.2%}) went, {removed:,} characters. {changed:,} of "
        f"{records:,} records changed; {dropped:,} of them were dropped ({rule.reason})."
    )


def _common(dataset: Dataset[Any], places: Places, unit: str, repeats: Repeats) -> str:
    """The commonest repeats as a table of Markdown."""
    if not repeats.found:
        return ""
    head = [*repeats.columns, f"the commonest {unit if repeats.size == 1 else 'repeats'}"]
    rows = [
        [*(f"{number:,}" for number in numbers), as_cell(_text_at(dataset, places, place, unit, repeats.size))]
        for *numbers, place in repeats.found
    ]
    lines = (f"| {' | '.join(row)} |" for row in [head, *rows])
    return "\n".join(["\n", next(lines), "|---" * len(head) + "|", *lines])


def _text_at(dataset: Dataset[Any], places: Places, place: int, unit: str, size: int = 1) -> str:
    """Part number `place` as it stands in its text, with the `size` - 1 parts behind it; shortened."""
    shard, row, part = places.home(place)
    for column in portions(dataset.shards[shard]):
        if row >= len(column):
            row -= len(column)
            continue
        found = getattr(type(column)(column.column.slice(row, 1)), unit)
        text: str = column.column[row].as_py()
        held = column.texts.offsets[row]
        whole = text.encode()[found.start[part] - held : found.end[part + size - 1] - held].decode()
        return " ".join(whole.split()) if len(whole) <= EXCERPT else " ".join(whole[:EXCERPT].split()) + " …"
    raise AssertionError(f"there is no record {row} in shard {shard}")
