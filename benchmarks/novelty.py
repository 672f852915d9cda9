"""`novel` against rouge_score on short texts of Debian's documentation: first sentences, headings and synopses.

    python benchmarks/novelty.py FOLDER [--texts 20000] [--judged 5000]

FOLDER/debs holds the packages; what is missing is downloaded with `apt-get download`. One text in seven is a copy of
another with one or two words changed. Printed are the CPU seconds of `novel` over all texts, kernels compiled before;
whether its decisions on the first --judged texts are those of rouge_score, pair by pair; rouge_score's seconds for
them, from a part without any bound; and what becomes of near copies of Chinese texts and of distinct ones.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from corpus import fetch
from debian_text import html_sections, man_sections, reader_of

from factory import user
from factory.instruct.novelty import novel
from factory.text.words import is_unspaced, rouge_words, words

THRESHOLD = 0.7
ENGLISH = ("manpages", "manpages-dev", "git-doc", "debian-policy", "debian-reference-en", "developers-reference")
ENGLISH += ("python3.11-doc", "postgresql-doc-15", "python-django-doc")
CHINESE = ("debian-reference-zh-cn", "maint-guide-zh-cn", "debian-faq-zh-cn", "manpages-zh")
PLAIN = 400  # texts that rouge_score compares pair by pair without a bound
SENTENCE = re.compile(r"(?<=[.!?])\s|(?<=[。！？])")
FILLERS = {False: ["really", "new", "one", "given"], True: ["新", "的", "个", "很"]}


def short_texts(packages: Iterable[str], debs: Path) -> list[str]:
    """Headings, first sentences and synopses of the packages' pages, each once, in a drawn order."""
    found: dict[str, None] = {}
    for package, archive in fetch(packages, debs).items():
        with tempfile.TemporaryDirectory() as name:
            subprocess.run(["dpkg", "-x", archive, name], check=True)
            for path in sorted(path for path in Path(name).rglob("*") if path.is_file() and not path.is_symlink()):
                if (reader := reader_of(path.relative_to(name).as_posix().removeprefix("usr/share/"))) is None:
                    continue
                content = path.read_bytes()
                content = gzip.decompress(content) if path.suffix == ".gz" else content
                if reader in (html_sections, man_sections):
                    found |= dict.fromkeys(text for section in reader(content) for text in parts_of(section))
        print(f"  {package}: {len(found):,} texts")
    texts = list(found)
    random.Random(0).shuffle(texts)
    return texts


def parts_of(section: str) -> Iterator[str]:
    """A section's heading (the name's synopsis in a manual page) and its first sentences."""
    for paragraph in section.split("\n\n")[:4]:
        text = " ".join(SENTENCE.split(" ".join(paragraph.split()), maxsplit=1)[0].split())
        if 3 <= len(words(text)) <= 60:
            yield text


def edited(text: str, draw: random.Random) -> str:
    """The text with one or two words (characters) changed, left out or put in; and now and then another case."""
    parts = list(text) if is_unspaced(text) else text.split(" ")
    filler = FILLERS[is_unspaced(text)]
    for _ in range(draw.choice([1, 1, 2])):
        at = draw.randrange(len(parts))
        parts[at : at + 1] = draw.choice([[], [draw.choice(filler)], [parts[at], draw.choice(filler)]])
        parts = parts or [draw.choice(filler)]
    made = ("" if is_unspaced(text) else " ").join(parts)
    return made.upper() if draw.random() < 0.05 else made


def with_edits(texts: list[str], count: int) -> list[str]:
    """`count` texts, one in seven of them an edited copy of another, shuffled."""
    draw = random.Random(1)
    copies = count // 7
    originals = texts[: count - copies]
    made = originals + [edited(text, draw) for text in draw.sample(originals, copies)]
    draw.shuffle(made)
    return made


def records(texts: list[str]) -> list[Any]:
    return [{"id": str(at), "parents": [], "prompt": user(text), "meta": {}} for at, text in enumerate(texts)]


