"""Keeping transformers quiet: what a step prints is its answers."""

from __future__ import annotations

import logging
import os


def quiet() -> None:
    """No telemetry, no progress bars, no warnings about what we chose on purpose: a step's output is its answers."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # on a CPU with bfloat16 it tells at each start that a faster kernel for 4 bits is not installed
    logging.getLogger("bitsandbytes.backends.cpu").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
