"""Personal data in text: e-mail and IP addresses, phone numbers, identity, bank account and card numbers."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

import factory
from factory import Batch, Record

from ..reshape import add_meta, rewrite_batch

Kind = Literal["email", "ip", "phone", "cn_mobile", "cn_id", "iban", "card"]
KINDS: list[Kind] = ["email", "ip", "phone", "cn_mobile", "cn_id", "iban", "card"]
TAGS = {"cn_mobile": "<PHONE>"}  # all others are named after their kind

# Letters of scripts written with spaces. A Chinese character before or after an address is no part of it.
L = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u052f"
DOMAIN = re.compile(rf"(?:[{L}0-9-]{{1,63}}+\.){{1,40}}(?:[{L}]{{2,24}}|xn--[a-z0-9-]{{2,40}})(?![{L}0-9_@-])")
LOCAL = re.compile(rf"[{L}0-9_.+%-]{{1,65}}")
LONGEST_LOCAL = 64  # RFC 5321, section 4.5.3.1.1
# Reserved for documentation (RFC 2606, RFC 6761): nobody's address. `icon@2x.png` is a file.
RESERVED = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost|png|jpe?g|gif|svg|webp|js|css|html?|json)$", re.I
)
VERSION = re.compile(r"(?:version|release|\bv)[ .:=]{0,3}$", re.IGNORECASE)

BEFORE = r"(?<![A-Za-z0-9_.+/-])"
AFTER = r"(?![A-Za-z0-9_-]|\.[0-9])"
PHONE = re.compile(
    rf"""{BEFORE}(?:
    (?P<nanp>(?:\+1[ .-]?)?\([2-9][0-9]{{2}}\)[ ]?[2-9][0-9]{{2}}[ .-][0-9]{{4}}
      |(?:\+?1[ .-])?[2-9][0-9]{{2}}-[2-9][0-9]{{2}}-[0-9]{{4}}
      |\+1[ .-]?[2-9][0-9]{{2}}[ .-]?[2-9][0-9]{{2}}[ .-]?[0-9]{{4}})
  | (?P<intl>\+[1-9](?:[ \xa0.()/-]{{0,3}}[0-9]){{6,14}})
  | (?P<run>(?:0086|[1-9][0-9])[0-9]{{9,17}}[Xx]?)
  | (?P<cn>(?:(?:00)?86[ -]?)?1[3-9][0-9]([ -]?)[0-9]{{4}}\5[0-9]{{4}})
  | (?P<card>[2-6][0-9]{{3}}([ -])(?:[0-9]{{4}}\7[0-9]{{4}}\7[0-9]{{4}}(?:\7[0-9]{{1,3}})?|[0-9]{{6}}\7[0-9]{{4,5}}))
    ){AFTER}""",
    re.VERBOSE,
)
IPV4 = re.compile(rf"(?<![A-Za-z0-9_.-])(?P<ip>(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}){AFTER}")
# Of IPv6 only 2000::/3 is given out to the public (RFC 4291, section 2.4), so four digits come first.
IPV6 = re.compile(r"(?<![A-Za-z0-9_:.])(?P<ip>[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{1,35}+)(?![A-Za-z0-9_])")
IBAN = re.compile(
    r"(?<![A-Za-z0-9_])(?P<iban>[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)(?![A-Za-z0-9_])"
)
# These patterns run at 2 to 10 MB/s where they are tried at every character. They are tried only about the needles
# below, sought at 1 to 2 GB/s in a copy of the text, one byte a character, in which every digit is 0, every letter A or
# a, and a blank a hyphen. Beside each: the pattern, and how many characters before the needle a match may begin.
SHAPE = bytes(
    ord("0") if chr(code).isdecimal() else ord("A") if 65 <= code <= 90 else ord("-") if chr(code) in " -"
    else code if chr(code) in "+.:" else ord("a")
    for code in range(256)
)  # fmt: skip
NEEDLES = (
    (b"+0", PHONE, 0),
    (b"000-0000", PHONE, 7),
    (b"000.0000", PHONE, 7),
    (b"0" * 11, PHONE, 5),
    (b"AA00", IBAN, 0),
)
LONGEST = 96  # characters of a match and what is looked at behind it
OCTETS = re.compile(rb"\.0{1,3}\.0")  # also in that copy; a literal first character makes `re` fast enough
COLONS = re.compile(":[0-9A-Fa-f]{0,4}:")

# Prefixes and lengths of bank cards (ISO/IEC 7812 issuers): Visa, Mastercard, American Express, Discover, JCB, Diners,
# UnionPay, Mir. Visa's old 13 digits are left out: bar codes and times have as many.
CARDS = re.compile(
    r"4(?:\d{15}|\d{18})|5[1-5]\d{14}|2(?:2[3-9]|[3-6]\d|22[1-9]|7[01]|720)\d{12,13}|3[47]\d{13}"
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|35(?:2[89]|[3-8]\d)|220[0-4])\d{12,15}|3(?:0[0-5]|[689]\d)\d{11}"
)
CN_MOBILE = re.compile(r"(?:(?:00)?86)?1[3-9]\d{9}")
RESIDENT_ID = re.compile(r"[1-8]\d{5}(?:18[5-9]|19\d|20\d)\d{8}[\dXx]")


@factory.step(judges=False)
def mask_pii(
    batch: Batch[Record],
    kinds: Annotated[list[Kind], Field(min_length=1)] = KINDS,
    mode: Literal["tag", "mask", "drop"] = "tag",
) -> Batch[Record]:
    """Find personal data that can be told by its form, and replace it; how many of each kind is in meta.pii.

    Conservative: a number counts only when its check digits, its length and its prefix are right, and what is reserved
    for documentation, private networks, version numbers and bare runs of digits of no known form stay.
    Time is linear in the text, whatever it holds; texts without a suspicious character cost one fast pass.

    kinds  email; ip: public IPv4 and IPv6 addresses; phone: international (+49 30 …, checked against the country's
           numbering plan) and North American; cn_mobile: mainland Chinese mobile, with or without 86; cn_id: resident
           id of 18 characters with a valid date and check character (GB 11643, ISO 7064 mod 11-2); iban (ISO 13616:
           country, length, mod 97); card: bank card by issuer prefix, length and Luhn's check digit
    mode   tag: <EMAIL>, <IP>, <PHONE> (also cn_mobile), <CN_ID>, <IBAN>, <CARD>; mask: nobody's value of the same
           form (user@example.com, 192.0.2.1, 2001:db8::1, digits as 0 and letters as X, an IBAN's country kept);
           drop: the record is dropped as `personal data`
    """
    from factory.text.segments import buffers

    from .suspects import personal

    wanted = frozenset(kinds)
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)  # by row
    made = rewrite_batch(
        batch, lambda text, row: masked(text, found[row], wanted, mode), lambda column: personal(buffers(column))
    )
    counts = [dict(sorted(found[row].items())) if row in found else {} for row in range(len(batch))]
    if mode == "drop":
        return batch.drop([bool(count) for count in counts], "personal data", found=counts)
    return add_meta(made, counts, "pii", lambda before, now: dict(sorted((Counter(before) + Counter(now)).items())))


class Span(NamedTuple):
    """Characters [start, end) of a text that are personal data of `kind`."""

    start: int
    end: int
    kind: str


def masked(
    text: str,
    found: Counter[str],
    kinds: frozenset[str] = frozenset(KINDS),
    mode: Literal["tag", "mask", "drop"] = "tag",
) -> str:
    """The text with personal data replaced; `found` counts it by kind."""
    if "email" in kinds and "@" in text:
        text = _replaced(text, _emails(text), found, mode)
    if kinds - {"email"}:
        text = _replaced(text, _numbers(text, kinds), found, mode)
    return text


def _replaced(text: str, spans: Iterator[Span], found: Counter[str], mode: str) -> str:
    parts: list[str] = []
    done = 0
    for start, end, kind in spans:
        found[kind] += 1
        tag = TAGS.get(kind) or f"<{kind.upper()}>"
        parts += (text[done:start], neutral(text[start:end], kind) if mode == "mask" else tag)
        done = end
    return "".join((*parts, text[done:])) if parts else text


def neutral(value: str, kind: str) -> str:
    """Nobody's value of the same form; none of them is found again."""
    if kind == "email":
        return "user@example.com"
    if kind == "ip":
        return "2001:db8::1" if ":" in value else "192.0.2.1"
    kept = value[:2] if kind == "iban" else ""
    return kept + "".join("0" if char.isdigit() else "X" if char.isalpha() else char for char in value[len(kept) :])


def _emails(text: str) -> Iterator[Span]:
    """Outward from each `@`, so that a text without one costs nothing and every `@` a constant."""
    at, done = text.find("@"), 0
    while at >= 0:
        domain = DOMAIN.match(text, at + 1)
        if domain and not RESERVED.search(domain[0]):
            local = LOCAL.match(text[max(done, at - LONGEST_LOCAL - 1) : at][::-1])
            if local and local.end() <= LONGEST_LOCAL and (size := len(local[0].rstrip("_.+%-"))):
                done = domain.end()
                yield Span(at - size, done, "email")
        at = text.find("@", max(done, at + 1))


def _numbers(text: str, kinds: frozenset[str]) -> Iterator[Span]:
    done = 0
    for first, last, pattern in _spots(text):
        for start in range(max(done, first), last + 1):
            # What is masked parts words as a blank does, so that a second run finds no more.
            cut = start if start == done else 0
            match = pattern.match(text[cut : cut + LONGEST] if cut else text, start - cut)
            if match is not None and (span := _known(match, kinds)) is not None:
                done = cut + span.end
                yield Span(cut + span.start, done, span.kind)
                break


def _spots(text: str) -> list[tuple[int, int, re.Pattern[str]]]:
    """(first, last, pattern) in order: a match of the pattern may begin at characters first to last."""
    shape = text.encode("latin-1", "replace").translate(SHAPE)
    found = []
    for needle, pattern, back in NEEDLES:
        at = shape.find(needle)
        while at >= 0:
            found.append((max(0, at - back), at, pattern))
            at = shape.find(needle, at + len(needle))
    found += [(max(0, match.start() - 3), match.start(), IPV4) for match in OCTETS.finditer(shape)]
    if b":" in shape:
        found += [(match.start() - 4, match.start() - 4, IPV6) for match in COLONS.finditer(text, 4)]
    return sorted(found, key=_last)


def _last(spot: tuple[int, int, re.Pattern[str]]) -> int:
    return spot[1]


def _known(match: re.Match[str], kinds: frozenset[str]) -> Span | None:
    """What a candidate is, if it is of one of `kinds` and its check holds."""
    shape, value = match.lastgroup, match[0]
    kind, size = "", len(value)
    if shape == "nanp":
        kind = "phone"
    elif shape == "ip":
        if value.endswith(":") and not value.endswith("::"):  # the colon of the sentence
            value, size = value[:-1], size - 1
        before = match.string[max(0, match.start() - 12) : match.start()]
        kind = "ip" if is_public(value) and not VERSION.search(before) else ""
    elif shape == "iban":
        size = _iban_size(value)
        kind = "iban" if size else ""
    else:
        digits = re.sub("[^0-9Xx]", "", value)
        if CN_MOBILE.fullmatch(digits) and (shape != "intl" or "cn_mobile" in kinds):
            kind = "cn_mobile"
        elif shape == "intl":
            size = _phone_size(value)
            kind = "phone" if size else ""
        elif shape == "run" and is_resident_id(digits):
            kind = "cn_id"
        elif is_card(digits):
            kind = "card"
    return Span(match.start(), match.start() + size, kind) if kind in kinds else None


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is one of the public internet."""
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def is_resident_id(number: str) -> bool:
    """Whether this is a Chinese resident id: 18 characters, region, a date since 1850, check by ISO 7064 mod 11-2."""
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    if not RESIDENT_ID.fullmatch(number):
        return False
    try:
        ric.get_birth_date(number)
    except ValidationError:
        return False
    return bool(ric.calc_check_digit(number.upper()) == number[17].upper())


def is_card(digits: str) -> bool:
    """Whether digits have an issuer's prefix, a length that it gives out and Luhn's check digit (ISO/IEC 7812-1)."""
    from stdnum import luhn

    return CARDS.fullmatch(digits) is not None and bool(luhn.is_valid(digits))


def _iban_size(value: str) -> int:
    """How many characters of `value`, from its beginning, are an IBAN; 0 when none are."""
    from stdnum import iban

    wanted = iban_lengths().get(value[:2], 0)
    for at in range(len(value)):
        wanted -= value[at] != " "
        if wanted == 0:
            whole = at + 1 == len(value) or value[at + 1] == " "
            issued = "02" <= value[2:4] <= "98"  # ISO 13616-1, section 6.1; others pass mod 97 by chance
            return at + 1 if whole and issued and iban.is_valid(value[: at + 1], check_country=False) else 0
    return 0


@lru_cache(maxsize=1)
def iban_lengths() -> dict[str, int]:
    """Country → length of its IBAN, from the structures in the registry that python-stdnum carries."""
    from stdnum import numdb

    lengths = {}
    for first in map(chr, range(65, 91)):
        for second in map(chr, range(65, 91)):
            structure = numdb.get("iban").info(first + second + "00")[0][1].get("bban", "")
            if structure:
                lengths[first + second] = 4 + sum(map(int, re.findall(r"(\d+)!", structure)))
    return lengths


@lru_cache(maxsize=1 << 14)
def _phone_size(value: str) -> int:
    """How many characters of `value`, from its beginning, are a valid international number; 0 when none are.

    A year or a price may follow a number: where the whole is not valid, what follows the last blank is left off.
    A candidate costs 60 µs; equal ones are remembered.
    """
    import phonenumbers

    while value:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(value)):
                return len(value)
        except phonenumbers.NumberParseException:
            return 0
        value = value[: value.rfind(" ")] if " " in value else ""
    return 0
