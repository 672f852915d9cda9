"""Mojibake is repaired, and clean text of any script stays as it is."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from ftfy.badness import BADNESS_RE
from hypothesis import given
from hypothesis import strategies as st

from factory import assistant, user
from factory.corpus.cleaning.fix_encoding import SUSPECT, fix_text, fixed

Through = Callable[..., Any]

CLEAN = {
    "english": "“It’s a café,” she said — naïve… £5, €7, 20 °C, 3½ × 2, §4, ﬁne ‘quotes’ and Æsop's œuvre.",
    "german": "Über den Flüssen: »Schöne Grüße« – ‚Größe‘, Straße, ÄÖÜ; 10 °C, 5 € und § 3 Abs. 2.",
    "french": "À l’été, le cœur d’Hélène… « Où êtes-vous ? » Noël, Ça va, ŒUVRE, garçon, 12 €.",
    "polish": "Zażółć gęślą jaźń. „Łódź” – ŻÓŁĆ, Kraków, ćma, źdźbło i 5 zł.",
    "russian": "Съешь же ещё этих мягких французских булок, да выпей чаю. «Ёлка» — это № 5, ВГРС.",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. «Καλημέρα» – ΆΈΉΊΌΎΏ· τι;",
    "chinese": "中文，全角（Ａ，ｂ，１２３）！？“引号”——破折号……《书名》、￥５００；「臺灣」。",
    "japanese": "「春はあけぼの」。ﾊﾝｶｸ カタカナ、ＡＢＣ・１２３～ 〜ー々〆ヵヶ…！？",
    "korean": "키스의 고유조건은 입술끼리 만나야 하고, “특별한” 기술은 필요치 않다. ㈜한국",
    "arabic": "الحمد لله، «مرحبا» بالعالم؟ ١٢٣ ؛ السَّلَامُ",
    "hebrew": "שלום עולם, זה מבחן – „ציטוט” ועוד.",
    "hindi": "नमस्ते दुनिया, यह एक परीक्षा है। “उद्धरण” १२३",
    "thai": "สวัสดีชาวโลก นี่คือการทดสอบ ๑๒๓ ฯลฯ",
    "emoji": "👩‍👩‍👧 😀 🇩🇪 ☃ ♥ → ✓ ½",
}


def text(value: str) -> dict[str, Any]:
    return {"id": "1", "parents": [], "text": value, "meta": {}}


@pytest.mark.parametrize("language", CLEAN)
def test_clean_text_of_every_script_stays(through: Through, language: str) -> None:
    record = text(f"{CLEAN[language]}\r\n\n{CLEAN[language] * 3}\x0c\tend")
    assert through(fix_text, record) == record
    assert through(fix_text, record, entities=True) == record


@pytest.mark.parametrize("language", CLEAN)
def test_what_was_once_decoded_as_latin_1_comes_back(language: str) -> None:
    broken = CLEAN[language].encode().decode("latin-1")
    assert fixed(broken, Counter()) == CLEAN[language]


@pytest.mark.parametrize(
    ("broken", "whole", "counted"),
    [
        ("schÃ¶n\nund\nitâ€™s", "schön\nund\nit’s", {"mojibake": 2}),
        ("ÃƒÂ© twice", "é twice", {"mojibake": 1}),
        ("a\x85b\x92s", "a…b’s", {"mojibake": 1}),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "привет", {"mojibake": 1}),
        ("\x1b[31mred\x1b[0m", "red", {"terminal escapes": 1}),
        ("L&eacute;on", "L&eacute;on", {}),
    ],
)
def test_what_is_repaired_is_counted(through: Through, broken: str, whole: str, counted: dict[str, int]) -> None:
    made = through(fix_text, text(broken))
    assert made["text"] == whole
    assert made["meta"].get("fixed", {}) == counted


def test_halves_of_surrogate_pairs_are_joined() -> None:
    found: Counter[str] = Counter()
    assert fixed("\ud83d\ude00", found) == "😀"
    assert found == {"surrogates": 1}


def test_entities_on_demand_and_messages(through: Through) -> None:
    assert through(fix_text, text("L&eacute;on\n<b>&amp;</b>"), entities=True)["text"] == "Léon\n<b>&amp;</b>"
    record = {"id": "1", "parents": [], "prompt": user("Ã©"), "completion": assistant("plain"), "meta": {}}
    made = through(fix_text, record)
    assert (made["prompt"], made["completion"]) == (user("é"), assistant("plain"))
    assert made["meta"] == {"fixed": {"mojibake": 1}}


def test_lines_passed_over_hold_nothing_that_ftfy_would_look_at() -> None:
    alphabet = [*sorted({char for char in BADNESS_RE.pattern if not char.isascii()}), *"abzAB .,!?\u4e2d\u3002\u0431"]
    draw = random.Random(1)
    bad = 0
    for _ in range(20_000):
        line = draw.choice(["", "a "]) + "".join(draw.choices(alphabet, k=draw.randint(1, 4)))
        if BADNESS_RE.search(line):
            bad += 1
            assert SUSPECT.search(line), line
    assert bad > 2000


@given(st.text())
def test_any_text_can_be_repaired_and_ascii_stays(value: str) -> None:
    fixed(value, Counter(), True)
    plain = value.encode("ascii", "ignore").decode().replace("\x1b", "")
    assert fixed(plain, Counter()) == plain


def test_a_long_line_costs_linear_time() -> None:
    fixed("Ã©", Counter())  # loads ftfy
    started = time.process_time()
    fixed("é" * 100_000 + "Ã©" * 50_000 + "中" * 300_000 + "x" * 500_000, Counter())
    assert time.process_time() - started < 5
