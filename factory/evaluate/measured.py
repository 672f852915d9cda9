"""What models reached on the same records, as metrics with intervals and as tables of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory import Metric, derive
from factory.models.intervals import Estimate, mean, share

from .shots import subject_of

Values = Mapping[str, Mapping[str, Sequence[float]]]  # model -> measure -> a value for each record


def estimate(values: Sequence[float]) -> Estimate:
    """The mean: of shares with Wilson's interval, of other values with the bootstrap's over records."""
    if all(value in (0.0, 1.0) for value in values):
        return share(round(sum(values)), len(values))
    return mean(values)


def metrics(records: Sequence[Any], found: Values, meta: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """One for each model and measure. Its meta has the interval, `records`, and what `meta` says of it."""
    for name, measures in found.items():
        for measure, values in measures.items():
            one = estimate(values)
            about = {"low": one.low, "high": one.high, "records": one.of, **meta.get(name, {})}
            yield derive(*records, name=measure, value=one.value, of=name, meta=about)


def table(found: Values, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each model: what `columns` say of it, then its measures with their intervals."""
    extra = list(next(iter(columns.values())))
    measures = list(next(iter(found.values())))
    head = ["model", *extra, *measures]
    rows = [
        [name, *(str(columns[name][one]) for one in extra), *(told(estimate(own[one])) for one in measures)]
        for name, own in found.items()
    ]
    return grid(head, rows)


def differences(found: Values, measure: str) -> str:
    """How much each model is above the first, over the same records; "" for one model alone."""
    (first, base), *others = ((name, own[measure]) for name, own in found.items())
    lines = []
    for name, values in others:
        more = mean([value - before for value, before in zip(values, base, strict=True)])
        sure = more.low is not None and more.high is not None and (more.low > 0 or more.high < 0)
        says = "" if sure else ", which may be chance"
        lines.append(f"- {measure} of {name} less that of {first}: {told(more, signed=True)}{says}.")
    return "\n".join(lines)


def subjects(records: Sequence[Any], found: Values, measure: str) -> str:
    """A row for each subject (meta.subject), and the mean of all subjects; "" where there are not two."""
    places: dict[str, list[int]] = {}
    for at, record in enumerate(records):
        places.setdefault(subject_of(record), []).append(at)
    if len(places) < 2:
        return ""
    means = {
        name: {one: sum(own[measure][at] for at in some) / len(some) for one, some in places.items()}
        for name, own in found.items()
    }
    rows = [
        [one or "(none)", f"{len(some):,}", *(f"{means[name][one]:.3f}" for name in found)]
        for one, some in sorted(places.items())
    ]
    rows.append(["mean of subjects", "", *(f"{sum(own.values()) / len(own):.3f}" for own in means.values())])
    return grid([f"{measure} by subject", "records", *found], rows)


def told(one: Estimate, signed: bool = False) -> str:
    """A value with its interval."""
    form = "+.3f" if signed else ".3f"
    if one.value is None:
        return "–"
    between = "" if one.low is None or one.high is None else f" ({one.low:{form}} to {one.high:{form}})"
    return f"{one.value:{form}}{between}"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(
        [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in cells)]
    )
