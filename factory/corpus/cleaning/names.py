"""People's names in text, found by a named-entity model through presidio."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

import factory
from factory import PluginError, Record

from ..reshape import rewrite


@factory.step
def mask_names(
    record: Record,
    model: str = "en_core_web_sm",
    code: str = "en",
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Record:
    """Replace people's names by <NAME>; how many is in meta.pii.name.

    A model decides, so names are missed and words are taken for names: look at a sample of what comes out. It must be
    there before the build; nothing is fetched. Raises PluginError when presidio or the model is missing.

    model      a spaCy pipeline with named entities: an installed package, or the absolute path of a folder
    code       the language of the model and of the texts
    min_score  presidio's score from which a name counts; spaCy's entities all have .85 there
    """
    engine, found = _engine(model, code), 0

    def masked(text: str) -> str:
        nonlocal found
        results = engine.analyze(text, language=code, entities=["PERSON"], score_threshold=min_score)
        found += len(results)
        for span in sorted(results, key=lambda span: -int(span.start)):
            text = f"{text[: span.start]}<NAME>{text[span.end :]}"
        return text

    made, meta = rewrite(record, masked), record.get("meta", {})
    pii = meta.get("pii") or {}
    return cast(
        Record, {**made, "meta": {**meta, "pii": {**pii, "name": pii.get("name", 0) + found}}} if found else made
    )


@lru_cache(maxsize=4)
def _engine(model: str, code: str) -> Any:
    """Presidio around one spaCy model, loaded once a process; presidio itself would fetch a missing one."""
    try:
        import presidio_analyzer as presidio
        import spacy
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer
    except ModuleNotFoundError as error:
        said = f"the step mask_names needs the package '{error.name}': pip install 'dataset-factory[names]'"
        raise PluginError(said) from None
    if not spacy.util.is_package(model) and not Path(model).is_dir():
        raise PluginError(f"mask_names: there is no spaCy model '{model}': python -m spacy download {model}")
    person = SpacyRecognizer(supported_language=code, supported_entities=["PERSON"])
    registry = presidio.RecognizerRegistry(recognizers=[person], supported_languages=[code])
    nlp = SpacyNlpEngine(models=[{"lang_code": code, "model_name": model}])
    return presidio.AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=[code])
