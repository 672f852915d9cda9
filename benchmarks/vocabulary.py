"""A vocabulary extended by Chinese pieces of Debian's documentation: tokens, drift, round trips, bits per character.

    python benchmarks/vocabulary.py FOLDER [--pieces 8000] [--kinds smollm2 sentencepiece_bpe wordpiece unigram]
    python benchmarks/vocabulary.py FOLDER --rows [--steps 80]

FOLDER is what corpus.py made. Of its Chinese documents one in twenty is held out. Without --rows: the embedded model's
tokenizer, and one of each other kind trained on a tenth of the English documents, are extended; printed are the seconds
of the step, tokens per character on held-out Chinese lines before and after, pieces that no text can be cut into,
lines of ten scripts and of random bytes that do not come back, and English lines that are cut otherwise than before.
With --rows: bits per character of held-out Chinese and English with the new rows begun in each way, then with those
of the mean after --steps of training on the new rows alone.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq

import factory
from factory import Model
from factory.models.likelihood import Encoded, losses
from factory.models.loading import load_causal_lm, load_tokenizer
from factory.vocabulary import gates
from factory.vocabulary.alphabets import allowed, character_class
from factory.vocabulary.rows import Initialise

KINDS = ("smollm2", "sentencepiece_bpe", "wordpiece", "unigram")
HAN = re.compile(character_class(allowed(["Han"])))
SCRIPTS = {  # language of the corpus -> an expression for a line of its script
    "en": "[A-Za-z]", "zh": "[\u4e00-\u9fff]", "ja": "[\u3041-\u30ff]", "ko": "[\uac00-\ud7a3]", "ru": "[а-я]",
    "el": "[α-ω]", "ar": "[\u0620-\u064a]", "he": "[\u05d0-\u05ea]", "hi": "[\u0904-\u0939]", "th": "[\u0e01-\u0e30]",
}  # fmt: skip
ROUND_TRIPS = 20_000
CHARACTERS = 10_000  # of each kind of line, on which bits are measured
LONGEST = 200  # characters of a line that is measured


def read(folder: Path) -> dict[str, list[str]]:
    """Texts by language, Chinese of all regions as `zh`."""
    found: dict[str, list[str]] = defaultdict(list)
    for batch in pq.ParquetFile(folder / "corpus.parquet").iter_batches(columns=["text", "language"]):
        for text, language in zip(*(batch.column(name).to_pylist() for name in ("text", "language")), strict=True):
            found[language.partition("-")[0]].append(text)
    return found


def lines(texts: list[str], pattern: str, most: int) -> list[str]:
    wanted, found = re.compile(pattern), []
    for text in texts:
        found += [line for line in text.splitlines() if len(wanted.findall(line)) > len(line) / 2]
        if len(found) >= most:
            break
    return found[:most]


def probes(corpus: dict[str, list[str]]) -> list[str]:
    """Lines of ten scripts, made up where Debian's documentation has too few, and of random bytes."""
    rng = random.Random(7)
    every = [text for texts in corpus.values() for text in texts]
    found: list[str] = []
    for name, pattern in SCRIPTS.items():
        some = lines(corpus.get(name) or every, pattern, ROUND_TRIPS // len(SCRIPTS))
        letters = [chr(code) for code in range(0xD800) if re.fullmatch(pattern, chr(code))]
        while len(some) < ROUND_TRIPS // len(SCRIPTS):
            some.append(" ".join("".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(8)))
        found += some
    noise = [bytes(rng.randrange(256) for _ in range(40)).decode("utf-8", "replace") for _ in range(ROUND_TRIPS // 10)]
    return [*found, *noise]


def write(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def recipe(kind: str, pieces: int) -> str:
    base = "bundled:smollm2" if kind == "smollm2" else "base"
    made = (
        ""
        if kind == "smollm2"
        else f"  base: {{from: en.jsonl, steps: [train_tokenizer: {{form: {kind}, size: 16000}}]}}\n"
    )
    step = f"extend_vocabulary: {{base: {base}, pieces: {pieces}, scripts: [Han]}}"
    return f"name: {kind}\ntargets:\n  zh: {{from: zh.jsonl}}\n{made}  grown: {{from: zh, steps: [{step}]}}\n"


def rate(tokenizer: Any, texts: list[str]) -> float:
    cut = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return sum(len(one.ids) for one in cut) / sum(map(len, texts))


def unknown(tokenizer: Any, texts: list[str]) -> float:
    """The share of the characters that stand in words of which a WordPiece tokenizer knows nothing."""
    cut = tokenizer.encode_batch(texts, add_special_tokens=False)
    spans = (span for one in cut for token, span in zip(one.tokens, one.offsets, strict=True) if token == "[UNK]")
    return sum(end - start for start, end in spans) / sum(map(len, texts))


def extend(root: Path, kind: str, pieces: int, corpus: dict[str, list[str]]) -> None:
    path = root / f"{kind}.yaml"
    path.write_text(recipe(kind, pieces), encoding="utf-8")
    factory.build(path, ("zh",) if kind == "smollm2" else ("zh", "base"))
    begun = time.perf_counter()
    result = factory.build(path, ("grown",))
    seconds = time.perf_counter() - begun
    old = Model("bundled:smollm2") if kind == "smollm2" else result["base"]
    before, after = (load_tokenizer(model).backend_tokenizer for model in (old, result["grown"]))
    note = json.loads((result["grown"].path / "extension.json").read_text())
    new = range(note["first"], note["first"] + note["count"])
    held = lines(corpus["zh"][::20], SCRIPTS["zh"], 10**6)
    rates = rate(before, held), rate(after, held)
    probed = probes(corpus)
    english = [line for text in corpus["en"] for line in text.splitlines() if line.strip() and not HAN.search(line)]
    english = english[:20_000]
    print(f"\n{kind}: {len(new):,} pieces in {seconds:.1f} s")
    print(
        f"  tokens per character of {sum(map(len, held)):,} held-out characters: {rates[0]:.3f} → {rates[1]:.3f}",
        end="",
    )
    lost = [unknown(one, held) for one in (before, after)]
    said = f", characters in unknown words {lost[0]:.1%} → {lost[1]:.1%}" if lost[0] else ""
    print(said or f", {1 - rates[1] / rates[0]:.1%} fewer")
    dead, partial = gates.unreachable(after, new), gates.intermediates(after, new)
    print(f"  unreachable {len(dead)}, besides {len(partial)} that are parts of characters")
    broken = [len(gates.broken_round_trips(one, probed)) for one in (before, after)]
    kinds = f"{len(probed):,} lines of {len(SCRIPTS)} scripts and random bytes"
    print(f"  do not come back of {kinds}: {broken[0]} → {broken[1]}")
    print(f"  English lines cut otherwise: {len(gates.drifted(before, after, english))} of {len(english):,}")


def bits(model: Any, tokenizer: Any, texts: list[str]) -> float:
    """Bits per character of the texts, each behind a token that begins a text."""
    encoded, characters = [], 0
    for text in texts:
        ids = [tokenizer.bos_token_id or 0, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        encoded.append(Encoded(ids, [0] + [1] * (len(ids) - 1)))
        characters += len(text)
    return math.fsum(loss for _, loss in losses(model, encoded)) / math.log(2) / characters


def sample(texts: list[str], pattern: str, least: int) -> list[str]:
    """CHARACTERS of lines of a script in a drawn order: of at least so many characters, cut at LONGEST."""
    found = [line[:LONGEST] for line in lines(texts, pattern, 10**6) if len(line) >= least]
    random.Random(1).shuffle(found)
    ends = list(accumulate(map(len, found)))
    return found[: bisect_left(ends, CHARACTERS) + 1]


def rows(root: Path, pieces: int, steps: int, corpus: dict[str, list[str]]) -> None:
    probed = {
        "Chinese lines": sample(corpus["zh"][::20], SCRIPTS["zh"], 1),
        "of 100 characters and more": sample(corpus["zh"][::20], SCRIPTS["zh"], 100),
        "English": sample(corpus["en"][::20], SCRIPTS["en"], 100),
    }
    write(root / "held_zh.jsonl", probed["Chinese lines"])
    write(root / "held_en.jsonl", probed["English"])
    ways = get_args(Initialise)
    step = f"extend_vocabulary: {{base: bundled:smollm2, pieces: {pieces}, scripts: [Han], initialise: %s}}"
    targets = "".join(f"  {way}: {{from: zh, steps: [{step % way}]}}\n" for way in ways)
    train = "method: rows, seq_len: 256, batch_size: 4, accumulation: 1, evaluations: 1"
    train = f"base: mean, {train}, max_steps: {steps}, held_out: {{zh: held_zh.jsonl, en: held_en.jsonl}}"
    path = root / "rows.yaml"
    targets += f"  trained: {{from: zh, steps: [pretrain: {{{train}}}]}}\n"
    path.write_text(f"name: rows\ntargets:\n  zh: {{from: zh.jsonl}}\n{targets}", encoding="utf-8")
    result = factory.build(path)
    print(f"\nBits per character, and of the base's\n\n| rows begun as | {' | '.join(probed)} |")
    print(f"|---|{'---:|' * len(probed)}")
    models = {"the base itself": Model("bundled:smollm2"), **{way: result[way] for way in ways}}
    models[f"mean, {steps} steps on the new rows"] = result["trained"]
    base: list[float] = []
    for name, model in models.items():
        lm, tokenizer = load_causal_lm(model), load_tokenizer(model)
        found = [bits(lm, tokenizer, texts) for texts in probed.values()]
        base = base or found
        said = [f"{one:.4f} ({one / of:.3f})" for one, of in zip(found, base, strict=True)]
        print(f"| {name} | {' | '.join(said)} |", flush=True)
        del lm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pieces", type=int, default=8000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--steps", type=int, default=80)
    given = parser.parse_args()
    corpus = read(given.folder)
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        write(root / "zh.jsonl", [text for at, text in enumerate(corpus["zh"]) if at % 20])
        write(root / "en.jsonl", corpus["en"][1::10])
        if given.rows:
            rows(root, given.pieces, given.steps, corpus)
        else:
            for kind in given.kinds:
                extend(root, kind, given.pieces, corpus)


if __name__ == "__main__":
    main()
