"""The four forms of a tokenizer, put together from the parts of the tokenizers library and trained by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from factory import StepError

from . import wordpiece
from .alphabets import allowed
from .bpe import covering, splits
from .pieces import MARKER, pieces_of
from .unigram import trained

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Form = Literal["byte_level_bpe", "sentencepiece_bpe", "unigram", "wordpiece"]
SPECIAL: dict[Form, list[str]] = {
    "byte_level_bpe": ["<|endoftext|>"],
    "sentencepiece_bpe": ["<unk>", "<s>", "</s>"],
    "unigram": ["<pad>", "</s>", "<unk>"],
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
}
NAMES: dict[Form, dict[str, str]] = {
    "byte_level_bpe": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "sentencepiece_bpe": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "unigram": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    "wordpiece": {
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    },
}  # fmt: skip
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
BYTE_SCORE = -20.0  # of a byte's log-probability: below that of any piece, so that bytes are the last way


class Plan(NamedTuple):
    """What `train_tokenizer` was asked for; its docstring says what each means."""

    form: Form
    size: int
    min_frequency: int
    max_chars: int
    coverage: float
    special: list[str]
    lowercase: bool
    individual_digits: bool


def train(plan: Plan, texts: Callable[[], Iterable[str]]) -> Tokenizer:
    """The trained tokenizer. `texts` is called twice but for byte-level: to count characters, and to learn.

    Raises StepError where there is no room for the characters.
    """
    if plan.form == "byte_level_bpe":
        return _byte_level(plan, texts())
    alphabet = _alphabet(plan, _seen(plan, texts()))
    if plan.form != "wordpiece":  # which has some of them twice, and sees for itself
        _has_room(plan, len(plan.special) + len(BYTES) + len({MARKER, *alphabet}))
    return MAKERS[plan.form](plan, _known(_seen(plan, texts()), alphabet), sorted(alphabet))


def _has_room(plan: Plan, takes: int) -> None:
    if takes > plan.size:
        raise StepError(
            f"train_tokenizer: size {plan.size:,} has no room for the characters of the corpus; with special tokens "
            f"and bytes it takes {takes:,}. Raise size, or lower coverage"
        )


def wrapped(tokenizer: Tokenizer, form: Form, special: list[str]) -> PreTrainedTokenizerFast:
    """As transformers has it, with the names of the special tokens."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=special,
        **NAMES[form],
    )


def _alphabet(plan: Plan, texts: Iterable[str]) -> set[str]:
    """The commonest characters that make up the share `coverage` of the corpus."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    inner = Counter({one: times for one, times in counts.items() if not one.isspace()})
    return {character for character, _ in covering(inner, plan.coverage)}


def _seen(plan: Plan, texts: Iterable[str]) -> Iterable[str]:
    """The texts as the model of the tokenizer sees them."""
    return map(_bert(plan).normalize_str, texts) if plan.form == "wordpiece" else texts


def _known(texts: Iterable[str], alphabet: set[str]) -> Iterator[str]:
    """The texts with a blank for each character outside the alphabet, as other blanks are: none is part of a piece."""
    for text in texts:
        unknown = {ord(one): " " for one in set(text) - alphabet}
        yield text.translate(unknown) if unknown else text


def _byte_level(plan: Plan, texts: Iterable[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), cut]) if plan.individual_digits else cut
    )
    tokenizer.decoder = decoders.ByteLevel()
    # the library's pieces stay below max_token_length
    trainer = trainers.BpeTrainer(
        vocab_size=plan.size, min_frequency=plan.min_frequency, special_tokens=plan.special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=3 * plan.max_chars + 1,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _words(plan: Plan) -> Any:
    """How SentencePiece's trainers see words: a mark for the blank before each, digits apart."""
    from tokenizers import pre_tokenizers

    parts: list[Any] = [pre_tokenizers.Metaspace(prepend_scheme="always")]
    if plan.individual_digits:
        parts.append(pre_tokenizers.Digits(individual_digits=True))
    return pre_tokenizers.Sequence(parts)


