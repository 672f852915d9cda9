"""Whether an answer says what a reference says: exact match, F1 of words, ROUGE-L, the same number."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from decimal import Decimal

from factory.text.overlap import rouge_l as rouge_l_of
from factory.text.words import is_unspaced, rouge_words, words

ARTICLES = re.compile(r"\b(a|an|the)\b")
SIGNS = frozenset(string.punctuation)
NUMBER = re.compile(r"(?:(?<![\w)])[-−])?[$€£¥]?(?P<digits>(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+)")


def normalised(text: str) -> str:
    """In lower case, without punctuation and English articles, single-spaced: SQuAD's `normalize_answer`.

    Rajpurkar et al. 2016, section 6.1. Of ASCII text exactly that; beyond ASCII all of Unicode's punctuation goes, too.
    """
    bare = "".join(
        letter
        for letter in text.lower()
        if letter not in SIGNS and (letter.isascii() or unicodedata.category(letter)[0] != "P")
    )
    return " ".join(ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, reference: str) -> float:
    """1 when the two are the same once normalised, else 0."""
    return float(normalised(answer) == normalised(reference))


def f1(answer: str, reference: str) -> float:
    """F1 of the words of both, as bags: SQuAD 2.0's `compute_f1`; of the characters where a script has no spaces."""
    one, other = _tokens(answer), _tokens(reference)
    if not one or not other:
        return float(one == other)
    common = sum((Counter(one) & Counter(other)).values())
    if not common:
        return 0.0
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall)


def _tokens(text: str) -> list[str]:
    said = normalised(text)
    return words(said) if is_unspaced(said) else said.split()


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L F (Lin 2004), as rouge_score without stemming has it for Latin script, and by words of any other."""
    return rouge_l_of(rouge_words(answer), rouge_words(reference))


def last_number(text: str) -> Decimal | None:
    """The last number in a text: `1,000`, `-3.50` and `$12` are numbers; None where there is none."""
    found = [*NUMBER.finditer(unicodedata.normalize("NFKC", text))]
    if not found:
        return None
    size = Decimal(found[-1]["digits"].replace(",", ""))
    return -size if found[-1][0][0] in "-−" else size


def extracted(text: str, pattern: re.Pattern[str] | None) -> str | None:
    """The first group of the pattern's last match, or all of it without groups; None where it does not match."""
    if pattern is None:
        return text
    found = [*pattern.finditer(text)]
    if not found:
        return None
    return (found[-1][1] if pattern.groups else found[-1][0]) or ""
