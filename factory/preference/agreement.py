"""How far people and judges agree on which answer is better, and what their verdicts say of the models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import factory
from factory import Candidates, Context, Dataset, Metric, derive, text_of

from .bootstrap import DRAWS, Estimate, estimate, grouped
from .coefficients import Coefficient, cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha, observed_agreement
from .comparisons import item_key
from .raters import RaterMeasures, measure, remarks
from .ratings import Compared, Rater, Said, Unit, collect, degree, majority, side, table
from .strengths import Ranking, rank_models

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["Agreement", "Compared", "agreement", "agreement_of"]

MOST_PAIRS = 100  # of raters, those with the most in common; fifty annotators make 1,225
MOST_MEASURED = 10  # pairs that are metrics, each a column of the report's table of results
MOST_ALARMS = 10
PEOPLE = "most people"


@dataclass(frozen=True)
class Group:
    """Coefficients of several raters. Verdicts are better, worse, or neither; on the ordinal scale there are five.

    units  pairs of answers, or answers, that at least two of them judged
    """

    name: str
    raters: int
    units: int
    coefficients: dict[str, Estimate]


@dataclass(frozen=True)
class Pair:
    """Two raters on what both compared."""

    one: str
    other: str
    units: int
    raw: Estimate
    kappa: Estimate


@dataclass(frozen=True)
class Agreement:
    """Everything the page tells, as plain data.

    groups    people, judges and everyone; each aspect, where there are several
    pairs     of raters, those with the most in common first; `pairs_left_out` are not told
    against   each judge against the majority of people on each pair of answers; as many for as against is a tie
    rankings  of the models that wrote the answers, by whose verdicts: people, judges
    grades    coefficients of answers graded alone
    remarks   habits of a rater that a person should know of, in sentences
    """

    items: int
    comparisons: int
    groups: list[Group]
    pairs: list[Pair]
    pairs_left_out: int
    raters: list[RaterMeasures]
    against: list[Pair]
    rankings: dict[str, Ranking]
    grades: list[Group]
    remarks: list[str]


def agreement_of(items: Iterable[Compared], *, draws: int = DRAWS, seed: int = 0) -> Agreement:
    """Agreement of everyone who compared answers, with 95 % intervals from `draws` bootstrap samples of the items."""
    said = collect(items)

    def measured(coefficient: Coefficient, groups: Array) -> Estimate:
        return estimate(coefficient, draws, seed, groups)

    people = [rater for rater in said.raters if rater[0]]
    judges = [rater for rater in said.raters if not rater[0]]
    raters = [measure(said, rater) for rater in said.raters]
    pairs = _pairs(said)
    return Agreement(
        items=sum(bool(item.comparisons or item.grades) for item in said.items),
        comparisons=sum(len(everything) for everything in said.by_rater.values()),
        groups=[
            _group(name, units, chosen, measured)
            for name, chosen in _kinds(people, judges)
            for name, units in _by_aspect(name, said.firsts)
        ],
        pairs=[_pair(*pair, said, measured) for pair in pairs[:MOST_PAIRS]],
        pairs_left_out=max(0, len(pairs) - MOST_PAIRS),
        raters=raters,
        against=[_against(said, judge, measured) for judge in judges if people],
        rankings={
            name: ranking
            for name, person in (("people", True), ("judges", False))
            if (ranking := _ranking(said, person, draws, seed)) is not None
        },
        grades=_graded(said, measured),
        remarks=[sentence for found in raters for sentence in remarks(found)],
    )


Measure = Callable[[Coefficient, Any], Estimate]


def _kinds(people: Sequence[Rater], judges: Sequence[Rater]) -> list[tuple[str, list[Rater]]]:
    kinds = [("people", [*people]), ("judges", [*judges]), ("everyone", [*people, *judges])]
    return [(name, raters) for name, raters in kinds if raters and (name != "everyone" or (people and judges))]


def _by_aspect(name: str, units: Mapping[Unit, Any]) -> Iterator[tuple[str, dict[Unit, Any]]]:
    """Everything under `name`, then each aspect, where there are several."""
    yield name, dict(units)
    aspects = sorted({unit[1] for unit in units})
    for aspect in aspects if len(aspects) > 1 else ():
        chosen = {unit: said for unit, said in units.items() if unit[1] == aspect}
        yield f"{name}, {aspect or 'as a whole'}", chosen


def _group(name: str, units: Mapping[Unit, Any], raters: Sequence[Rater], measured: Measure) -> Group:
    import numpy as np

    verdicts, numbers = table(units, raters, side)
    degrees, _ = table(units, raters, degree)
    found = {
        "raw": measured(observed_agreement(verdicts), numbers),
        "fleiss": measured(fleiss_kappa(verdicts), numbers),
        "ac1": measured(gwet_ac1(verdicts), numbers),
        "alpha_nominal": measured(krippendorff_alpha(verdicts, "nominal"), numbers),
        "alpha_ordinal": measured(krippendorff_alpha(degrees, "ordinal"), numbers),
    }
    there = ~np.isnan(verdicts)
    return Group(name, int(there.any(0).sum()), int((there.sum(1) >= 2).sum()), found)


def _graded(said: Said, measured: Measure) -> list[Group]:
    import numpy as np

    found = []
    raters = sorted({rater for graded in said.grades.values() for rater in graded})
    for kind, chosen in _kinds([r for r in raters if r[0]], [r for r in raters if not r[0]]):
        for name, units in _by_aspect(kind, said.grades):
            grades, numbers = table(units, chosen)
            scales = {f"alpha_{s}": measured(krippendorff_alpha(grades, s), numbers) for s in ("ordinal", "interval")}
            there = ~np.isnan(grades)
            found.append(Group(name, int(there.any(0).sum()), int((there.sum(1) >= 2).sum()), scales))
    return found


def _pairs(said: Said) -> list[tuple[Rater, Rater]]:
    """Raters that have units in common, the most first."""
    common: dict[tuple[Rater, Rater], int] = {}
    places = {rater: at for at, rater in enumerate(said.raters)}
    for by_rater in said.firsts.values():
        for pair in combinations(sorted(by_rater, key=places.__getitem__), 2):
            common[pair] = common.get(pair, 0) + 1
    return sorted(common, key=lambda pair: (-common[pair], pair[0], pair[1]))


def _pair(one: Rater, other: Rater, said: Said, measured: Measure) -> Pair:
    units = {unit: by_rater for unit, by_rater in said.firsts.items() if one in by_rater and other in by_rater}
    ratings, numbers = table(units, [one, other], side)
    return _pair_of(one[1], other[1], ratings, numbers, measured)


def _against(said: Said, judge: Rater, measured: Measure) -> Pair:
    """On what both compared by the same aspect; people's verdict on the whole also against all of a judge's aspects."""
    import numpy as np

    aspects: dict[tuple[int, int, int], list[float]] = {}
    for (number, _, first, second), by_rater in said.firsts.items():
        if judge in by_rater:
            aspects.setdefault((number, first, second), []).append(side(by_rater[judge]))
    rows, numbers = [], []
    for (number, aspect, first, second), by_rater in said.firsts.items():
        if (most := majority(by_rater)) is None:
            continue
        if judge in by_rater:
            rows.append([side(by_rater[judge]), most])
            numbers.append(number)
        elif not aspect and (sides := aspects.get((number, first, second))):
            rows.append([float(np.sign(sum(sides))), most])
            numbers.append(number)
    return _pair_of(judge[1], PEOPLE, rows, numbers, measured)


def _pair_of(one: str, other: str, rows: Any, numbers: Any, measured: Measure) -> Pair:
    import numpy as np

    ratings, groups = np.array(rows, float).reshape(-1, 2), np.array(numbers, int)
    raw, kappa = (measured(made(ratings), groups) for made in (observed_agreement, cohen_kappa))
    return Pair(one, other, len(ratings), raw, kappa)


def _ranking(said: Said, person: bool, draws: int, seed: int) -> Ranking | None:
    """Strengths of the models by verdicts of people, or of judges; None where they compared none."""
    import numpy as np

    names = sorted({model for item in said.items for model in item.models})
    place = {name: at for at, name in enumerate(names)}
    features, numbers = [], []
    for (number, _, first, second), by_rater in said.firsts.items():
        models = said.items[number].models
        if max(first, second) >= len(models) or models[first] == models[second]:
            continue
        wins = np.zeros((len(names), len(names)))
        for rater, one in by_rater.items():
            if rater[0] is person:
                wins[place[models[first]], place[models[second]]] += (1 + side(one)) / 2
                wins[place[models[second]], place[models[first]]] += (1 - side(one)) / 2
        if wins.any():
            features.append(wins.ravel())
            numbers.append(number)
    if not features:
        return None
    summed = grouped(np.array(features), np.array(numbers)).reshape(-1, len(names), len(names))
    met = (summed.sum(0) + summed.sum(0).T).any(1)
    kept = [name for name, there in zip(names, met, strict=True) if there]
    return rank_models(kept, summed[:, met][:, :, met], draws, seed)


@factory.step
def agreement(
    dataset: Dataset[Candidates], ctx: Context, draws: Annotated[int, Field(ge=100, le=100_000)] = DRAWS
) -> Iterator[Metric]:
    """Measure how far those who compared the answers agree: people, judges, and judges with people.

    draws  bootstrap samples of the prompts, for the 95 % intervals

    Verdicts count as better, worse or neither; on the ordinal scale also by how much. Of groups: raw agreement,
    Fleiss' kappa, Gwet's AC1, Krippendorff's alpha; of two raters Cohen's kappa; of one the share of answers chosen on
    the left and of longer ones, seconds, agreement with oneself on repeated items, accuracy on gold items, and skips.
    Bradley-Terry strengths of the models that wrote the answers. Votes on gold and repeated items count for their
    annotator alone. A metric's interval is in meta: low, high, and the number of cases. Put it behind `judge` or
    `rank`, or over `label:NAME`.
    """
    from .pictures import as_markdown, sections

    ids: list[str] = []
    found = agreement_of(_compared(dataset, ids), draws=draws, seed=ctx.rng("bootstrap").getrandbits(32))
    for section in sections(found):
        if body := as_markdown(section):
            ctx.report(section.title, body)
        if section.svg:
            ctx.report(f"{section.title}, drawn" if body else section.title, section.svg)
    for sentence in found.remarks[:MOST_ALARMS]:
        ctx.alarm(sentence)
    yield derive(*({"id": one} for one in ids), name="comparisons", value=float(found.comparisons), of="all")
    for name, of, measured in _measures(found):
        if measured.value is not None:
            bounds = {"low": measured.low, "high": measured.high, "cases": measured.of}
            yield derive(name=name, value=measured.value, of=of, meta=bounds)


def _compared(dataset: Iterable[Candidates], ids: list[str]) -> Iterator[Compared]:
    for record in dataset:
        ids.append(record["id"])
        yield compared(record)


def compared(record: Mapping[str, Any]) -> Compared:
    """A Candidates record as an item."""
    meta, answers = record.get("meta") or {}, record["completions"]
    gold = meta.get("gold")
    return Compared(
        item_key(record["prompt"], answers),
        meta.get("comparisons") or (),
        [len(text_of(answer)) for answer in answers],
        meta.get("models") or (),
        meta.get("grades") or (),
        None if gold is None else str(gold),
    )


def _measures(found: Agreement) -> Iterator[tuple[str, str, Estimate]]:
    """(name, of what, measured) of everything."""
    for group in found.groups:
        yield from ((name, group.name, one) for name, one in group.coefficients.items())
    for group in found.grades:
        yield from ((f"grades_{name}", group.name, one) for name, one in group.coefficients.items())
    for pair in [*found.pairs[:MOST_MEASURED], *found.against]:
        of = f"{pair.one} and {pair.other}"
        yield "raw", of, pair.raw
        yield "cohen", of, pair.kappa
    for rater in found.raters:
        of = rater.name if rater.person else f"judge {rater.name}"
        names = ("left", "longer", "repeats", "gold", "silent", "flipped", "tied")
        yield from ((name, of, getattr(rater, name)) for name in names)
        yield "seconds", of, Estimate(rater.seconds, None, None, rater.comparisons)
    for by, ranking in found.rankings.items():
        for one in ranking.strengths:
            yield f"strength_by_{by}", one.model, Estimate(one.value, one.low, one.high, one.comparisons)
