"""Messages as HTML that cannot do anything: markdown, code and formulas of models, written by nobody we trust.

Two walls stand one behind the other. The first makes only harmless HTML (markup in the text is shown as its source,
links go to the web or to a mail address, pictures become links), the second, nh3, keeps only what is on its list.
The page's Content-Security-Policy is a third: nothing here carries a style or a script.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape, unescape
from typing import TYPE_CHECKING, Any

from factory import text_of

from .formulas import math_of

if TYPE_CHECKING:
    import nh3
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

LONGEST = 100_000  # characters that are rendered; longer texts are shown as they are
LONGEST_CODE = 20_000  # characters of one code block that are coloured
SECONDS = 2.0  # of this thread's processor time for one text: the other annotators wait for it
LINK = re.compile(r"(https?://|mailto:)\S", re.IGNORECASE)
WORD = re.compile(r"[A-Za-z0-9_+#.-]{1,30}")
DIRECTED = frozenset({"p", "li", "h1", "h2", "h3", "h4", "h5", "h6", "td", "th"})
# Lexers whose expressions are known to be quick: one that hangs cannot be stopped, and would hold up everyone.
_LANGUAGES = (
    "bash c c++ cpp css cs csharp console diff dockerfile go golang haskell html ini java javascript js json jsonc "
    "jsx julia kotlin lua make makefile matlab ocaml patch perl php powershell ps1 py pycon python python3 r rb ruby "
    "rs rust scala sh shell sql swift toml ts tsx typescript xml yaml yml zsh"
)
_TAGS = (
    "a blockquote br code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead "
    "tr ul"
)
LANGUAGES, TAGS = frozenset(_LANGUAGES.split()), frozenset(_TAGS.split())


class Unreadable(Exception):
    """Rendering takes longer than it may, or would leave out what is nested too deeply."""


def render_message(messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """One answer, which may be several messages: `html`, its source as `text`, and its `dir`."""
    texts = [whole(text_of([dict(message)])) for message in messages]  # type: ignore[list-item]
    if len(messages) == 1:
        html = render(texts[0])
    else:
        html = "".join(
            f'<div class="turn"><p class="role">{escape(str(message.get("role", "")))}</p>{render(text)}</div>'
            for message, text in zip(messages, texts, strict=True)
        )
    text = "\n\n".join(texts)
    return {"html": html, "text": text, "dir": direction(text)}


def render(text: str) -> str:
    """Markdown as safe HTML; the plain text where it is too long, takes too long, or cannot be read."""
    text = whole(text)
    if len(text) > LONGEST:
        return plain(text)
    try:
        html = _reader().render(text, {"until": time.thread_time() + SECONDS})
    except Exception:  # whatever an answer of a model breaks, its text can be read
        return plain(text)
    return wall(html)


def plain(text: str) -> str:
    """The text as it is, line by line."""
    # The span keeps a first empty line, which HTML takes away directly behind <pre>.
    return wall(f'<pre class="raw" dir="auto"><span>{escape(whole(text))}</span></pre>')


def wall(html: str) -> str:
    """What nh3 lets through."""
    return _cleaner().clean(html)


@cache
def _cleaner() -> nh3.Cleaner:
    """The tags and attributes that rendering uses, and links to the web and to mail."""
    import nh3

    from .formulas import ATTRIBUTES, ELEMENTS

    return nh3.Cleaner(
        tags={*TAGS, *ELEMENTS},
        attributes={
            "a": {"href", "class"},
            "ol": {"start"},
            **{tag: {"class"} for tag in ("code", "div", "pre", "span")},
            **{tag: {"dir", "class"} for tag in (*DIRECTED, "pre")},
            **{tag: set(ATTRIBUTES) for tag in ELEMENTS},
        },
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def whole(text: str) -> str:
    """Without halves of surrogate pairs and NUL, which are no text anywhere on the way to the screen."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def direction(text: str) -> str:
    """`rtl` or `ltr` by the first strong character (Unicode Bidirectional Algorithm, rule P2), `auto` without one."""
    for character in text[:LONGEST]:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "auto"


