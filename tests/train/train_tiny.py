"""Train in a process of its own: STEP MODEL DATASET RUN OPTIONS(json) [MOMENT].

At its moment the process kills itself with SIGKILL: `open NAME` as that file is opened for writing,
`shutil.rmtree NAME` or `os.rename NAME` as that folder is about to be removed or renamed, `step N` as the loss of step
N is told, `after SECONDS` of working.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from conftest import Notebook, make_context

from factory import CausalLM, Dataset, Preference, PromptCompletion, Shard, Text, Unpaired
from factory.train.dpo import dpo
from factory.train.kto import kto
from factory.train.pretrain import pretrain
from factory.train.reward_model import reward_model
from factory.train.sft import sft

STEPS = {
    "dpo": (dpo, Preference),
    "kto": (kto, Unpaired),
    "pretrain": (pretrain, Text),
    "reward_model": (reward_model, Preference),
    "sft": (sft, PromptCompletion),
}
step, kind = STEPS[sys.argv[1]]
model, records, run = map(Path, sys.argv[2:5])
given_options = json.loads(sys.argv[5])
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


def dataset_of(path: Path) -> Dataset:
    return Dataset([Shard(str(path), path.stem)], kind)


if event == "after":
    threading.Timer(float(name), die).start()
elif event:
    sys.addaudithook(watch)
options = step.options.model_validate({"base": str(model), **given_options})
given = {option: getattr(options, option) for option in step.options.model_fields}
given["base"] = CausalLM(uri=str(model), path=model)
if "held_out" in given:
    given["held_out"] = {held: dataset_of(Path(path)) for held, path in given["held_out"].items()}
context, _ = make_context(run)
context.runtime = notebook = Mortal()
step.function(dataset_of(records), context, **given)
print(json.dumps([notebook.logged, notebook.sections]))
sys.stdout.flush()
os._exit(0)  # a timer may still wait
