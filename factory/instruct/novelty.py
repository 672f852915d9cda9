"""Keep what is unlike everything before it: the novelty filter of self-instruct, for whole datasets."""

from __future__ import annotations

import factory
from factory import Dataset, Drop, Drops, Prompt, text_of
from factory.text.overlap import RougeIndex
from factory.text.words import words


@factory.step
def novel(dataset: Dataset[Prompt], threshold: float = 0.7, against: Dataset[Prompt] | None = None) -> Drops:
    """Drop records whose prompt is too like an earlier kept one, or one in another dataset.

    threshold  ROUGE-L F above which two prompts are alike (Wang et al. 2023, section 2.2, by Lin 2004)
    against    a dataset whose prompts are known already

    Words are cut per script, so Chinese or Thai prompts are compared as English ones are. Exact, and fast enough for
    a hundred thousand prompts.
    """
    index = RougeIndex()
    for known in against if against is not None else ():
        index.add(known["id"], words(text_of(known["prompt"])))
    drops = Drops()
    for record in dataset:
        tokens = words(text_of(record["prompt"]))
        if near := index.nearest(tokens, threshold):
            drops[record["id"]] = Drop("not novel", of=near[0], rouge_l=round(near[1], 4))
        else:
            index.add(record["id"], tokens)
    return drops