def _sentencepiece(plan: Plan, texts: Iterable[str], alphabet: list[str]) -> Tokenizer:
    """Trained word by word, used without words: no piece goes over a blank, as in SentencePiece's own models."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    learning = Tokenizer(models.BPE())
    learning.pre_tokenizer = _words(plan)
    trainer = trainers.BpeTrainer(
        vocab_size=plan.size, min_frequency=plan.min_frequency, special_tokens=[*plan.special, *BYTES],
        show_progress=False, initial_alphabet=[MARKER, *alphabet], max_token_length=plan.max_chars + 1,
    )  # fmt: skip
    learning.train_from_iterator(texts, trainer)
    vocab = learning.get_vocab()
    pieces = sorted(vocab, key=lambda piece: vocab[piece])
    reserved = {*plan.special, *BYTES}
    merges = [pair for piece in pieces if piece not in reserved for pair in splits(piece, vocab)]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARKER), normalizers.Replace(" ", MARKER)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(MARKER, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(plan.special)
    return tokenizer


def _unigram(plan: Plan, texts: Iterable[str], alphabet: list[str]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models

    words: Counter[str] = Counter()
    for text in texts:
        words.update(f"{MARKER}{word}" for word in text.split())
    room = plan.size - len(plan.special) - len(BYTES)
    learned = trained(words, room, plan.max_chars, plan.individual_digits)
    if not learned and room:
        learned = {MARKER: BYTE_SCORE / 2}  # of its bytes the decoder would make no blank
    reserved = [*((one, 0.0) for one in plan.special), *((one, BYTE_SCORE) for one in BYTES)]
    unknown = plan.special.index("<unk>")
    tokenizer = Tokenizer(models.Unigram([*reserved, *learned.items()], unk_id=unknown, byte_fallback=True))
    tokenizer.pre_tokenizer = _words(plan)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    tokenizer.add_special_tokens(plan.special)
    return tokenizer


def _bert(plan: Plan) -> Any:
    from tokenizers import normalizers

    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=plan.lowercase, lowercase=plan.lowercase
    )


def _wordpiece(plan: Plan, texts: Iterable[str], alphabet: list[str]) -> Tokenizer:
    """The library's trainer numbers the pieces inside of words in another order each time; ours does not."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    cut: Any = pre_tokenizers.BertPreTokenizer()
    if plan.individual_digits:
        cut = pre_tokenizers.Sequence([cut, pre_tokenizers.Digits(individual_digits=True)])

    def of(pieces: list[str]) -> Tokenizer:
        vocab = {piece: at for at, piece in enumerate(pieces)}
        made = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=200))
        made.normalizer, made.pre_tokenizer, made.decoder = _bert(plan), cut, decoders.WordPiece(prefix="##")
        made.add_special_tokens(plan.special)
        return made

    empty = of(plan.special)
    words = wordpiece.words(empty, texts, allowed(None))
    at_begin, inside = {word[0] for word in words}, {character for word in words for character in word[1:]}
    _has_room(plan, len(plan.special) + len(at_begin) + len(inside))
    room = plan.size - len(plan.special)
    found = wordpiece.propose(empty, pieces_of(empty), words, room, plan.min_frequency, plan.max_chars, 1.0)
    tokenizer = of([*plan.special, *(one.piece for one in found)])
    last, first = ((name, tokenizer.token_to_id(name) or 0) for name in ("[SEP]", "[CLS]"))
    tokenizer.post_processor = processors.BertProcessing(last, first)
    return tokenizer


MAKERS: dict[Form, Callable[[Plan, Iterable[str], list[str]], Tokenizer]] = {
    "sentencepiece_bpe": _sentencepiece,
    "unigram": _unigram,
    "wordpiece": _wordpiece,
}
