"""A real multilingual corpus from Debian's documentation packages, with near-duplicates of known Jaccard in it.

    python benchmarks/corpus.py FOLDER                 over 200 MB in two dozen languages
    python benchmarks/corpus.py FOLDER --grow 2000     and FOLDER/grown.parquet with 2,000 MB

Packages are downloaded with `apt-get download`, which needs no root; what lies in --debs already is used as it is. The
same versions give the same corpus. FOLDER gets

    corpus.jsonl.zst, corpus.parquet   id, text, language, source (the package), shuffled
    truth.jsonl                        the 5,000 copies: copy, original, jaccard, unspaced, language, edit
    stats.json                         counts and package versions; written last: where it is, the corpus is complete
    grown.parquet                      the corpus, then edits of it so heavy that hardly one is a near-duplicate
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import tempfile
import time
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from debian_text import Document, documents_of, size
from seeded_edits import KINDS, FarCopies, near_copy, pools

from factory.text.words import is_unspaced, shingles

SEED = 20260101
COPIES = 5000
ROW_GROUP = 4000  # documents, about 8 MB
REPEATS = 10  # one in so many exact duplicates stays: documentation repeats itself more than the web
LEAST_MB = 200

# All in Debian 12's main.
PACKAGES = [
    *("manpages", "manpages-dev", "manpages-zh", "openjdk-17-doc", "postgresql-doc-15", "python3.11-doc", "git-doc"),
    *("linux-doc-6.1", "python-django-doc", "debian-handbook", "debian-policy", "debian-policy-ja", "debian-faq"),
    *(f"manpages-{part}" for part in ("de", "de-dev", "fr", "fr-dev", "ja", "ja-dev", "ru", "ru-dev")),
    *(f"manpages-{language}" for language in ("es", "it", "pl", "pt-br")),
    *(f"libreoffice-help-{language}" for language in ("de", "en-us", "es", "fr", "it", "ja", "ko", "pt-br", "ru")),
    *(f"libreoffice-help-{language}" for language in ("zh-cn", "zh-tw")),
    *(f"debian-reference-{language}" for language in ("de", "en", "es", "fr", "ja", "zh-cn", "zh-tw")),
    *("developers-reference", *(f"developers-reference-{language}" for language in ("de", "fr", "ja", "ru"))),
    *(f"lilypond-doc-html-{language}" for language in ("de", "fr", "ja", "zh")),
    *(f"aptitude-doc-{language}" for language in ("es", "fr", "ja", "ru")),
    *(f"debian-faq-{language}" for language in ("de", "fr", "ja", "ru", "zh-cn")),
    *(f"maint-guide-{language}" for language in ("ja", "ru", "zh-cn", "zh-tw")),
]


# --- packages ------------------------------------------------------------------------------------------------------


def fetch(packages: Iterable[str], debs: Path) -> dict[str, Path]:
    """The archive of every package that can be had, downloaded where it is missing; says which cannot."""
    if missing := [tool for tool in ("apt-get", "dpkg") if not shutil.which(tool)]:
        raise SystemExit(f"{' and '.join(missing)} not found: the corpus is made from Debian packages, on Debian")
    debs.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    for package in sorted(packages):
        if not any(debs.glob(f"{package}_*.deb")):
            done = subprocess.run(["apt-get", "-q", "download", package], cwd=debs, capture_output=True, text=True)
            if done.returncode:
                print(f"{package}: apt-get cannot download it: {(done.stderr.strip() or 'no reason').splitlines()[-1]}")
                continue
        found[package] = max(debs.glob(f"{package}_*.deb"))
    return found


def version_of(archive: Path) -> str:
    """The version in an archive's name."""
    return archive.name.split("_")[1].replace("%3a", ":")


def extract(archives: dict[str, Path], processes: int, beside: Path) -> Iterator[Document]:
    """The documents of all packages; one package at a time is unpacked in `beside`, and removed again."""
    with ProcessPoolExecutor(processes) as workers:
        for package, archive in archives.items():
            with tempfile.TemporaryDirectory(dir=beside) as name:
                root = Path(name)
                subprocess.run(["dpkg", "-x", archive, root], check=True)
                paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
                read = partial(documents_of, root, source=package)
                for documents in workers.map(read, paths, chunksize=32):
                    yield from documents


# --- the corpus ----------------------------------------------------------------------------------------------------


