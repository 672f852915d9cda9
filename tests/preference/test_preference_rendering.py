"""What models wrote, as HTML: readable where it is well-formed, harmless whatever it is."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import assistant, user
from factory.preference.labelling.rendering import direction, plain, render, render_message, wall, whole

ALLOWED_SCHEMES = ("http://", "https://", "mailto:")


class Seen(HTMLParser):
    """Tags and attributes as a browser's tokenizer finds them, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(html: str) -> None:
    seen = Seen(html)
    assert not {
        "script",
        "style",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "input",
        "svg",
        "base",
        "meta",
        "link",
    } & {*seen.tags}
    for tag, name, value in seen.attributes:
        assert not name.startswith("on")
        assert name not in ("style", "src", "srcdoc", "action", "formaction", "id", "name", "xlink:href")
        if name == "href":
            assert tag == "a"
            assert value.lower().startswith(ALLOWED_SCHEMES)
    links = [one for one in seen.attributes if one[1] == "href"]
    assert seen.attributes.count(("a", "rel", "noopener nofollow")) == len(links)
    assert seen.attributes.count(("a", "target", "_blank")) == len(links)
    assert wall(html) == html  # there is nothing left for the second wall to take away


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<b onclick=alert(1)>bold</b>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "<javascript:alert(1)>",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "[x](vbscript:x) [y](file:///etc/passwd) [z](/api/next) [w](//evil.example) [v](x)",
    '[x](https://a.example "title\\" onmouseover=\\"alert(1)")',
    '[x](https://a.example/"onmouseover="alert(1))',
    "[ref]\n\n[ref]: javascript:alert(1)",
    "<div><p><b>never closed",
    "</div></main></body></html>",
    "<!-- comment --><!doctype html><?php ?><![CDATA[x]]>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<svg><p><style><g title='</style><img src=x onerror=alert(1)>'>",
    r"$\text{<script>alert(1)</script>}$",
    r"$\text{</mtext></math><img src=x onerror=alert(1)>}$",
    r"$\href{javascript:alert(1)}{x}$ $\style{position:fixed}{x}$ $\class{a}{x}$",
    r"$$\color{red\" onmouseover=\"alert(1)}{x}$$",
    '```"><script>alert(1)</script>\nx\n```',
    '```python" onclick="alert(1)\nx = 1\n```',
    "```python\nx = '</code></pre><script>alert(1)</script>'\n```",
    "`<script>`",
    "| <script> | b |\n|---|---|\n| <img onerror=x> | [x](javascript:1) |",
    "x\0<script\0>",
    "\ud800<script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text: str) -> None:
    harmless(render(text))
    harmless(plain(text))


@pytest.mark.parametrize("text", HOSTILE[:2])
def test_hostile_text_is_still_read(text: str) -> None:
    assert text in Seen(render(text)).text


_MARKS = r"$ $$ \( \) \[ \] ` ``` > - 1. | |-| * _ [ ]( ) < > & \" ' \\ { } ^ \frac \text{ # ~~ !["
PIECES = st.sampled_from([*HOSTILE, *_MARKS.split(), "\n", "\n\n", " ", "    "])


@given(st.lists(st.one_of(PIECES, st.text(max_size=12)), max_size=12).map("".join))
def test_nothing_gets_through(text: str) -> None:
    harmless(render(text))


@given(st.text(max_size=200))
def test_plain_shows_every_character(text: str) -> None:
    harmless(plain(text))
    shown = Seen(plain(text)).text
    assert shown == whole(text).replace("\r\n", "\n").replace("\r", "\n")


def test_markdown_is_rendered() -> None:
    html = render("# Title\n\nSome *soft* and **hard** ~~text~~, `code`.\n\n- a\n- b\n\n3. c\n\n> said\n\n---")
    for tag in ("h1", "em", "strong", "s", "code", "ul", "li", "ol", "blockquote", "hr"):
        assert tag in Seen(html).tags
    assert ("ol", "start", "3") in Seen(html).attributes
    harmless(html)


def test_table_keeps_its_alignment_as_a_class() -> None:
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert '<div class="table"><table>' in html
    assert '<td dir="auto" class="right">2</td>' in html
    harmless(html)


def test_code_is_coloured_by_classes() -> None:
    html = render("```python\ndef f(x):\n    return '<b>'\n```")
    assert '<pre class="code"><code class="language-python">' in html
    assert '<span class="k">def</span>' in html
    assert Seen(html).text.strip() == "def f(x):\n    return '<b>'"
    harmless(html)


