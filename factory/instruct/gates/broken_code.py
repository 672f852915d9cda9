"""Code in answers that does not parse, where a parser is at hand."""

from __future__ import annotations

import ast
import re
import subprocess
import textwrap
import warnings
from collections.abc import Callable
from functools import lru_cache

import factory
from factory import Drop, Record

from .turns import fenced, turns

LANGUAGES = {
    "python": "python", "py": "python", "python3": "python", "py3": "python", "pycon": "python", "json": "json",
    "jsonl": "json", "yaml": "yaml", "yml": "yaml", "toml": "toml", "xml": "xml", "svg": "xml", "sqlite": "sqlite",
    "sqlite3": "sqlite", "bash": "bash", "sh": "bash", "shell": "bash",
}  # fmt: skip
# Signs that a block is an excerpt or a form to fill in, not a mistake: "...", <your name>, [insert here], {{ value }}.
_ELIDED = re.compile(
    r"\.{3}|…|\[(?:your|insert|add|some|more|other|rest)\b|\{\{|\{%|"
    r"\byour[_ ][a-z]+[_ ]?here\b|\b(?:placeholder|TODO|FIXME)\b|"
    r"(?:#|//|--)\s*(?:your|rest of|more|other|existing|previous|same as|etc)\b|"
    r"省略|此处|这里填|你的",
    re.IGNORECASE,
)
_ANGLED = re.compile(r"<[a-z][\w \-]*>", re.IGNORECASE)  # in XML these are tags
_SESSION = re.compile(r"^\s*>>>", re.MULTILINE)
_MAGIC = re.compile(r"^(\s*)[%!](?=[\w%]).*$", re.MULTILINE)
_PROMPTED = re.compile(r"^\s*(?:\$|[\w.@:~/-]+[$#%>])\s", re.MULTILINE)
BASH_SECONDS = 5.0
YAML_BRACKETS = 1000


@factory.step
def broken_code(
    record: Record,
    languages: list[str] = ["python", "json", "yaml", "toml", "xml", "sqlite", "bash"],
    elided: bool = True,
) -> bool:
    """Drop records with an answer whose code does not parse.

    Looked at are fenced blocks, by the word after the fence: python, json (also several values, or with comments),
    yaml, toml, xml, sqlite and bash (by `bash -n`, where there is a bash). Nothing is run. Other blocks, blocks without
    a word and blocks that stand in the prompt, too, are passed over. A block that is not closed means that the answer
    was cut.

    languages  those to parse
    elided     keep blocks that do not parse but leave something out (`...`) or hold a place (`<your name>`); if not,
               the record is dropped with a reason of its own
    """
    for prompt, answer in turns(record):
        blocks, _, is_open = fenced(answer)
        if is_open:
            raise Drop("code block not closed")
        for info, code in blocks:
            language = language_of(info)
            if language not in languages or not code.strip() or code.strip() in prompt:
                continue
            if (fault := parse_error(code, language)) is None:
                continue
            if not (_ELIDED.search(code) or (language != "xml" and _ANGLED.search(code))):
                raise Drop("code does not parse", language=language, error=fault[:200])
            if not elided:
                raise Drop("code with places left open", language=language, error=fault[:200])
    return True


def language_of(info: str) -> str:
    """The language that a fence's info string names, or "": `python`, `{.python}`, `python title="x"`, `Py:a.py`."""
    word = re.match(r"\{?\.?([\w+#-]+)", info)
    return LANGUAGES.get(word[1].lower(), "") if word else ""


def parse_error(code: str, language: str) -> str | None:
    """Why the code is none of its language, in a line; None when it parses."""
    return PARSERS[language](code.encode("utf-8", "replace").decode())


