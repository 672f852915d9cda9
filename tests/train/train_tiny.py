"""Train in a process of its own: MODEL FACTS RUN OPTIONS(json) [MOMENT].

At its moment the process kills itself with SIGKILL: `open NAME` as that file is opened for writing,
`shutil.rmtree NAME` as that folder is about to be removed, `step N` as the loss of step N is told.
"""

import json
import os
import signal
import sys
from pathlib import Path

from conftest import Notebook, make_context

from factory import CausalLM, Dataset, PromptCompletion, Shard
from factory.train.sft import sft

model, facts, run = map(Path, sys.argv[1:4])
given_options = json.loads(sys.argv[4])
event, _, name = sys.argv[5].partition(" ") if len(sys.argv) > 5 else ("", "", "")


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


if event:
    sys.addaudithook(watch)
options = sft.options.model_validate({"base": str(model), **given_options})
given = {option: getattr(options, option) for option in sft.options.model_fields}
given["base"] = CausalLM(uri=str(model), path=model)
context, _ = make_context(run)
context.runtime = notebook = Mortal()
sft.function(Dataset([Shard(str(facts), "facts")], PromptCompletion), context, **given)
print(json.dumps([notebook.logged, notebook.sections]))
