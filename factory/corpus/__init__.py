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
        lines,
        minhash,
        minhash_index,
        mix,
        names,
        normalize,
        paragraphs,
        perplexity_filter,
        pii,
        quality,
        reshape,
        shuffle,
        split,
        substrings,
        urls,
    )

    return [
        reshape.as_pairs,
        reshape.as_text,
        classifier.classifier,
        coverage.coverage,
        cut.cut,
        decontaminate.decontaminate,
        duplicates.dedup_exact,
        dedup_lines.dedup_lines,
        minhash.dedup_minhash,
        lines.drop_boilerplate_lines,
        html.extract_html,
        substrings.dedup_substrings,
        perplexity_filter.filter_perplexity,
        urls.filter_urls,
        fix_encoding.fix_text,
        quality.gopher_quality,
        interleave.interleave,
        language.language,
        language.language_paragraphs,
        quality.length,
        names.mask_names,
        pii.mask_pii,
        minhash_index.minhash_index,
        mix.mix,
        normalize.normalize,
        quality.repetition,
        shuffle.shuffle,
        split.split,
        paragraphs.split_paragraphs,
        draw.subsample,
        draw.take,
        budget.token_budget,
        classifier.train_classifier,
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
