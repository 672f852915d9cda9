"""FineWeb-2's thresholds, language by language: what its authors published for each (repository fineweb-2, configs/).

Penedo et al. 2025, "FineWeb2: One Pipeline to Scale Them All", took them from the distribution of each number over
texts of that language. Left out are languages whose words a dictionary must find (Korean's stop words are parts of
words, Thai's and Vietnamese's words are several syllables), but for Chinese and Japanese, whose stop words are single
characters.
"""

from __future__ import annotations

from typing import NamedTuple


class Thresholds(NamedTuple):
    """What a text of a language must keep to."""

    language_score: float  # for the `language` step; no number of this rule
    lines: float  # share of repeated lines
    top_grams: tuple[float, float, float]  # n = 2, 3, 4
    repeated_grams: tuple[float, float, float, float, float, float]  # n = 5 to 10
    ended_lines: float
    newlines: float  # per word
    mean_length: tuple[int, int]
    alphabetic: float
    stop_words: str


LANGUAGES = {
    "arb_Arab": Thresholds(
        0.711, 0.304, (0.197, 0.172, 0.146), (0.165, 0.153, 0.142, 0.131, 0.12, 0.109), 0.143, 0.189, (2, 9), 0.787,
        "، في من على إلى عام أن مع أو هو عن التي كان بين ما كانت هي المتحدة بعد",
    ),
    "cmn_Hani": Thresholds(
        0.692, 0.287, (0.256, 0.201, 0.171), (0.198, 0.182, 0.167, 0.154, 0.14, 0.127), 0.106, 0.178, (1, 5), 0.735,
        "的 年 在 月 是 和 日 了 於 · 為 有 被 人 中 为 他 與 後 也 而 由",
    ),
    "deu_Latn": Thresholds(
        0.821, 0.263, (0.169, 0.153, 0.137), (0.141, 0.134, 0.126, 0.117, 0.108, 0.098), 0.0, 0.152, (0, 15), 0.774,
        "der und die in von im den des mit das er dem als wurde für",
    ),
    "fra_Latn": Thresholds(
        0.824, 0.264, (0.161, 0.149, 0.134), (0.15, 0.141, 0.131, 0.121, 0.111, 0.1), 0.1, 0.185, (2, 11), 0.812,
        "de la le et à en l' des du les est d' un une il dans par au",
    ),
    "hin_Deva": Thresholds(
        0.692, 0.206, (0.208, 0.198, 0.161), (0.135, 0.125, 0.116, 0.108, 0.099, 0.09), 0.091, 0.316, (2, 21), 0.837,
        "के में है की और से का को एक हैं पर",
    ),
    "ind_Latn": Thresholds(
        0.685, 0.25, (0.088, 0.104, 0.12), (0.176, 0.158, 0.142, 0.128, 0.119, 0.109), 0.25, 0.222, (3, 11), 0.805,
        "dan yang di pada dari ini dengan adalah untuk dalam",
    ),
    "ita_Latn": Thresholds(
        0.817, 0.246, (0.198, 0.156, 0.133), (0.144, 0.136, 0.127, 0.118, 0.109, 0.1), 0.025, 0.2, (3, 21), 0.807,
        "di e il la in a del che è della un per nel l' con da i una",
    ),
    "jpn_Jpan": Thresholds(
        0.886, 0.375, (0.121, 0.129, 0.145), (0.307, 0.283, 0.264, 0.248, 0.234, 0.223), 0.167, 0.162, (1, 5), 0.759,
        "の に を は た て が と で 年 し ・ 月 れ さ",
    ),
    "nld_Latn": Thresholds(
        0.689, 0.333, (0.093, 0.117, 0.14), (0.177, 0.16, 0.145, 0.133, 0.123, 0.112), 0.238, 0.194, (3, 16), 0.828,
        "de van in het een en is op voor met door zijn werd hij uit",
    ),
    "pol_Latn": Thresholds(
        0.689, 0.353, (0.096, 0.12, 0.144), (0.203, 0.182, 0.163, 0.15, 0.137, 0.126), 0.2, 0.209, (3, 11), 0.726,
        "w i na z do się roku od a jest przez po jako oraz o został był nie",
    ),
    "por_Latn": Thresholds(
        0.799, 0.325, (0.093, 0.117, 0.139), (0.19, 0.172, 0.154, 0.142, 0.131, 0.12), 0.154, 0.23, (3, 13), 0.814,
        "de a e o em do da que um no uma com para na é foi",
    ),
    "rus_Cyrl": Thresholds(
        0.9, 0.322, (0.184, 0.164, 0.146), (0.168, 0.156, 0.145, 0.133, 0.121, 0.109), 0.231, 0.139, (3, 11), 0.713,
        "в и на с года по году из был к не от что за для его как а он также до после",
    ),
    "spa_Latn": Thresholds(
        0.84, 0.265, (0.077, 0.097, 0.112), (0.152, 0.137, 0.123, 0.114, 0.107, 0.099), 0.3, 0.171, (4, 14), 0.825,
        "de la en el y a que del los se por un con una las su",
    ),
    "tur_Latn": Thresholds(
        0.875, 0.303, (0.094, 0.114, 0.136), (0.168, 0.151, 0.135, 0.123, 0.116, 0.107), 0.2, 0.273, (3, 21), 0.773,
        "ve bir olarak bu ile için olan da de tarafından yılında sonra en daha ilk the",
    ),
    "ukr_Cyrl": Thresholds(
        0.9, 0.333, (0.086, 0.108, 0.129), (0.176, 0.157, 0.139, 0.125, 0.113, 0.102), 0.308, 0.211, (3, 11), 0.694,
        "у в на і з та до року за що",
    ),
}  # fmt: skip
