"""Agreement as annotators may see it while they label: their own numbers, and the others' without names."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import text_of

from .database import connect_read_only
from .reading import votes_in
from .votes import comparisons_of

if TYPE_CHECKING:
    from ..agreement import Compared
    from .store import Labels

DRAWS = 500  # of the bootstrap: intervals are drawn on a screen here, and everyone waits for the processor
QUICK = 0.5  # seconds: what takes longer stands for PAUSE times as long, so most of the processor is left to voting
PAUSE = 4
NOTE = "As it stands now; load the page again for what was said since. Other people and judges are without names here."


def findings(
    labels: Labels, title: str, judged: Mapping[str, Iterable[Mapping[str, Any]]] | None = None
) -> Callable[[str], dict[str, Any]]:
    """A function from an annotator to their page: title, note, sections (see pictures.as_json).

    judged  comparisons by judges under the key of their item. Who wrote which answer is left out: no strengths of
            models are shown to people who are still comparing their answers
    """
    judged = judged or {}
    about = {item.key: ([len(text_of(answer)) for answer in item.completions], item.gold) for item in labels.items()}
    lock = threading.Lock()  # one computation at a time: the second finds the first one's result
    last = Last()

    def page(who: str) -> dict[str, Any]:
        said = votes_of(labels.folder)
        state = (len(said), said[-1]["at"] if said else "")
        with lock:
            if last.state != state and time.monotonic() > last.until:
                began = time.monotonic()
                last.names = pseudonyms(said, judged)
                last.sections = sections_of(compared(about, said, judged, last.names))
                last.state, took = state, time.monotonic() - began
                last.until = time.monotonic() + (PAUSE * took if took > QUICK else 0)
            names, sections = last.names, last.sections
        mine = names.get((True, who))
        return {"title": title, "note": NOTE, "sections": [told(section, mine) for section in sections]}

    return page


@dataclass
class Last:
    """The latest computation, of which votes it was, and until when it stands whatever is said meanwhile."""

    state: tuple[int, str] | None = None
    until: float = 0.0
    names: dict[tuple[bool, str], str] = field(default_factory=dict)
    sections: list[dict[str, Any]] = field(default_factory=list)


def votes_of(folder: Path) -> list[dict[str, Any]]:
    """Comparisons with their item, read beside whoever votes meanwhile."""
    with closing(connect_read_only(folder)) as db:
        return [{"item": vote["item"], **one} for vote in votes_in(db) for one in comparisons_of(vote)]


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
    about: Mapping[str, tuple[list[int], str | None]],
    said: Iterable[Mapping[str, Any]],
    judged: Mapping[str, Iterable[Mapping[str, Any]]],
    names: Mapping[tuple[bool, str], str],
) -> list[Compared]:
    """What was compared, item by item, without models. `about` has the lengths of the answers and the gold verdict."""
    from ..agreement import Compared

    by_item: dict[str, list[Mapping[str, Any]]] = {}
    for one in said:
        by_item.setdefault(one["item"], []).append({**one, "by": names[True, one["by"]]})
    found = []
    for key, votes in by_item.items():
        if key in about:  # not an item that another process has put in since
            judges = [{**one, "by": names[False, one["by"]]} for one in judged.get(key, ())]
            lengths, gold = about[key]
            found.append(Compared(key, [*votes, *judges], lengths, gold=gold))
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
