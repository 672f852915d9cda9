"""FineWeb-2's rules: Gopher's and FineWeb's with the thresholds of a language.

Penedo et al. 2025, "FineWeb2: One Pipeline to Scale Them All - Adapting Pre-Training Data Processing to Every
Language".
"""

from __future__ import annotations

from typing import Literal

import factory
from factory import Batch, Text

from . import fineweb as fineweb_rules
from . import gopher, repetition
from .fineweb2_languages import LANGUAGES
from .limits import Limit, drop_outside

Language = Literal[
    "arb_Arab", "cmn_Hani", "deu_Latn", "fra_Latn", "hin_Deva", "ind_Latn", "ita_Latn", "jpn_Jpan", "nld_Latn",
    "pol_Latn", "por_Latn", "rus_Cyrl", "spa_Latn", "tur_Latn", "ukr_Cyrl",
]  # fmt: skip


@factory.step
def fineweb2(batch: Batch[Text], language: Language) -> Batch[Text]:
    """Keep texts that pass FineWeb-2's rules for a language. Put `language` and the dedup before it, as they do.

    In its order: Gopher's repetition (lines, n-grams), FineWeb's rules (ended lines, at most .1 of the characters in
    repeated lines, newlines), Gopher's quality (2 of the language's stop words; the paper's numbers where the language
    has none), all as datatrove reads them. Words are tokens: of Chinese and Japanese two characters each, where
    FineWeb-2 asks a dictionary.

    language  its code and script; thresholds, stop words and their source are in `fineweb2_languages.py`
    """
    own = LANGUAGES[language]
    numbers = batch.measure(repetition.repetition, reading="datatrove", top=[2, 3, 4], repeated=[5, 6, 7, 8, 9, 10])
    grams = [(f"top_{n}", f"too many characters in the top {n}-gram") for n in (2, 3, 4)]
    grams += [(f"repeated_{n}", f"too many characters in repeated {n}-grams") for n in range(5, 11)]
    shares = (*own.top_grams, *own.repeated_grams)
    batch = drop_outside(
        batch,
        numbers,
        [
            Limit("too many repeated lines", "lines", most=own.lines, strict=True),
            *(Limit(reason, name, most=most) for (name, reason), most in zip(grams, shares, strict=True)),
        ],
    )
    batch = fineweb_rules.fineweb.function(
        batch,
        reading="datatrove",
        min_ended_lines=own.ended_lines,
        max_short_lines=None,
        max_repeated_chars=0.1,
        max_newlines=own.newlines,
    )
    made: Batch[Text] = gopher.gopher_quality.function(
        batch,
        reading="datatrove",
        min_mean_length=own.mean_length[0],
        max_mean_length=own.mean_length[1],
        min_alphabetic=own.alphabetic,
        stop_words=own.stop_words.split(),
    )
    return made
