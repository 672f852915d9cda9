"""Event files: what TensorBoard reads, written by its own package without TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

FLUSH = 5  # seconds until what was logged is on disk


class Run:
    """A stage's run; several files when it was killed and resumed.

    `first` is the step from which on this process logs: TensorBoard forgets what earlier files of the run have from
    there on (SessionLog.START), so no step stands twice in a curve.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self.writer = EventFileWriter(str(folder), flush_secs=FLUSH)
        self.writer.add_event(Event(wall_time=time.time(), step=first, session_log=SessionLog(status=SessionLog.START)))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        self.writer.close()
