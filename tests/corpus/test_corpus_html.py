"""Main text of pages, by either engine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import Drop
from factory.corpus.sources.html import extract_html, extracted, main_text

ENGINES = ("trafilatura", "resiliparse")
SENTENCE = "A sentence of the main text, long enough to be taken for one by any rule. "
PAGE = f"""<?xml version="1.0" encoding="utf-8"?>
<html><head><title> My  page &amp; 标题 </title><script>var hidden = 1</script></head>
<body><nav><ul><li><a href="/">Start here</a></li><li><a href="/b">Other things</a></li></ul></nav>
<article><h1>A heading</h1><p>{SENTENCE * 4}</p><p>第二段文字，也是正文的一部分。{SENTENCE * 3}</p></article>
<footer>Imprint and other links</footer></body></html>"""


def html(value: str, **meta: Any) -> dict[str, Any]:
    return {"id": "1", "parents": [], "text": value, "meta": meta}


@pytest.mark.parametrize("engine", ENGINES)
def test_main_text_and_title(engine: Any) -> None:
    made = extract_html.function(html(PAGE, url="http://x.org"), engine=engine)
    assert SENTENCE.strip() in made["text"]
    assert "第二段文字" in made["text"]
    assert not any(word in made["text"] for word in ("hidden", "Imprint", "Other things"))
    assert made["meta"] == {"url": "http://x.org", "title": "My page & 标题"}
    assert made["id"] == "1"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("page", ["", "  \n", "<html><body></body></html>", "<script>x = 1</script>"])
def test_pages_without_text_are_dropped(engine: Any, page: str) -> None:
    with pytest.raises(Drop) as caught:
        extract_html.function(html(page), engine=engine)
    assert caught.value.reason in ("no text", "malformed html")


@pytest.mark.parametrize("engine", ENGINES)
def test_hostile_pages_do_no_harm(engine: Any) -> None:
    pages = ["<div>" * 20_000 + "x", "<p>" + "word " * 100_000, "<" * 50_000, "&" * 50_000, "<p>\ud800 x</p>", "\0"]
    for page in pages:
        try:
            extracted(page, engine)
        except Drop as drop:
            assert drop.reason in ("no text", "malformed html")  # noqa: PT017


@settings(max_examples=30, deadline=None)
@given(st.text("<>/pdivb =\"'&;! \u4e2d", max_size=60), st.sampled_from(ENGINES))
def test_any_text_can_be_looked_at(page: str, engine: Any) -> None:
    try:
        text, title = extracted(page, engine)
    except Drop:
        return
    assert text.strip()
    assert title == title.strip()


@pytest.mark.parametrize("name", ["undefined", "utf-16", "hex", "no-such-thing"])
def test_a_page_that_declares_what_it_cannot_be_in_is_dropped(name: str) -> None:
    page = f"<meta charset={name}><p>{SENTENCE}".encode() + b"\xff"
    with pytest.raises(Drop) as caught:
        main_text(page + b" " * (len(page) % 2))  # whole characters, were it utf-16
    assert caught.value.reason == "broken utf-8"
