"""Whether transformers, tokenizers and llama.cpp cut text into equal tokens: lines of many scripts, and random ones.

    python benchmarks/parity.py [MODEL ...] [--lines 2000] [--llama PYTHON]

MODEL is anything a recipe can name (bundled:smollm2, a folder). Without one: bundled:smollm2, the same with merges of
Chinese, Russian and Arabic behind its own, and a SentencePiece BPE with byte fallback that is trained on the spot,
plain and with pieces more. PYTHON is an interpreter with llama-cpp-python, which reads the GGUF file that is written
here (`vocab_only`). No line holds a special token.

Printed are the lines, the tokens, and how many lines differ from those of transformers, with the first of them. A line
that the tokenizer cannot spell, since it has no token for one of its bytes, is counted apart: SmolLM2 has none for
U+0006, and what stands around the gap is joined by tokenizers and not by llama.cpp.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory import FactoryError, Model
from factory.models import open_model
from factory.models.loading import load_tokenizer
from factory.vocabulary.gguf import save_vocabulary

LINES = [
    "The quick brown fox jumps over the lazy dog. It's they'll we've I'M DON'T 'tis",
    "在这个世界上，没有什么是不可能的。我们学习中文分词，世界很大！",
    "日本語の文章です。カタカナとひらがな、漢字。", "한국어 문장입니다. 띄어쓰기가 있어요.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر", "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า", "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण", "தமிழ் மொழி", "ქართული ენა", "አማርኛ ፊደል",
    "1 12 123 1234 12345 3.14159 1,000,000 २०२४ ١٢٣ ⅷ ²³ Ⅻ 0x1F", "👩‍👩‍👧‍👦 🇳🇴 👍🏽 ✈️ 🤷🏿‍♀️ 😀😀",
    "def f(x: int) -> str:\n\treturn f\"{x!r}\" if x != 0 else None  # done\n\n\n",
    "    for (int i = 0; i < n; ++i) { a[i] |= ~b[i] << 2; }\r\n",
    "  two  blanks   three    four\tand\t\ttabs \n \n  \n", " ", "  ", "\n", "\n\n\n", "\t", "a", "",
    "e\u0301 cafe\u0301 ﬁ ﬀ Ａ ½ \u00a0nbsp\u00a0 \u3000wide\u3000 \u200b\u200d\ufeff zero", "\u202eright\u202c",
    "a\u2028b\u2029c\x85d\x0be",
    "ＡＢＣ１２３ ﷺ ᾳ ǅ ß ŉ İıſK", "https://example.com/a?b=c&d=%20#e user@host.tld $100.00 €5 £6 ¥7 ₿8",
    "''''''```````\"\"\"\"......!!!!!!??????------=======", "x\u0000y\u0001z\u007f",
]  # fmt: skip
WORDS = re.split(
    " ", "the of and list function мир слово世界 中文 학교 کتاب 12 3.5 é ... \n \t == { } () it's 'LL 😀 ไทย"
)

READER = """
import json, sys
from llama_cpp import Llama
llama = Llama(model_path=sys.argv[1], vocab_only=True, verbose=False)
for line in sys.stdin:
    print(json.dumps(llama.tokenize(json.loads(line).encode(), add_bos=False, special=False)))
