"""Documents come in here, are cleaned and deduplicated, and datasets go out."""

from __future__ import annotations

from typing import Any

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from . import coverage, reshape
    from .cleaning import (
        classifier,
        fix_encoding,
        language,
        length,
        lines,
        names,
        normalize,
        perplexity_filter,
        pii,
        urls,
    )
    from .dedup import decontaminate, dedup_lines, duplicates, minhash, minhash_index, substrings
    from .mixing import budget, cut, draw, interleave, mix, paragraphs, shuffle, split
    from .rules import c4, c4_documents, fineweb, fineweb2, gopher, juicer, refinedweb, repetition, word_lists
    from .sources import html

    return [
        reshape.as_pairs,
        reshape.as_text,
        word_lists.bad_words,
        c4.c4,
        c4_documents.c4_documents,
        classifier.classifier,
        coverage.coverage,
        cut.cut,
        juicer.data_juicer,
        decontaminate.decontaminate,
        duplicates.dedup_exact,
        dedup_lines.dedup_lines,
        minhash.dedup_minhash,
        lines.drop_boilerplate_lines,
        html.extract_html,
        substrings.dedup_substrings,
        perplexity_filter.filter_perplexity,
        urls.filter_urls,
        fineweb.fineweb,
        fineweb2.fineweb2,
        fix_encoding.fix_text,
        gopher.gopher_quality,
        repetition.gopher_repetition,
        interleave.interleave,
        language.language,
        language.language_paragraphs,
        length.length,
        names.mask_names,
        pii.mask_pii,
        minhash_index.minhash_index,
        mix.mix,
        normalize.normalize,
        refinedweb.refinedweb_lines,
        shuffle.shuffle,
        split.split,
        paragraphs.split_paragraphs,
        draw.subsample,
        draw.take,
        budget.token_budget,
        classifier.train_classifier,
        refinedweb.words_removed,
    ]


@factory.hookimpl
def open_dataset(uri: str) -> factory.Source | None:
    """Files and globs, also at addresses (`s3://…`); `hf:owner/name`, `python:stdlib` or `python:PACKAGE`."""
    from .sources import files, hub, python_docs, remote

    for opener in (files.open_files, hub.open_hub, python_docs.open_python, remote.open_remote):
        if (source := opener(uri)) is not None:
            return source
    return None


@factory.hookimpl
def save_dataset(dataset: factory.Dataset[Any], uri: str) -> bool | None:
    """`.jsonl` (also .gz, .zst), `.parquet`, `.csv`; `?form=` alpaca, sharegpt, chatml, openai or plain."""
    from . import export

    return export.export(dataset, uri)
