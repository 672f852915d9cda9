"""Extend every base in a folder, and train every form, in a process of its own: BASES OUTPUT."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, sentences
from steps import extend, train

from factory import CausalLM, Tokenizer

bases, output = map(Path, sys.argv[1:3])
lines = [*sentences("Han"), *sentences("Cyrillic"), *ENGLISH]
for folder in sorted(bases.iterdir()):
    kind = CausalLM if (folder / "config.json").is_file() else Tokenizer
    how = {"initialise": "normal"} if kind is CausalLM else {}
    extend(
        output / folder.name,
        kind(folder.name, folder.name, folder),
        lines,
        pieces=60,
        scripts=["Han", "Cyrillic"],
        **how,
    )
    extend(
        output / f"{folder.name}-protected", kind(folder.name, folder.name, folder), lines, pieces=30, protect=ENGLISH
    )
for form, size in {"byte_level_bpe": 500, "sentencepiece_bpe": 500, "unigram": 480, "wordpiece": 300}.items():
    train(output / "forms" / form, lines, form=form, size=size, coverage=1.0)
