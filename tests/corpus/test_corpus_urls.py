"""Addresses against a user's lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Drop, InputError
from factory.corpus.cleaning.urls import filter_urls, forbidden_host, host_of


def page(url: Any, field: str = "url") -> dict[str, Any]:
    return {"id": "1", "parents": [], "text": "x", "meta": {field: url}}


def verdict(url: Any, **options: Any) -> str:
    try:
        assert filter_urls.function(page(url), **options)
    except Drop as drop:
        return f"{drop.reason}: {', '.join(map(str, drop.details.values()))}"
    return "kept"


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, Path]:
    given = {
        "domains": "# bad ones\nbad.org\n*.worse.com\nhttps://münchen.de/\n\n",
        "urls": "http://www.site.net/page/\nport.net:8080/page\n",
        "subwords": "Casi-no\n",
        "words": "poker\n",
        "soft_words": "bet\nbonus\nfree\n",
    }
    for name, content in given.items():
        (tmp_path / name).write_text(content, "utf-8")
    return {name: tmp_path / name for name in given}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://bad.org/x", "domain: bad.org"),
        ("https://a.b.BAD.org.:8080/x", "domain: bad.org"),
        ("user:pw@bad.org", "domain: bad.org"),
        ("//worse.com", "domain: worse.com"),
        ("http://münchen.de/a", "domain: xn--mnchen-3ya.de"),
        ("http://notbad.org/", "kept"),
        ("http://bad.org.com/", "kept"),
        ("bad.org/go?to=http://x.com", "domain: bad.org"),
        ("bad.org/a//b", "domain: bad.org"),
        ("http://port.net:8080/page", "url: http://port.net:8080/page"),
        ("other.net:8080/page", "kept"),
        ("http://x.com/bad.org", "kept"),
        ("https://site.net/page#top", "url: https://site.net/page#top"),
        ("https://site.net/page/2", "kept"),
        ("http://x.com/my-casi/no1", "word in url: casino"),
        ("http://x.com/a?q=POKER", "word in url: poker"),
        ("http://x.com/%70oker", "word in url: poker"),
        ("http://x.com/pokers", "kept"),
        ("http://free.com/bonus", "soft words in url: ['bonus', 'free']"),
        ("http://free.com/free", "kept"),
        ("http://[::1", "kept"),
        ("", "no url: url"),
        (None, "no url: url"),
        (7, "no url: url"),
    ],
)
def test_each_rule(lists: dict[str, Path], url: Any, expected: str) -> None:
    assert verdict(url, **lists) == expected


def test_options(lists: dict[str, Path]) -> None:
    assert verdict("http://free.com/bonus", soft_words=lists["soft_words"], soft_limit=3) == "kept"
    assert verdict(None, domains=lists["domains"], missing="keep") == "kept"
    assert filter_urls.function(page("http://x.org", "link"), domains=lists["domains"], field="link")
    assert verdict("http://x.org", domains=lists["domains"], field="ulr") == "no url: ulr"
    with pytest.raises(InputError, match="needs a list"):
        filter_urls.function(page("http://x.org"))


def test_a_list_is_read_again_when_it_changes_and_must_hold_something(tmp_path: Path) -> None:
    path = tmp_path / "domains"
    path.write_text("one.org\n")
    assert verdict("http://one.org", domains=path) != "kept"
    path.write_text("another.org\n")
    assert verdict("http://one.org", domains=path) == "kept"
    for content, said in ((b"# none\n\n", "has no entry"), (b"\xff", "not UTF-8")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            verdict("http://one.org", domains=path)
    with pytest.raises(InputError, match="cannot be read"):
        verdict("http://one.org", domains=tmp_path / "missing")


@given(st.text())
def test_any_address_can_be_looked_at(url: str) -> None:
    host_of(url)


@given(st.lists(st.sampled_from(["a", "b", "org"]), min_size=1, max_size=4).map(".".join), st.data())
def test_a_domain_forbids_exactly_itself_and_what_is_below(host: str, data: Any) -> None:
    listed = data.draw(st.lists(st.sampled_from(["a", "b", "org"]), min_size=1, max_size=3).map(".".join))
    assert bool(forbidden_host(host, frozenset([listed]))) == (host == listed or host.endswith("." + listed))
