"""Who is in a dataset, before and after the filters: a bias brought in by a rule shows as a group thinned out."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

import factory
from factory import Context, Dataset, InputError, Metric, Record, Shard, derive
from factory.text.words import is_unspaced

from .reshape import full_text

CONFIDENCE = 0.99  # of an interval; not .95, since a report has many groups
NONE = "(none)"
GROUPS = "named group"  # and ALL: no fields of meta
ALL = ""
MEASURES = ("before", "after", "kept_share", "ratio", "flagged")

Counts = dict[str, Counter[str]]  # field → group → records


@dataclass(frozen=True)
class Group:
    """One group before and after.

    kept   its share that stayed; above 1 when the dataset grew
    ratio  `kept` over that of the whole dataset: 1 when the filters do not see the group
    low, high  interval around the ratio
    """

    field: str
    name: str
    before: int
    after: int
    kept: float
    ratio: float
    low: float
    high: float
    flagged: bool


@factory.step
def coverage(
    dataset: Dataset[Record],
    against: Dataset[Record],
    ctx: Context,
    by: list[str] = ["language", "source"],
    groups: dict[str, list[str]] = {},
    within: Annotated[float, Field(gt=0, lt=1)] = 0.8,
    top: Annotated[int, Field(ge=1)] = 30,
) -> Iterator[Metric]:
    """Compare how groups of records came through the filters; name the target before them in `against`.

    against  the dataset before
    by       fields of meta: language (put the step `language` before the filters), topic, …; `source` is meta.source,
             else the host of meta.url, else the file a record was read from, or its folder when a file is one record.
             Of a list each entry counts
    groups   name → words or regular expressions; a record belongs to the group when one occurs in its text as whole
             words, in any case
    within   a group is flagged when its share that stayed, over the share of all that stayed, is under this or above
             1 / this (0.8 and 1.25, the four-fifths rule of selection rates), and 1 is outside the interval as well
    top      groups told for each field, the largest and those that are flagged; the others are one line

    Metrics for each group: before and after (records), kept_share, ratio (to the kept share of all), flagged (0 or 1).
    Intervals (99 %) are Wilson's (1927) for the share that stayed. Where there are more records after than before, as
    when documents were split, shares of the dataset are compared instead.
    """
    patterns = {name: alternatives(name, words) for name, words in groups.items()}
    before = _counted(against, by, patterns, ctx)
    after = _counted(dataset, by, patterns, ctx)
    totals = before[ALL][ALL], after[ALL][ALL]
    found: list[Group] = []
    for field in [*dict.fromkeys(by), *([GROUPS] if groups else [])]:
        compared = _compared(field, before[field], after[field], totals, within)
        found += _largest(field, compared, totals, within, top)
    ctx.report("Coverage", _markdown(found, totals, within))
    yield derive(*({"id": name} for shard in dataset.shards for name in shard.ids()),
                 name="records", value=float(totals[1]), of="all")  # fmt: skip
    for group in found:
        values = (group.before, group.after, group.kept, group.ratio, group.flagged)
        for name, value in zip(MEASURES, values, strict=True):
            if math.isfinite(value):
                yield derive(name=name, value=float(value), of=f"{group.field}: {group.name}")


def alternatives(name: str, words: Sequence[str]) -> str:
    """One regular expression for all of a group's. Raises InputError for one that is malformed.

    The edge of a word is asked for where the language has edges: 中国 is found within a sentence.
    """
    for word in words:
        try:
            re.compile(word)
        except re.error as error:
            raise InputError(f"coverage: groups: {name}: '{word}' is no regular expression: {error}") from None
    if not words:
        raise InputError(f"coverage: groups: '{name}' has no words")
    return "|".join(f"(?:{word})" if is_unspaced(word) else rf"(?<!\w)(?:{word})(?!\w)" for word in words)


def _counted(dataset: Dataset[Record], by: Sequence[str], patterns: Mapping[str, str], ctx: Context) -> Counts:
    whole: Counts = {field: Counter() for field in (ALL, GROUPS, *by)}
    for counts in ctx.map(count_groups, dataset.shards, list(by), dict(patterns)):
        for field, found in counts.items():
            whole[field].update(found)
    return whole


def count_groups(shard: Shard, by: Sequence[str], patterns: Mapping[str, str]) -> Counts:
    """Records of a shard in each group of each field; under ALL all of them."""
    known = [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in patterns.items()]
    counts: Counts = {field: Counter() for field in (ALL, GROUPS, *by)}
    for record in shard.records():
        counts[ALL][ALL] += 1
        for field in dict.fromkeys(by):
            counts[field].update(dict.fromkeys(values_of(record, field), 1))
        if known:
            text = full_text(record)
            counts[GROUPS].update(name for name, pattern in known if pattern.search(text))
    return counts


def values_of(record: Record, field: str) -> list[str]:
    """What a record has in a field of meta, as words; several when that is a list."""
    value = record.get("meta", {}).get(field)
    if field == "source" and not isinstance(value, str):
        return [source_of(record)]
    values = value if isinstance(value, list) else [value]
    return [_shown(one) for one in values] or [NONE]


def _shown(value: Any) -> str:
    if value is None or value == "":
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def source_of(record: Record) -> str:
    """The host of meta.url, else the file the record was read from; its folder, when the file is one record."""
    meta = record.get("meta", {})
    if host := urlsplit(str(meta.get("url") or "")).hostname if "//" in str(meta.get("url") or "") else None:
        return host
    place = str(meta.get("path") or next(iter(record.get("parents", [])), ""))
    file, row, _ = place.partition("#")
    if row:
        return file
    folder = file.rpartition("/")[0]
    return folder or (file if "." in file else NONE)  # an id, where the record was made from another


def _compared(
    field: str, before: Counter[str], after: Counter[str], totals: tuple[int, int], within: float
) -> list[Group]:
    """Every group, the largest before first."""
    names = sorted({*before, *after}, key=lambda name: (-before[name], -after[name], name))
    return [compare(field, name, before[name], after[name], totals, within) for name in names]


def compare(field: str, name: str, before: int, after: int, totals: tuple[int, int], within: float = 0.8) -> Group:
    """A group's counts against those of the whole dataset, (before, after)."""
    overall = totals[1] / totals[0] if totals[0] else math.nan
    kept = after / before if before else math.inf
    if not (before and totals[1]):  # new, or nothing is left to compare with
        return Group(field, name, before, after, kept, math.nan, 0.0, math.inf, False)
    if after <= before and totals[1] <= totals[0]:
        low, high = (bound / overall for bound in wilson(after, before))
    else:
        low, high = (bound * totals[0] / before for bound in wilson(min(after, totals[1]), totals[1]))
    ratio = kept / overall
    flagged = not within <= ratio <= 1 / within and not low <= 1 <= high
    return Group(field, name, before, after, kept, ratio, low, high, flagged)


