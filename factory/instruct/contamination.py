"""Evaluation items kept out of what is generated: shared runs of 13 words, and short items word for word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from factory import Drop, text_of, texts
from factory.text.words import is_unspaced, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from factory.text.windows import Table

WORDS = 13  # Brown et al. 2020, appendix C
CHARACTERS = 26  # of a script without spaces; about as much text
REASON = "in an evaluation set"
PORTION = 1024  # items read at a time
EXCERPT = 200  # characters of what is shared, in a drop's details


class Evaluation:
    """The n-grams of evaluation items, 8 bytes each, and the items too short to have one.

    A text is one of them when it shares a run of 13 words with an item (26 characters where the item is in a script
    without spaces; case and punctuation do not count), or when it says what an item says that is shorter than that:
    then nothing more and nothing less, for "What is the capital of France?" is part of many a text.
    """

    def __init__(self, datasets: Iterable[Iterable[Any]] = ()) -> None:
        self._sets = list(datasets)
        self._ids: list[tuple[int, str]] = []
        self._short: dict[str, int] = {}
        self._items: NDArray[np.int64] | None = None
        self._table: Table | None = None
        if self._sets:
            self._read()

    def __bool__(self) -> bool:
        return bool(self._ids)

    def hit(self, text: str) -> Drop | None:
        """Why the text may not be trained on, or None. 20 µs for a short text."""
        if not self._ids or not text.strip():
            return None
        if (at := self._short.get(" ".join(words(text)))) is not None:
            return self._drop(at, text)
        return self._shared(text)

    def hit_by(self, record: Mapping[str, Any]) -> Drop | None:
        """`hit` of what a record says: all of it, and its prompt alone, which may be a short item."""
        if not self._ids:
            return None
        return self.hit("\n\n".join(text for _, text in texts(record))) or next(
            (found for text in questions(record) if (found := self.hit(text))), None
        )

    def _read(self) -> None:
        import numpy as np

        from factory.text.windows import keyed, make_table, runs

        keys, items, anchors = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        for number, dataset in enumerate(self._sets, 1):
            records = iter(dataset)
            while portion := list(islice(records, PORTION)):
                first = len(self._ids)
                self._ids += [(number, str(record["id"])) for record in portion]
                said = ["\n\n".join(text for _, text in texts(record)) for record in portion]
                for at, (record, text) in enumerate(zip(portion, said, strict=True), first):
                    for short in {text, *questions(record)}:
                        folded = words(short)
                        if folded and len(folded) < _size(short):
                            self._short.setdefault(" ".join(folded), at)
                rows, hashes = _hashes(said)
                for at, text in enumerate(said):
                    own, size = hashes[rows[at] : rows[at + 1]], _size(text)
                    if len(own) < size:
                        continue
                    places = np.arange(len(own) - size + 1)
                    keys.append(keyed(runs(own, places, size), size))
                    anchors.append(runs(own, places, WORDS))
                    items.append(np.full(len(places), first + at))
        joined, owners = np.concatenate(keys), np.concatenate(items)
        joined, chosen = np.unique(joined, return_index=True)  # the first item that has it
        self._items = owners[chosen]
        lengths = np.array([WORDS, CHARACTERS], np.int64)
        self._table = make_table(joined, lengths, np.unique(np.concatenate(anchors)), WORDS)

    def _shared(self, text: str) -> Drop | None:
        from factory.text.windows import look_up

        assert self._table is not None
        assert self._items is not None
        rows, hashes = _hashes([text])
        _, found = look_up(rows, hashes, self._table)
        if not len(found):
            return None
        gram = int(found.min())
        return self._drop(int(self._items[gram]), self._words_of(text, hashes, self._table.keys[gram]))

    def _words_of(self, text: str, hashes: Any, key: Any) -> str:
        """The words of a text that have the key."""
        import numpy as np
        import pyarrow as pa

        from factory.text.segments import buffers
        from factory.text.segments import words as segments
        from factory.text.windows import keyed, runs

        parts = segments(buffers(pa.array([_encodable(text)], pa.string())))
        for size in (WORDS, CHARACTERS):
            places = np.arange(max(0, len(hashes) - size + 1))
            at = np.flatnonzero(keyed(runs(hashes, places, size), size) == key)
            if len(at):
                begin, end = parts.start[at[0]], parts.end[at[0] + size - 1]
                return _encodable(text).encode()[begin:end].decode()
        raise AssertionError("a run that was found is in the text")

    def _drop(self, at: int, shared: str) -> Drop:
        number, item = self._ids[at]
        return Drop(REASON, of=item, set=number, shared=" ".join(shared.split())[:EXCERPT])


def questions(record: Mapping[str, Any]) -> list[str]:
    """What of a record may be asked somewhere word for word: its prompt, a conversation's first turns, its text."""
    found = [text_of(record["prompt"])] if record.get("prompt") else []
    found += [turn["content"] for turn in record.get("messages", ()) if turn["role"] == "user"]
    meta = record.get("meta", {})
    return found + [said for name in ("instruction", "question") if isinstance(said := meta.get(name), str)]


def _size(text: str) -> int:
    return CHARACTERS if is_unspaced(text) else WORDS


def _hashes(said: list[str]) -> tuple[Any, Any]:
    import pyarrow as pa

    from factory.text.segments import buffers, word_hashes

    return word_hashes(buffers(pa.array([_encodable(text) for text in said], pa.string())))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
