"""A judge's verdicts against labels: how often it is right, and whether it does better than choosing the longest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .bootstrap import DRAWS, Estimate, estimate, grouped, mcnemar, share
from .coefficients import Coefficient, cohen_kappa
from .comparisons import TIES, Verdict
from .ratings import SIDES

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

SURE = 0.05  # a judge is better than the longest answer when chance alone shows as much less often than this
UNREAD = 0.1
PLACES = (".", "/", "~", "\\")  # how the name of a folder begins; its last part says nothing of a family
_FAMILY = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Judged:
    """One labelled pair and what the judge said of it.

    group   the prompt: pairs of one prompt are drawn together
    label   1 where the first answer is better, -1 the second, 0 neither
    longer  characters that the first answer has more than the second
    models  who wrote the two, as far as it is known
    """

    group: str
    label: float
    verdict: Verdict
    longer: int
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """A judge against labels. Pairs whose verdict could not be read count for `unreadable` alone.

    accuracy   right of the pairs with a better answer; a tie or flip is half right, as a coin would be
    longest    the same of choosing the longer answer, on the same pairs
    clear      right of the verdicts that name an answer
    kappa      Cohen's, of better, worse and neither
    longer     of verdicts that name an answer, how many name the longer
    gained, lost  prompts on whose pairs the judge is nearer to the labels than the longest answer, or further from them
    p          how likely an as uneven split of these is when both are equally good
    """

    judge: str
    pairs: int
    labelled: int
    accuracy: Estimate
    longest: Estimate
    clear: Estimate
    kappa: Estimate
    longer: Estimate
    flipped: Estimate
    tied: Estimate
    unreadable: Estimate
    gained: int
    lost: int
    p: float

    @property
    def beats_the_longest(self) -> bool:
        return self.gained > self.lost and self.p < SURE


def calibration(judge: str, cases: Iterable[Judged], draws: int = DRAWS, seed: int = 0) -> Calibration:
    """What the verdicts of one judge are worth; intervals as in `agreement`."""
    import numpy as np

    everything = list(cases)
    read = [case for case in everything if case.verdict != "unreadable"]
    better = [case for case in read if case.label]
    groups = {case.group: number for number, case in enumerate(read)}

    def number(some: Sequence[Judged]) -> Array:
        return np.array([groups[case.group] for case in some], int)

    mine = np.array([right(said(case), case.label) for case in better])
    longest = np.array([right(np.sign(case.longer), case.label) for case in better])
    named = [case for case in better if said(case)]
    chosen = [case for case in read if said(case) and case.longer]
    ratings = np.array([(said(case), case.label) for case in read]).reshape(-1, 2)
    nearer = grouped((mine - longest)[:, None], number(better))[
        :, 0
    ]  # pairs of one prompt share answers: one vote each
    gained, lost = int((nearer > 0).sum()), int((nearer < 0).sum())
    return Calibration(
        judge=judge,
        pairs=len(everything),
        labelled=len(better),
        accuracy=estimate(mean(mine), draws, seed, number(better)),
        longest=estimate(mean(longest), draws, seed, number(better)),
        clear=share(sum(said(case) == case.label for case in named), len(named)),
        kappa=estimate(cohen_kappa(ratings), draws, seed, number(read)),
        longer=share(sum(said(case) * case.longer > 0 for case in chosen), len(chosen)),
        flipped=share(sum(case.verdict == "flip" for case in read), len(read)),
        tied=share(sum(case.verdict in TIES and case.verdict != "flip" for case in read), len(read)),
        unreadable=share(len(everything) - len(read), len(everything)),
        gained=gained,
        lost=lost,
        p=mcnemar(gained, lost),
    )


def said(case: Judged) -> float:
    return SIDES.get(case.verdict, 0.0)


def right(verdict: float, label: float) -> float:
    """1 for the better answer, 0 for the other, a half for neither."""
    return (1 + verdict * label) / 2


def mean(values: Array) -> Coefficient:
    """A mean over pairs, to be resampled."""
    import numpy as np

    features = np.column_stack([values, np.ones(len(values))])
    why = "" if len(values) else "no pair has both a better answer and a verdict that could be read"
    return Coefficient(features, lambda sums: sums[:, 0] / sums[:, 1], why)


def warnings(found: Calibration, cases: Sequence[Judged]) -> Iterator[str]:
    """Why this judge should not be relied on, each in a sentence that begins behind its name."""
    if found.accuracy.value is None or found.longest.value is None:
        yield f"could not be measured: {found.accuracy.why}"
    elif not found.beats_the_longest:
        verb = "does worse than" if found.lost > found.gained and found.p < SURE else "is not shown to be better than"
        yield (
            f"{verb} choosing the longer answer: {found.accuracy.value:.0%} right against {found.longest.value:.0%} "
            f"of {some_pairs(found.labelled)} ({split(found)})"
        )
    if (found.unreadable.value or 0) > UNREAD:
        yield f"gave no verdict that could be read on {found.unreadable.value:.0%} of {some_pairs(found.pairs)}"
    own = [related for case in cases if (related := [name for name in case.models if is_related(found.judge, name)])]
    if own:
        names = ", ".join(sorted({name for related in own for name in related}))
        yield (
            f"is of the family that wrote answers in {len(own):,} of {some_pairs(len(cases))} ({names}); "
            "models favour what they wrote themselves"
        )


def split(found: Calibration) -> str:
    """How the judge and the longer answer differ, in words."""
    return f"nearer to the labels on {found.gained:,} prompts, further on {found.lost:,}; p = {found.p:.2g}"


def some_pairs(count: int) -> str:
    return f"{count:,} pair" if count == 1 else f"{count:,} pairs"


def is_related(judge: str, writer: str) -> bool:
    """Whether two models are one, or of one family by their names."""
    return judge == writer or (family(judge) != "" and family(judge) == family(writer))


def family(name: str) -> str:
    """What the versions and sizes of a model have in common, from its name: gpt of openai:gpt-4o, smollm of
    bundled:smollm2 and HuggingFaceTB/SmolLM2-135M; "" where the name is that of a folder."""
    if name.startswith(PLACES):
        return ""
    named = [found[0] for part in re.split(r"[/:]", name.lower().split("?")[0]) if (found := _FAMILY.match(part))]
    return next((one for one in reversed(named) if one != "latest"), "")
