"""A protected text is cut as before, or no more of its lines otherwise than may be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import StepError
from factory.vocabulary import gates
from factory.vocabulary.protect import _greediest

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, MAKERS, base, grown, sentences

HAN, OTHER = sentences("Han", 150), sentences("Latin", 60, 7)
CORPUS = [line for pair in zip(ENGLISH, HAN, strict=False) for line in pair]


@pytest.mark.parametrize("name", MAKERS)
def test_without_protection_english_is_cut_otherwise(name: str) -> None:
    found = grown(base(name), CORPUS, 120)  # characters come first
    assert len(gates.drifted(base(name), found.tokenizer, OTHER)) > 0.2 * len(OTHER)


@pytest.mark.parametrize("most", [0.0, 0.2])
@pytest.mark.parametrize("name", MAKERS)
def test_protected_lines_drift_no_more_than_they_may(name: str, most: float) -> None:
    before = base(name)
    found = grown(before, CORPUS, 50, protected=OTHER, max_drift=most)
    assert len(found.added) == 50
    changed = gates.drifted(before, found.tokenizer, OTHER)
    assert len(changed) <= most * len(OTHER)
    assert gates.unreachable(found.tokenizer, range(found.first, found.first + 50)) == []
    assert gates.drifted(before, found.tokenizer, HAN)


@pytest.mark.parametrize("name", ["gpt2", "prepend", "wordpiece"])
def test_a_budget_is_made_use_of(name: str) -> None:
    """Trainers of the tokenizers library break ties by chance: how many lines change is another number each time."""
    before = base(name)

    def changed(most: float) -> int:
        found = grown(before, CORPUS, scripts=["Latin"], pieces=10, protected=OTHER, max_drift=most)
        return len(gates.drifted(before, found.tokenizer, OTHER))

    free = changed(1.0)
    assert free > 4
    assert changed(free / 2 / len(OTHER)) <= free / 2


@pytest.mark.parametrize("name", MAKERS)
def test_where_all_pieces_change_the_text_there_are_none(name: str) -> None:
    said = (
        r"the corpus gives [\d,]+ pieces that stand 2 times or more; [\d,]+ of them can be reached, are no rarer than "
        r"min_uses and leave protected text as it is"
    )
    with pytest.raises(StepError, match=said):
        grown(base(name), HAN[:40], 60, protected=HAN)


@given(
    guilty=st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=8),
    lines=st.integers(-2, 8),
)
def test_so_many_lines_are_free_when_the_greediest_are_gone(guilty: list[set[int]], lines: int) -> None:
    lines = min(lines, len(guilty))
    gone = _greediest([set(some) for some in guilty], lines)
    assert sum(some <= gone for some in guilty) >= lines
    assert bool(gone) == (lines > 0)
