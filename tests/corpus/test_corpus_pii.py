"""Personal data: what is found, what looks like it and stays, and what it costs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban, luhn
from stdnum.cn import ric

from factory import Drop, assistant, user
from factory.corpus.cleaning.pii import (
    IBAN,
    IPV4,
    IPV6,
    KINDS,
    PHONE,
    Span,
    _known,
    _numbers,
    iban_lengths,
    is_card,
    is_resident_id,
    mask_pii,
    masked,
)

Through = Callable[..., Any]

MODES = ("tag", "mask", "drop")
EVERY = (
    "ann.lee@mail.corp.org 8.8.8.8 +49 30 1234567 13800138000 11010519491231002X DE89 3704 0044 0532 0130 00 "
    "4111 1111 1111 1111"
)


def text(value: str, **meta: Any) -> dict[str, Any]:
    return {"id": "1", "parents": [], "text": value, "meta": meta}


def found(value: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    masked(value, counts)
    return dict(counts)


def tagged(value: str) -> str:
    return masked(value, Counter())


def test_every_kind_in_every_mode(through: Through) -> None:
    made = through(mask_pii, text(EVERY))
    assert made["text"] == "<EMAIL> <IP> <PHONE> <PHONE> <CN_ID> <IBAN> <CARD>"
    assert made["meta"]["pii"] == dict.fromkeys(sorted(KINDS), 1)
    assert through(mask_pii, text(EVERY), mode="mask")["text"] == (
        "user@example.com 192.0.2.1 +00 00 0000000 00000000000 00000000000000000X DE00 0000 0000 0000 0000 00 "
        "0000 0000 0000 0000"
    )
    with pytest.raises(Drop) as caught:
        through(mask_pii, text(EVERY), mode="drop")
    assert (caught.value.reason, caught.value.details) == ("personal data", {"found": dict.fromkeys(KINDS, 1)})
    assert through(mask_pii, text("nothing"), mode="drop") == text("nothing")


def test_only_the_kinds_that_are_wanted(through: Through) -> None:
    for kind in KINDS:
        assert through(mask_pii, text(EVERY), kinds=[kind])["meta"]["pii"] == {kind: 1}
    assert tagged("+86 138 0013 8000") == "<PHONE>"
    assert through(mask_pii, text("+86 138 0013 8000"), kinds=["phone"])["meta"]["pii"] == {"phone": 1}


def test_counts_add_to_those_of_an_earlier_run_and_messages_are_reached(through: Through) -> None:
    record = {"id": "1", "parents": [], "prompt": user("a@mail.org?"), "completion": assistant("8.8.8.8")}
    made = through(mask_pii, {**record, "meta": {"pii": {"ip": 2}}})
    assert (made["prompt"], made["completion"]) == (user("<EMAIL>?"), assistant("<IP>"))
    assert made["meta"]["pii"] == {"email": 1, "ip": 3}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("邮箱zhang.san@mail.cn，电话13800138000。", "邮箱<EMAIL>，电话<PHONE>。"),
        ("身份证号11010519491231002X，卡号6222021234567890128", "身份证号<CN_ID>，卡号<CARD>"),
        ("手机 138-0013-8000 或 +8613800138000 或 86 138 0013 8000", "手机 <PHONE> 或 <PHONE> 或 <PHONE>"),
        ("müller@bücher.de and иван@почта.рф", "<EMAIL> and <EMAIL>"),
        ("...ann@mail.org. __bob__@mail.org a@b.org.c@d.org", "...<EMAIL>. __<EMAIL> <EMAIL>.<EMAIL>"),
        ("ftp 2001:4860:4860::8888: up, 2606:4700::, [2001:4860:0:0:0:0:0:8844]:53", "ftp <IP>: up, <IP>, [<IP>]:53"),
        ("+33 (0)1 42 68 53 00, +1 555 234 5678, 1-800-234-5678", "<PHONE>, <PHONE>, <PHONE>"),
        ("+49 30 1234567 2024", "<PHONE>"),
        ("+33 1 42 68 53 00 2024 EUR", "<PHONE> 2024 EUR"),
        ("BE68 5390 0754 7034 BIC KREDBEBB", "<IBAN> BIC KREDBEBB"),
        ("GB82WEST12345698765432,", "<IBAN>,"),
        ("3782 822463 10005 378282246310005 5555-5555-5555-4444", "<CARD> <CARD> <CARD>"),
        ("http://8.8.8.8/x 8.8.8.8:53 8.8.4.4,8.8.8.8", "http://<IP>/x <IP>:53 <IP>,<IP>"),
    ],
)  # fmt: skip
def test_forms_and_neighbours(value: str, expected: str) -> None:
    assert tagged(value) == expected


@pytest.mark.parametrize(
    "kept",
    [
        "icon@2x.png", "pip install x@1.2.3", "2001:db8::1", "fe80::1", "::1", "std::vector", "12:30:45", "2023:10:11",
        "1998-2003", "2024-01-15 10:30:00", "23800138000", "12800138000", "x13800138000", "138001380001", "+12345678",
        "4111 1111-1111 1111", "4222222222222", "ISO8859 DE12 3456", "110105194912310021", "11010519491331002X",
        "3.4111111111111111", "0000 0000 0000 0000", "9999999999999995", "1.2.3.4-5", "+86 100", "$1,234,567,890",
    ],
)  # fmt: skip
def test_lookalikes_stay(kept: str) -> None:
    assert tagged(kept) == kept


@pytest.mark.parametrize("layout", [phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164])
def test_an_example_number_of_every_region_is_masked(layout: int) -> None:
    examples = {region: phonenumbers.example_number(region) for region in phonenumbers.SUPPORTED_REGIONS}
    written = {region: phonenumbers.format_number(number, layout) for region, number in examples.items() if number}
    assert len(written) > 200
    assert {region: value for region, value in written.items() if tagged(f"call {value}.") != "call <PHONE>."} == {}


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.integers(0, 999),
       st.integers(0, 17), st.integers(1, 9))  # fmt: skip
def test_a_resident_id_is_masked_and_with_one_digit_changed_is_not(born: date, order: int, at: int, shift: int) -> None:
    number = f"310104{born:%Y%m%d}{order:03}0"
    number = number[:17] + ric.calc_check_digit(number)
    assert is_resident_id(number)
    assert found(f"id {number}, {number.lower()}") == {"cn_id": 2}
    if number[at] != "X":
        changed = number[:at] + str((int(number[at]) + shift) % 10) + number[at + 1 :]
        assert not is_resident_id(changed)
        assert "cn_id" not in found(changed)


@given(st.sampled_from(["DE", "GB", "FR", "NO", "MT", "BR"]), st.randoms(use_true_random=False), st.data())
def test_an_iban_is_masked_and_with_one_digit_changed_is_not(country: str, rng: Any, data: Any) -> None:
    structure = {"DE": "n18", "GB": "a4n14", "FR": "n10c11n2", "NO": "n11", "MT": "a4n5c18", "BR": "n23a1c1"}[country]
    letters = {"n": "0123456789", "a": "ABCXYZ", "c": "0123456789ABC"}
    parts = [structure[at] for at in range(len(structure)) if structure[at].isalpha()]
    sizes = [int("".join(filter(str.isdigit, part))) for part in _after_letters(structure)]
    body = "".join(rng.choice(letters[part]) for part, size in zip(parts, sizes, strict=True) for _ in range(size))
    number = country + iban.calc_check_digits(f"{country}00{body}") + body
    assert len(number) == iban_lengths()[country]
    spaced = iban.format(number)
    assert tagged(f"{number} and {spaced}.") == "<IBAN> and <IBAN>."
    at = data.draw(st.sampled_from([at for at, char in enumerate(number) if char.isdigit()]))
    changed = number[:at] + str((int(number[at]) + data.draw(st.integers(1, 9))) % 10) + number[at + 1 :]
    assert "iban" not in found(changed)
    assert tagged(masked(spaced, Counter(), mode="mask")) == masked(spaced, Counter(), mode="mask")


def _after_letters(structure: str) -> list[str]:
    """The numbers after each letter of a4n14: ["4", "14"]."""
    return "".join(" " if char.isalpha() else char for char in structure).split()


@given(
    st.sampled_from(["4", "51", "2221", "2720", "34", "6011", "644", "3528", "36", "62", "2200"]),
    st.integers(0, 10**17),
    st.integers(0, 13),
    st.integers(1, 9),
)
def test_a_card_is_masked_and_with_one_digit_changed_is_not(prefix: str, body: int, at: int, shift: int) -> None:
    size = {"34": 15, "36": 14}.get(prefix, 16)
    number = (prefix + f"{body:018}")[: size - 1]
    number += luhn.calc_check_digit(number)
    assert is_card(number)
    assert "card" in found(number) or is_resident_id(number)
    changed = number[:at] + str((int(number[at]) + shift) % 10) + number[at + 1 :]
    assert not is_card(changed)
    assert "card" not in found(changed)


PIECES = st.one_of(
    st.sampled_from([*EVERY.split(" "), "2001:4860::8888", "(555) 234-5678", "+1", "86 ", "0086", "DE89", "1-", "的"]),
    st.text("0123456789", max_size=5),
    st.text(" -.+:/()@aA\xa0DE汉", max_size=2),
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_needles_lose_nothing_that_the_patterns_find(value: str) -> None:
    """Trying every pattern at every character finds no more than trying them about the needles."""
    expected: list[Span] = []
    for at in range(len(value)):
        if expected and at < expected[-1].end:
            continue
        cut = at if expected and at == expected[-1].end else 0
        matches = (pattern.match(value[cut:], at - cut) for pattern in (PHONE, IPV4, IPV6, IBAN))
        spans = (_known(match, frozenset(KINDS)) for match in matches if match)
        expected += [Span(span.start + cut, span.end + cut, span.kind) for span in spans if span][:1]
    assert list(_numbers(value, frozenset(KINDS))) == expected


@given(st.lists(PIECES, max_size=14).map("".join), st.sampled_from(["tag", "mask"]))
def test_masking_twice_is_masking_once(value: str, mode: Any) -> None:
    once = masked(value, Counter(), mode=mode)
    again: Counter[str] = Counter()
    assert masked(once, again, mode=mode) == once
    assert not again


@given(st.text())
def test_any_text_can_be_masked(value: str) -> None:
    masked(value, Counter())


@pytest.mark.parametrize(
    "unit",
    ["1", "1 ", "+1234567 ", "@", "a@a.aa", ":", "2001:", "1.1.", "555-1234 ", "AA00 ", "4111 1111 ", "x@" + "a." * 99],
)
def test_time_is_linear_on_hostile_text(unit: str) -> None:
    started = time.perf_counter()
    masked(unit * (100_000 // len(unit)), Counter())
    assert time.perf_counter() - started < 3  # about .1 s; quadratic time would take minutes
    assert masked("", Counter()) == ""
