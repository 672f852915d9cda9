"""Keeping transformers quiet: what a step prints is its answers."""

from __future__ import annotations

import os


def quiet() -> None:
    """No telemetry, no progress bars, no warnings about what we chose on purpose: a step's output is its answers."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
