"""Cases from the test suites of other systems against our readings of their rules: equal, different, and why.

    python benchmarks/rule_cases.py FOLDER

reads every `cases_*.json` in FOLDER: rows of source, filter, params, text, expected_keep and sometimes expected_text.
A row binds the one reading that its source names.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from factory import Batch, Drop, Step
from factory.corpus.rules import c4, c4_documents, fineweb, gopher, refinedweb, repetition, word_lists

Row = dict[str, Any]
Calls = list[tuple[Step, dict[str, Any]]]
NO_WORDS = dict.fromkeys(["min_words", "max_words"])
NO_QUALITY = {
    **NO_WORDS,
    **dict.fromkeys(["min_mean_length", "max_mean_length", "max_symbols", "max_bullets", "max_ellipses"]),
    **dict.fromkeys(["min_alphabetic", "min_stop_words"]),
}
NO_REPETITION: dict[str, Any] = {
    **dict.fromkeys(["lines", "paragraphs", "line_chars", "paragraph_chars"]), "top_grams": {}, "repeated_grams": {}
}  # fmt: skip
NO_CUTS: dict[str, Any] = {
    **dict.fromkeys(["max_uppercase", "max_digits", "max_words", "max_word_length", "max_removed"]),
    "min_words": 0, "counters": False, "phrases": False,
}  # fmt: skip
NO_DOCUMENTS = dict.fromkeys(["max_unended", "max_boilerplate", "max_word_length", "min_paragraphs"])


def quality(reading: str, **options: Any) -> Calls:
    return [(gopher.gopher_quality, {"reading": reading, **NO_QUALITY, **options})]


def repeats(reading: str, **options: Any) -> Calls:
    return [(repetition.gopher_repetition, {"reading": reading, **NO_REPETITION, **options})]


def cuts(reading: str, **options: Any) -> Calls:
    return [(refinedweb.refinedweb_lines, {"reading": reading, **NO_CUTS, **options})]


def documents(**options: Any) -> Calls:
    return [(c4_documents.c4_documents, {**NO_DOCUMENTS, **options})]


def dclm(row: Row) -> Calls | str:
    """Our calls for a filter of DCLM, or why there are none."""
    params = dict(row["params"])
    args = params.pop("_args", [])
    match row["filter"]:
        case "alphabetic_word_ratio_filter":
            return quality("dclm", min_alphabetic=1 - (args or [0.2])[0])
        case "bullet_count_filter":
            return quality("dclm", max_bullets=params.get("max_bullet_start_ratio", 0.9))
        case "ellipsis_count_filter":
            return quality("dclm", max_ellipses=params.get("max_ellipsis_end_ratio", 0.3))
        case "stop_word_filter":
            return quality("dclm", min_stop_words=params.get("min_stop_word", 2), distinct=bool(args and args[0]))
        case "symbol_ratio_filter":
            return quality("dclm", max_symbols=params.get("max_symbol_to_word_ratio", 0.1))
        case "word_length_filter":
            low, high = params.get("min_length", 0), params.get("max_length", 10**9)
            return quality("dclm", min_mean_length=low, max_mean_length=high)
        case "massive_web_repetition_filters":
            return [(repetition.gopher_repetition, {"reading": "dclm"})]
        case "repetition_filter":
            return repeats("dclm", **dclm_repetition(params))
        case "word_length_modifier":
            return cuts("dclm", max_word_length=(args or [1000])[0])
        case "line_length_modifier":
            low, high = [*args, *[None] * 2][:2]
            return cuts("dclm", min_words=params.get("min_length", low or 0), max_words=params.get("max_length", high))
        case "numeric_ratio_line_modifier":
            return cuts("dclm", max_digits=(args or [1.0])[0])
        case "uppercase_ratio_line_modifier":
            return cuts("dclm", max_uppercase=(args or [0.5])[0])
        case "word_removal_ratio_filter":
            if len(args) > 1:
                return "the count after is a field there; we count"
            if not params.get("ignore_punctuation", True):
                return "punctuation counts as words there"
            most = params.get("max_removed_ratio", 0.05)
            return [(refinedweb.words_removed, {"before": args[0], "max_removed": most})]
    return "no rule of ours"


def dclm_repetition(params: dict[str, Any]) -> dict[str, Any]:
    most, granularity = params["max_fraction"], params["granularity"]
    if isinstance(granularity, int):
        return {("top_grams" if granularity < 5 else "repeated_grams"): {granularity: most}}
    characters = params.get("count_characters", True)
    return {
        {"line": ("lines", "line_chars"), "paragraph": ("paragraphs", "paragraph_chars")}[granularity][characters]: most
    }


def datamap(row: Row) -> Calls | str:
    params = row["params"]
    match row["filter"]:
        case "AlphabeticWordRatioFilter":
            return quality("datamap", min_alphabetic=1 - params["max_ratio"])
        case "BulletFilter":
            return quality("datamap", max_bullets=params["max_bullet_ratio"])
        case "EllipsisLineRatioFilter":
            return quality("datamap", max_ellipses=params["max_ratio"])
        case "WordLenFilter":
            return quality("datamap", min_mean_length=params["lower_bound"], max_mean_length=params["upper_bound"])
        case "LineLenModifier":
            return cuts("datamap", min_words=params["lower_bound"])
        case "RatioLineModifier":
            check = {"uppercase": "max_uppercase", "numeric": "max_digits"}[params["check"]]
            return cuts("datamap", **{check: params["upper_bound"]})
        case "RegexLineModifier":
            return "an expression of the user's own" if "regex" in params else cuts("datamap", counters=True)
        case "WordRemovalRatioFilter":
            options = {"before": params["word_count_field"], "max_removed": params["upper_bound"]}
            return [(refinedweb.words_removed, options)]
    return "no rule of ours"


def nemo(row: Row) -> Calls | str:
    params = row["params"]
    match row["filter"]:
        case "BulletsFilter":
            return quality("nemo", max_bullets=0.9)
        case "CommonEnglishWordsFilter":
            return quality("nemo", min_stop_words=2)
        case "EllipsisFilter":
            return quality("nemo", max_ellipses=params["max_num_lines_ending_with_ellipsis_ratio"])
        case "MeanWordLengthFilter":
            return quality("nemo", min_mean_length=3, max_mean_length=10)
        case "SymbolsToWordsFilter":
            return quality("nemo", max_symbols=0.1)
        case "WordCountFilter":
            if params.get("lang", "en") != "en":
                return "words by a dictionary (jieba, MeCab)"
            return quality("nemo", min_words=params["min_words"], max_words=params["max_words"])
        case "WordsWithoutAlphabetsFilter":
            return quality("nemo", min_alphabetic=0.8)
        case "BoilerPlateStringFilter":
            return documents(max_boilerplate=0.4)
        case "LongWordFilter":
            return documents(max_word_length=params["max_word_length"])
        case "PunctuationFilter":
            return documents(max_unended=params["max_num_sentences_without_endmark_ratio"])
        case "RepeatedLinesFilter":
            return repeats("nemo", lines=0.3)
        case "RepeatedLinesByCharFilter":
            return repeats("nemo", line_chars=0.2)
        case "RepeatedParagraphsFilter":
            return repeats("nemo", paragraphs=0.3)
        case "RepeatedParagraphsByCharFilter":
            return repeats("nemo", paragraph_chars=0.2)
        case "RepeatingTopNGramsFilter":
            return repeats("nemo", top_grams={2: 0.2})
        case "RepeatingDuplicateNGramsFilter":
            return repeats("nemo", repeated_grams={2: 0.2})
    return "no rule of ours"


def datatrove(row: Row) -> Calls | str:
    params = dict(row["params"])
    match row["filter"]:
        case "GopherQualityFilter":
            options = {"min_words": params["min_doc_words"], "max_words": params["max_doc_words"]}
            return [(gopher.gopher_quality, {"reading": "datatrove", **options})]
        case "GopherRepetitionFilter":
            return [(repetition.gopher_repetition, {"reading": "datatrove"})]
        case "FineWebQualityFilter":
            names = {
                "line_punct_thr": "min_ended_lines", "short_line_thr": "max_short_lines",
                "short_line_length": "short_line", "new_line_ratio": "max_newlines",
            }  # fmt: skip
            return [
                (fineweb.fineweb, {"reading": "datatrove", **{names[name]: value for name, value in params.items()}})
            ]
        case "C4QualityFilter":
            names = {"min_num_sentences": "min_sentences", "min_words_per_line": "min_words"}
            options = {names[name]: max(0, value) for name, value in params.items()}
            return [(c4.c4, {"reading": "datatrove", **options})]
        case "C4ParagraphFilter":
            return documents(min_paragraphs=3)
    return "no rule of ours"


def tfds(row: Row) -> Calls | str:
    params = row["params"]
    options = {"min_words": params["min_words_per_line"], "min_sentences": params["min_num_sentences"]}
    calls: Calls = [(c4.c4, {"reading": "tfds", "max_word_length": params["max_word_length"], **options})]
    if "badwords" in params:
        path = Path(tempfile.mkdtemp()) / "words.txt"
        path.write_text("\n".join(params["badwords"]), encoding="utf-8")
        calls.append((word_lists.bad_words, {"words": path}))
    return calls


SYSTEMS: dict[str, Callable[[Row], Calls | str]] = {
    "mlfoundations/dclm": dclm,
    "allenai/datamap-rs": datamap,
    "NVIDIA-NeMo/Curator": nemo,
    "huggingface/datatrove": datatrove,
    "tensorflow/datasets": tfds,
}


def decided(row: Row, calls: Calls) -> tuple[bool, str | None]:
    """(kept, the text that is left)."""
    schema = pa.schema([("id", pa.string()), ("text", pa.large_string())])
    batch: Batch[Any] = Batch(pa.table([["0"], [row["text"]]], schema=schema))
    for step, options in calls:
        if step.kind.value == "filter":
            record = {"id": "0", "parents": [], "text": row["text"], "meta": row.get("page") or {}}
            try:
                if not step.function(record, **options):
                    return False, None
            except Drop:
                return False, None
            continue
        batch = step.function(batch, **options)
        if not len(batch):
            return False, None
    return True, batch["text"].to_pylist()[0]


def judged(row: Row) -> tuple[str, str]:
    """equal, different, not offered or crash; and why."""
    if row["text"] is None:
        return "not offered", "a page without text: no record of ours"
    calls = SYSTEMS[row["source"].split("@")[0]](row)
    if isinstance(calls, str):
        return "not offered", calls
    try:
        kept, text = decided(row, calls)
    except Exception as error:
        return "crash", f"{type(error).__name__}: {error}"
    if kept is not row["expected_keep"]:
        return "different", f"{row['id']}: ours {'keeps' if kept else 'drops'}"
    if kept and row.get("expected_text") is not None and text != row["expected_text"]:
        return "different", f"{row['id']}: another text is left: {text!r}"
    return "equal", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    rows = [
        row for path in sorted(parser.parse_args().folder.glob("cases_*.json")) for row in json.loads(path.read_text())
    ]
    table: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        key = row["source"].split("@")[0], row["filter"]
        verdict, why = judged(row)
        table[key][verdict] += 1
        if why:
            reasons[key][why] += 1
    print(f"{'source':22} {'filter':32} {'rows':>5} {'offered':>8} {'equal':>6} {'different':>10}  why")
    total: Counter[str] = Counter()
    for key, counts in sorted(table.items()):
        total += counts
        told = "; ".join(f"{why} ({count})" for why, count in reasons[key].most_common())
        print(f"{key[0]:22} {key[1]:32} {numbers(counts)}  {told}".rstrip())
    print(f"{'all':22} {'':32} {numbers(total)}")
    print(f"crashes: {total['crash']}")


def numbers(counts: Counter[str]) -> str:
    rows = sum(counts.values())
    return f"{rows:5} {rows - counts['not offered']:8} {counts['equal']:6} {counts['different'] + counts['crash']:10}"


if __name__ == "__main__":
    main()
