"""Records that break careless steps: empty, endless, controls, marks without a letter, scripts without spaces."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

KEPT = ("id", "parents", "meta")
EQUAL_LINES = 10_000
LONG_LINE = 1_000_000  # characters

PLAIN = {
    "English": "The harbour was quiet in the morning, and the boats that had come in at night lay side by side.",
    "German": "Der Hafen war am Morgen still, und die Schiffe lagen nach einer stürmischen Nacht nebeneinander.",
    "French": "Le port était calme ce matin-là ; les bateaux, arrivés dans la nuit, dormaient côte à côte.",
    "Russian": "Утром в гавани было тихо, и лодки, пришедшие ночью, стояли рядом друг с другом.",
    "Arabic": "كان الميناء هادئا في الصباح، وكانت القوارب التي وصلت ليلا ترسو جنبا إلى جنب.",
    "Hebrew with a direction mark": "\u202eהנמל היה שקט בבוקר\u202c, 12 boats.",
    "Hindi": "सुबह बंदरगाह शांत था और रात में आई नावें साथ-साथ खड़ी थीं।",
    "Chinese": "清晨的港口很安静，夜里归来的船并排停靠着。" * 20,
    "Japanese": "朝の港は静かで、夜のうちに着いた船が並んでいた。ラジオの音だけが聞こえる。",
    "Thai": "เช้านี้ท่าเรือเงียบสงบเรือที่เข้ามาเมื่อคืนจอดเรียงกันอยู่",
    "Korean": "아침의 항구는 조용했고 밤에 들어온 배들이 나란히 묶여 있었다.",
}


@cache
def texts() -> dict[str, str]:
    """Case -> text."""
    paragraphs = ["".join(f"{word} {number} " for word in PLAIN["English"].split()) for number in range(8)]
    return {
        "empty text": "",
        "blanks alone": " \t\n\u3000 \r\n\u00a0",
        "line ends alone": "\n" * 1000,
        "one letter": "a",
        "one word": "harbour",
        **PLAIN,
        "eight paragraphs": "\n\n".join(paragraphs),
        "markup": "# Heading\n\n```python\nprint(1)\n\n<div><p>open {brace lorem ipsum\n- item\n* item\n| a | b |\n",
        "equal document 1": PLAIN["English"] * 3,
        "equal document 2": PLAIN["English"] * 3,
        "equal lines": "the same line again\n" * EQUAL_LINES,
        "a line without spaces": "".join(f"{number:x}" for number in range(LONG_LINE // 4))[:LONG_LINE],
        "NULs": "before\0after\0\0",
        "control characters": "".join(map(chr, range(1, 32))) + "".join(map(chr, range(127, 160))) + "text",
        "odd line ends": "one\rtwo\r\nthree\u2028four\u2029five\x0bsix\x0cseven\x85eight",
        "lone combining marks": "\u0301\u0301 \u0308a\u0327 \u20dd\n\u0301",
        "five hundred accents": "e" + "\u0301" * 500 + "nd",
        "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f",
        "code points without a character": "\ufeff \ufffe \uffff \U0010ffff \ue000 \ufffd",
        "letters that grow when case changes": "İstanbul ŉ ß ﬁ ǰ ΐ STRASSE ſ",
        "mathematical letters and full width": "𝕳𝖆𝖗𝖇𝖔𝖚𝖗 Ｈａｒｂｏｕｒ ①②③ ㎏",
        "punctuation alone": "... !!! ??? — – ‥ … 。、！",
        "digits": "1234567890 " * 50,
        "almost an address": "a." * 10_000 + "@" + "a." * 10_000,
        "almost a number": "+49 1" + "-1" * 10_000,
        "open brackets": "[" * 5000 + "{" * 5000 + "<" * 5000,
        "a run of blanks": "a" + " " * 20_000 + "b",
    }


META: dict[str, dict[str, Any]] = {
    "odd meta": {
        **dict.fromkeys(("url", "date", "language", "path", "source", "title", "topic", "score", "pii"), 7),
        "": None,
        "nested": {"ключ": [1, 2.5, None, True, {"a": []}]},
    },
    "empty meta": {},
}

EMPTY_LISTS = "empty lists"


def records_of(kind: Any) -> dict[str, dict[str, Any]]:
    """Case -> the columns and the meta of a record of type `kind`.

    Raises TypeError when a column has a type the kit has no values for.
    """
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in KEPT}
    found = {}
    for number, (case, text) in enumerate(texts().items()):
        fields = {name: _value(name, hint, text, number) for name, hint in hints.items()}
        found[case] = {**fields, "meta": {"number": number, "source": "kit"}}
    for case, meta in META.items():
        fields = {name: _value(name, hint, PLAIN["English"], 1) for name, hint in hints.items()}
        found[case] = {**fields, "meta": meta}
    if any(get_origin(hint) is list for hint in hints.values()):
        plain = found["English"]
        found[EMPTY_LISTS] = {n: [] if isinstance(value, list) else value for n, value in plain.items()}
    return found


def _value(name: str, hint: Any, text: str, number: int) -> Any:
    """A value for a column; long texts stand once in a record, in the first message of a list."""
    if get_origin(hint) is list:
        (inner,) = get_args(hint)
        more = range(number + 1, number + 1 + number % 3)
        return [_value(name, inner, text, number), *(_value(name, inner, text[:200], one) for one in more)]
    if is_typeddict(hint):
        return {key: _role(name) if key == "role" else _value(name, inner, text, number)
                for key, inner in get_type_hints(hint).items()}  # fmt: skip
    if hint in _SCALARS:
        return _SCALARS[hint](text, number)
    raise TypeError(f"column '{name}' is of type {getattr(hint, '__name__', hint)}")


def _role(column: str) -> str:
    return "user" if column in ("prompt", "messages") else "assistant"


_SCALARS: dict[Any, Callable[[str, int], Any]] = {
    str: lambda text, number: text,
    int: lambda text, number: (0, 1, -1, 2**40)[number % 4],
    float: lambda text, number: (0.5, 0.0, -1.0, 1e300, math.inf, math.nan)[number % 6],
    bool: lambda text, number: number % 2 == 0,
}
