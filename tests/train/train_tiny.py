"""Train in a process of its own, for the test that kills it: MODEL FACTS RUN OPTIONS(json)."""

import json
import sys
from pathlib import Path

from conftest import make_context

from factory import CausalLM, Dataset, PromptCompletion, Shard
from factory.train.sft import sft

model, facts, run = map(Path, sys.argv[1:4])
options = sft.options.model_validate({"base": str(model), **json.loads(sys.argv[4])})
given = {name: getattr(options, name) for name in sft.options.model_fields}
given["base"] = CausalLM(uri=str(model), path=model)
context, notebook = make_context(run)
sft.function(Dataset([Shard(str(facts), "facts")], PromptCompletion), context, **given)
print(json.dumps([notebook.logged, notebook.sections]))
