"""Compile every kernel into the user's cache, as a C extension is built when it is installed; `make install` does.

    python -m factory.warm

All steps that have kernels are built on a handful of texts, in every reading, in a process for each CPU; the kernels
of those that run in a process of their own are called. Without this, kernels are compiled when a build first needs
them, by each of its processes.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import factory

TEXTS = [
    "The boats that came in at night lie side by side. They have come a long way, and nobody is awake.\n\n"
    "- the man with the radio, he said\n- and the man with the radio, he said\n\nNobody is awake but the man with the "
    "radio, who isn't asleep; write to him at him@harbour.example or call +49 30 901820 in the evening.",
    "Wer früh am Hafen ist, sieht die Boote: 12,5 m lang, blau… und alt.\nWer früh am Hafen ist, sieht die Boote.",
    "夜に着いた船が並んでいる。ラジオを持つ男のほかは誰も起きていない。",
]


def groups() -> list[list[str]]:
    """Steps as in a recipe; those that use the same kernels in one group, the dearest groups first."""
    from .corpus.rules import c4, fineweb, fineweb2, gopher, juicer, refinedweb, repetition

    def readings(step: str, reading: Any, **options: Any) -> list[str]:
        return [f"{step}: {json.dumps({'reading': one, **options})}" for one in get_args(reading)]

    lists = {"flagged_words": "words.txt", "stop_words": "words.txt"}
    return [
        [*readings("gopher_repetition", repetition.Reading), *readings("gopher_quality", gopher.Reading)],
        [
            *readings("c4", c4.Reading),
            *readings("refinedweb_lines", refinedweb.Reading),
            "c4_documents",
            *readings("fineweb", fineweb.Reading),
        ],
        ["language", "language_paragraphs: {keep: [en]}", "normalize", "fix_text", "mask_pii", "dedup_minhash"],
        ["dedup_substrings: {tokens: 5}", "dedup_lines", "dedup_lines: {unit: paragraph}"],
        ["decontaminate: {against: [other]}", "decontaminate: {against: [other], ngram: 5, characters: 8}", "novel"],
        [
            *readings("data_juicer", juicer.Reading, **lists),
            "bad_words: {words: words.txt}",
            f"fineweb2: {{language: {get_args(fineweb2.Language)[0]}}}",
        ],
    ]


def compile_group(steps: list[str]) -> float:
    """Build each step on the texts, in this process; the seconds that it took."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        rows = [{"text": text} for text in (*TEXTS, *TEXTS, *(text.upper() for text in TEXTS))]
        for name in ("texts", "other"):
            (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (root / "words.txt").write_text("radio\nthe man\n", encoding="utf-8")
        targets = [f"  t{at}: {{from: texts, steps: [{step}]}}\n" for at, step in enumerate(steps)]
        recipe = root / "warm.yaml"
        sources = "  texts: {from: texts.jsonl}\n  other: {from: other.jsonl}\n"
        recipe.write_text(f"name: warm\ntargets:\n{sources}{''.join(targets)}", encoding="utf-8")
        factory.build(recipe)
    return time.perf_counter() - begun


def call() -> None:
    """Call the kernels of steps that train or make models, on next to nothing."""
    import numpy as np

    from .train.packing import pack
    from .vocabulary.merging import WHOLE, Sequences, Symbols, learn

    pack(np.array([3, 2]), 4)
    runs = Sequences(np.array([0, 1, 0], np.int32), np.array([0, 3]), np.array([2]))
    learn(runs, Symbols(np.full(2, WHOLE, np.int8), np.zeros(2, np.int8), np.ones(2, np.int16)), 1, 1, 4)


def main() -> None:
    begun = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool() as pool:
        for steps, seconds in zip(groups(), pool.imap(compile_group, groups(), chunksize=1), strict=True):
            print(f"{seconds:6.1f} s  {', '.join(dict.fromkeys(step.split(':')[0] for step in steps))}", flush=True)
    call()
    print(f"kernels are compiled, {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
