"""One of several processes that train together: train_tiny, with a folder of its own for each rank but the first."""

import os
import sys

rank = os.environ["RANK"]
if rank != "0":
    os.environ["FACTORY_CHECKPOINTS"] = f"{sys.argv[4]}/work"
    sys.argv[4] = f"{sys.argv[4]}/rank{rank}"
    os.makedirs(sys.argv[4], exist_ok=True)

import runpy  # noqa: E402

runpy.run_path(os.path.join(os.path.dirname(__file__), "train_tiny.py"), run_name="__main__")