def wilson(count: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927): sound also for few records and for shares of 0 and 1."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = count / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    whole = 1 + z * z / of
    return (middle - spread) / whole if count else 0.0, (middle + spread) / whole if count < of else 1.0


def _largest(field: str, groups: list[Group], totals: tuple[int, int], within: float, top: int) -> list[Group]:
    """The first `top` and what is flagged, as many again at most; the others as one."""
    flagged = [at for at, group in enumerate(groups) if group.flagged and at >= top][:top]
    told = {*range(min(top, len(groups))), *flagged}
    rest = [group for at, group in enumerate(groups) if at not in told]
    found = [group for at, group in enumerate(groups) if at in told]
    if rest:
        counts = sum(group.before for group in rest), sum(group.after for group in rest)
        found.append(compare(field, f"({len(rest)} others)", *counts, totals, within))
    return found


def _markdown(groups: Sequence[Group], totals: tuple[int, int], within: float) -> str:
    share = f"{totals[1] / totals[0]:.1%}" if totals[0] else "none"
    flagged = [group for group in groups if group.flagged]
    said = ", ".join(f"{group.field} {group.name} ({group.ratio:.2f})" for group in flagged)
    lines = [
        f"{totals[1]:,} of {totals[0]:,} records, {share}. The ratio is a group's kept share over that.",
        "",
        f"Flagged: {said}." if flagged else f"No group has a ratio outside {within:.2f} to {1 / within:.2f}.",
    ]
    for field in dict.fromkeys(group.field for group in groups):
        mine = [group for group in groups if group.field == field]
        lines += ["", f"| {field} | before | after | kept | ratio | 99% interval | |", "|---|---|---|---|---|---|---|"]
        lines += [_line(group) for group in mine]
        if sum(group.before for group in mine if group.name != NONE) == 0 and field != GROUPS:
            lines += ["", f"No record before the filters has meta.{field}; label the records ahead of the filters."]
    return "\n".join(lines)


def _line(group: Group) -> str:
    name = group.name.replace("|", "\\|").replace("\n", " ")[:80]
    start = f"| {name} | {group.before:,} | {group.after:,} |"
    if not math.isfinite(group.ratio):
        return f"{start} | | | {'new' if not group.before else ''} |"
    mark = ("thinned out" if group.ratio < 1 else "favoured") if group.flagged else ""
    return f"{start} {group.kept:.1%} | {group.ratio:.2f} | {group.low:.2f} to {group.high:.2f} | {mark} |"
