"""Secrets, taken out of whatever a server says before anybody sees it."""

from __future__ import annotations

import json
import urllib.parse

MARK = "[key]"
LONGEST = 300  # characters of somebody else's words in a message


class Redaction:
    """Knows secrets as they are and as JSON and URLs spell them; some servers repeat the key they refuse."""

    def __init__(self, *secrets: str) -> None:
        self._spellings: list[bytes] = []
        for secret in filter(None, secrets):
            in_json = json.dumps(secret)[1:-1]
            forms = [secret, in_json, in_json.replace("/", "\\/")]
            forms += [urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)]
            self._spellings += dict.fromkeys(form.encode() for form in forms)

    def content(self, content: bytes) -> bytes:
        """A response's body without them."""
        for spelling in self._spellings:
            if spelling in content:
                content = content.replace(spelling, MARK.encode())
        return content

    def line(self, text: str) -> str:
        """A sentence without them, on one line of at most 300 characters: cut only after they are gone."""
        for spelling in self._spellings:
            text = text.replace(spelling.decode(), MARK)
        return " ".join(text.split())[:LONGEST]
