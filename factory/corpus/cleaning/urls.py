"""Records from addresses that a user's lists forbid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

import factory
from factory import Drop, InputError, Record

from ..lists import read_list

NO_WORD = re.compile(r"[\W_]+")
SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


@factory.step
def filter_urls(
    record: Record,
    domains: Path | None = None,
    urls: Path | None = None,
    subwords: Path | None = None,
    words: Path | None = None,
    soft_words: Path | None = None,
    soft_limit: Annotated[int, Field(ge=1)] = 2,
    field: str = "url",
    missing: Literal["drop", "keep"] = "drop",
) -> bool:
    """Keep records whose address is on none of the user's lists: RefinedWeb's URL filter (Penedo et al. 2023, G.1).

    Lists are text files, one entry a line; blank lines and lines that begin with # are none. Case never counts. The
    reading of the paper's three strengths is datatrove's: a word is a run of letters and digits in the whole address,
    host included, percent escapes undone; a subword is sought in the address with everything else taken out, so
    `bad-word` finds `http://x.org/badword`, and `badword` finds `b-a-d.word`. A list is read once a process.

    domains     hosts: `bad.org` forbids itself and every subdomain, not `notbad.org`
    urls        whole addresses; scheme, `www.`, a slash at the end and what follows `#` do not count
    subwords    strict: one of them anywhere forbids
    words       hard: one of them as a whole word forbids
    soft_words  `soft_limit` different ones of them as whole words forbid
    field       the field of meta, or the column, that holds the address
    missing     what becomes of a record without one; they are dropped, so that a misspelt field is seen

    Raises InputError when there is no list at all, or a list has no entry.
    """
    if not (domains or urls or subwords or words or soft_words):
        raise InputError("filter_urls needs a list: domains, urls, subwords, words or soft_words")
    address = record.get("meta", {}).get(field) or record.get(field)
    if not isinstance(address, str) or not address.strip():
        if missing == "drop":
            raise Drop("no url", field=field)
        return True
    if domains and (found := forbidden_host(host_of(address), read_list(domains, _hosts))):
        raise Drop("domain", domain=found)
    if urls and bare(address) in read_list(urls, _addresses):
        raise Drop("url", url=address)
    if not (subwords or words or soft_words):
        return True
    tokens = [token for token in NO_WORD.split(unquote(address).lower()) if token]
    if subwords:
        whole = "".join(tokens)
        if hit := next((word for word in sorted(read_list(subwords, _words)) if word in whole), None):
            raise Drop("word in url", word=hit)
    if words and (hits := read_list(words, _words).intersection(tokens)):
        raise Drop("word in url", word=min(hits))
    if soft_words and len(hits := read_list(soft_words, _words).intersection(tokens)) >= soft_limit:
        raise Drop("soft words in url", words=sorted(hits))
    return True


def host_of(address: str) -> str:
    """The host of an address in ASCII (IDNA), lower case, without user, port and final dot; "" when there is none."""
    text = address.strip()
    if not SCHEME.match(text):
        text = "//" + text
    try:
        host = (urlsplit(text).hostname or "").rstrip(".")
        return host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        return ""


def forbidden_host(host: str, forbidden: frozenset[str]) -> str:
    """The entry that is the host itself or a domain above it, the longest first; "" when there is none."""
    while host and host not in forbidden:
        host = host.partition(".")[2]
    return host


def bare(address: str) -> str:
    """An address as whole addresses are compared."""
    text = address.strip().lower().partition("#")[0]
    if scheme := SCHEME.match(text):
        text = text[scheme.end() :]
    return text.removeprefix("www.").rstrip("/")


def _hosts(entries: Sequence[str]) -> frozenset[str]:
    return frozenset(filter(None, (host_of(line.removeprefix("*.").lstrip(".")) for line in entries)))


def _addresses(entries: Sequence[str]) -> frozenset[str]:
    return frozenset(filter(None, map(bare, entries)))


def _words(entries: Sequence[str]) -> frozenset[str]:
    return frozenset(filter(None, (NO_WORD.sub("", line.lower()) for line in entries)))