def _python(code: str) -> str | None:
    """Python as this interpreter knows it; also sessions (`>>>`), snippets that are indented or await, and magics."""
    if _SESSION.search(code):
        lines = [line.lstrip() for line in code.split("\n")]
        code = "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))
    code = _MAGIC.sub(r"\1pass", textwrap.dedent(code.expandtabs()).strip("\n"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a string that is not raw
            ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return f"line {getattr(error, 'lineno', None) or 1}: {getattr(error, 'msg', None) or error}"
    return None


_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/|(?m:^\s*#[^\n]*)', re.DOTALL)


def _json(code: str) -> str | None:
    """One value or several in a row (JSON lines); comments and commas behind the last item are let pass."""
    import json

    plain = _COMMENT.sub(lambda found: found[1] or "", code)
    plain = re.sub(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])', lambda found: found[1] or "", plain)
    decoder, at = json.JSONDecoder(strict=False), 0
    try:
        while at < len(plain) and plain[at:].strip():
            at += len(plain[at:]) - len(plain[at:].lstrip())
            at = decoder.raw_decode(plain, at)[1]
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _yaml(code: str) -> str | None:
    """Any tags; only the syntax counts, nothing is constructed."""
    import yaml

    if sum(map(code.count, "[{")) > YAML_BRACKETS:  # a parser's time grows with the square of open ones
        return None
    try:
        for _ in yaml.parse(code, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            pass
    except (yaml.YAMLError, RecursionError) as error:
        return " ".join(str(error).split())
    return None


def _toml(code: str) -> str | None:
    import tomllib

    try:
        tomllib.loads(code)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _xml(code: str) -> str | None:
    """Well-formed as a document or as a fragment; entities are never expanded, nothing is fetched."""
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=False)
    text = code.strip()
    bare = re.sub(r"^<\?xml[^>]*\?>\s*(?:<!DOCTYPE[^>\[]*>)?", "", text)
    fault = ""
    for form in (text, f"<fragment>{bare}</fragment>"):
        try:
            etree.fromstring(form.encode(), parser)
        except etree.XMLSyntaxError as error:
            fault = fault or str(error)
            if "Namespace prefix" in str(error):  # declared around the excerpt
                return None
        else:
            return None
    return fault


def _sqlite(code: str) -> str | None:
    """SQLite's own parser; that a table or function is not there is no fault of the syntax."""
    import sqlite3

    code = code.replace("\0", " ")
    with sqlite3.connect(":memory:") as connection:
        for statement in _statements(code):
            try:
                connection.execute(f"EXPLAIN {statement}")
            except (sqlite3.Error, sqlite3.Warning) as error:
                said = str(error)
                if re.search(r"syntax error|unrecognized token|incomplete input", said):
                    return said
    return None


def _statements(code: str) -> list[str]:
    import sqlite3

    found, waiting = [], ""
    for part in re.split(r"(?<=;)", code):
        waiting += part
        if sqlite3.complete_statement(waiting):
            found.append(waiting)
            waiting = ""
    found.append(waiting)
    plain = [re.sub(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)+", "", one, flags=re.DOTALL) for one in found]
    return [one for one in plain if one.strip(" ;\n") and not one.startswith(".")]


def _bash(code: str) -> str | None:
    """`bash -n` reads and runs nothing. A block with prompts (`$ ls`) shows a session and passes."""
    shell = _shell()
    if shell is None or _PROMPTED.search(code):
        return None
    try:
        done = subprocess.run(
            [shell, "--noprofile", "--norc", "-n"],
            input=code.encode().replace(b"\0", b""),
            capture_output=True,
            timeout=BASH_SECONDS,
            env={},
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stderr.decode("utf-8", "replace").strip().split("\n")[0] if done.returncode else None


@lru_cache(maxsize=1)
def _shell() -> str | None:
    import shutil

    return shutil.which("bash")


PARSERS: dict[str, Callable[[str], str | None]] = {
    "python": _python, "json": _json, "yaml": _yaml, "toml": _toml, "xml": _xml, "sqlite": _sqlite, "bash": _bash,
}  # fmt: skip
