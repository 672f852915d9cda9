"""Documents come in here, are cleaned and deduplicated, and datasets go out."""

from __future__ import annotations

from typing import Any

import factory


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    from . import (
        budget,
        classifier,
        coverage,
        cut,
        decontaminate,
        dedup_lines,
        draw,
        duplicates,
        fix_encoding,
        html,
        interleave,
        language,
        length,
        lines,
        minhash,
        minhash_index,
        mix,
        names,
        normalize,
        paragraphs,
        perplexity_filter,
        pii,
        reshape,
        shuffle,
        split,
        substrings,
        urls,
    )
    from .rules import c4, c4_documents, fineweb, fineweb2, gopher, juicer, refinedweb, repetition, word_lists

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
    """Files and globs, `hf:owner/name`, `python:stdlib` or `python:PACKAGE`."""
    from . import files, hub, python_docs

    for opener in (files.open_files, hub.open_hub, python_docs.open_python):
        if (source := opener(uri)) is not None:
            return source
    return None


@factory.hookimpl
def save_dataset(dataset: factory.Dataset[Any], uri: str) -> bool | None:
    """`.jsonl` (also .gz, .zst), `.parquet`, `.csv`; `?form=` alpaca, sharegpt, chatml, openai or plain."""
    from . import export

    return export.export(dataset, uri)