def judged_rows(tokens: list[list[str]], bounded: bool, rows: tuple[int, int]) -> list[tuple[int, int]]:
    """Pairs (j, i), j < i, of which rouge_score says that F is above the threshold, for the texts i in `rows`.

    With `bounded`, pairs are passed over that cannot reach it: F is at most 2 s / (m + n), s being the tokens shared.
    """
    from rouge_score.rouge_scorer import _score_lcs

    counts = [Counter(each) for each in tokens]
    found = []
    for i in range(*rows):
        m = len(tokens[i])
        for j in range(i):
            n = len(tokens[j])
            if bounded:
                least = THRESHOLD * (m + n) / 2 - 1e-9
                if min(m, n) < least:
                    continue
                held = counts[j]
                if sum(min(times, held[token]) for token, times in counts[i].items() if token in held) < least:
                    continue
            if _score_lcs(tokens[j], tokens[i]).fmeasure > THRESHOLD:
                found.append((j, i))
    return found


def decisions(pairs: Iterable[tuple[int, int]], count: int) -> set[int]:
    """The texts that a filter drops which compares each with the kept ones before it."""
    like: dict[int, list[int]] = {}
    for j, i in pairs:
        like.setdefault(i, []).append(j)
    dropped: set[int] = set()
    for i in range(count):
        if any(j not in dropped for j in like.get(i, ())):
            dropped.add(i)
    return dropped


def judge(texts: list[str], processes: int) -> tuple[set[int], float]:
    """What rouge_score drops of the texts; and the CPU seconds it would take for all pairs, from a part of them."""
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer()
    tokens = [tokenizer.tokenize(text) for text in texts]
    began = time.process_time()
    plain = judged_rows(tokens, False, (0, min(PLAIN, len(texts))))
    seconds = time.process_time() - began
    assert plain == judged_rows(tokens, True, (0, min(PLAIN, len(texts))))  # the bound loses nothing
    step = max(1, len(texts) // 40)
    blocks = [(first, min(first + step, len(texts))) for first in range(0, len(texts), step)]
    with ProcessPoolExecutor(processes) as workers:
        pairs = [pair for found in workers.map(partial(judged_rows, tokens, True), blocks) for pair in found]
    return decisions(pairs, len(texts)), seconds / min(PLAIN, len(texts)) ** 2


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--texts", type=int, default=20000)
    options.add_argument("--judged", type=int, default=5000, help="how many of them rouge_score judges")
    options.add_argument("--processes", type=int, default=2, help="for the judge")
    given = options.parse_args()
    texts = with_edits(short_texts(ENGLISH, given.folder / "debs"), given.texts)
    sizes = sorted(len(rouge_words(text)) for text in texts)
    print(f"{len(texts):,} texts of {sizes[0]} to {sizes[-1]} words, {sizes[len(sizes) // 2]} in the middle")
    novel.function(records(["Name a river.", "Name a river!"]))  # kernels are compiled or loaded
    rows = records(texts)
    began, clock = time.process_time(), time.perf_counter()
    drops = novel.function(rows, THRESHOLD)
    seconds = time.process_time() - began
    print(
        f"novel: {len(drops):,} dropped in {seconds:.2f} CPU seconds ({time.perf_counter() - clock:.2f} on the clock)"
    )

    some = texts[: given.judged]
    ours = {int(record) for record in novel.function(records(some), THRESHOLD)}
    theirs, a_pair = judge(some, given.processes)
    said = "identical" if ours == theirs else f"{len(ours ^ theirs)} DIFFER: {sorted(ours ^ theirs)[:5]}"
    print(f"decisions on {len(some):,} texts against rouge_score: {said} ({len(theirs):,} dropped)")
    kept, all_kept = len(some) - len(theirs), len(texts) - len(drops)
    slow = a_pair * kept**2
    print(f"rouge_score, tokens made before, all pairs of {len(some):,}: about {slow:,.0f} CPU seconds", end="")
    print(f"; of {len(texts):,} {a_pair * all_kept**2:,.0f}, {a_pair * all_kept**2 / seconds:,.0f} times as many")

    chinese = [text for text in short_texts(CHINESE, given.folder / "debs") if is_unspaced(text)][:2000]
    chinese = [text for text in chinese if len(words(text)) >= 10]
    distinct = novel.function(records(chinese))
    first = [text for at, text in enumerate(chinese) if str(at) not in distinct]
    draw = random.Random(2)
    copies = novel.function(records([edited(text, draw) for text in first]), against=records(first))
    print(f"Chinese: {len(first):,} of {len(chinese):,} kept; of a light edit of each, {len(copies):,} dropped")


if __name__ == "__main__":
    main()
