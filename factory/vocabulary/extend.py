"""`extend_vocabulary`: a tokenizer, or a language model with its rows, that knows the words of a corpus."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pyarrow.compute as pc
from pydantic import Field

from factory import Context, Dataset, InputError, Model, ModelError, StepError, Text, Tokenizer, digest, step
from factory.models.extension import Extension
from factory.models.loading import load_causal_lm, load_tokenizer

from . import gates
from .alphabets import allowed, character_class
from .candidates import base_parts
from .folder import save_tokenizer
from .growing import Grown, Wanted, grow
from .page import code
from .pieces import lines_of, pieces_of
from .rows import Initialise, add_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Same = TypeVar("Same", bound=Model)
Count = Annotated[int, Field(ge=1)]
PROTECTED = 200_000  # lines of the protected text that are looked at
PROBED = 20_000  # lines of the corpus that must come back from encoding and decoding


@step
def extend_vocabulary(
    dataset: Dataset[Text],
    ctx: Context,
    base: Same,
    pieces: Count | None = None,
    tokens_per_character: Annotated[float, Field(gt=0)] | None = None,
    scripts: list[str] | None = None,
    merge: Tokenizer | None = None,
    protect: Dataset[Text] | None = None,
    max_drift: Annotated[float, Field(ge=0, le=1)] = 0.0,
    min_frequency: Count = 2,
    min_uses: Annotated[int, Field(ge=0)] = 0,
    max_chars: Count = 16,
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.9995,
    learn_from: Count = 50_000_000,
    initialise: Initialise = "mean",
    pad_to_multiple_of: Count = 64,
) -> Same:
    """Add the pieces to a vocabulary that cut this corpus into fewer tokens; of a language model also the rows.

    The way is the base's own. Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM2): its merges are continued, so every piece
    can be reached and what it did before is done first; bytes that it has no token for are pieces, too. BPE with byte
    fallback (Llama 2): characters it lacks, then merges. WordPiece (BERT) and Unigram (T5, XLM-R): pieces of their own
    kind; old pieces and scores stay as they are.

    base           a language model or a tokenizer; what comes out is of its kind
    pieces         how many are added, bytes that a byte-level base has no token for (SmolLM2 lacks eight) first; or
    tokens_per_character  as many as bring the corpus's characters of the allowed scripts down to this many tokens each
    scripts        Unicode's names, as [Han]: pieces are of these letters and their punctuation alone, so text without
                   them is cut as before. None: any
    merge          add the pieces of this tokenizer that the base lacks, in its order, as Chinese-LLaMA did (Cui et al.
                   2023, arXiv:2304.08177, section 3), instead of new ones; with `pieces`, the first so many
    protect        text that must be cut as before: pieces that change more than `max_drift` of its lines are left out.
                   Where scripts are named, lines with a character of theirs are not protected
    min_frequency  how often a pair, or a piece, has to stand in the corpus
    min_uses       leave out pieces that the corpus, cut with all of them, uses less often, where no other needs them
    max_chars      of a piece, blanks aside
    coverage       share of the characters without a piece of their own that get one; byte-level needs none
    learn_from     characters at the most; of a larger corpus records are drawn by their ids
    initialise     mean, last, normal, distribution or rescaled_mean: how rows begin, from the tokens they replace
    pad_to_multiple_of  rows of the embedding, which may be more than there are tokens

    Saves an ordinary folder for transformers, with extension.json, which says which rows are new. Raises InputError for
    options that do not go together, StepError when the corpus gives fewer pieces than asked for, a piece can never be
    used, or a line of the corpus does not come back from encoding and decoding.
    """
    if pieces is None and tokens_per_character is None and merge is None:
        raise InputError("extend_vocabulary: say how many pieces to add, or tokens_per_character, or merge")
    if pieces is not None and tokens_per_character is not None:
        raise InputError("extend_vocabulary: pieces and tokens_per_character both say how many; give one of them")
    if merge is not None and tokens_per_character is not None:
        raise InputError("extend_vocabulary: tokens_per_character is for pieces of the corpus; with merge, say pieces")
    tokenizer = load_tokenizer(base)
    before = backend(tokenizer, base.uri)
    wanted = Wanted(
        pieces, tokens_per_character, allowed(scripts), min_frequency, min_uses, max_chars, coverage, max_drift
    )
    second = backend(load_tokenizer(merge), merge.uri) if merge is not None else None
    lines = list(islice(_protected(protect, scripts), PROTECTED)) if protect is not None else []
    grown = grow(before, base.uri, _drawn(dataset, learn_from), wanted, second, lines)
    changed = len(gates.drifted(before, grown.tokenizer, lines))
    if changed > max_drift * len(lines):
        raise StepError(
            f"extend_vocabulary: {changed:,} of {len(lines):,} protected lines are cut otherwise, whatever is left out"
        )
    _check(before, grown, list(islice(lines_of(dataset), PROBED)))
    shutil.rmtree(ctx.output, ignore_errors=True)  # a kill may have left half of one
    ctx.output.mkdir(parents=True)
    save_tokenizer(tokenizer, grown.definition, ctx.output)
    rows = None
    if not isinstance(base, Tokenizer):
        rows = _save_model(base, grown, pad_to_multiple_of, initialise, ctx)
    Extension(grown.first, len(grown.added)).save(ctx.output)
    ctx.report("Vocabulary", _table(base.uri, grown, rows, changed, len(lines)))
    return type(base)(uri=str(ctx.output), path=ctx.output)


def backend(tokenizer: PreTrainedTokenizerBase, name: str) -> Any:
    """The `tokenizers.Tokenizer` of a tokenizer. Raises ModelError for one that is written in Python."""
    found = getattr(tokenizer, "backend_tokenizer", None)
    if found is None:
        raise ModelError(f"{name}: its tokenizer has no tokenizer.json; expected one of the tokenizers library")
    try:
        found.to_str()
    except Exception as error:
        raise ModelError(
            f"{name}: a part of its tokenizer is written in Python and cannot be stored: {error}"
        ) from error
    return found


def _protected(dataset: Dataset[Text], scripts: list[str] | None) -> Iterator[str]:
    """The lines that must stay as they are: where scripts are named, those without a character of one."""
    if scripts is None:
        return lines_of(dataset)
    written = re.compile(character_class(allowed(scripts)))
    return (line for line in lines_of(dataset) if not written.search(line))


def _drawn(dataset: Dataset[Text], most: int) -> Iterator[str]:
    """The texts of a dataset; of one with more than `most` characters those whose ids have the lowest hashes."""
    sizes: dict[str, int] = {}
    for table in (table for shard in dataset.shards for table in shard.tables(["id", "text"])):
        sizes.update(zip(table["id"].to_pylist(), pc.utf8_length(table["text"]).to_pylist(), strict=True))
    drawn = set(sizes)
    if sum(sizes.values()) > most:
        ordered = sorted(sizes, key=lambda name: (digest([name]), name))
        ends = accumulate(sizes[name] for name in ordered)
        drawn = {name for at, (name, end) in enumerate(zip(ordered, ends, strict=True)) if end <= most or at == 0}
    return (record["text"][:most] for record in dataset if record["id"] in drawn)


def _check(before: Any, grown: Grown, lines: list[str]) -> None:
    """The gates of every extension: StepError with examples where one does not hold. What the base lost is no fault."""
    new = range(grown.first, grown.first + len(grown.added))
    if dead := gates.unreachable(grown.tokenizer, new):
        said = ", ".join(f"'{grown.added[at - grown.first].piece}'" for at in dead[:5])
        raise StepError(f"extend_vocabulary: no text can be cut into {len(dead):,} of the new pieces: {said}")
    broken = gates.broken_round_trips(grown.tokenizer, lines)
    if broken and (broken := sorted({*broken} - {*gates.broken_round_trips(before, broken)})):
        raise StepError(
            f"extend_vocabulary: {len(broken):,} of {len(lines):,} lines do not come back from encoding and decoding, "
            f"as {broken[0][:80]!r}"
        )


def _save_model(base: Model, grown: Grown, multiple: int, initialise: Initialise, ctx: Context) -> int:
    """Write the weights with rows for the new pieces, in the type they are stored in. Returns the number of rows."""
    import torch

    torch.set_num_threads(ctx.threads)
    model = load_causal_lm(base, as_stored=True)
    parts = base_parts(grown.added, grown.first)
    rows = add_rows(model, parts, grown.first, multiple, initialise, ctx.rng("rows").randrange(2**31 - 1))
    if getattr(model, "is_quantized", False):
        # transformers 5.23 wants to undo how 4-bit weights were read, and cannot; they are as they were stored
        model._weight_conversions = None
    model.save_pretrained(ctx.output)
    return rows


def _table(name: str, grown: Grown, rows: int | None, changed: int, lines: int) -> str:
    """What was added and what it does, in Markdown."""
    added, before, after = grown.added, grown.before, grown.after
    table = {"base": name, "kind": grown.family, "new pieces": f"{len(added):,}, ids from {grown.first:,}"}
    if rows is not None:
        table["rows of the embedding"] = f"{rows:,}"
    if before.characters:
        table["characters learned from"] = f"{before.characters:,}"
        table["tokens per character"] = " → ".join(f"{runs.tokens / runs.characters:.3f}" for runs in (before, after))
    if before.lost:
        table["characters in unknown words"] = " → ".join(
            f"{runs.lost / runs.characters:.1%}" for runs in (before, after)
        )
    if lines:
        table["protected lines cut otherwise"] = f"{changed:,} of {lines:,}"
    pieces = pieces_of(grown.tokenizer)
    found = (pieces.text_of(grown.first + at) for at in range(len(added)))
    texts = [code(text) for text in found if text]
    table["first pieces"] = " ".join(texts[:40])
    table["last pieces"] = " ".join(texts[-20:])
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in table.items())])
