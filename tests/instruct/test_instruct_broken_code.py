"""Code blocks that parse and that do not, per language."""

import pytest

from factory import Drop, assistant, user
from factory.instruct.gates.broken_code import PARSERS, broken_code, language_of, parse_error

GOOD = [
    ("python", "def f(x: int) -> int:\n    return x + 1"),
    ("python", "    x = 1\n    y = 2"),
    ("python", ">>> x = 1\n>>> if x:\n...     print(x)\n1"),
    ("python", "%pip install numpy\nimport numpy"),
    ("python", "await main()"),
    ("python", 'print("\\d")'),
    ("json", '{"a": [1, 2.5, null, true]}'),
    ("json", '{"a": 1}\n{"a": 2}\n'),
    ("json", '{\n  // a comment, "quoted"\n  "a": "http://x", # more\n}'.replace(" # more", "")),
    ("yaml", "a: 1\nb:\n  - !thing x\n---\nc: 2"),
    ("toml", "[a]\nb = 1"),
    ("xml", "<a b='1'><c/></a>"),
    ("xml", '<?xml version="1.0" encoding="UTF-8"?>\n<a>é</a>'),
    ("xml", "<a/><b/>"),
    ("xml", "<x:a>1</x:a>"),
    ("sqlite", "SELECT name FROM people WHERE age > 3;\n-- all\nCREATE TABLE t (a INT);"),
    ("sqlite", "INSERT INTO nowhere VALUES (1, 'a;b');"),
    ("bash", 'for f in *.txt; do\n  echo "$f"\ndone'),
    ("bash", "$ for f in\nwhat it printed"),
]
BAD = [
    ("python", "def f(x)\n    return x"),
    ("python", "x = (1, 2"),
    ("python", "if x:\nprint(x)"),
    ("python", 'print "x"'),
    ("json", '{"a": 1'),
    ("json", "{'a': 1}"),
    ("json", '{"a": "http://x" "b": 2}'),
    ("yaml", "a: [1, 2\nb: 3"),
    ("toml", "a = = 1"),
    ("xml", "<a><b></a>"),
    ("sqlite", "SELEC name FROM people;"),
    ("sqlite", "SELECT FROM WHERE"),
    ("bash", "for f in *.txt; do\n  echo x\n"),
    ("bash", 'echo "open'),
]


def answer(code, info="python", prompt="Write it."):
    said = assistant(f"Here:\n\n```{info}\n{code}\n```\n")
    return {"id": "x", "prompt": user(prompt), "completion": said, "meta": {}}


def reason(record, **options):
    try:
        return None if broken_code.function(record, **options) else "False"
    except Drop as drop:
        return drop.reason


@pytest.mark.parametrize(("language", "code"), GOOD)
def test_what_parses(language, code):
    assert parse_error(code, language) is None
    assert reason(answer(code, language)) is None


@pytest.mark.parametrize(("language", "code"), BAD)
def test_what_does_not(language, code):
    assert parse_error(code, language)
    assert reason(answer(code, language)) == "code does not parse"
    assert reason(answer(code, language), languages=[]) is None
    assert reason(answer(code, "text")) is None
    assert reason(answer(code, "")) is None


def test_every_language_has_a_parser_and_tests():
    assert {language for language, _ in GOOD} == {language for language, _ in BAD} == set(PARSERS)


@pytest.mark.parametrize(
    "code", ["def f(...\n  more", "x = <your name>", "[insert code here] x", "f(x)\n# rest of it\nif"]
)
def test_code_that_leaves_something_out_is_told_apart(code):
    assert reason(answer(code)) is None
    assert reason(answer(code), elided=False) == "code with places left open"


def test_an_excerpt_in_xml_is_no_place_left_open():
    assert reason(answer("<a><b></a>", "xml"), elided=False) == "code does not parse"


def test_code_of_the_prompt_may_be_wrong():
    assert reason(answer("x = (1", prompt="What is wrong?\n```python\nx = (1\n```")) is None


def test_a_block_that_is_not_closed():
    record = {"id": "x", "prompt": user("a"), "completion": assistant("```python\nx = 1"), "meta": {}}
    assert reason(record) == "code block not closed"


@pytest.mark.parametrize(
    ("info", "language"),
    [("python", "python"), ("Python3 title=x", "python"), ("{.python}", "python"), ("py:a.py", "python"),
     ("YML", "yaml"), ("python2", ""), ("js", ""), ("", ""), ("c++", "")],
)  # fmt: skip
def test_info_strings(info, language):
    assert language_of(info) == language


@pytest.mark.parametrize("language", sorted(PARSERS))
@pytest.mark.parametrize(
    "code", ["\0", "\ud800", "((((" * 2000, "[" * 5000, "&" * 50, "%", ";;", "a" * 50_000, "\u2028"]
)
def test_no_parser_raises(language, code):
    parse_error(code, language)


def test_nothing_is_run_or_fetched(tmp_path):
    trace = tmp_path / "trace"
    parse_error(f"touch {trace}", "bash")
    parse_error(f"open({str(trace)!r}, 'w')", "python")
    parse_error(f"ATTACH DATABASE '{trace}' AS t; CREATE TABLE t.a (b);", "sqlite")
    parse_error(f"!!python/object/apply:os.system ['touch {trace}']", "yaml")
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    assert "hidden" not in str(parse_error(f'<!DOCTYPE a [<!ENTITY b SYSTEM "{secret}">]><a>&b;<c></a>', "xml"))
    assert not trace.exists()
