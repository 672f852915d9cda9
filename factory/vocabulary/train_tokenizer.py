"""`train_tokenizer`: a tokenizer of its own for a corpus, in one of the four forms that models use."""

from __future__ import annotations

import shutil
from itertools import islice
from typing import Annotated

from pydantic import Field

from factory import Context, Dataset, InputError, StepError, Text, Tokenizer, step

from . import gates
from .forms import BYTES, SPECIAL, Form, Plan, train, wrapped
from .pieces import lines_of

PROBED = 20_000  # lines that must come back from encoding and decoding


@step
def train_tokenizer(
    dataset: Dataset[Text],
    ctx: Context,
    form: Form = "byte_level_bpe",
    size: Annotated[int, Field(ge=1)] = 32_000,
    min_frequency: Annotated[int, Field(ge=1)] = 2,
    max_chars: Annotated[int, Field(ge=1)] = 16,
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.9995,
    special: list[str] = [],
    lowercase: bool = False,
    individual_digits: bool = True,
) -> Tokenizer:
    """Teach a tokenizer the pieces of a corpus.

    form     byte_level_bpe: BPE over bytes, words cut as GPT-2 does (Radford et al. 2019, section 2.2); every text
             comes back. sentencepiece_bpe: BPE over characters with `▁` for a blank; characters without a piece fall
             back to bytes (Kudo and Richardson 2018; Llama 2). unigram: pieces with probabilities, likewise with bytes
             (Kudo 2018). wordpiece: BERT's, the longest piece first, `##` inside of words; unlike BERT's it takes a
             run of Chinese characters for one word, so that pieces of several can be learned
    size     pieces in all, bytes and special tokens among them
    min_frequency  of a pair that is joined; Unigram has no such bound
    max_chars      of a piece; byte-level counts three bytes for one
    coverage       share of the corpus's characters that have a piece each; byte-level has all
    special        further special tokens. The forms bring `<|endoftext|>`; `<unk> <s> </s>`; `<pad> </s> <unk>`; and
                   `[PAD] [UNK] [CLS] [SEP] [MASK]`
    lowercase      wordpiece: fold case and take accents off, as BERT's uncased models do
    individual_digits  each digit is a token of its own, so that numbers of one length are cut alike

    Saves a folder that transformers loads. Raises StepError when the corpus gives fewer pieces than asked for.
    """
    tokens = _special(form, special)
    least = len(tokens) + (0 if form == "wordpiece" else len(BYTES))
    if size <= least:
        raise InputError(
            f"train_tokenizer: size {size:,} leaves no room for pieces; special tokens and bytes are {least:,} already"
        )
    if lowercase and form != "wordpiece":
        raise InputError(f"train_tokenizer: lowercase is for wordpiece; {form} keeps every text as it is")
    plan = Plan(form, size, min_frequency, max_chars, coverage, tokens, lowercase, individual_digits)
    tokenizer = train(plan, lambda: (record["text"] for record in dataset))
    found = tokenizer.get_vocab_size(with_added_tokens=True)
    if found < size:
        raise StepError(
            f"train_tokenizer: the corpus gives {found:,} pieces, {size:,} were asked for; lower size or min_frequency "
            "or bring more text"
        )
    lines = list(islice(lines_of(dataset), PROBED))
    if broken := gates.broken_round_trips(tokenizer, lines):
        raise StepError(
            f"train_tokenizer: {len(broken):,} of {len(lines):,} lines do not come back from encoding and decoding, as "
            f"{broken[0][:80]!r}"
        )
    shutil.rmtree(ctx.output, ignore_errors=True)  # a kill may have left half of one
    ctx.output.mkdir(parents=True)
    wrapped(tokenizer, form, special).save_pretrained(ctx.output)
    cut = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    ratio = sum(len(one.ids) for one in cut) / max(1, sum(map(len, lines)))
    ctx.report("Tokenizer", f"{form}, {found:,} pieces; {ratio:.3f} tokens per character on {len(lines):,} lines.")
    return Tokenizer(uri=str(ctx.output), path=ctx.output)


def _special(form: Form, special: list[str]) -> list[str]:
    tokens = [*SPECIAL[form], *special]
    if twice := [one for at, one in enumerate(tokens) if one in tokens[:at]]:
        raise InputError(f"train_tokenizer: special token '{twice[0]}' is named twice")
    return tokens
