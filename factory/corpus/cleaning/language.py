"""Language identification with fastText's lid.176 (Joulin et al. 2016, arXiv:1607.01759)."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, cast

from pydantic import AfterValidator, Field

import factory
from factory import Batch, Drop, Record, Text
from factory.errors import did_you_mean
from factory.text.languages import identify_all

from ..reshape import add_meta, text_column

LONGER = 5
BLANK_LINES = re.compile(r"(\n[ \t]*(?:\n[ \t]*)+)")

# The labels of lid.176, here so that a plan is checked without the model; a test compares them with it.
LABELS = """
    af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy
    da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy
    ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min
    mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm
    ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep
    vi vls vo wa war wuu xal xmf yi yo yue zh
"""
CODES = frozenset(LABELS.split())
# What people write for them: names, codes of three letters, of countries.
MEANT = {
    name: code
    for code, names in {
        "ar": "arabic ara", "cs": "czech ces cze cz", "da": "danish dan dk", "de": "german deutsch deu ger",
        "el": "greek ell gre gr", "en": "english eng us gb", "es": "spanish spa", "fa": "persian farsi fas per",
        "fr": "french fra fre", "he": "hebrew heb iw", "hi": "hindi hin", "id": "indonesian ind in",
        "it": "italian ita", "ja": "japanese jpn jp", "ko": "korean kor kr", "nl": "dutch nld dut",
        "no": "norwegian nor nb nob", "pl": "polish pol", "pt": "portuguese por", "ru": "russian rus",
        "sv": "swedish swe se", "th": "thai tha", "tr": "turkish tur", "uk": "ukrainian ukr ua",
        "vi": "vietnamese vie vn", "yue": "cantonese", "zh": "chinese mandarin cn cmn zho chi hans hant",
    }.items()
    for name in names.split()
}  # fmt: skip


def known_code(code: str) -> str:
    """A code of lid.176; raises ValueError that names the nearest."""
    if code in CODES:
        return code
    word = code.lower().replace("_", "-")
    near = MEANT.get(word) or next((part for part in (word, word.split("-")[0]) if part in CODES), None)
    hint = f"did you mean '{near}'?" if near else did_you_mean(word, CODES)
    raise ValueError(f"must hold codes of lid.176 such as en, de, zh ({hint})")


Codes = list[Annotated[str, AfterValidator(known_code)]]
Probability = Annotated[float, Field(ge=0, le=1)]


@factory.step
def language(
    batch: Batch[Record],
    keep: Codes | None = None,
    min_score: Probability = 0.65,
    chars: Annotated[int, Field(ge=1)] = 200,
) -> Batch[Record]:
    """Name the language of a record's text in meta.language and drop the languages that are not wanted.

    A few hundred characters decide, taken from the lines that read like prose where there are any: signatures, tables
    and code look like no language or like a wrong one. Where these leave the score low, five times as much is read.
    Very short texts score low although the language is right (English docstrings: 97 % right, 47 % above .65); give
    them a lower `min_score`, .3 say.

    keep       codes of lid.176 such as en, de, zh; without it nothing is dropped and the language only noted
    min_score  the model's probability below which a kept language is dropped too (FineWeb: .65)
    chars      how much text is read
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = text_column(batch)
    codes, scores = identify_all(texts, chars)
    unsure = np.flatnonzero((scores < min_score) & (pc.utf8_length(texts).to_numpy(zero_copy_only=False) > chars))
    if len(unsure):
        codes[unsure], scores[unsure] = identify_all(texts.take(pa.array(unsure)), LONGER * chars)
    noted = [{"language": code, "language_score": score} for code, score in zip(codes, scores.tolist(), strict=True)]
    batch = add_meta(batch, noted)
    if keep is None:
        return batch
    wrong = ~np.isin(codes, keep) | (scores < min_score)
    return batch.drop(wrong, "language", found=codes, score=scores)


@factory.step
def language_paragraphs(
    record: Text,
    keep: Codes | None = None,
    min_score: Probability = 0.65,
    min_chars: Annotated[int, Field(ge=1)] = 40,
) -> Text:
    """Drop the paragraphs of a text that are in another language; what was found is in meta.languages.

    Paragraphs are parted by blank lines. One goes only when it is long enough and the model is sure that it is in a
    language not wanted: headings, formulas, names and code stay with the text around them. meta.languages has each
    language's share of the characters in paragraphs of at least `min_chars`, before any was dropped ("" where the
    model is not sure); meta.dropped_paragraphs counts what went. A text of which nothing stays is dropped.

    keep       codes of lid.176 that stay; without it, the language that most characters are in
    min_score  the model's probability from which a paragraph is taken to be in another language
    min_chars  shorter paragraphs stay as they are
    """
    import pyarrow as pa

    parts = BLANK_LINES.split(record["text"])  # paragraphs at even places, what parts them at odd ones
    bodies = [part.strip() for part in parts[::2]]
    long = [at for at, body in enumerate(bodies) if len(body) >= min_chars]
    found, scores = identify_all(pa.array([bodies[at] for at in long], pa.string()), LONGER * 200)
    codes = [""] * len(bodies)
    sizes: Counter[str] = Counter()
    for at, code, score in zip(long, found.tolist(), scores.tolist(), strict=True):
        codes[at] = code if score >= min_score else ""
        sizes[codes[at]] += len(bodies[at])
    main = max(sorted(set(codes) - {""}), key=sizes.__getitem__, default="")
    shares = {code: round(size / sizes.total(), 3) for code, size in sorted(sizes.items())}
    stays = [not code or code in (keep if keep is not None else [main]) for code in codes]
    meta = {**record.get("meta", {}), "languages": shares}
    if all(stays):
        return cast(Text, {**record, "meta": meta})
    kept = [part + between for part, between, stay in zip(parts[::2], [*parts[1::2], ""], stays, strict=True) if stay]
    if not (text := "".join(kept).rstrip("\n")).strip():
        raise Drop("language", found=main, shares=shares)
    return cast(Text, {**record, "text": text, "meta": {**meta, "dropped_paragraphs": stays.count(False)}})
