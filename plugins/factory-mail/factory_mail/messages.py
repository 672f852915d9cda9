"""A message's bytes as a row: its readable text, and what its headers say about it."""

from __future__ import annotations

import codecs
import email.errors
import re
from collections.abc import Iterator
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import parsedate_to_datetime
from typing import Any

from factory import Drop, digest

from .markup import plain_text
from .quotes import own_words

# Charsets as they are declared, and the larger ones that programs mean by them.
MEANT = {
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "cp1252",
    "latin-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "iso-8859-8-i": "iso-8859-8",
}
# Headers by which machines tell that they wrote a message; those that hold addresses are noted as present.
SIGNS = ("auto-submitted", "precedence", "x-autoreply", "x-autorespond", "list-post", "list-unsubscribe", "return-path")
HOLD_ADDRESSES = ("list-post", "list-unsubscribe")
MESSAGE_ID = re.compile(r"<[^<>\s]+>")


def read_message(data: bytes, keep_quotes: bool = False, keep_addresses: bool = False) -> dict[str, Any]:
    """The fields of a message: text, and in meta subject, date, thread, headers, attachments.

    Raises Drop: `empty message`, `no text`, `unknown charset`, `broken charset`, `broken base64`, `nul byte`,
    `nothing but quotes`.
    """
    if not data.strip():
        raise Drop("empty message")
    message = BytesParser(policy=compat32).parsebytes(data)
    headers = _headers(message)
    text = body_of(message).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise Drop("nul byte")
    if not text.strip():
        raise Drop("no text", defects=sorted(_defects(message)))
    words = text.strip() if keep_quotes else own_words(text)
    if not words:
        raise Drop("nothing but quotes")
    meta: dict[str, Any] = {"thread": thread_of(headers) or digest(data)}
    if subject := " ".join(headers.get("subject", "").split()):
        meta["subject"] = subject
    if date := _date(headers.get("date", "")):
        meta["date"] = date
    if signs := _signs(headers, message):
        meta["headers"] = signs
    if attached := sum(part.get_content_disposition() == "attachment" for part in message.walk()):
        meta["attachments"] = attached
    if keep_addresses:
        meta |= {name: headers[name] for name in ("from", "to") if name in headers}
    return {"text": words, "meta": meta}


def body_of(part: Message) -> str:
    """The text a reader sees first: text/plain where there is one, else HTML without its markup."""
    kind = part.get_content_type()
    if part.get_content_disposition() == "attachment" or kind == "message/rfc822":
        return ""
    if part.is_multipart():
        parts = [one for one in part.get_payload() if isinstance(one, Message)]
        if kind == "multipart/alternative":
            return _first_readable(parts)
        if kind in ("multipart/related", "multipart/signed", "multipart/report"):
            parts = parts[:1]
        return "\n\n".join(filter(None, (body_of(one).strip("\n") for one in parts)))
    if kind == "text/plain":
        return _decoded(part)
    if kind == "text/html":
        return plain_text(_decoded(part))
    return ""


def _first_readable(parts: list[Message]) -> str:
    """The best of several forms of one text; a form that cannot be read gives way to the next."""
    fault: Drop | None = None
    for one in sorted(parts, key=lambda part: part.get_content_type() != "text/plain"):
        try:
            if (text := body_of(one)).strip():
                return text
        except Drop as found:
            fault = fault or found
    if fault is not None:
        raise fault
    return ""


def _decoded(part: Message) -> str:
    data = part.get_payload(decode=True)
    if any(isinstance(defect, email.errors.InvalidBase64LengthDefect) for defect in part.defects):
        raise Drop("broken base64")
    assert isinstance(data, bytes)
    declared = (part.get_content_charset() or "us-ascii").strip()
    meant = MEANT.get(declared, declared)
    for charset in dict.fromkeys((meant, declared)):
        try:
            codecs.lookup(charset)
            return data.decode(charset)
        except LookupError:
            raise Drop("unknown charset", charset=declared) from None
        except UnicodeError as error:
            place = getattr(error, "start", 0)
    raise Drop("broken charset", charset=declared, byte=place)


def _headers(message: Message) -> dict[str, str]:
    """Lower-case name → decoded value; of repeated headers the first counts."""
    found: dict[str, str] = {}
    for name, value in message.raw_items():
        found.setdefault(name.lower(), _header(str(value)))
    return found


def _header(value: str) -> str:
    """A header in Unicode: encoded words (RFC 2047) decoded, raw bytes read as UTF-8, what is broken replaced."""
    value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\r", "").replace("\n", "")
    try:
        chunks = decode_header(value)
    except email.errors.HeaderParseError:
        return value
    return "".join(one if isinstance(one, str) else _chunk(one, charset) for one, charset in chunks)


def _chunk(data: bytes, charset: str | None) -> str:
    # Between encoded words, decode_header gives the rest of the header as bytes that it encoded itself.
    charset = (charset or "raw-unicode-escape").lower()
    try:
        return data.decode(MEANT.get(charset, charset), "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def thread_of(headers: dict[str, str]) -> str:
    """A hash of the first message of a discussion: the first of References, else In-Reply-To, else this one."""
    for name in ("references", "in-reply-to", "message-id"):
        if found := MESSAGE_ID.search(headers.get(name, "")):
            return digest(found[0])
    return ""


def _date(value: str) -> str:
    """ISO 8601 with the sender's offset, or nothing when the header is no date."""
    try:
        return parsedate_to_datetime(value).isoformat()
    except (ValueError, TypeError, OverflowError):
        return ""


def _signs(headers: dict[str, str], message: Message) -> dict[str, str]:
    signs = {name: headers[name].strip().lower() for name in SIGNS if name in headers}
    signs |= {name: "present" for name in HOLD_ADDRESSES if name in signs}
    if signs.get("return-path", "<>") != "<>":  # an empty one marks a bounce; any other is an address
        del signs["return-path"]
    if message.get_content_type() == "multipart/report":
        signs["content-type"] = "multipart/report"
    return signs


def _defects(message: Message) -> Iterator[str]:
    for part in message.walk():
        yield from (type(defect).__name__ for defect in part.defects)
