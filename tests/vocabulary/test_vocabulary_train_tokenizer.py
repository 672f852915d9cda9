"""train_tokenizer: four forms that transformers loads, of the size asked for, and what is said where that cannot be."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory import InputError, StepError, Tokenizer
from factory.vocabulary import gates
from factory.vocabulary.forms import NAMES, SPECIAL, Form, Plan, wrapped
from factory.vocabulary.forms import train as made_of
from factory.vocabulary.pieces import pieces_of

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, ids, sentences
from steps import train

LINES = [
    *ENGLISH,
    *sentences("Han"),
    *sentences("Cyrillic"),
    "Numbers: 1234 and 98765, 2024-11-29.",
    "Café naïve Ångström",
]
SIZES: dict[Form, int] = {"byte_level_bpe": 420, "sentencepiece_bpe": 480, "unigram": 460, "wordpiece": 260}
FORMS = list(SIZES)
_MADE: dict[tuple[Any, ...], Any] = {}


def built(form: Form, **options: Any) -> Any:
    """A tokenizer of the form, made once."""
    key = form, *sorted(options.items())
    if key not in _MADE:
        asked = {"min_frequency": 2, "max_chars": 16, "coverage": 1.0, "lowercase": False, "individual_digits": True}
        plan = Plan(form=form, size=SIZES[form], special=SPECIAL[form], **{**asked, **options})
        _MADE[key] = made_of(plan, lambda: iter(LINES))
    return _MADE[key]


@pytest.mark.parametrize("form", FORMS)
def test_the_size_is_that_asked_for_and_pieces_are_of_use(form: Form) -> None:
    made = built(form)
    assert made.get_vocab_size() == SIZES[form]
    pieces = pieces_of(made)
    assert [pieces.vocabulary[one] for one in SPECIAL[form]] == list(range(len(SPECIAL[form])))
    assert gates.broken_round_trips(made, LINES) == []
    texts = [pieces.text_of(at) or "" for at in range(SIZES[form]) if at not in pieces.added]
    assert [text for text in texts if len(text) > 1 and any(one.isspace() for one in text[1:])] == []
    assert sum(len(ids(made, line)) for line in LINES) < 0.7 * sum(map(len, LINES))
    if form != "wordpiece":
        assert pieces.unknown not in ids(made, "🙂 한국어 \x00 ﷽")


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@example(text="<|endoftext|>")  # texts are also drawn from what the sources say
@example(text="</s>")
def test_any_text_comes_back(form: Form, text: str) -> None:
    made = built(form)
    assert gates.broken_round_trips(made, [text]) == []
    if form == "byte_level_bpe":
        assert made.decode(ids(made, text), skip_special_tokens=False) == text
    if form == "sentencepiece_bpe" and not any(one in text for one in SPECIAL[form]):
        assert made.decode(ids(made, text)) == text.replace("▁", " ")


@pytest.mark.parametrize("form", FORMS)
def test_digits_stand_alone_unless_told_otherwise(form: Form) -> None:
    lines = [f"in {year} and {year}" for year in (1234, 2024, 1999)] * 20
    for apart in (True, False):
        plan = Plan(form, 330, 2, 16, 1.0, SPECIAL[form], False, apart)
        if form == "wordpiece":
            plan = plan._replace(size=40)
        if form == "unigram":
            plan = plan._replace(size=259 + 27)
        made = made_of(plan, lambda: iter(lines))
        pieces = pieces_of(made)
        texts = [pieces.text_of(at) or "" for at in pieces.names if not pieces.names[at].startswith("<")]
        several = [text for text in texts if re.search(r"\d\d|\d \d", text)]
        assert bool(several) is not apart
        cut = [token for token in made.encode("2024", add_special_tokens=False).tokens if token != "▁"]
        assert (len(cut) == 4) is apart


@pytest.mark.parametrize("form", FORMS)
def test_no_piece_goes_over_a_blank(form: Form) -> None:
    for blank in ("\n", "\t", "\xa0", "\u3000"):
        lines = [line.replace(" ", blank) for line in ENGLISH]
        size = {"byte_level_bpe": 330, "sentencepiece_bpe": 380, "unigram": 360, "wordpiece": 130}[form]
        made = made_of(Plan(form, size, 2, 16, 1.0, SPECIAL[form], False, True), lambda: iter(lines))  # noqa: B023
        pieces = pieces_of(made)
        texts = [pieces.text_of(at) or "" for at in pieces.names if at not in pieces.added]
        letters = [text for text in texts if any(one.isalpha() for one in text)]
        assert [text for text in letters if any(one.isspace() for one in text.removeprefix(" "))] == []
        assert any(len(text) > 3 for text in letters)


def test_lowercase_folds_case_and_accents() -> None:
    capital = [line.title() for line in ENGLISH]
    made = made_of(Plan("wordpiece", 130, 2, 16, 1.0, SPECIAL["wordpiece"], True, True), lambda: iter(capital))
    assert {"list", "set", "the"} & set(pieces_of(made).vocabulary) >= {"list", "set"}
    folded, plain = built("wordpiece", lowercase=True), built("wordpiece")
    assert ids(folded, "LIST Café") == ids(folded, "list cafe")
    assert ids(plain, "LIST") != ids(plain, "list")
    assert not any(piece != piece.lower() for piece in pieces_of(folded).vocabulary if piece[0] != "[")
    assert plain.decode(ids(plain, "Café")) == "Café"


@pytest.mark.parametrize("form", FORMS)
def test_bounds_of_pieces(form: Form) -> None:
    size = {"byte_level_bpe": 450, "sentencepiece_bpe": 480, "unigram": 450, "wordpiece": 300}[form]
    made = made_of(Plan(form, size, 2, 3, 1.0, SPECIAL[form], False, True), lambda: iter(LINES))
    pieces = pieces_of(made)
    sizes = [
        len(pieces.bytes_of(at)) / 3 if form == "byte_level_bpe" else len(name.removeprefix("##"))
        for at, name in pieces.names.items()
        if at not in pieces.added and not name.startswith("<0x")
    ]
    assert max(sizes) == 3


@pytest.mark.model
@pytest.mark.parametrize("form", FORMS)
def test_the_folder_is_loaded_by_transformers(form: Form, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    found, page = train(tmp_path / "run", LINES, form=form, size=SIZES[form], coverage=1.0, special=["<|user|>"])
    assert isinstance(found, Tokenizer)
    assert page.startswith(f"{form}, {SIZES[form]:,} pieces; 0.")
    read = AutoTokenizer.from_pretrained(found.path)
    assert len(read) == SIZES[form]
    file = built(form).from_file(str(found.path / "tokenizer.json"))
    assert file.get_vocab_size() == SIZES[form]
    for line in [*LINES, "<|user|>世界 12", " a  b\tc "]:
        assert read(line).input_ids == file.encode(line).ids
    for name, token in NAMES[form].items():
        assert getattr(read, name) == token
        assert read.convert_tokens_to_ids(token) < len(SPECIAL[form])
    assert "<|user|>" in read.all_special_tokens
    token = read.convert_tokens_to_ids("<|user|>")
    assert token in read("中<|user|>文").input_ids
    assert read.decode(read("list <|user|>").input_ids, skip_special_tokens=True).strip() == "list"
    assert read.chat_template is None
    text = "the list holds items"
    assert read.decode(read(text).input_ids, skip_special_tokens=True) == text


@pytest.mark.model
def test_wordpiece_puts_its_tokens_around_a_text(tmp_path: Path) -> None:
    made = wrapped(built("wordpiece"), "wordpiece", [])
    assert made.convert_ids_to_tokens(made("list").input_ids)[0::2] == ["[CLS]", "[SEP]"]


FULL = "leaves no room for pieces; special tokens and bytes are"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "byte_level_bpe", "size": 257}, f"size 257 {FULL} 257 already"),
        ({"form": "sentencepiece_bpe", "size": 200}, f"size 200 {FULL} 259 already"),
        ({"form": "unigram", "size": 259}, f"size 259 {FULL} 259 already"),
        ({"form": "wordpiece", "size": 5}, f"size 5 {FULL} 5 already"),
        ({"form": "wordpiece", "size": 6, "special": ["<x>"]}, f"size 6 {FULL} 6 already"),
        ({"form": "unigram", "lowercase": True}, "lowercase is for wordpiece; unigram keeps every text as it is"),
    ],
)
def test_options_that_do_not_go_together(options: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^train_tokenizer: .*{re.escape(said)}"):
        train(tmp_path / "run", LINES, **options)


@pytest.mark.parametrize("form", FORMS)
def test_more_pieces_than_there_are(form: Form, tmp_path: Path) -> None:
    said = (
        r"^train_tokenizer: the corpus gives [\d,]+ pieces, 9,000 were asked for; lower size or min_frequency or bring "
        r"more text$"
    )
    with pytest.raises(StepError, match=said):
        train(tmp_path / "run", LINES, form=form, size=9000)


@pytest.mark.parametrize("form", ["sentencepiece_bpe", "unigram", "wordpiece"])
def test_less_room_than_characters(form: Form, tmp_path: Path) -> None:
    size = {"wordpiece": 20}.get(form, 280)
    said = (
        rf"^train_tokenizer: size {size} has no room for the characters of the corpus; with special tokens and bytes "
        r"it takes [\d,]+\. Raise size, or lower coverage$"
    )
    with pytest.raises(StepError, match=said):
        train(tmp_path / "run", LINES, form=form, size=size)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("texts", [[], [""], [" \n"]])
def test_a_corpus_without_text(form: Form, texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"^train_tokenizer: the corpus gives \d+ pieces, 300 were asked for; "):
        train(tmp_path / "run", texts, form=form, size=300)


def test_a_special_token_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^train_tokenizer: special token '<\|endoftext\|>' is named twice$"):
        train(tmp_path / "run", LINES, size=400, special=["<|endoftext|>"])


def test_coverage_leaves_rare_characters_to_bytes() -> None:
    for form in ("sentencepiece_bpe", "unigram"):
        made = made_of(Plan(form, 420, 2, 16, 0.97, SPECIAL[form], False, True), lambda: iter(LINES))
        assert "Å" not in pieces_of(made).vocabulary
        assert "世" in pieces_of(made).vocabulary
        assert made.decode(ids(made, "Å")) == "Å"


STRANGE = st.one_of(
    st.sampled_from("\x00▅▁\t\n <unk>0x41##\ufeff\u200b\u0301🙂中文мир<s>12"), st.characters(exclude_categories=["Cs"])
)


@settings(max_examples=60)
@given(
    form=st.sampled_from(FORMS),
    texts=st.lists(st.lists(STRANGE, max_size=15).map("".join), min_size=1, max_size=6),
    room=st.integers(1, 60),
    apart=st.booleans(),
)
@example(form="unigram", texts=["▅"], room=5, apart=True)
@example(form="unigram", texts=["▅▁"], room=2, apart=False)
@example(form="sentencepiece_bpe", texts=["\x00▅\t"], room=3, apart=True)
def test_any_text_can_be_learned_from(form: Form, texts: list[str], room: int, apart: bool) -> None:
    size = len(SPECIAL[form]) + (0 if form == "wordpiece" else 256) + room
    try:
        made = made_of(Plan(form, size, 1, 8, 0.98, SPECIAL[form], False, apart), lambda: iter(texts * 3))
    except StepError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert re.match(r"train_tokenizer: size \d+ has no room for the characters", refused)
        return
    assert made.get_vocab_size() <= size
    assert gates.broken_round_trips(made, texts) == []
