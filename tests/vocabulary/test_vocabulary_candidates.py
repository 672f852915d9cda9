"""What goes when a piece goes, and what pieces are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import InputError
from factory.vocabulary.alphabets import allowed, beginnings_shared, blanks, character_class, script
from factory.vocabulary.candidates import Candidate, base_parts, needed, pruned, roots, without

FIRST = 10
CHAIN = [
    Candidate("ab", (0, 1), 5, 2), Candidate("abc", (10, 2), 4, 1), Candidate("de", (3, 4), 3, 3),
    Candidate("abcde", (11, 12), 2, 2),
]  # fmt: skip


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    found = []
    for place in range(draw(st.integers(0, 10))):
        parts = draw(st.lists(st.integers(0, FIRST + place - 1), min_size=2, max_size=2))
        found.append(Candidate(f"piece {place}", tuple(parts), 1, draw(st.integers(0, 5))))
    return found


def spelled(found: list[Candidate]) -> dict[str, tuple[int, ...]]:
    return {one.piece: parts for one, parts in zip(found, base_parts(found, FIRST), strict=True)}


def test_what_is_made_of_a_piece_goes_with_it() -> None:
    assert [one.piece for one in without(CHAIN, {0}, FIRST)] == ["de"]
    left = without(CHAIN, {2}, FIRST)
    assert [(one.piece, one.parts) for one in left] == [("ab", (0, 1)), ("abc", (10, 2))]
    assert needed(CHAIN, FIRST) == {0, 1, 2}
    assert base_parts(CHAIN, FIRST)[-1] == (0, 1, 2, 3, 4)
    assert roots(CHAIN, FIRST) == [{0}, {0}, {2}, {0, 2}]


def test_what_a_rare_piece_had_taken_up_falls_to_its_parts() -> None:
    left = pruned(CHAIN, 4, FIRST)
    assert [(one.piece, one.uses) for one in left] == [("ab", 5), ("de", 5)]  # 2 of abcde, then 3 of abc


@given(found=candidates(), dropped=st.sets(st.integers(0, 9)))
def test_pieces_that_stay_stand_for_the_same(found: list[Candidate], dropped: set[int]) -> None:
    left = without(found, dropped, FIRST)
    before = spelled(found)
    assert spelled(left) == {one.piece: before[one.piece] for one in left}
    assert not {one.piece for one in left} & {found[at].piece for at in dropped if at < len(found)}
    gone = {at for at, one in enumerate(found) if one.piece not in {kept.piece for kept in left}}
    for at in gone - dropped:
        assert {part - FIRST for part in found[at].parts} & gone


@given(found=candidates(), least=st.integers(0, 6))
def test_only_what_others_need_is_rare(found: list[Candidate], least: int) -> None:
    left = pruned(found, least, FIRST)
    held = needed(left, FIRST)
    assert all(one.uses >= least or at in held for at, one in enumerate(left))
    assert pruned(left, least, FIRST) == left


@given(found=candidates(), place=st.integers(0, 9))
def test_without_its_roots_a_piece_is_gone(found: list[Candidate], place: int) -> None:
    for at, some in enumerate(roots(found, FIRST)):
        assert some
        for root in some:
            assert not any(part >= FIRST for part in found[root].parts)
            assert found[at].piece not in {one.piece for one in without(found, {root}, FIRST)}


def test_scripts_are_those_of_unicode_with_their_marks() -> None:
    import regex

    han = script("Han")
    assert all(han[ord(one)] for one in "世㐀龘𠀀々〇，。「」！")
    assert not any(han[ord(one)] for one in "aあア한·—…“”☃\ue000 \n")
    assert han.sum() > 90_000
    assert not han[0xD800:0xE000].any()
    text = "a世，б中 x"
    assert regex.findall(character_class(han) + "+", text) == ["世，", "中"]
    assert (allowed(["Han", "Cyrillic"]) == han | script("Cyrillic")).all()
    assert allowed(None).all()
    assert [one for one in "×÷·¤‰" if script("Latin")[ord(one)]] == []
    with pytest.raises(InputError, match=r"there is no script 'Cyrilic'; did you mean 'Cyrillic'\?"):
        script("Cyrilic")


def test_beginnings_are_shared_where_a_stranger_has_them() -> None:
    assert not beginnings_shared(allowed(None)).any()
    shared = beginnings_shared(allowed(["Han"]))
    assert not shared[[ord(one) for one in "世龘，。a я"]].any()
    assert shared[[ord(one) for one in "\ufe0f︰あ"]].all()
    assert beginnings_shared(allowed(["Hiragana"]))[ord("む")]  # as ア begins
    assert not beginnings_shared(allowed(["Hiragana", "Katakana"]))[ord("む")]
    assert not beginnings_shared(allowed(["Thai"]))[ord("ก")]


def test_blanks_are_those_of_python() -> None:
    assert np.flatnonzero(blanks()).tolist() == [code for code in range(0x110000) if chr(code).isspace()]