@cache
def _reader() -> MarkdownIt:
    """CommonMark with tables, strikethrough and formulas; HTML is text in it. It keeps no state between texts."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    md = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    dollarmath_plugin(
        md, allow_labels=False, allow_space=False, allow_digits=False, allow_blank_lines=False, double_inline=True
    )
    md.disable(["html_block", "html_inline"])
    md.validateLink = lambda url: LINK.match(url) is not None  # type: ignore[method-assign]
    md.block.ruler.before("fence", "bracket_block", _bracket_block, {"alt": ["paragraph", "blockquote", "list"]})
    md.inline.ruler.before("escape", "bracket_math", _bracket_math)
    md.block.ruler.before(md.block.ruler.get_all_rules()[0], "clock", _block_clock)
    md.inline.ruler.before(md.inline.ruler.get_all_rules()[0], "clock", _inline_clock)
    md.core.ruler.push("directions", lambda state: _directions(state.tokens, md.options["maxNesting"]))
    for name, draw in _DRAWN.items():
        md.add_render_rule(name, draw)
    return md


def _block_clock(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    return _inline_clock(state, silent)


def _inline_clock(state: StateInline | StateBlock, silent: bool) -> bool:
    """A rule that matches nothing and is asked at every place: what grows faster than its text stops here."""
    if time.thread_time() > state.env.get("until", float("inf")):
        raise Unreadable
    return False


def _bracket_math(state: StateInline, silent: bool) -> bool:
    r"""Formulas in \( \) and, inside a paragraph, in \[ \]: what models write."""
    opened = state.src[state.pos : state.pos + 2]
    if opened not in ("\\(", "\\["):
        return False
    end = state.src.find("\\)" if opened == "\\(" else "\\]", state.pos + 2, state.pos + 4_000)
    if end < 0:
        return False
    if not silent:
        token = state.push("math_inline" if opened == "\\(" else "math_inline_double", "math", 0)
        token.content, token.markup = state.src[state.pos + 2 : end], opened
    state.pos = end + 2
    return True


def _bracket_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""A formula in \[ \] with lines of its own; otherwise a line of it that begins with + would be a list."""
    at = state.bMarks[start] + state.tShift[start]
    if not state.src.startswith("\\[", at):
        return False
    for line in range(start, min(end, start + 60)):
        text = state.src[state.bMarks[line] : state.eMarks[line]].rstrip()
        if not text or state.sCount[line] < state.blkIndent:
            return False
        if text.endswith("\\]"):
            if not silent:
                token = state.push("math_block", "math", 0)
                inside = state.getLines(start, line + 1, state.blkIndent, False).strip()
                token.block, token.content, token.markup = True, inside[2:-2], "\\["
                token.map = [start, line + 1]
            state.line = line + 1
            return True
    return False


def _directions(tokens: list[Token], deepest: int) -> None:
    """Each block finds its own direction; how a table's column is set becomes a class, since styles are not let in."""
    for token in tokens:
        if token.level >= deepest - 1:
            raise Unreadable  # what lies deeper was left out
        if token.nesting == 1 and token.tag in DIRECTED:
            token.attrSet("dir", "auto")
            if style := token.attrs.pop("style", None):
                token.attrSet("class", str(style).rpartition(":")[2])


def _fence(reader: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A code block, coloured by classes where the language is known."""
    token = tokens[at]
    words = unescape(token.info).split(maxsplit=1)
    language = words[0].lower() if words and WORD.fullmatch(words[0]) else ""
    named = f' class="language-{escape(language)}"' if language else ""
    return f'<pre class="code"><code{named}>{_coloured(token.content, language, env)}</code></pre>\n'


def _coloured(code: str, language: str, env: Mapping[str, Any]) -> str:
    if language not in LANGUAGES or len(code) > LONGEST_CODE:
        return escape(code)
    from pygments.lexers import get_lexer_by_name
    from pygments.token import STANDARD_TYPES

    parts = []
    for kind, text in get_lexer_by_name(language, stripnl=False, ensurenl=False).get_tokens(code):
        if time.thread_time() > env.get("until", float("inf")):
            raise Unreadable
        while kind not in STANDARD_TYPES:
            kind = kind.parent
        name = STANDARD_TYPES[kind]
        parts.append(f'<span class="{name}">{escape(text)}</span>' if name else escape(text))
    return "".join(parts)


def _picture(reader: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A link instead of the picture: opening an answer must not tell its address that somebody reads it."""
    token = tokens[at]
    address = str(token.attrs.get("src", ""))
    return f'<a class="image" href="{escape(address)}">{escape(token.content or address)}</a>'


def _formula(reader: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    token = tokens[at]
    block = token.type != "math_inline"
    if time.thread_time() > env.get("until", float("inf")):
        raise Unreadable
    drawn = math_of(token.content, block)
    if drawn is None:
        left = token.markup or "$"
        source = f"{left}{token.content}{left.replace('(', ')').replace('[', ']')}"
        drawn = f'<code class="math">{escape(source)}</code>'
    return f'<div class="math">{drawn}</div>\n' if token.block else drawn


_DRAWN = {
    "fence": _fence,
    "code_block": _fence,
    "image": _picture,
    "math_inline": _formula,
    "math_inline_double": _formula,
    "math_block": _formula,
    "table_open": lambda reader, tokens, at, options, env: '<div class="table"><table>\n',
    "table_close": lambda reader, tokens, at, options, env: "</table></div>\n",
}
