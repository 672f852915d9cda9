"""Gates of a changed tokenizer: each kind passes as trained, and each gate fails on what was broken by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.vocabulary.gates import broken_round_trips, drifted, intermediates, unreachable
from factory.vocabulary.pieces import Pieces, byte_alphabet, pieces_of

sys.path.insert(0, str(Path(__file__).parent))
from kinds import KINDS, LINES, SPECIAL, as_bytes, byte_level, sentencepiece, unigram, with_pieces, wordpiece

TRAINED: dict[str, Any] = {**{name: make() for name, make in KINDS.items()}, "metaspace": sentencepiece(metaspace=True)}
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5)


def last(tokenizer: Any, count: int) -> range:
    size = tokenizer.get_vocab_size()
    return range(size - count, size)


@pytest.mark.parametrize("name", ["byte level", "sentencepiece", "metaspace", "wordpiece"])
def test_every_piece_that_was_trained_is_reachable_or_an_intermediate(name: str) -> None:
    tokenizer = TRAINED[name]
    pieces = pieces_of(tokenizer)
    found = unreachable(tokenizer, range(tokenizer.get_vocab_size()))
    # Bytes that stand for one character are not reached where the character has a piece; Bert parts Han characters.
    expected = {
        "wordpiece": [token for token, piece in pieces.names.items() if piece[:2] == "##" and ord(piece[2]) > 0x3000]
    }.get(name, [token for token, piece in pieces.names.items() if name != "byte level" and piece.startswith("<0x")])
    assert set(found) <= set(expected)
    halves = intermediates(tokenizer, range(tokenizer.get_vocab_size()))
    assert halves == [token for token in range(tokenizer.get_vocab_size()) if pieces.text_of(token) is None]
    assert bool(halves) == (name != "wordpiece")


def test_a_merge_whose_parts_are_never_formed_leaves_its_token_dead() -> None:
    base = byte_level()
    alive = with_pieces(base, "QZ", merges=(("Q", "Z"),))
    assert unreachable(alive, last(alive, 1)) == []
    dead = with_pieces(base, "QZ", "QZX", "ZX", merges=(("Q", "Z"), ("Z", "X"), ("Q", "ZX")))
    assert [pieces_of(dead).names[token] for token in unreachable(dead, last(dead, 3))] == ["QZX"]


def test_a_token_across_what_is_cut_before_the_model_is_dead() -> None:
    base = with_pieces(byte_level(), "11", "Ġ1", merges=(("1", "1"), ("Ġ", "1")))
    assert unreachable(base, last(base, 2)) == list(last(base, 2))


def test_partial_characters_are_counted_apart() -> None:
    half = as_bytes("鑫")[:2]
    base = with_pieces(byte_level(), half, as_bytes("鑫"), merges=((half[0], half[1]), (half, as_bytes("鑫")[2])))
    assert unreachable(base, last(base, 2)) == []
    assert intermediates(base, last(base, 2)) == [last(base, 2)[0]]


def test_sentencepiece_pieces_stand_where_they_are_meant_to() -> None:
    extended = with_pieces(sentencepiece(), "世", "界", "世界", "▁世", merges=(("世", "界"), ("▁", "世")))
    # behind a blank the later merge `▁世` has no turn before `世界`, and alone it has
    assert unreachable(extended, last(extended, 4)) == []
    assert extended.encode("世界", add_special_tokens=False).tokens == ["▁", "世界"]
    no_parts = with_pieces(sentencepiece(), "世界")
    assert unreachable(no_parts, last(no_parts, 1)) == list(last(no_parts, 1))


def test_wordpiece_pieces_are_looked_for_at_their_side_of_a_word() -> None:
    extended = with_pieces(wordpiece(), "quux", "##quux", "Loud", "##中")
    names = [pieces_of(extended).names[token] for token in unreachable(extended, last(extended, 4))]
    assert names == ["Loud", "##中"]  # lower case and lone Han characters, says the normaliser


def test_unigram_pieces_need_a_score_that_wins() -> None:
    base = unigram()
    extended = with_pieces(base, "▁世界", "世界", "Ａ")
    names = [pieces_of(extended).names[token] for token in unreachable(extended, last(extended, 3))]
    assert names == ["Ａ"]  # NFKC makes it an A
    definition = json.loads(extended.to_str())
    definition["model"]["vocab"][-2][1] = -500.0
    poor = type(base).from_str(json.dumps(definition))
    assert [pieces_of(poor).names[token] for token in unreachable(poor, last(poor, 2)[:1])] == ["世界"]


def test_added_tokens_are_reachable_and_an_unknown_id_is_an_error() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["中文分词"])
    assert unreachable(tokenizer, [0, *last(tokenizer, 1)]) == []
    with pytest.raises(KeyError):
        unreachable(tokenizer, [tokenizer.get_vocab_size()])


@pytest.mark.parametrize("name", sorted(TRAINED))
@given(lines=TEXTS)
def test_every_text_comes_back(name: str, lines: list[str]) -> None:
    tokenizer = TRAINED[name]
    assert broken_round_trips(tokenizer, [*lines, *LINES, "", " ", "  a  b ", "▁x"]) == []


@pytest.mark.parametrize("name", ["byte level", "sentencepiece"])
def test_where_it_is_promised_texts_come_back_exactly(name: str) -> None:
    tokenizer = TRAINED[name]
    assert pieces_of(tokenizer).exact
    line = "  two  blanks, a tab\tand 鑫\u0301 "
    assert tokenizer.decode(tokenizer.encode(line).ids) == line
    assert not any(pieces_of(TRAINED[other]).exact for other in ("unigram", "wordpiece", "metaspace"))


def test_a_decoder_that_loses_text_is_found() -> None:
    from tokenizers import Tokenizer, decoders

    lossy = Tokenizer.from_str(byte_level().to_str())
    lossy.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    assert broken_round_trips(lossy, ["a b", " a", "", "  "]) == [" a", "  "]
    silent = Tokenizer.from_str(wordpiece().to_str())
    silent.decoder = decoders.Sequence([decoders.WordPiece(), decoders.Replace("holds", "")])
    assert broken_round_trips(silent, ["a list", "holds a list", "holds \U0001f600"]) == ["holds a list"]


def test_an_unknown_token_is_no_loss_where_unknown_tokens_are_no_promise() -> None:
    assert broken_round_trips(wordpiece(), ["\U0001f600 set", "a [SEP] set"]) == []


def test_drift_names_the_lines_that_changed() -> None:
    base = byte_level()
    same = with_pieces(base, "QZ", merges=(("Q", "Z"),))
    assert drifted(base, same, LINES) == []
    assert drifted(base, same, ["a QZ", "a", "QZQZ", "Q Z"]) == [0, 2]


def test_truncation_and_padding_hide_nothing_and_stay_as_they_are() -> None:
    base, cut = byte_level(), byte_level()
    cut.enable_truncation(2)
    cut.enable_padding(length=8)
    assert drifted(base, cut, LINES) == []
    assert broken_round_trips(cut, LINES) == []
    assert cut.truncation is not None
    assert cut.padding is not None


def test_the_byte_alphabet_is_that_of_the_library() -> None:
    from tokenizers import pre_tokenizers

    alphabet = byte_alphabet()
    assert set(alphabet) == set(pre_tokenizers.ByteLevel.alphabet())
    for text in ("a b\n\x00\x7f", "鑫ÿ\xa0\xad", "\U0001f600"):
        assert bytes(alphabet[letter] for letter in as_bytes(text)) == text.encode()


def test_bytes_of_pieces() -> None:
    def bytes_of(tokenizer: Any, piece: str) -> bytes:
        pieces: Pieces = pieces_of(tokenizer)
        return pieces.bytes_of(pieces.vocabulary[piece])

    assert bytes_of(with_pieces(byte_level(), "Ġset"), "Ġset") == b" set"
    assert bytes_of(sentencepiece(), "<0xE4>") == b"\xe4"
    assert bytes_of(with_pieces(sentencepiece(), "▁世"), "▁世") == " 世".encode()
    assert bytes_of(with_pieces(wordpiece(), "##ing"), "##ing") == b"ing"
    assert bytes_of(sentencepiece(), SPECIAL[1]) == b"<s>"
