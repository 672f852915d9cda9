"""A training script as several processes, as `factory build --processes` starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def launch(script: str, arguments: Sequence[Any], moment: str = "", count: int = 2, sharded: bool = False) -> list[Any]:
    """What each process told at its end; nothing where the first died at its moment, and the others were ended.

    arguments  those of the script, the fourth of them the folder of the run
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    Path(arguments[3]).mkdir(parents=True, exist_ok=True)
    processes = []
    for rank in range(count):
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "FACTORY_SHARDED": "1" if sharded else "",
        }  # fmt: skip
        command = [sys.executable, str(HERE / "ranked.py"), script, *map(str, arguments)]
        command += [moment] if moment and rank == 0 else []
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
    said, errors = [], ""
    for process in processes:
        if moment and said:
            process.kill()
        output, error = process.communicate(timeout=240)
        said.append(output)
        errors += error
    if moment:
        return []
    assert all(process.returncode == 0 for process in processes), errors
    return [json.loads(output.splitlines()[-1]) for output in said]
