"""Tokenizers that know English only, one of each kind that can be extended, and texts of other scripts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from kinds import byte_level, sentencepiece, unigram, wordpiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from factory.vocabulary.alphabets import allowed
from factory.vocabulary.growing import Grown, Wanted, grow

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
SPOKEN = {
    "Latin": "list set dict holds items order each once key value function returns text number string class module "
    "file code name what says they made loop runs again generator after another never changes tuple",
    "Han": "世界 中文 分词 学习 我们 你们 他们 语言 模型 数据 训练 文本 问题 答案 词表 扩展 很大 有意思 是 的 在 和 不 "
    "人工智能",
    "Cyrillic": "мир слово язык модель данные текст вопрос ответ новый большой учить помнить и не на мы они словарь "
    "хорошо часто город дорога работа книга вечер утро время жизнь человек страна земля вода огонь ветер зима лето "
    "весна осень друг семья школа учитель ученик музыка песня кошка собака птица дерево цветок красный синий зелёный "
    "быстро медленно далеко близко",
}
WORDS = {script: words.split() for script, words in SPOKEN.items()}
FULL_STOP = {"Latin": ".", "Han": "。", "Cyrillic": "."}


def sentences(script: str, count: int = 150, seed: int = 0) -> list[str]:
    """Sentences of the script's words, some commoner than others; Chinese without blanks."""
    draw = random.Random(f"{script} {seed}")
    words, between = WORDS[script], "" if script == "Han" else " "
    weights = [1 / (1 + place) for place in range(len(words))]
    made = []
    for _ in range(count):
        said = draw.choices(words, weights, k=draw.randint(3, 9))
        made.append(between.join(said) + FULL_STOP[script])
    return made


ENGLISH = [*sentences("Latin"), "It is 12,345 or 678; isn't it? (They'll say \"no\".)", "Zip, quartz & job_vex: a+b=c!"]


def gpt2() -> Tokenizer:
    made = byte_level(ENGLISH, 330)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def llama3() -> Tokenizer:
    """Its own cutting, and a word that is in the vocabulary is taken whatever the merges say."""
    made = byte_level(ENGLISH, 330)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), level])
    return changed(made, lambda found: found["model"].update(ignore_merges=True))


def qwen() -> Tokenizer:
    made = gpt2()
    made.normalizer = normalizers.NFC()
    return made


def plain_wordpiece() -> Tokenizer:
    """WordPiece that takes a run of Chinese characters for one word."""
    made = wordpiece(ENGLISH, 120)
    made.normalizer = normalizers.BertNormalizer(handle_chinese_chars=False)
    return made


def unigram_with_bytes() -> Tokenizer:
    made = unigram(ENGLISH, 100)

    def fall_back(found: dict[str, Any]) -> None:
        found["model"]["byte_fallback"] = True
        found["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
        parts = [{"type": "ByteFallback"}, found["decoder"]]
        found["decoder"] = {"type": "Sequence", "decoders": parts}

    return changed(made, fall_back)


MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": gpt2,
    "llama3": llama3,
    "qwen": qwen,
    "prepend": lambda: sentencepiece(ENGLISH, 360),
    "metaspace": lambda: sentencepiece(ENGLISH, 360, metaspace=True),
    "wordpiece": plain_wordpiece,
    "unigram": lambda: unigram(ENGLISH, 100),
    "unigram_bytes": unigram_with_bytes,
}
_MADE: dict[str, Tokenizer] = {}


def base(name: str) -> Tokenizer:
    """One of MAKERS, made once."""
    if name not in _MADE:
        _MADE[name] = MAKERS[name]()
    return _MADE[name]


def changed(tokenizer: Tokenizer, change: Callable[[dict[str, Any]], Any]) -> Tokenizer:
    """The tokenizer with another definition."""
    definition = json.loads(tokenizer.to_str())
    change(definition)
    return Tokenizer.from_str(json.dumps(definition))


def grown(
    tokenizer: Tokenizer, texts: list[str], pieces: int | None = None, scripts: list[str] | None = None,
    second: Tokenizer | None = None, protected: list[str] = [], **more: Any,
) -> Grown:  # fmt: skip
    wanted = Wanted(pieces, more.pop("tokens_per_character", None), allowed(scripts), **more)
    return grow(tokenizer, "base", texts, wanted, second, protected)


def ids(tokenizer: Tokenizer, line: str) -> list[int]:
    return tokenizer.encode(line, add_special_tokens=False).ids


def tokens(tokenizer: Tokenizer, lines: list[str]) -> int:
    return sum(len(ids(tokenizer, line)) for line in lines)


def texts_of(found: Grown) -> list[str]:
    """The new pieces as text, halves of characters left out."""
    from factory.vocabulary.pieces import pieces_of

    pieces = pieces_of(found.tokenizer)
    whole = (pieces.text_of(found.first + at) for at in range(len(found.added)))
    return [text for text in whole if text is not None]


def written_in(text: str, scripts: list[str] | None) -> bool:
    """Whether all characters but one blank in front are of the scripts."""
    return bool(np.all(allowed(scripts)[[ord(one) for one in text.removeprefix(" ")]]))


def word_level() -> Tokenizer:
    return Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
