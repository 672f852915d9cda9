"""Sections that steps add: Markdown escaped, pictures let in only when harmless."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.report import markdown

EXAMPLES = settings.default.max_examples  # fewer in `make check`


def squeezed(source: str) -> str:
    return re.sub(r"\s*\n\s*", "", markdown.render(source))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("# Title", "<h4>Title</h4>"),
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        ("**b** *i* _i_ `a*b`", "<p><strong>b</strong> <em>i</em> <em>i</em> <code>a*b</code></p>"),
        ("2 * 3 * 4, snake_case_name, a*b", "<p>2 * 3 * 4, snake_case_name, a*b</p>"),
        ("- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("> quoted\n> more", "<blockquote><p>quoted<br>more</p></blockquote>"),
        ("---", "<hr>"),
        ("[docs](https://example.org/x)", "<p>docs (<code>https://example.org/x</code>)</p>"),
        ("<b>no</b> & never", "<p>&lt;b&gt;no&lt;/b&gt; &amp; never</p>"),
        ("`", "<p>`</p>"),
        ("a | b", "<p>a | b</p>"),
    ],
)  # fmt: skip
def test_render(source: str, wanted: str) -> None:
    assert squeezed(source) == wanted


def test_code_is_kept_as_it_is() -> None:
    assert markdown.render("```python\nif a < b:\n    # **x**\n```\nafter") == (
        "<pre><code>if a &lt; b:\n    # **x**</code></pre>\n<p>after</p>"
    )


def test_a_table_with_numbers_on_the_right_and_short_rows() -> None:
    drawn = markdown.render("| name | value |\n|:--|--:|\n| a \\| b | 1 |\n| c |")
    assert '<th class="number">value</th>' in drawn
    assert "<td>a | b</td>" in drawn
    assert '<td>c</td><td class="number"></td>' in drawn


@given(st.text(alphabet="ab *_`#|->[]()!\n<&1. \t:~", max_size=200))
@settings(max_examples=3 * EXAMPLES)
def test_any_markdown_is_balanced_and_ends(source: str) -> None:
    drawn = markdown.render(source).replace("<br>", "<br/>").replace("<hr>", "<hr/>")
    ElementTree.fromstring(f"<all>{drawn}</all>")


def test_deep_nesting_ends() -> None:
    ElementTree.fromstring(f"<all>{markdown.render('>' * 5_000 + ' x').replace('<br>', '')}</all>")
    markdown.render("\n".join("  " * n + "- x" for n in range(300)))


PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">{}</svg>'


def test_a_harmless_picture_stays_a_picture() -> None:
    inner = '<defs><clipPath id="c"><rect width="5" height="5"/></clipPath></defs>'
    inner += '<g clip-path="url(#c)"><text>a &lt; b</text></g>'
    drawn = markdown.section(
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n' + PICTURE.format(inner + "<style>*{}</style>"), "t-"
    )
    root = ElementTree.fromstring(drawn)
    assert root.find(".//clipPath").attrib["id"] == "t-c"  # type: ignore[union-attr]
    assert root.find(".//g").attrib["clip-path"] == "url(#t-c)"  # type: ignore[union-attr]
    assert root.find(".//text").text == "a < b"  # type: ignore[union-attr]
    assert "style" not in drawn
    assert "http:" not in drawn


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        "<SCRIPT>alert(1)</SCRIPT>",
        "<foreignObject><body/></foreignObject>",
        '<rect onload="alert(1)"/>',
        '<rect onClick="alert(1)"/>',
        '<a href="javascript:alert(1)"><text>x</text></a>',
        '<use href="https://example.org/x.svg#a"/>',
        '<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="data:image/svg+xml,x"/>',
        '<image href="x.png"/>',
        '<rect fill="url(https://example.org/x)"/>',
        "<rect style=\"fill: u\\rl( '//example.org')\"/>",
        "<rect style=\"background: image-set('https://example.org')\"/>",
        '<set attributeName="href" to="javascript:alert(1)"/>',
        '<animate attributeName="onload" values="alert(1)"/>',
        '<x:script xmlns:x="http://www.w3.org/1999/xhtml">alert(1)</x:script>',
        "<rect>",
        "<text>&undefined;</text>",
    ],
)
def test_a_picture_that_could_do_more_is_left_out(inner: str) -> None:
    drawn = markdown.section(PICTURE.format(inner))
    assert drawn.startswith('<p class="note">A picture was left out: it')
    assert "alert" not in drawn


def test_entities_are_refused() -> None:
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg xmlns="http://www.w3.org/2000/svg"><text>&a;</text></svg>'
    with pytest.raises(ValueError, match="declares entities"):
        markdown.clean_svg(bomb)
    assert "<svg" not in markdown.section(bomb)
