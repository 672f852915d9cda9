"""Where tasks run and how a build is watched: executors and the progress display."""

from __future__ import annotations

from concurrent.futures import Executor

import factory


@factory.hookimpl
def open_executor(uri: str) -> Executor | None:
    from . import executors

    return executors.open_executor(uri)
