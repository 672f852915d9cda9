"""What a dataset of preferences is like: how many pairs of how many prompts, their margins, and whether length decides.

Steps that make pairs see one record at a time and cannot tell; what they left in the store can.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from factory import text_of

from .artifacts import Found
from .markup import count, figure

MOST_PAIRS = 10_000  # pairs that are read
MOST_ROWS = 8


def told(founds: Sequence[Found]) -> str:
    """A section in Markdown about the pairs that a target's stages came to; "" where they came to something else."""
    if not founds or founds[-1].gives != "Preference" or not founds[-1].manifest:
        return ""
    rows = list(_pairs(founds[-1]))
    entry = _made_by(founds)
    parts = [_counted(founds[-1], rows, entry), _spread(rows), _unpaired(entry), _margins(rows), _lengths(rows)]
    return "\n\n".join(part for part in parts if part)


def _pairs(found: Found) -> Iterator[dict[str, Any]]:
    """The first pairs: the prompt they belong to, the margin where there is one, and the lengths of both answers."""
    import pyarrow.parquet as pq

    left = MOST_PAIRS
    for path in found.kept_files():
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(min(left, 1_000), columns=["prompt", "chosen", "rejected", "meta"]):
                for row in batch.to_pylist()[:left]:
                    meta = json.loads(row["meta"] or "{}")
                    lengths = len(text_of(row["chosen"] or [])), len(text_of(row["rejected"] or []))
                    prompt = meta.get("group") or json.dumps(row["prompt"])
                    yield {"prompt": prompt, "margin": meta.get("margin"), "lengths": lengths}
                    left -= 1
                if left <= 0:
                    return


def _made_by(founds: Sequence[Found]) -> dict[str, Any]:
    """The funnel's line of the step that made the pairs, or that all prompts ended at; empty where pairs were read."""
    lines = [entry for found in founds for entry in (found.manifest or {}).get("funnel") or ()]
    made = [entry for entry in lines if entry.get("made")][-1:]
    ended = [entry for entry in lines if entry.get("reasons") and not entry["out"]][:1]
    return dict(*made or ended)


def _counted(found: Found, rows: Sequence[dict[str, Any]], entry: dict[str, Any]) -> str:
    prompts = len({row["prompt"] for row in rows})
    if found.records > len(rows):
        first = f"the first {count(len(rows))}, of {count(prompts)} prompts"
        return f"{count(found.records)} pairs; what follows is of {first}."
    of = f"{count(prompts)} of {count(entry['in'])}" if entry else count(prompts)
    return f"{_number(found.records, 'pair')} of {of} prompts."


def _spread(rows: Sequence[dict[str, Any]]) -> str:
    """How many prompts gave how many pairs."""
    given = Counter(Counter(row["prompt"] for row in rows).values())
    if set(given) <= {1}:
        return ""
    most = sorted(given.items())[:MOST_ROWS]
    lines = [f"| {count(pairs)} | {count(prompts)} |" for pairs, prompts in most]
    if more := sum(given.values()) - sum(prompts for _, prompts in most):
        lines.append(f"| more | {count(more)} |")
    return "\n".join(["| pairs of a prompt | prompts |", "|---:|---:|", *lines])


def _unpaired(entry: dict[str, Any]) -> str:
    """Why the others made none, the most frequent reason first."""
    reasons = sorted((entry.get("reasons") or {}).items(), key=lambda one: (-one[1], one[0]))
    if not reasons:
        return ""
    lines = [f"| {_cell(reason)} | {count(times)} |" for reason, times in reasons]
    return "\n".join(["| no pair, since | times |", "|---|---:|", *lines])


def _margins(rows: Sequence[dict[str, Any]]) -> str:
    margins = sorted(float(row["margin"]) for row in rows if isinstance(row["margin"], int | float))
    if len(margins) < 2:
        return ""
    low, middle, high = statistics.quantiles(margins, n=4, method="inclusive")
    cells = " | ".join(figure(one) for one in (margins[0], low, middle, high, margins[-1]))
    head = "| | least | a quarter below | half below | three quarters below | most |\n|---|---:|---:|---:|---:|---:|"
    return f"{head}\n| margin of the scores | {cells} |"


def _lengths(rows: Sequence[dict[str, Any]]) -> str:
    """A model that learns from pairs in which the longer answer wins learns to write long ones."""
    longer = sum(chosen > rejected for chosen, rejected in (row["lengths"] for row in rows))
    equal = sum(chosen == rejected for chosen, rejected in (row["lengths"] for row in rows))
    if len(rows) == equal:
        return ""
    decided = len(rows) - equal
    said = (
        f"The chosen answer is the longer one in {longer / decided:.0%} of pairs ({count(longer)} of {count(decided)}"
    )
    return f"{said}{f'; {count(equal)} equally long' if equal else ''})."


def _cell(words: str) -> str:
    return " ".join(words.replace("|", "\\|").split())


def _number(value: int, word: str) -> str:
    return f"{count(value)} {word}{'' if value == 1 else 's'}"
