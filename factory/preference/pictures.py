"""Agreement as sections of a page: a table, a picture, and what they mean, for the report and the labelling server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .agreement import Agreement, Group, Pair
from .bootstrap import Estimate
from .drawing import Panel, draw, figure, spelled
from .raters import RaterMeasures
from .strengths import Ranking

MOST_DRAWN = 30  # rows of a panel
NAMES = {
    "raw": "raw",
    "fleiss": "Fleiss' κ",
    "ac1": "Gwet's AC1",
    "alpha_nominal": "α nominal",
    "alpha_ordinal": "α ordinal",
    "alpha_interval": "α interval",
}


@dataclass(frozen=True)
class Section:
    """`columns` and `rows` are a table of words, empty where there is none; `svg` likewise is ""."""

    title: str
    note: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    svg: str = ""


def sections(found: Agreement) -> list[Section]:
    """The page of agreement, most important first; one section that says so when nothing was compared."""
    if not found.comparisons and not found.grades:
        return [Section("Agreement", "Nothing was compared yet.")]
    return [one for one in _sections(found) if one.rows or one.note]


def _sections(found: Agreement) -> Iterator[Section]:
    note = f"{found.comparisons:,} comparisons of the answers to {found.items:,} prompts. "
    remarks = "\n".join(f"- {sentence}." for sentence in found.remarks)
    yield _groups("Agreement", found.groups, note + COEFFICIENTS)
    if remarks:
        yield Section("What stands out", remarks)
    yield _pairs("Judges against people", found.against, AGAINST)
    yield _raters("Annotators", [one for one in found.raters if one.person], PEOPLE)
    yield _raters("Judges", [one for one in found.raters if not one.person], JUDGES)
    left_out = f" {found.pairs_left_out:,} pairs with less in common are not shown." if found.pairs_left_out else ""
    yield _pairs("Two at a time", found.pairs, f"Cohen's κ on what both compared.{left_out}")
    for by, ranking in found.rankings.items():
        yield _ranking(f"Models by verdicts of {by}", ranking)
    yield _groups("Grades", found.grades, "Answers graded alone, on the same scales of agreement.")


COEFFICIENTS = (
    "Verdicts are better, worse or neither; on the ordinal scale also how much. Raw agreement is the share of pairs of "
    "verdicts on the same two answers that are equal; the others take off what chance would agree on, so 0 is chance "
    "and 1 is everyone the same. Krippendorff takes α from .800 as reliable and from .667 as good enough for tentative "
    "conclusions. Intervals are 95 %, from prompts drawn again."
)
AGAINST = "The verdict of most people on each two answers; where as many said the opposite, neither."
PEOPLE = (
    "Of the answers chosen, how many stood on the left and how many were the longer ones: about half where neither "
    "matters. Repeated items measure an annotator against themselves, gold items against the expected verdict."
)
JUDGES = (
    "Of the answers chosen in either order, how many were shown first, and of verdicts how many were for the longer "
    "answer: about half where neither matters. A flip is another verdict when the order is turned round."
)


def _groups(title: str, groups: Sequence[Group], note: str) -> Section:
    told = [group for group in groups if group.units] or list(groups)
    if not told:
        return Section(title)
    names = list(told[0].coefficients)
    rows = [
        [group.name, f"{group.raters:,}", f"{group.units:,}", *(spelled(group.coefficients[name]) for name in names)]
        for group in told
    ]
    panels = [
        Panel(group.name, [(NAMES[name], one) for name, one in group.coefficients.items()], 0, 1, 0)
        for group in told[:6]
        if group.units
    ]
    whys = list(
        dict.fromkeys(
            f"{group.name}: {one.why}" for group in told for one in group.coefficients.values() if one.value is None
        )
    )
    return Section(
        title,
        "\n\n".join([note, *([f"No value: {'; '.join(whys)}."] if whys else [])]),
        ["who", "raters", "by two or more", *(NAMES[name] for name in names)],
        rows,
        draw(title, panels),
    )


def _pairs(title: str, pairs: Sequence[Pair], note: str) -> Section:
    if not pairs:
        return Section(title)
    rows = [[one.one, one.other, f"{one.units:,}", spelled(one.raw, True), spelled(one.kappa)] for one in pairs]
    drawn = [(f"{one.one}, {one.other}", one.kappa) for one in pairs[:MOST_DRAWN]]
    columns = ["one", "other", "both compared", "same verdict", "Cohen's κ"]
    return Section(title, note, columns, rows, draw(title, [Panel("Cohen's κ", drawn, 0, 1, 0)]))


def _raters(title: str, raters: Sequence[RaterMeasures], note: str) -> Section:
    if not raters:
        return Section(title)
    people = raters[0].person
    columns = ["name", "comparisons", "left" if people else "shown first", "longer", "neither"]
    columns += ["seconds", "same again", "gold", "skipped"] if people else ["flipped", "unreadable"]
    panels = [
        Panel("The left one" if people else "The one shown first", _of(raters, "left"), 0, 1, 0.5, percent=True),
        Panel("The longer one", _of(raters, "longer"), 0, 1, 0.5, percent=True),
    ]
    if people:
        panels.append(Panel("The same again", _of(raters, "repeats"), 0, 1, percent=True))
    return Section(title, note, columns, [_rater(one) for one in raters], draw(title, panels))


def _rater(one: RaterMeasures) -> list[str]:
    row = [one.name, f"{one.comparisons:,}", spelled(one.left, True), spelled(one.longer, True)]
    row.append(figure(one.tied.value, True))
    if not one.person:
        return [*row, spelled(one.flipped, True), figure(one.silent.value, True)]
    seconds = "–" if one.seconds is None else f"{one.seconds:.1f}"
    return [*row, seconds, _counted(one.repeats), _counted(one.gold), figure(one.silent.value, True)]


def _counted(one: Estimate) -> str:
    return "–" if one.value is None else f"{spelled(one, True)} of {one.of:,}"


def _of(raters: Sequence[RaterMeasures], name: str) -> list[tuple[str, Estimate]]:
    found = [(one.name, getattr(one, name)) for one in raters]
    return [(name, one) for name, one in found if one.value is not None][:MOST_DRAWN]


def _ranking(title: str, ranking: Ranking) -> Section:
    if not ranking.strengths:
        return Section(title, f"No strengths: {ranking.why}.")
    note = "Bradley-Terry strengths in log-odds, a tie half a win: one above another wins 73 of 100 against it."
    measured = [
        (one.model, Estimate(one.value, one.low, one.high, one.comparisons), one.won) for one in ranking.strengths
    ]
    rows = [[name, spelled(one), f"{one.of:,}", figure(won, True)] for name, one, won in measured]
    panel = Panel("Strength", [(name, one) for name, one, _ in measured][:MOST_DRAWN], mark=0)
    return Section(title, note, ["model", "strength", "comparisons", "won"], rows, draw(title, [panel]))


def as_markdown(section: Section) -> str:
    """A section without its picture, for `ctx.report`."""
    if not section.rows:
        return section.note
    lines = ["| " + " | ".join(_cell(name) for name in section.columns) + " |"]
    figures = [all(_is_figure(row[at]) for row in section.rows) for at in range(len(section.columns))]
    lines.append("|" + "".join("---:|" if right else "---|" for right in figures))
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in section.rows]
    return "\n".join([*([section.note, ""] if section.note else []), *lines])


def as_json(section: Section) -> dict[str, Any]:
    """A section as the labelling page reads it: title, note, table (columns, rows) or null, svg or null."""
    table = {"columns": section.columns, "rows": section.rows} if section.rows else None
    return {"title": section.title, "note": section.note, "table": table, "svg": section.svg or None}


def _is_figure(words: str) -> bool:
    return words[:1] in "0123456789−–" and words != ""


def _cell(words: str) -> str:
    return " ".join(words.replace("|", "\\|").split())[:120]
