"""Boilerplate lines, and what looks like them and stays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Drop, InputError
from factory.corpus.cleaning.lines import WHOLE, built_in_phrases, drop_boilerplate_lines

PROSE = "The river runs through the valley and has shaped the land."


def text(value: str, **meta: Any) -> dict[str, Any]:
    return {"id": "1", "parents": [], "text": value, "meta": meta}


def cleaned(value: str, **options: Any) -> str:
    return str(drop_boilerplate_lines.function(text(value), **options)["text"])


@pytest.mark.parametrize(
    "line",
    [
        "Read more", "read more »", "• Skip to content", "[Home]", "SHARE", "All rights reserved.", "阅读更多",
        "上一篇", "続きを読む", "Weiterlesen …", "→ Lire la suite", "Читать далее", "Leer más",
        "We use cookies to improve it.",
        "Diese Website verwendet Cookies.", "本网站使用cookie以改善体验", "Please enable JavaScript to go on",
        "© 2024 Example Inc. All rights reserved.", "Copyright © 2020 某公司 版权所有", "Powered by WordPress",
    ],
)  # fmt: skip
def test_boilerplate_goes(line: str) -> None:
    made = drop_boilerplate_lines.function(text(f"{PROSE}\n{line}\n{PROSE}", kept=1))
    assert made["text"] == f"{PROSE}\n{PROSE}"
    assert made["meta"] == {"kept": 1, "boilerplate_lines": 1}


@pytest.mark.parametrize(
    "line",
    [
        "search", "home.", "search.", "next;", "login:", "/home", "`share`", "Read more about rivers in the next part.",
        "and that is why one should never stop, but continue reading.", "A cookie is a small cake.", "accept",
        "USA. All Rights Reserved. Permission to copy and", "The law says that all rights reserved are void.",
        "x" * 150 + " we use cookies " + "x" * 150, "他在首页上看到了这条消息", "",
    ],
)  # fmt: skip
def test_prose_stays(line: str) -> None:
    record = text(f"{PROSE}\n{line}\n{PROSE}")
    assert drop_boilerplate_lines.function(record) == record


def test_code_stays_and_blank_lines_do_not_pile_up() -> None:
    assert cleaned(f"{PROSE}\n```\nHome\n```\nHome\n{PROSE}") == f"{PROSE}\n```\nHome\n```\n{PROSE}"
    assert cleaned(f"Home\nMenu\n\n{PROSE}\n\nShare\n\n{PROSE}\n\n\n{PROSE}") == f"{PROSE}\n\n{PROSE}\n\n\n{PROSE}"


def test_a_text_of_nothing_else_is_dropped() -> None:
    with pytest.raises(Drop) as caught:
        drop_boilerplate_lines.function(text("Home\n\nMenu\n"))
    assert (caught.value.reason, caught.value.details) == ("only boilerplate", {"lines": 2})
    assert drop_boilerplate_lines.function(text("")) == text("")


def test_own_phrases(tmp_path: Path) -> None:
    own = tmp_path / "phrases.txt"
    own.write_text("\ufeff# comment\nBuy now\n\n*limited offer*\n", "utf-8")
    page = f"{PROSE}\nBUY NOW!\nOnly today, a limited offer for you\nRead more"
    assert cleaned(page, phrases=own) == PROSE
    assert cleaned(page, phrases=own, built_in=False) == f"{PROSE}\nRead more"
    assert cleaned(page) == page.removesuffix("\nRead more")
    own.write_text("Only today, a limited offer for you\n")
    os.utime(own, (1, 1))
    assert cleaned(page, phrases=own, built_in=False) == f"{PROSE}\nBUY NOW!\nRead more"
    for content, said in ((b"# nothing\n", "has no entry"), (b"\xff\xfe\xff", "not UTF-8")):
        own.write_bytes(content)
        with pytest.raises(InputError, match=said):
            cleaned(page, phrases=own)
    with pytest.raises(InputError, match="cannot be read"):
        cleaned(page, phrases=tmp_path / "none")


def test_every_phrase_is_found_as_a_line() -> None:
    assert len(built_in_phrases().whole) > 200
    for data in WHOLE.values():
        for phrase in (phrase.strip() for line in data.splitlines() for phrase in line.split("|") if phrase.strip()):
            assert cleaned(f"{PROSE}\n{phrase.capitalize()}") == PROSE


@given(st.lists(st.sampled_from(["Home", "read more", "search", "", " ", "```", PROSE, "We use cookies.", "上一篇"])))
def test_cleaning_twice_is_cleaning_once_and_only_takes_lines_away(lines: list[str]) -> None:
    try:
        once = cleaned("\n".join(lines))
    except Drop:
        return
    assert cleaned(once) == once
    rest = iter(lines)
    assert all(line in rest for line in once.split("\n") if line.strip())


def test_a_long_line_costs_linear_time() -> None:
    started = time.perf_counter()
    for line in ("x" * 1_000_000, "cookie " * 150_000, "(c)" * 300_000, "Home\n" * 100_000 + "x", " " * 1_000_000):
        cleaned(line)
    assert time.perf_counter() - started < 5
