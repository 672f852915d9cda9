"""The labelling screen as a browser shows it: hostile text inert, on a phone, in both themes, within a second."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


HOSTILE = [
    "<script>window.ran = 'script'</script><img src=x onerror=\"window.ran = 'img'\"> <b>bold</b>",
    "[press](javascript:window.ran='link') ![see](javascript:alert(1)) <a href='javascript:alert(2)'>a</a>",
    "[data](data:text/html,hi) <svg onload=alert(3)><math><mtext><script>alert(4)</script></mtext></math></svg>",
    "<iframe srcdoc='<script>alert(5)</script>'></div></article></main></body></html><style>body{display:none}</style>",
    "<form action='//evil.example'><input autofocus onfocus=alert(6)><div style='position:fixed' onclick=alert(7)>",
    "<details open ontoggle=alert(8)><textarea><!-- <title> <noscript>",
    "$\\href{javascript:alert(9)}{x}$ $$\\text{<img src=x onerror=alert(10)>}$$\n\n```html\n<script>\n```\n\n`<b>`",
]


def test_what_models_wrote_stays_text(site: Any, visit: Any, item: Any) -> None:
    served = site([item(hostile, hostile, "tame " + hostile) for hostile in HOSTILE])
    page = visit(served.link("ada"))
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.seen()
    page.keyboard.press("d")
    for _ in HOSTILE:
        page.seen()
        page.wait_for_selector(".differing .diffed >> nth=1")
        page.keyboard.press("e")
        page.keyboard.type("<img src=x onerror=alert(12)>")
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        page.keyboard.type("<script>alert(13)</script>")
        page.keyboard.press("Enter")
        assert page.locator(".answer").count() == 2
        assert page.is_visible("#bar")
        assert page.evaluate(INERT) == []
        page.press("1")
    for _ in HOSTILE:  # and what the person wrote comes back as text, too
        page.take_back()
        assert page.evaluate(INERT) == []
        assert page.input_value("#note") == "<script>alert(13)</script>"
        assert page.inner_text("[data-answer='0'] .plain").startswith("<img src=x onerror=alert(12)>")
    assert [url for url in elsewhere if not url.startswith(served.url)] == []
    assert page.evaluate("[window.ran, document.title, document.querySelectorAll('body > main').length]") == [
        None,
        "Answers: compare",
        1,
    ]


INERT = """[...document.querySelectorAll('#prompt *, .answers *')].flatMap(node => [
  ...[...node.attributes].filter(a => a.name.startsWith('on') || a.name === 'style' && !node.closest('.chip')
    || /^\\s*(javascript|data|vbscript):/i.test(a.value)).map(a => `${node.localName} ${a.name}=${a.value}`),
  ...(['script', 'style', 'iframe', 'object', 'embed', 'form', 'input', 'link', 'meta', 'base', 'img', 'svg', 'details',
    'template'].includes(node.localName) ? [node.localName] : [])])"""


def test_a_phone_shows_everything_and_takes_votes_by_thumb(site: Any, visit: Any, item: Any) -> None:
    long = "```python\n" + "x = " + "a_very_long_name + " * 30 + "1\n```\n\n" + "w" * 200
    served = site([item("لماذا السماء زرقاء؟ " * 30, long, "因为瑞利散射。" * 40), item("Second", "one", "two")])
    page = visit(served.link("ada"), **PHONE)
    first = page.seen()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("getComputedStyle(document.querySelector('#prompt .text p')).direction") == "rtl"
    upper, lower = (page.locator(".answer").nth(n).bounding_box() for n in (0, 1))
    assert lower["y"] >= upper["y"] + upper["height"]
    assert page.evaluate("(pre => pre.scrollWidth > pre.clientWidth)(document.querySelector('.answer pre'))")
    small = "[...document.querySelectorAll('button, a.quiet, input')].filter(b => b.checkVisibility()).map(b => " + (
        "[b.textContent, b.getBoundingClientRect().width, b.getBoundingClientRect().height])"
    )
    assert [row for row in page.evaluate(small) if row[1] < 44 or row[2] < 44] == []
    bar = page.locator("#bar").bounding_box()
    assert bar["y"] + bar["height"] <= 740
    page.tap("[data-choice='4']")
    page.after(first)
    assert [one["choice"] for one in served.votes()] == ["4"]
    second = page.seen()
    page.tap("[data-action='undo']")
    page.after(second)
    assert page.seen() == first
    page.tap("[data-action='skip']")
    page.tap(".reason >> nth=1")
    page.after(first)
    assert [(one["choice"], one["reason"]) for one in served.votes()] == [("skip", "The prompt makes no sense")]


def test_every_control_has_a_name_and_text_has_contrast(site: Any, visit: Any, item: Any) -> None:
    served = site([item("Question", "```python\nx = 1\n```", "|a|b|\n|-|-|\n|1|2|")])
    for scheme in ("light", "dark"):
        page = visit(served.link("ada"), color_scheme=scheme)
        for key in ("", "?", "s", "n", "e"):
            page.seen()
            if key:
                page.keyboard.press(key)
            assert nameless(page) == [], key
            page.keyboard.press("Escape")
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
        assert len(ids) == len(set(ids))
        for ink, paper in (
            ("#count", "body"),
            (".choice span", ".choice"),
            (".text", ".answer"),
            (".other", "body"),
            (".role", "body"),
            (".answer .k, .answer .n", ".answer pre"),
        ):
            assert contrast(page, ink, paper) >= 4.5, (scheme, ink)
        page.click("#theme")
        assert page.get_attribute("html", "data-theme") == ("light" if scheme == "dark" else "dark")


def nameless(page: Any) -> list[str]:
    """Roles of controls to which a screen reader can give no name."""
    page.wait_for_selector("#bar")
    session = page.context.new_cdp_session(page.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    named = ("button", "link", "textbox", "progressbar", "dialog", "region", "group", "main", "heading")
    return [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node["role"]["value"] in named
        and not node.get("name", {}).get("value", "").strip()
    ]


def contrast(page: Any, ink: str, paper: str) -> float:
    """Contrast ratio of WCAG 2.1."""
    colours = (
        page.evaluate(f"getComputedStyle(document.querySelector({ink!r})).color"),
        page.evaluate(f"getComputedStyle(document.querySelector({paper!r})).backgroundColor"),
    )
    light, dark = sorted((luminance(colour) for colour in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_ten_thousand_items_are_painted_within_a_second(site: Any, visit: Any, item: Any) -> None:
    served = site([item(f"Question {n}", f"first {n} " * 40, f"second {n} " * 40) for n in range(10_000)])
    page = visit(served.link("ada"))
    page.seen()
    painted = []
    for _ in range(4):
        page.reload()
        page.seen()
        painted.append(page.evaluate(PAINTED))
    assert min(painted) < 1000, painted  # milliseconds since the page was asked for; the best of four on a busy machine


PAINTED = """new Promise(done => { const look = () => { const mark = performance.getEntriesByName('painted')[0];
  mark ? done(mark.startTime) : requestAnimationFrame(look); }; look(); })"""


def test_the_page_of_agreement_shows_what_the_server_says_as_text(site: Any, visit: Any, item: Any) -> None:
    served = site([item("Question", "first", "second")])
    page = visit(served.link("ada"))
    page.seen()
    page.goto(served.url + "agreement")
    page.wait_for_selector("#findings section")
    assert page.inner_text(".figures tbody").split("\t") == ["<i>ada</i>", "0.500"]
    assert page.inner_text("section .note") == "<b>as text</b>"
    assert page.locator("#findings svg rect").count() == 1
    assert page.locator("#findings script").count() == 0
    assert page.evaluate("window.ran") is None


def test_of_a_long_conversation_the_last_turn_is_shown_and_the_rest_unfolds(site: Any, visit: Any, item: Any) -> None:
    turns = [{"role": role, "content": f"{role} says. " * 200} for role in ("system", "user", "assistant")]
    served = site([item([*turns, {"role": "user", "content": "And now?"}], "first", "second")])
    page = visit(served.link("ada"))
    page.seen()
    last, prompt = page.locator(".turn >> nth=3"), page.locator("#prompt")
    assert inside(last.bounding_box(), prompt.bounding_box())
    assert not inside(page.locator(".turn >> nth=0").bounding_box(), prompt.bounding_box())
    page.keyboard.press("p")
    assert inside(page.locator(".turn >> nth=0").bounding_box(), prompt.bounding_box())
    assert page.get_attribute("#more", "aria-expanded") == "true"
    page.keyboard.press("p")
    assert inside(last.bounding_box(), prompt.bounding_box())


def inside(inner: dict[str, float], outer: dict[str, float]) -> bool:
    return outer["y"] - 1 <= inner["y"] and inner["y"] + inner["height"] <= outer["y"] + outer["height"] + 1
