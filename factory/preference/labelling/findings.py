"""Agreement as annotators may see it while they label: their own numbers, and the others' without names."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from factory import text_of

if TYPE_CHECKING:
    from ..agreement import Compared
    from .store import Labels

DRAWS = 500  # of the bootstrap: intervals are drawn on a screen here, and everyone waits for the processor
NOTE = "As it stands now; load the page again for what was said since. Other people and judges are without names here."


def findings(
    labels: Labels, title: str, judged: Mapping[str, Iterable[Mapping[str, Any]]] | None = None
) -> Callable[[str], dict[str, Any]]:
    """A function from an annotator to their page: title, note, sections (see pictures.as_json).

    judged  comparisons by judges under the key of their item. Who wrote which answer is left out: no strengths of
            models are shown to people who are still comparing their answers
    """
    judged = judged or {}
    lock = threading.Lock()  # one computation at a time: the second finds the first one's result
    last: dict[str, Any] = {"of": None}

    def page(who: str) -> dict[str, Any]:
        said = list(labels.comparisons())
        state = (len(said), said[-1]["at"] if said else "")
        with lock:
            if last["of"] != state:
                names = pseudonyms(said, judged)
                last.update(names=names, sections=sections_of(compared(labels, said, judged, names)), of=state)
            names, sections = last["names"], last["sections"]
        mine = names.get((True, who))
        return {"title": title, "note": NOTE, "sections": [told(section, mine) for section in sections]}

    return page


def pseudonyms(
    said: Iterable[Mapping[str, Any]], judged: Mapping[str, Iterable[Mapping[str, Any]]]
) -> dict[tuple[bool, str], str]:
    """(person, name) -> a name that says nothing, in an order that follows neither names nor votes."""
    people = {one["by"] for one in said}
    judges = {one["by"] for several in judged.values() for one in several}
    names: dict[tuple[bool, str], str] = {}
    for person, kind, known in ((True, "person", people), (False, "judge", judges)):
        ordered = sorted(known, key=lambda name: sha256(name.encode("utf-8", "replace")).digest())
        names.update({(person, name): f"{kind} {number}" for number, name in enumerate(ordered, 1)})
    return names


def compared(
    labels: Labels,
    said: Iterable[Mapping[str, Any]],
    judged: Mapping[str, Iterable[Mapping[str, Any]]],
    names: Mapping[tuple[bool, str], str],
) -> list[Compared]:
    """What was compared, item by item, without models."""
    from ..agreement import Compared

    by_item: dict[str, list[Mapping[str, Any]]] = {}
    for one in said:
        by_item.setdefault(one["item"], []).append({**one, "by": names[True, one["by"]]})
    found = []
    for item in labels.items():
        judges = [{**one, "by": names[False, one["by"]]} for one in judged.get(item.key, ())]
        if votes := by_item.get(item.key):
            lengths = [len(text_of(answer)) for answer in item.completions]
            found.append(Compared(item.key, [*votes, *judges], lengths, gold=item.gold))
    return found


def sections_of(items: list[Compared]) -> list[dict[str, Any]]:
    from ..agreement import agreement_of
    from ..pictures import as_json, sections

    return [as_json(section) for section in sections(agreement_of(items, draws=DRAWS))]


def told(section: Any, mine: str | None) -> Any:
    """A section in which the annotator finds their own pseudonym."""
    if isinstance(section, str):
        return section if mine is None else re.sub(rf"\b{re.escape(mine)}\b", rf"{mine} (you)", section)
    if isinstance(section, dict):
        return {name: told(value, mine) for name, value in section.items()}
    return [told(value, mine) for value in section] if isinstance(section, list) else section
