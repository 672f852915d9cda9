"""What a stage's questions to models came to: answers, tokens, cost, and failures by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .budget import USD, cost_of
from .model import Answer, Model


@dataclass
class Usage:
    """Counts of one stage.

    All but `asked`, `replayed` and `paid…` are the same however the answers were come by, so they go into the manifest.
    """

    asked: int = 0  # requests sent in this run
    replayed: int = 0  # found in the response cache, or on its way already
    answers: int = 0  # handed to the step
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0  # of models whose prices are known, USD / 10^12
    priced: bool = False
    paid_tokens: int = 0  # in this run
    paid: int = 0  # USD / 10^12
    again: int = 0  # failed requests that may succeed when they are asked again
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer, model: Model, fresh: bool) -> None:
        """Count an answer as it is handed out."""
        if not answer.ok:
            self.failed[answer.reason] += 1
            self.again += answer.again
        if answer.over_budget:
            return
        self.answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        cost = 0
        if model.prices is not None:
            self.priced = True
            cost = cost_of((answer.prompt_tokens, answer.completion_tokens), model)
            self.cost += cost
        if fresh:
            self.paid_tokens += answer.prompt_tokens + answer.completion_tokens
            self.paid += cost

    def news(self) -> dict[str, int]:
        """Totals so far, for who is watching."""
        news = {"asked": self.asked, "replayed": self.replayed, "tokens": self.paid_tokens}
        return {**news, "micro_usd": self.paid // 10**6} if self.priced else news

    def entry(self) -> dict[str, Any] | None:
        """As stored in the manifest; None when nothing was asked."""
        if not self.answers and not self.failed:
            return None
        return {
            "answers": self.answers,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "usd": round(self.cost / USD, 6) if self.priced else None,
            "failed": dict(sorted(self.failed.items())),
        }
