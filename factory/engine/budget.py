"""What a step may spend on asking models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Budget(BaseModel):
    """Bounds on the requests, tokens (in and out) and cost of one step; None where there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_requests: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)  # USD
