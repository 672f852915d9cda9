"""People compare answers: what is shown to whom, what they said, and how it becomes a dataset."""

from __future__ import annotations