def without_repeats(documents: list[Document]) -> tuple[list[Document], int]:
    """The documents and how many repeated another word for word; one in REPEATS of these stays, with its language.

    English comes first, for a text in two languages is one that was not translated.
    """
    first: dict[bytes, str] = {}
    kept: list[Document] = []
    repeats = 0
    for document in sorted(documents, key=lambda one: (one.language != "en", one.id)):
        content = blake2b(document.text.encode(), digest_size=16).digest()
        if content in first:
            repeats += 1
            if zlib.crc32(document.id.encode()) % REPEATS:
                continue
        kept.append(document._replace(language=first.setdefault(content, document.language)))
    return kept, repeats


def near_duplicates(documents: list[Document], wanted: int = COPIES) -> tuple[list[Document], list[dict[str, Any]]]:
    """Edited copies of documents and what is true of each: half in spaced scripts, half in unspaced ones.

    Half of them are aimed at a Jaccard between .7 and 1, where thresholds lie, the others between .3 and 1. Originals
    have 400 to 8,000 bytes, at least 60 shingles and no exact duplicate.
    """
    drawn = random.Random(SEED)
    times = Counter(document.text for document in documents)
    pool_of = pools(documents)
    fit = [document for document in documents if times[document.text] == 1 and 400 <= size(document.text) <= 8000]
    copies: list[Document] = []
    truth: list[dict[str, Any]] = []
    for unspaced in (False, True):
        originals = [document for document in fit if is_unspaced(document.text) == unspaced]
        drawn.shuffle(originals)
        enough = len(copies) + wanted // 2
        for original in originals:
            if len(copies) == enough:
                break
            before = shingles(original.text)
            if len(before) < 60:
                continue
            kind = KINDS[len(copies) % len(KINDS)]
            aim = drawn.uniform(0.7 if drawn.random() < 0.5 else 0.3, 1)
            text = near_copy(original.text, kind, aim, pool_of[original.language, unspaced], drawn)
            after = shingles(text)
            copy = original._replace(id=f"{original.id}~{kind}", text=text)
            copies.append(copy)
            truth.append(
                {
                    "copy": copy.id,
                    "original": original.id,
                    "jaccard": len(before & after) / len(before | after),
                    "unspaced": unspaced,
                    "language": original.language,
                    "edit": kind,
                }
            )
    return copies, truth


