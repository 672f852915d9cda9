"""What every rule of the shipped recipes drops on the benchmark corpus, with five examples a rule, as Markdown.

    python benchmarks/corpus.py FOLDER
    python benchmarks/presets.py FOLDER > docs/presets.md

web_en and web_zh read the whole corpus, in 25 languages; sft_clean reads pairs made of it: a document's first line asks
and the rest answers.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

import factory

EXAMPLES = 5
SHOWN = 110  # characters of an example
SEED = 11


def rows(corpus: Path, pairs: bool) -> Iterator[bytes]:
    """Lines of the input: texts, or pairs."""
    for batch in pq.ParquetFile(corpus).iter_batches(1024, columns=["id", "text"]):
        for row in batch.to_pylist():
            asked, _, answer = row["text"].partition("\n")
            if not pairs:
                yield orjson.dumps({"name": row["id"], "text": row["text"]}) + b"\n"
            elif answer.strip() and len(asked) < 300:
                yield orjson.dumps({"prompt": asked, "completion": answer.strip()}) + b"\n"


def report(name: str, corpus: Path) -> None:
    """Build one recipe and print its funnel and its examples."""
    with tempfile.TemporaryDirectory(dir=corpus.parent) as place:
        folder = Path(place)
        (folder / "documents").mkdir()
        with (folder / "documents" / "corpus.jsonl").open("wb") as file:
            file.writelines(rows(corpus, name == "sft_clean"))
        shutil.copy(Path(__file__).parents[1] / "recipes" / f"{name}.yaml", folder)
        began = time.perf_counter()
        result = factory.build(folder / f"{name}.yaml")
        seconds = time.perf_counter() - began
        stages = result.plan.stages
        lines = [line for stage in stages for line in (stage.manifest or {"funnel": []})["funnel"]]
        examples = sampled(row for stage in stages for row in stage.store.dropped(stage.fingerprint))
        size = (folder / "documents" / "corpus.jsonl").stat().st_size / 1e6
    kept = lines[-1]["out"]
    print(f"\n## {name}\n\n{size:,.0f} MB in {seconds:,.0f} s; {kept:,} of {lines[0]['in']:,} records kept.\n")
    print("| step | came | reason | dropped | of what came |\n|---|---:|---|---:|---:|")
    for line in lines:
        for reason, count in sorted(line["reasons"].items(), key=lambda item: -item[1]) or [("nothing", 0)]:
            print(f"| {line['step']} | {line['in']:,} | {reason} | {count:,} | {count / max(1, line['in']):.1%} |")
    for (step, reason), found in examples.items():
        print(f"\n**{step}: {reason}**\n")
        for row in found:
            text = " ".join(" ".join(_texts(row["record"])).split())[:SHOWN].replace("`", "'")
            details = ", ".join(f"{key} {value}" for key, value in row["details"].items() if key != "of")
            print(f"- `{text}` {f'({details})' if details else ''}".rstrip())


def sampled(dropped: Iterator[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """A few records of every step and reason, drawn evenly (Vitter 1985, algorithm R)."""
    drawn = random.Random(SEED)
    held: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    seen: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in dropped:
        key = row["step"], row["reason"]
        seen[key] += 1
        if len(held[key]) < EXAMPLES:
            held[key].append(row)
        elif (at := drawn.randrange(seen[key])) < EXAMPLES:
            held[key][at] = row
    return dict(held)


def _texts(record: dict[str, Any]) -> Iterator[str]:
    for value in record.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (message["content"] for message in value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print("# What the shipped recipes drop\n")
    print("Printed by `python benchmarks/presets.py FOLDER` on the benchmark corpus: documentation from Debian, in 25")
    print(
        "languages, with injected near copies. It is no web crawl: lists, tables and commands are many, spam is absent."
    )
    for name in ("web_en", "web_zh", "sft_clean"):
        report(name, folder / "corpus.parquet")


if __name__ == "__main__":
    main()
