"""Keep what is unlike everything before it: the novelty filter of self-instruct, for whole datasets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Dataset, Drop, Drops, Record, text_of, texts
from factory.text.overlap import RougeIndex
from factory.text.words import rouge_words

from .contamination import Evaluation

Compared = Literal["prompt", "instruction", "all"]
Known = Dataset[Record] | list[Dataset[Record]] | None


@factory.step
def novel(
    dataset: Dataset[Record],
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.7,
    against: Dataset[Record] | list[Dataset[Record]] | None = None,
    compare: Compared = "prompt",
    evaluation: list[Dataset[Record]] = [],
) -> Drops:
    """Drop records whose prompt is too like an earlier kept one, or one in another dataset.

    threshold   ROUGE-L F above which two prompts are alike (Wang et al. 2023, section 2.2, by Lin 2004)
    against     a dataset, or several, whose prompts are known already: seeds, a pool
    compare     what of a record is compared:
      prompt       all of its prompt; the user's turns of a conversation, the text of a record that has neither
      instruction  meta.instruction where there is one, else the prompt up to its first blank line (as Alpaca did)
      all          prompt and answer together
    evaluation  records that share 13 words (26 characters where a script has no spaces) with a record of these
                are dropped too

    On text in Latin script the decisions are those of rouge_score without stemming, to the last bit; in other scripts,
    whose text rouge_score deletes, words and characters are compared. Exact; 100,000 prompts take seconds.
    """
    index = RougeIndex()
    for one in listed(against):
        for record in one:
            index.add(record["id"], rouge_words(compared(record, compare)))
    held_out = Evaluation(evaluation)
    drops = Drops()
    for record in dataset:
        if fault := held_out.hit_by(record):
            drops[record["id"]] = fault
            continue
        tokens = rouge_words(compared(record, compare))
        if near := index.nearest(tokens, threshold):
            drops[record["id"]] = Drop("not novel", of=near[0], rouge_l=round(near[1], 4))
        else:
            index.add(record["id"], tokens)
    return drops


def listed(datasets: Known) -> list[Any]:
    """The datasets that an option names: none, one or several. A plain list of records is one dataset, too."""
    if not isinstance(datasets, list):
        return [] if datasets is None else [datasets]
    return [datasets] if datasets and isinstance(datasets[0], dict) else datasets


def compared(record: Any, compare: Compared = "prompt") -> str:
    """What of a record novelty is about."""
    if compare == "all":
        return "\n\n".join(text for _, text in texts(record))
    said = record.get("meta", {}).get("instruction")
    if compare == "instruction" and isinstance(said, str) and said.strip():
        return said
    if "prompt" in record:
        prompt = text_of(record["prompt"])
    elif "messages" in record:
        prompt = text_of([turn for turn in record["messages"] if turn["role"] == "user"])
    else:
        prompt = str(record.get("text", ""))
    return prompt.strip().partition("\n\n")[0] if compare == "instruction" else prompt