def build(folder: Path, debs: Path, processes: int) -> dict[str, Any]:
    """Write the corpus, the truth and the counts, which are returned."""
    folder.mkdir(parents=True, exist_ok=True)
    archives = fetch(PACKAGES, debs)
    documents, repeats = without_repeats(list(extract(archives, processes, folder)))
    if len({document.id for document in documents}) < len(documents):
        raise SystemExit("two documents have one id: the place of a document was expected to be its own")
    random.Random(SEED).shuffle(documents)  # pools hold every language's first documents: of all its packages
    kept = len(documents) - len({document.text for document in documents})
    copies, truth = near_duplicates(documents)
    documents += copies
    random.Random(SEED + 1).shuffle(documents)
    write_corpus(documents, folder)
    with (folder / "truth.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in truth)
    stats = {
        **count(documents),
        "exact_duplicates": {"found": repeats, "kept": kept},
        "copies": {
            "unspaced" if unspaced else "spaced": {
                f"jaccard >= {least}": sum(row["unspaced"] == unspaced and row["jaccard"] >= least for row in truth)
                for least in (0.0, 0.5, 0.7, 0.8, 0.9)
            }
            for unspaced in (False, True)
        },
        "packages": {package: version_of(archive) for package, archive in archives.items()},
        "not_found": sorted(set(PACKAGES) - set(archives)),
    }
    (folder / "stats.json").write_text(json.dumps(stats, indent=1) + "\n", encoding="utf-8")
    return stats


def count(documents: list[Document]) -> dict[str, Any]:
    """Documents and bytes: of all, by language and of unspaced scripts, the largest first."""
    bytes_of: Counter[str] = Counter()
    number_of = Counter(document.language for document in documents)
    for document in documents:
        bytes_of[document.language] += size(document.text)
    unspaced = [document for document in documents if is_unspaced(document.text)]
    return {
        "documents": len(documents),
        "bytes": bytes_of.total(),
        "unspaced": {"documents": len(unspaced), "bytes": sum(size(document.text) for document in unspaced)},
        "languages": {
            language: {"documents": number_of[language], "bytes": total} for language, total in bytes_of.most_common()
        },
    }


# --- growing -------------------------------------------------------------------------------------------------------


def grow(folder: Path, megabytes: float) -> tuple[int, int]:
    """Write grown.parquet, the corpus and edits of it up to a size; (documents, bytes).

    Memory is a row group and the pools.
    """
    number = written = 0
    with parquet(folder / "grown.parquet") as write:
        for group in with_far_copies(folder / "corpus.parquet"):
            totals = list(itertools.accumulate((size(document.text) for document in group), initial=written))
            room = bisect_left(totals, megabytes * 1e6)
            write(group[:room])
            number += len(group[:room])
            written = totals[min(room, len(group))]
            if room <= len(group):
                break
    return number, written


def with_far_copies(corpus: Path) -> Iterator[list[Document]]:
    """The row groups of a corpus, then edits of each, round after round without end."""
    far = FarCopies(pools(document for group in row_groups(corpus) for document in group))
    yield from row_groups(corpus)
    for around in itertools.count(1):
        for at, group in enumerate(row_groups(corpus)):
            drawn = np.random.default_rng((SEED, around, at))
            yield [
                document._replace(
                    id=f"{document.id}~far{around}", text=far.copy(document.text, document.language, drawn)
                )
                for document in group
            ]


# --- files ---------------------------------------------------------------------------------------------------------


def write_corpus(documents: list[Document], folder: Path) -> None:
    """The documents as corpus.jsonl.zst and corpus.parquet."""
    with (
        (folder / "corpus.jsonl.zst").open("wb") as raw,
        zstandard.ZstdCompressor(level=3).stream_writer(raw) as out,
    ):
        for document in documents:
            out.write(orjson.dumps(document._asdict()) + b"\n")
    with parquet(folder / "corpus.parquet") as write:
        for start in range(0, len(documents), ROW_GROUP):
            write(documents[start : start + ROW_GROUP])


@contextmanager
def parquet(path: Path) -> Iterator[Callable[[list[Document]], None]]:
    """A function that writes one row group; the file has its name only when all is in it."""
    part = path.with_suffix(".part")
    schema = pa.schema([(name, pa.string()) for name in Document._fields])
    with pq.ParquetWriter(part, schema, compression="zstd") as out:
        yield lambda group: out.write_table(pa.Table.from_pylist([one._asdict() for one in group], schema=schema))
    part.rename(path)


def row_groups(path: Path) -> Iterator[list[Document]]:
    """The documents of a Parquet file, row group by row group."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            columns = file.read_row_group(group, columns=list(Document._fields)).to_pydict()
            yield [Document(*row) for row in zip(*columns.values(), strict=True)]


# --- the command ---------------------------------------------------------------------------------------------------


def table(stats: dict[str, Any]) -> str:
    """Megabytes and documents of every language."""
    rows = [(name, one["bytes"], one["documents"]) for name, one in stats["languages"].items()]
    rows.append(("all", stats["bytes"], stats["documents"]))
    return "\n".join(["language       MB  documents", *(f"{a:8} {b / 1e6:8.1f} {c:10,}" for a, b, c in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--debs", type=Path, help="where packages lie and are put; FOLDER/debs unless told")
    parser.add_argument("--grow", type=float, metavar="MB", help="write grown.parquet of this size too")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    folder: Path = options.folder
    began = time.perf_counter()
    done = folder / "stats.json"
    if done.exists():
        stats = json.loads(done.read_text(encoding="utf-8"))
        print(f"{folder} holds a corpus already; remove {done} to build it anew")
    else:
        stats = build(folder, options.debs or folder / "debs", options.processes)
        print(f"built in {time.perf_counter() - began:.0f} s; not found: {', '.join(stats['not_found']) or 'none'}")
    print(table(stats))
    if options.grow:
        began = time.perf_counter()
        number, written = grow(folder, options.grow)
        print(f"grown to {number:,} documents, {written / 1e6:,.0f} MB in {time.perf_counter() - began:.0f} s")
    if stats["bytes"] < LEAST_MB * 1e6:
        raise SystemExit(f"the corpus has under {LEAST_MB} MB; were packages missing? `apt-get update` may find them")


if __name__ == "__main__":
    main()
