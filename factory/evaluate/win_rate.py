"""How often one model's answers are better than another's, by what judges or people said of them.

A pair of which nobody says that one is better (a tie, a judge that flips with the order, both good, both bad) is half a
win: (win + ½ tie) / n, as FastChat and AlpacaEval count (Zheng et al. 2023, section 4; Li et al. 2023).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from factory import Candidates, Context, Dataset, InputError, Metric, derive, step, text_of
from factory.errors import did_you_mean
from factory.models.intervals import Estimate, mean, share

from .length_control import controlled
from .measured import grid, told

NOTHING = ("unreadable", "skip")  # verdicts that say nothing about the answers
FEW = 30  # records, below which a length-controlled rate is not told


@step
def win_rate(
    dataset: Dataset[Candidates],
    ctx: Context,
    against: str | None = None,
    of: list[str] = [],
    aspect: str = "",
) -> Iterator[Metric]:
    """How often answers of one model were found better than those of another, by the comparisons in meta.comparisons.

    They are there behind `judge`, which asks in both orders, and behind `rank`, which has the votes of people. What
    finds neither better is half a win, a judge's flip too, and equal answers; an unreadable verdict does not count.

    against  the model that others are compared with, by its name in meta.names (`side_by_side`) or its URI in
             meta.models (`sample`); the first unless set
    of       the models that are compared with it; all others unless set
    aspect   the rubric by which answers were compared; the answer as a whole unless set

    Metrics for each model, of "after against before": `win_rate`, with its 95 % bootstrap interval over records;
    `flips`, the share of judges' comparisons that turned with the order; `win_rate_length_controlled`, what the rate
    would be with answers of equal length, by logistic regression on the difference (Dubois et al. 2024), from 30
    records on. A record without a readable comparison is dropped. Parents of a metric are the records it is of.
    """
    records = list(dataset)
    names = list(dict.fromkeys(name for record in records for name in names_of(record)))
    base = against if against is not None else next(iter(names), "")
    for name in [*([against] if against is not None else []), *of]:
        if name not in names:
            raise InputError(f"win_rate: no answer is of '{name}'; {did_you_mean(name, names)}")
    matches = {name: Match(name, base) for name in (of or names) if name != base}
    for record in records:
        if not sum(match.take(record, aspect) for match in matches.values()):
            said = any(one.get("aspect", "") == aspect for one in comparisons_of(record))
            ctx.drop(record, "unreadable verdicts" if said else "not compared")
    measured = {match: match.measures() for match in matches.values() if match.records}
    if not measured:
        by = f" by {aspect}" if aspect else ""
        ctx.alarm(f"measured nothing: none of {len(records):,} records has a readable comparison{by} of two models")
        return
    ctx.report("Win rates", report(measured))
    for match, values in measured.items():
        for name, one in values.items():
            meta = {"low": one.low, "high": one.high, "records": len(match.records)}
            yield derive(*match.records, name=name, value=one.value, of=match.title, meta=meta)


@dataclass(eq=False)
class Match:
    """What was said of the answers of one model beside those of another."""

    name: str
    base: str
    records: list[Any] = field(default_factory=list)
    wins: list[float] = field(default_factory=list)  # of each record, 0 to 1
    longer: list[float] = field(default_factory=list)  # of each record: characters more than the other answer has
    judges: dict[str, Counter[str]] = field(default_factory=dict)  # verdicts by who said them
    people: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name} against {self.base}"

    def take(self, record: Any, aspect: str) -> bool:
        """Count a record; whether it says anything."""
        names, texts = names_of(record), [text_of(answer) for answer in record["completions"]]
        wins, longer = [], []
        for one in comparisons_of(record):
            places = (one["first"], one["second"])
            sides = [names[place] if place < len(names) else "" for place in places]
            if one.get("aspect", "") != aspect or sorted(sides) != sorted((self.name, self.base)):
                continue
            mine, other = (texts[place] for place in places[:: 1 if sides[0] == self.name else -1])
            verdict = self.verdict(one["verdict"], sides[0] == self.name) if mine != other else "tie"
            count = self.people if one.get("person") else self.judges
            count.setdefault(one["by"], Counter())[verdict] += 1
            if verdict not in NOTHING:
                wins.append({"win": 1.0, "loss": 0.0}.get(verdict, 0.5))
                longer.append(len(mine) - len(other))
        if wins:
            self.records.append(record)
            self.wins.append(fmean(wins))
            self.longer.append(fmean(longer))
        return bool(wins)

    def verdict(self, said: str, stands_first: bool) -> str:
        """A verdict from the side of the model: win and loss for first and second, or the other way round."""
        if said not in ("first", "second"):
            return said
        return "win" if (said == "first") == stands_first else "loss"

    def measures(self) -> dict[str, Estimate]:
        """The metrics by name."""
        judged = sum(self.judges.values(), Counter[str]())
        read = judged.total() - sum(judged[name] for name in NOTHING)
        found = {"win_rate": mean(self.wins)} | ({"flips": share(judged["flip"], read)} if read else {})
        if len(self.records) >= FEW:
            found["win_rate_length_controlled"] = controlled(self.wins, self.longer)
        return found


def names_of(record: Mapping[str, Any]) -> list[str]:
    """Whose answers a record has, in their order."""
    meta = record.get("meta") or {}
    return list(meta.get("names") or meta.get("models") or ())


def comparisons_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What judges and people said, without what was shown to test a person."""
    found = (record.get("meta") or {}).get("comparisons") or ()
    return [one for one in found if not one.get("check")]


def report(measured: Mapping[Match, Mapping[str, Estimate]]) -> str:
    """The rates, and what each judge or person said."""
    rates = []
    for match, found in measured.items():
        fixed = found.get("win_rate_length_controlled")
        rates.append(
            [
                match.title,
                f"{len(match.records):,}",
                told(found["win_rate"]),
                told(fixed) if fixed is not None else f"under {FEW} records",
                f"{fmean(match.longer):+,.0f}",
            ]
        )
    columns = ["win", "loss", "tie", "flip", "both_good", "both_bad", *NOTHING]
    said = [
        [match.title, who, *(f"{count[name]:,}" for name in columns)]
        for match in measured
        for who, count in {**match.judges, **match.people}.items()
    ]
    head = ["", "records", "win rate", "of equal length", "characters more"]
    note = "A win rate is (win + ½ tie) / n; flips and both good or bad are ties. In brackets 95 % intervals."
    return "\n\n".join([grid(head, rates), note, grid(["", "by", *(one.replace("_", " ") for one in columns)], said)])
