"""The language a model is asked in about a text: Chinese about Chinese, English about all others."""

from __future__ import annotations

import re

_HAN, _KANA = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]"), re.compile(r"[\u3041-\u30ff\uac00-\ud7af]")
HAN_SHARE = 0.3  # of the letters of a text that is Chinese


def language_of(text: str) -> str:
    """zh for Chinese, en for all others."""
    han = len(_HAN.findall(text))
    chinese = han > HAN_SHARE * sum(map(str.isalpha, text)) and len(_KANA.findall(text)) < han / 10
    return "zh" if chinese else "en"
