"""A dataset of text as a file of token ids: written once, mapped into memory, found again by a resumed run."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from factory import Dataset, ModelError, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_CHARACTER = "\ufdd0"  # of the code points that Unicode keeps out of all text
IDS, OFFSETS, NOTE = "ids.bin", "offsets.npy", "note.json"
BATCH_CHARACTERS = 2_000_000  # tokenised at a time: both cores stay busy behind a long document, about 200 MB of memory
AHEAD = 1  # batches that may wait to be written: what was tokenised is many times as large as its ids


@dataclass(frozen=True)
class Tokens:
    """The documents of a dataset behind one another.

    ids         [tokens], uint16 where the vocabulary allows it, else uint32; mapped from the file
    offsets     where each document begins, and the end of the last: [documents + 1]
    characters  of all documents
    empty       records without text, which are left out
    """

    ids: NDArray[Any]
    offsets: NDArray[np.int64]
    characters: int
    empty: int

    @property
    def documents(self) -> int:
        return len(self.offsets) - 1


def tokens_of(
    dataset: Dataset[Text],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    before: Sequence[int],
    after: Sequence[int],
    tell: Callable[[int], None] = lambda _: None,
) -> Tokens:
    """The tokens of a dataset, from `folder` if they lie there, else written there.

    before, after  ids around every document
    tell           hears how many documents are done

    The folder is written under another name and renamed, so it is whole or not there. Raises ModelError when the
    tokenizer gives an id beyond its vocabulary.
    """
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_tokens(batches_of(texts_of(dataset)), tokenizer, partial, before, after, tell)
        partial.rename(folder)
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    offsets: NDArray[np.int64] = np.load(folder / OFFSETS)
    # numpy maps no empty file
    ids = np.memmap(folder / IDS, note["dtype"], mode="r") if offsets[-1] else np.empty(0, note["dtype"])
    return Tokens(ids, offsets, note["characters"], note["empty"])


def texts_of(dataset: Dataset[Text]) -> Iterator[str]:
    """The texts in order; of the records only this column is read."""
    for shard in dataset.shards:
        for table in shard.tables(["text"]):
            yield from table.column("text").to_pylist()


def batches_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in order, in lists of about BATCH_CHARACTERS."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def write_tokens(
    batches: Iterable[list[str]],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    before: Sequence[int],
    after: Sequence[int],
    tell: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the files of `Tokens` into an existing folder.

    The tokenizer works on all cores without Python's lock, while a thread turns the batch before into arrays and
    writes them: making Python's integers of the ids costs a tenth of making the ids.
    """
    encode = plain_encoder(tokenizer)
    beyond = max(tokenizer.get_vocab().values()) + 1
    dtype = np.dtype(np.uint16 if beyond <= 1 << 16 else np.uint32)
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    waiting: deque[Future[NDArray[np.int64]]] = deque()
    characters = empty = done = 0
    with (folder / IDS).open("wb") as file, ThreadPoolExecutor(1) as writer:
        for batch in batches:
            texts = [text for text in batch if text.strip()]
            empty += len(batch) - len(texts)
            characters += sum(map(len, texts))
            if len(waiting) > AHEAD:
                lengths.append(waiting.popleft().result())
            waiting.append(writer.submit(_append, file, encode(texts), dtype, before, after, beyond))
            done += len(batch)
            tell(done)
        lengths += [future.result() for future in waiting]
    np.save(folder / OFFSETS, np.cumsum(np.concatenate(lengths)))
    note = {"dtype": dtype.name, "characters": characters, "empty": empty}
    (folder / NOTE).write_text(json.dumps(note), encoding="utf-8")


def _append(
    file: BinaryIO, encoded: Any, dtype: np.dtype[Any], before: Sequence[int], after: Sequence[int], beyond: int
) -> NDArray[np.int64]:
    """Write the ids of a batch of documents; their lengths, what stands around them included."""
    ids = [getattr(one, "ids", one) for one in encoded]
    lengths = np.fromiter((len(before) + len(one) + len(after) for one in ids), np.int64, len(ids))
    chained = itertools.chain.from_iterable(itertools.chain(before, one, after) for one in ids)
    flat = np.fromiter(chained, np.int64, int(lengths.sum()))
    if len(flat) and int(flat.max()) >= beyond:
        raise ModelError(f"the tokenizer gives the id {flat.max()}; its vocabulary ends at {beyond - 1}")
    file.write(flat.astype(dtype).data)
    return lengths


def plain_encoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[list[str]], Any]:
    """Encodes a batch of texts without any special token: one that a text spells out is the characters it is written
    with, and ends nothing. It gives lists of ids, or objects with `ids`.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return lambda texts: tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    from tokenizers import Tokenizer

    definition = json.loads(backend.to_str())  # the one that is saved with the model stays as it is
    if isinstance(vocab := definition["model"].get("vocab"), list):
        # Unigram's own list of pieces holds the special tokens, too: there they get names that no text has
        for token in definition["added_tokens"]:
            if token["special"] and token["id"] < len(vocab):
                vocab[token["id"]][0] = f"{NO_CHARACTER}{token['id']}"
    own = Tokenizer.from_str(json.dumps(definition))
    own.no_truncation()
    own.no_padding()
    own.encode_special_tokens = True
    return lambda texts: own.encode_batch_fast(texts, add_special_tokens=False)


def opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that the tokenizer itself puts before a text: its bos token, or nothing."""
    whole = tokenizer("a")["input_ids"]
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    at = next((at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), 0)
    return list(whole[:at])
