"""Personal data in text, replaced by typed tags."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from typing import cast

import factory
from factory import Record

from .reshape import rewrite

# Bounded repeats behind a boundary: time is linear in the text, whatever it holds.
EMAIL = re.compile(r"(?<![\w.+%-])[A-Za-z0-9][\w.+%-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![\w-])")
IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
PHONE = re.compile(
    r"(?<![\w.+/-])(?:"
    r"\+[1-9]\d{0,2}(?:[ .-]?\(0?\d{0,4}\))?(?:[ .-]?\d{2,4}){2,5}"  # +49 30 1234567
    r"|\([2-9]\d{2}\) ?[2-9]\d{2}[ .-]\d{4}"  # (555) 234-5678
    r"|[2-9]\d{2}-[2-9]\d{2}-\d{4}"  # 555-234-5678
    r")(?![\w-]|\.\d)"
)
# Reserved for documentation (RFC 2606, RFC 6761): nobody's address.
RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$", re.IGNORECASE)
VERSION = re.compile(r"(?:version|release|\bv)[ .:=]{0,3}$", re.IGNORECASE)


@factory.step
def mask_pii(record: Record) -> Record:
    """Replace e-mail addresses, public IPv4 addresses and phone numbers by <EMAIL>, <IP> and <PHONE>.

    Conservative: addresses reserved for documentation, private networks, version numbers and bare runs of digits
    stay, and phone numbers count only in international (+49 30 …, 8 to 15 digits) or North American form.
    How many were replaced is in meta.pii.
    """
    found: Counter[str] = Counter()
    made = rewrite(record, lambda text: masked(text, found))
    if found:
        before = Counter(record.get("meta", {}).get("pii") or {})
        made["meta"] = {**record.get("meta", {}), "pii": dict(sorted((before + found).items()))}
    return cast(Record, made)


def masked(text: str, found: Counter[str]) -> str:
    """The text with tags; `found` counts them by type."""

    def tag(name: str) -> str:
        found[name] += 1
        return f"<{name.upper()}>"

    def email(match: re.Match[str]) -> str:
        return match[0] if RESERVED.search(match[1]) else tag("email")

    def address(match: re.Match[str]) -> str:
        before = match.string[max(0, match.start() - 12) : match.start()]
        return tag("ip") if _is_public(match[0]) and not VERSION.search(before) else match[0]

    def phone(match: re.Match[str]) -> str:
        return tag("phone") if 8 <= sum(map(str.isdigit, match[0])) <= 15 else match[0]

    if "@" in text:
        text = EMAIL.sub(email, text)
    return PHONE.sub(phone, IPV4.sub(address, text))


def _is_public(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_global
    except ValueError:
        return False
