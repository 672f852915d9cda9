"""Numbers against their limits: what lies outside is dropped for the first limit that it breaks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import factory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Numbers = dict[str, Any]  # name -> [records]


class Limit(NamedTuple):
    """What a number must lie within, and the reason to drop what does not; None is no limit."""

    reason: str
    number: str
    least: float | None = None
    most: float | None = None
    strict: bool = False  # a number that nothing defines (NaN: no words, say) breaks the limit, too
    open: bool = False  # the limit itself is outside


def drop_outside(batch: factory.Batch[Any], numbers: Numbers, limits: Iterable[Limit]) -> factory.Batch[Any]:
    """Drop the records with a number outside its limits: each for the first limit, with the number and the limit."""
    import numpy as np

    kept = np.ones(len(batch), bool)
    reasons = [""] * len(batch)
    details: dict[str, list[float | None]] = {name: [None] * len(batch) for name in ("found", "least", "most")}
    for limit in limits:
        gone = kept & _outside(numbers[limit.number], limit)
        kept &= ~gone
        for at in np.flatnonzero(gone).tolist():
            reasons[at] = limit.reason
            number = numbers[limit.number][at].item()
            if not isinstance(number, bool):
                told = (None if number != number else round(number, 4), limit.least, limit.most)
                for values, value in zip(details.values(), told, strict=True):
                    values[at] = value
    # One cut for all limits: each would copy the texts that stay.
    return batch.drop(~kept, reasons, **details)


def within(numbers: Numbers, limits: Iterable[Limit]) -> NDArray[np.bool_]:
    """Which records no limit drops: [records]."""
    import numpy as np

    kept: NDArray[np.bool_] = ~np.any([_outside(numbers[limit.number], limit) for limit in limits], axis=0)
    return kept


def _outside(found: Any, limit: Limit) -> Any:
    import numpy as np

    gone = np.zeros(len(found), bool)
    if limit.least is not None:
        gone |= found <= limit.least if limit.open else found < limit.least
    if limit.most is not None:
        gone |= found >= limit.most if limit.open else found > limit.most
    if limit.strict and (limit.least is not None or limit.most is not None):
        gone |= np.isnan(found)
    return gone


def share(part: Any, whole: Any, empty: float = float("nan")) -> Any:
    """part / whole as floats, `empty` where there is no whole."""
    import numpy as np

    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), empty)
