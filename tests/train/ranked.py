"""One of several processes that train together: a script, with a folder of its own for each rank but the first."""

import os
import runpy
import sys

script = sys.argv[1]
sys.argv = [script, *sys.argv[2:]]
rank = os.environ["RANK"]
if rank != "0":
    os.environ["FACTORY_CHECKPOINTS"] = f"{sys.argv[4]}/work"
    sys.argv[4] = f"{sys.argv[4]}/rank{rank}"
    os.makedirs(sys.argv[4], exist_ok=True)
runpy.run_path(os.path.join(os.path.dirname(__file__), script), run_name="__main__")
