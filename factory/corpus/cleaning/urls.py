"""Records from addresses that a user's lists forbid."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

import factory
from factory import Drop, InputError, Record

NO_WORD = re.compile(r"[\W_]+")
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


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
    if domains and (found := forbidden_host(host_of(address), entries(domains, "domain"))):
        raise Drop("domain", domain=found)
    if urls and bare(address) in entries(urls, "url"):
        raise Drop("url", url=address)
    if not (subwords or words or soft_words):
        return True
    tokens = [token for token in NO_WORD.split(unquote(address).lower()) if token]
    if subwords:
        whole = "".join(tokens)
        if hit := next((word for word in sorted(entries(subwords, "word")) if word in whole), None):
            raise Drop("word in url", word=hit)
    if words and (hits := entries(words, "word").intersection(tokens)):
        raise Drop("word in url", word=min(hits))
    if soft_words and len(hits := entries(soft_words, "word").intersection(tokens)) >= soft_limit:
        raise Drop("soft words in url", words=sorted(hits))
    return True


def host_of(address: str) -> str:
    """The host of an address in ASCII (IDNA), lower case, without user, port and final dot; "" when there is none."""
    text = address.strip()
    if "//" not in text:
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
    text = SCHEME.sub("", address.strip().lower().partition("#")[0]).removeprefix("//").removeprefix("www.")
    return text.rstrip("/")


def entries(path: Path, kind: Literal["domain", "url", "word"]) -> frozenset[str]:
    """The entries of a list as they are compared. Raises InputError when it cannot be read or has none."""
    try:
        stat = path.stat()
        return _entries(path, kind, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise InputError(f"the list {path.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the list {path.name} is not UTF-8") from None


@lru_cache(maxsize=64)
def _entries(path: Path, kind: str, changed: int, size: int) -> frozenset[str]:
    lines = (line.strip() for line in path.read_text("utf-8-sig").splitlines())
    given = [line for line in lines if line and not line.startswith("#")]
    forms = {"domain": lambda line: host_of(line.removeprefix("*.").lstrip(".")), "url": bare, "word": _squeezed}
    found = frozenset(form for line in given if (form := forms[kind](line)))
    if not found:
        raise InputError(f"the list {path.name} has no entry")
    return found


def _squeezed(word: str) -> str:
    return NO_WORD.sub("", word.lower())