"""


def lines(count: int) -> Iterator[str]:
    """The probe lines, then random ones: characters of all planes, bytes decoded with replacement, words and blanks."""
    yield from LINES
    draw = random.Random(0)
    for at in range(count):
        if at % 3 == 0:
            codes = (draw.randrange(*draw.choice([(32, 127), (0xA0, 0x800), (0x800, 0xD800), (0xE000, 0x20000)]))
                     for _ in range(draw.randrange(1, 40)))  # fmt: skip
            yield "".join(map(chr, codes))
        elif at % 3 == 1:
            yield draw.randbytes(draw.randrange(1, 60)).decode(errors="replace")
        else:
            yield "".join(draw.choice(WORDS) + draw.choice(["", " ", "  ", "\n"]) for _ in range(draw.randrange(1, 25)))


def by_llama(python: str, file: Path, probe: list[str]) -> list[list[int]]:
    said = "".join(json.dumps(line) + "\n" for line in probe)
    done = subprocess.run([python, "-c", READER, str(file)], input=said, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python}: {done.stderr.strip().splitlines()[-1:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(model: Model, name: str, probe: list[str], python: str | None, folder: Path) -> int:
    """Print a line of the table; how many lines differ anywhere."""
    wrapped = load_tokenizer(model)
    cuts = {
        "transformers": wrapped(probe, add_special_tokens=False)["input_ids"],
        "tokenizers": [one.ids for one in wrapped.backend_tokenizer.encode_batch(probe, add_special_tokens=False)],
    }
    if model.path is not None and (model.path / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        plain = Tokenizer.from_file(str(model.path / "tokenizer.json"))
        cuts["tokenizer.json"] = [one.ids for one in plain.encode_batch(probe, add_special_tokens=False)]
    try:
        save_vocabulary(model, folder / "vocabulary.gguf")
        if python:
            cuts["llama.cpp"] = by_llama(python, folder / "vocabulary.gguf", probe)
    except FactoryError as error:
        print(f"{name}: {error}")
    others = {other: ids for other, ids in cuts.items() if other != "transformers"}
    back = wrapped.backend_tokenizer.decode_batch(cuts["tokenizers"], skip_special_tokens=False)
    print(f"{name}: {len(probe):,} lines, {sum(map(len, cuts['transformers'])):,} tokens; differ from transformers:")
    total = 0
    for other, ids in others.items():
        places = [at for at, pair in enumerate(zip(cuts["transformers"], ids, strict=True)) if pair[0] != pair[1]]
        unspelled = [at for at in places if back[at] != probe[at]]
        places = [at for at in places if back[at] == probe[at]]
        total += len(places)
        print(f"  {other:14} {len(places):,}, and {len(unspelled):,} that cannot be spelled")
        print("".join(f"      {probe[at]!r}\n" for at in places[:3]), end="")
        for at in places[:1]:
            print(f"      {wrapped.convert_ids_to_tokens(cuts['transformers'][at])[:20]}")
            print(f"      {wrapped.convert_ids_to_tokens(ids[at])[:20]}")
    return total


def extended(source: Model, folder: Path) -> Model:
    """A byte-level tokenizer with merges of other scripts behind its own, each of whole characters and of pairs."""
    wrapped = load_tokenizer(source)
    definition: dict[str, Any] = json.loads(wrapped.backend_tokenizer.to_str())
    vocab, merges = definition["model"]["vocab"], definition["model"]["merges"]
    for word in "".join(LINES[1:8]).replace("，", " ").replace("。", " ").split():
        cut = [piece for piece, _ in wrapped.backend_tokenizer.pre_tokenizer.pre_tokenize_str(word)]
        for piece in cut:
            tokens = [token.value for token in wrapped.backend_tokenizer.model.tokenize(piece)]
            while len(tokens) > 1:
                left, right = tokens[:2]
                if left + right not in vocab:
                    vocab[left + right] = max(vocab.values()) + 1
                    merges.append([left, right])
                tokens[:2] = [left + right]
    return saved(definition, folder, wrapped)


def sentencepiece(folder: Path, more: bool) -> Model:
    """A BPE as Llama 2 has it, trained on the probe lines: a merge for each way to part a piece, in order of pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=700 if more else 500, special_tokens=special, show_progress=False)
    trained.train_from_iterator([line for line in LINES for _ in range(2) if "\0" not in line], trainer)
    order = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    vocab = {piece: at for at, piece in enumerate([*special, *bytes_, *order[3:]])}
    merges = [[piece[:at], piece[at:]] for piece in order[3:] for at in range(1, len(piece))
              if piece[:at] in vocab and piece[at:] in vocab]  # fmt: skip
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = None
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    trained.decoder = decoders.Sequence(back)
    definition = json.loads(trained.to_str())
    definition["model"] |= {"vocab": vocab, "merges": merges, "byte_fallback": True, "fuse_unk": True}
    return saved(definition, folder, None)


def saved(definition: dict[str, Any], folder: Path, like: Any) -> Model:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    named = like.special_tokens_map if like else {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(definition)), **named)
    made.save_pretrained(folder)
    return Model(str(folder), folder.name, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--llama", metavar="PYTHON")
    given = parser.parse_args()
    probe = list(lines(given.lines))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = [(uri, open_model(uri=uri)) for uri in given.models]
        if not models:
            base = open_model(uri="bundled:smollm2")
            models = [
                ("bundled:smollm2", base),
                ("bundled:smollm2, extended", extended(base, folder / "extended")),
                ("SentencePiece BPE", sentencepiece(folder / "pieces", more=False)),
                ("SentencePiece BPE, extended", sentencepiece(folder / "more", more=True)),
            ]
        raise SystemExit(min(1, sum(compare(model, said, probe, given.llama, folder) for said, model in models)))


if __name__ == "__main__":
    main()
