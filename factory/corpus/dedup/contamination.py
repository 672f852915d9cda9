"""What `decontaminate` says of evaluation items and their n-grams: names, the words as they stand, its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from factory import Dataset

from ..reshape import full_text
from .cutting import as_cell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Found = dict[str, Any]  # arrays by name

SHOWN = 50  # items in the report, and half as many n-grams
EXCERPT = 120  # characters of each


class Told:
    """What is said of items and n-grams: those that were found in a record, and the commonest."""

    def __init__(self, sets: dict[str, Dataset[Any]], table: Found, known: Found, judged: Sequence[Found]) -> None:
        import numpy as np

        self.sets, self.table, self.known = sets, table, known
        self.names = list(sets)
        self.starts = np.cumsum([0, *(len(one) for one in sets.values())])
        self.records = np.zeros(len(table["size"]), np.int64)  # in which each item was found
        for one in judged:
            self.records[one["found"]] += one["records"]
        self.common = np.argsort(-known["documents"], kind="stable")[: SHOWN // 2]
        self.common = self.common[known["documents"][self.common] > 1]
        grams = np.concatenate([self.common, *(one["gram"] for one in judged)]).astype(np.int64)
        wanted = [self.table["items"][self.table["rows"][grams]], *(one["item"] for one in judged), self.first()]
        self.held = dict(self._read(np.unique(np.concatenate(wanted))))
        self.ngrams: dict[int, str] = {}  # by number

    def first(self) -> NDArray[np.int64]:
        """The items that were found in most records."""
        import numpy as np

        order = np.argsort(-self.records, kind="stable")[:SHOWN]
        return order[self.records[order] > 0]

    def _read(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, tuple[str, str]]]:
        """Id and text of items."""
        start = 0
        for one in self.sets.values():
            for shard in one.shards:
                size = len(shard.ids())
                begin, end = wanted.searchsorted((start, start + size))
                numbers = {int(n) - start for n in wanted[begin:end]}
                for row, record in enumerate(shard.records() if numbers else ()):
                    if row in numbers:
                        yield start + row, (record["id"], full_text(record))
                start += size

    def name(self, item: int) -> str:
        return self.held[item][0]

    def set_of(self, item: int) -> str:
        return self.names[int(self.starts.searchsorted(item, side="right")) - 1]

    def ngram(self, gram: int) -> str:
        """An n-gram as it stands in the first item that has it."""
        import pyarrow as pa

        from factory.text.column import TextColumn

        if gram not in self.ngrams:
            text = self.held[int(self.table["items"][self.table["rows"][gram]])][1]
            words = TextColumn(pa.array([text])).words
            first = int(self.table["at"][gram])
            last = first + int(self.table["length"][gram]) - 1
            said = text.encode()[words.start[first] : words.end[last]].decode()
            self.ngrams[gram] = " ".join(said.split())
        return self.ngrams[gram]

    def report(self, judged: Sequence[Found], records: int, most: int | None) -> str:
        """Markdown: sets, the items and the n-grams that were found most."""
        import numpy as np

        dropped = np.concatenate([np.zeros(0, np.int64), *(one["item"] for one in judged)])
        size, left = self.table["size"], self.known["size"]
        text = f"{len(dropped):,} of {records:,} records contain evaluation items and are dropped.\n\n"
        text += "| set | items | found | share | records dropped for it | without words | only common n-grams |\n"
        text += "|---|---|---|---|---|---|---|\n"
        for name, (start, end) in zip(self.sets, pairwise(self.starts.tolist()), strict=True):
            found = int((self.records[start:end] > 0).sum())
            empty, common = int((size[start:end] == 0).sum()), int(((left == 0) & (size > 0))[start:end].sum())
            count = int(((dropped >= start) & (dropped < end)).sum())
            share = found / max(1, end - start)
            text += f"| {name} | {end - start:,} | {found:,} | {share:.2%} | {count:,} | {empty:,} | {common:,} |\n"
        if len(self.first()):
            text += "\n| item | set | records that contain it | it begins |\n|---|---|---|---|\n"
        for item in self.first().tolist():
            begins = " ".join(self.held[item][1][:EXCERPT].split())
            text += f"| `{self.name(item)}` | {self.set_of(item)} | {self.records[item]:,} | {as_cell(begins)} |\n"
        if len(self.common):
            text += "\n| n-gram | records | |\n|---|---|---|\n"
        for gram in self.common.tolist():
            ignored = f"ignored: in more than {most:,}" if self.known["ignored"][gram] else ""
            text += f"| {as_cell(self.ngram(gram)[:EXCERPT])} | {self.known['documents'][gram]:,} | {ignored} |\n"
        return text