@pytest.mark.parametrize("language", ["", "brainfuck", "no-such-language", "c++", "Python title=x", "한국어"])
def test_code_of_any_language_is_whole(language: str) -> None:
    html = render(f"```{language}\nx = 1 < 2\n\n  y\n```")
    assert Seen(html).text.rstrip("\n") == "x = 1 < 2\n\n  y"
    harmless(html)


@pytest.mark.parametrize(
    "text", ["$\\frac{a}{b}$", "\\(\\frac{a}{b}\\)", "so \\[\\frac{a}{b}\\] it is", "$$\n\\frac{a}{b}\n$$"]
)
def test_formulas_are_mathml(text: str) -> None:
    html = render(text)
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in html
    assert 'display="block"' in html if "[" in text or "$$" in text else 'display="inline"' in html
    harmless(html)


def test_formula_of_several_lines_is_one_formula() -> None:
    html = render("Then\n\\[\na\n+ b\n= \\sqrt{\\frac{1}{1+\\frac{x_{i_j}}{2}}}\n\\]\nand so on")
    assert "<li" not in html
    assert html.count("<math") == 1
    assert "<msqrt>" in html
    harmless(html)


def test_money_is_no_formula() -> None:
    assert "<math" not in render("It costs $5, then $6 and $ 7 $.")


@pytest.mark.parametrize(
    "formula", ["\\frac{a", "\\nosuchcommand{x}", "^", "x^{", "{" * 500, "\\left(", "\\begin{matrix}", "\\sqrt{" * 300]
)
def test_broken_formula_is_shown_as_its_source(formula: str) -> None:
    html = render(f"before ${formula}$ after")
    seen = Seen(html)
    assert f"before ${formula}$ after" in seen.text.replace("\n", " ")
    assert "math" not in seen.tags
    harmless(html)


def test_picture_becomes_a_link() -> None:
    html = render("![a cat](https://a.example/cat.png)")
    assert Seen(html).text.strip() == "a cat"
    assert ("a", "class", "image") in Seen(html).attributes
    harmless(html)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# Title", "ltr"),
        ("שלום world", "rtl"),
        ("1. مرحبا", "rtl"),
        ("你好", "ltr"),
        ("123 :-)", "auto"),
        ("", "auto"),
    ],
)
def test_direction_is_the_first_strong_character(text: str, found: str) -> None:
    assert direction(text) == found


def test_chinese_and_arabic_are_kept_and_find_their_direction() -> None:
    html = render("你好，**世界**。\n\n- مرحبا `x = 1`\n")
    assert "<strong>世界</strong>" in html
    assert '<li dir="auto">مرحبا' in html
    harmless(html)


def test_deep_nesting_is_shown_whole() -> None:
    text = "> " * 60 + "the end"
    assert "the end" in Seen(render(text)).text


REPEATED = [
    "a",
    "[",
    "*a ",
    "![[](",
    "> ",
    "- ",
    "$a",
    "\\(a",
    "`a",
    "<a ",
    "|a",
    "_a__b",
    "&#1;",
    "1. a\n",
    "$x^2$ ",
    "#",
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", REPEATED)
@pytest.mark.parametrize("size", [99_000, 1_000_000])
def test_huge_texts_take_bounded_time(piece: str, size: int) -> None:
    text = (piece * (size // len(piece) + 1))[:size]
    started = time.thread_time()
    html = render(text)
    assert time.thread_time() - started < 6
    assert wall(html) == html


def test_a_megabyte_is_shown_as_it_is() -> None:
    text = "# Title\n\n" + "a line of text with *stars*\n" * 37_000
    started = time.thread_time()
    html = render(text)
    assert time.thread_time() - started < 1
    assert Seen(html).text == text
    assert html.startswith('<pre class="raw"')


def test_what_cannot_be_rendered_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.preference.labelling.rendering.SECONDS", -1.0)
    assert render("*never seen before* in any test") == plain("*never seen before* in any test")


def test_one_message_and_several() -> None:
    one = render_message(assistant("**Paris**"))
    assert one == {"html": '<p dir="auto"><strong>Paris</strong></p>\n', "text": "**Paris**", "dir": "ltr"}
    several = render_message([*assistant("a"), *user("<b>"), *assistant("c")])
    assert several["text"] == "a\n\n<b>\n\nc"
    assert re.findall(r'<p class="role">(\w+)</p>', several["html"]) == ["assistant", "user", "assistant"]
    harmless(several["html"])
