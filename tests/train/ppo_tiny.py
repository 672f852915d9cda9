"""ppo in a process of its own: POLICY REWARD DATASET RUN OPTIONS(json) [MOMENT]. REWARD may be `none`.

At its moment the process kills itself with SIGKILL: `open NAME` as that file is opened for writing,
`shutil.rmtree NAME` as that folder is about to be removed, `step N` as step N is told, `after SECONDS` of working.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from conftest import Notebook, make_context

from factory import CausalLM, Dataset, Prompt, RewardModel, Shard, digest
from factory.train import ppo_loop
from factory.train.ppo import ppo

policy, reward, records, run = map(Path, sys.argv[1:5])
event, _, name = sys.argv[6].partition(" ") if len(sys.argv) > 6 else ("", "", "")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal(Notebook):
    def log(self, step: int, metrics: dict[str, float]) -> None:
        super().log(step, metrics)
        if event == "step" and step == int(name):
            die()


def watch(happened: str, args: tuple[object, ...]) -> None:
    if happened == event and str(args[0]).endswith(name):
        writes = event != "open" or args[1] is None or "w" in str(args[1])  # os.open has no mode
        if writes:
            die()


def train(run: object, steps=ppo_loop.train) -> None:  # type: ignore[no-untyped-def]
    steps(run)
    trained = {**run.one.trained("policy"), **(run.one.trained("value") if "value" in run.optimizers else {})}
    weights.extend(digest([name, weight.tolist()]) for name, weight in trained.items())


weights: list[str] = []  # as they are in this process at the end
ppo_loop.train = train
options = ppo.options.model_validate({"policy": str(policy), **json.loads(sys.argv[5])})
given = {option: getattr(options, option) for option in ppo.options.model_fields}
given["policy"] = CausalLM(uri=str(policy), path=policy)
given["reward"] = RewardModel(uri=str(reward), path=reward) if reward.is_dir() else None
context, _ = make_context(run)
context.runtime = notebook = Mortal()
if event == "after":
    threading.Timer(float(name), die).start()  # of working: imports are done
elif event:
    sys.addaudithook(watch)
ppo.function(Dataset([Shard(str(records), records.stem)], Prompt), context, **given)
print(json.dumps([notebook.logged, notebook.sections, notebook.alarms, weights]))
sys.stdout.flush()
os._exit(0)  # a timer may still wait
