"""`openai:NAME`: any server that speaks OpenAI's chat completions, asked with many requests in flight or in batches."""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from factory import CausalLM, ModelError
from factory.errors import did_you_mean

if TYPE_CHECKING:
    from .batch_api import Batches
    from .endpoint import Endpoint

DEFAULT_URL = "https://api.openai.com/v1"
NUMBERS: dict[str, type[int] | type[float]] = {
    "concurrency": int,
    "timeout": float,
    "attempts": int,
    "backoff": float,
    "rpm": int,
    "tpm": int,
}
OPTIONS = ("base_url", "key_env", "mode", "hedge", "wait", "price_in", "price_out", *NUMBERS)
MODES = ("chat", "batch")
BATCH_REQUESTS = 50_000  # in one file of the Batch API


@dataclass(frozen=True)
class OpenAI(CausalLM):
    """A model behind a chat completions endpoint. The key is read from the environment when the model is opened."""

    name: str = ""
    base_url: str = DEFAULT_URL
    key_env: str = ""  # OPENAI_API_KEY unless named
    concurrency: int = 256  # requests in flight at the most; how many there are is found out while asking
    timeout: float = 300.0  # seconds one attempt may take
    attempts: int = 6  # of one request; being told to come later by a rate limit is none
    backoff: float = 0.5  # seconds before the second attempt; doubles with each further one
    rpm: int = 0  # requests a minute; 0 for no limit but what the server tells
    tpm: int = 0  # tokens a minute, in and out
    hedge: str = ""  # when a second copy of a slow request goes: p99, or so many times the 95th percentile
    mode: str = "chat"
    wait: float | None = None  # batch: seconds before the build goes on without the answers; None for any number

    @classmethod
    def from_uri(cls, uri: str) -> OpenAI:
        """`openai:NAME`, or with options: `openai:NAME?base_url=http://host/v1&key_env=MY_KEY&concurrency=64&rpm=500`.

        Raises ModelError with a sentence about the first mistake.
        """
        name, _, query = uri.removeprefix("openai:").partition("?")
        given = urllib.parse.parse_qs(query, keep_blank_values=True)
        # The value of an unknown option is not repeated: it may be a key.
        if unknown := [option for option in given if option not in OPTIONS]:
            raise ModelError(f"openai:{name} has no option '{unknown[0]}'; {did_you_mean(unknown[0], OPTIONS)}")
        options: dict[str, Any] = {option: values[-1] for option, values in given.items()}
        for option, kind in NUMBERS.items():
            if option in options:
                options[option] = _number(f"openai:{name}: {option}", options[option], kind)
        if options.get("mode", "chat") not in MODES:
            raise ModelError(f"openai:{name}: mode is '{options['mode']}'; {did_you_mean(options['mode'], MODES)}")
        if (hedge := options.get("hedge", "p99")) != "p99" and _number(f"openai:{name}: hedge", hedge, float) < 1:
            raise ModelError(f"openai:{name}: hedge is '{hedge}'; expected p99, or a number of at least 1")
        if "wait" in options:
            options["wait"] = _number(f"openai:{name}: wait", options["wait"], float, zero=True)
        prices = _prices(name, options.pop("price_in", None), options.pop("price_out", None))
        base_url = _checked_url(name, options.pop("base_url", "") or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL)
        if not name:
            raise ModelError("openai: names no model; expected openai:NAME")
        model = Batched if options.get("mode") == "batch" else cls
        return model(uri, f"openai:{name} at {base_url}", prices=prices, name=name, base_url=base_url, **options)

    @property
    def official(self) -> bool:
        """Whether this is OpenAI's own address."""
        return self.base_url == DEFAULT_URL

    def open(self, threads: int = 2) -> Endpoint | Batches:
        """Raises ModelError when the environment holds no key and the endpoint is known to want one."""
        variable = self.key_env or "OPENAI_API_KEY"
        key = os.environ.get(variable, "").strip()
        if not key and (self.key_env or self.official):
            raise ModelError(
                f"openai:{self.name}: the environment variable {variable} is not set; it must hold your key"
            )
        from .batch_api import Batches
        from .endpoint import Endpoint

        return Batches(self, key) if self.mode == "batch" else Endpoint(self, key)


@dataclass(frozen=True)
class Batched(OpenAI):
    """The same, asked through the Batch API: as many requests are drawn as a batch holds."""

    ahead: ClassVar[int] = BATCH_REQUESTS


def _number(what: str, value: str, kind: type[int] | type[float], zero: bool = False) -> float:
    try:
        number = kind(value)
    except ValueError:
        number = -1
    if not (0 < number < float("inf") or (zero and number == 0)):
        least = "0 or more" if zero else "above 0"
        raise ModelError(f"{what} is '{value}'; expected {'a whole' if kind is int else 'a'} number {least}")
    return number


def _prices(name: str, price_in: str | None, price_out: str | None) -> tuple[float, float] | None:
    """USD a million tokens, in and out; None unless one of them is given."""
    if price_in is None and price_out is None:
        return None
    into = _number(f"openai:{name}: price_in", price_in or "0", float, zero=True)
    return into, _number(f"openai:{name}: price_out", price_out or "0", float, zero=True)


def _checked_url(name: str, url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.username or parts.password:
        raise ModelError(f"openai:{name}: base_url holds a user or password; put the key into an environment variable")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ModelError(f"openai:{name}: base_url is '{url}'; expected http://host/v1 or https://host/v1")
    return url.rstrip("/")
