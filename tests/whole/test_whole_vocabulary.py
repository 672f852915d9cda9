"""One recipe from a corpus to a tuned model with new words, killed in every stage; what it ends in loads elsewhere."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.model, pytest.mark.slow]
CHINESE = "文件目录命令输出选项系统内核网络用户程序版本安装配置更新错误信息参数语言字符编码"
MANIFESTS = "artifacts/*/manifest.json"


def write_chinese(root: Path) -> None:
    rng = random.Random(3)
    words = [CHINESE[at : at + 2] for at in range(0, len(CHINESE), 2)]
    texts = ["".join(rng.choice(words) for _ in range(rng.randint(12, 30))) + "。" for _ in range(80)]
    (root / "chinese.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tasks = [{"instruction": f"{text[:6]}？", "output": text[6:16]} for text in texts[:24]]
    (root / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))


def losses(project: Any) -> dict[str, list[dict[str, float]]]:
    """What every training stage logged, without what is measured by the clock."""
    found = {}
    for path in sorted(project.store.glob("artifacts/*/metrics.jsonl")):
        rows = {entry["step"]: entry for entry in map(json.loads, path.read_text().splitlines())}
        found[path.parent.name] = [rows[step] for step in sorted(rows)]
    return found


LOADS = """
import sys, torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer
for kind, folder in ((AutoModelForCausalLM, sys.argv[1]), (AutoPeftModelForCausalLM, sys.argv[2])):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder).eval()
    ids = tokenizer("系统内核", return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert ids.shape[1] < 4 and int(ids.max()) >= 400, ids
    with torch.inference_mode():
        assert torch.isfinite(model(input_ids=ids).logits).all()
    print(type(model).__name__, ids.shape[1])
assert not any(name.split(".")[0] == "factory" for name in sys.modules)
"""


@pytest.fixture(scope="module")
def project(every_kind: Callable[..., Any], tiny: Path) -> Callable[[str], Any]:
    def made(name: str) -> Any:
        found = every_kind(name, "words.yaml", tiny, files=8)
        write_chinese(found.root)
        return found

    return made


def test_killed_in_every_stage_it_ends_in_the_same_losses(project: Callable[[str], Any], checks: Any) -> None:
    reference, started = project("reference"), time.time()
    reference.build()
    complete = sorted(path.stat().st_mtime - started for path in reference.store.glob(MANIFESTS))
    logged = losses(reference)
    assert len(logged) >= 5

    killed, rng, kills = project("killed"), random.Random(4), 0
    for number, end in enumerate(complete):
        before = complete[number - 1] if number else 0.0
        if end - before < 0.3:
            continue
        for _ in range(2):
            run = killed.start_build()
            run.wait_until(lambda: len(list(killed.store.glob(MANIFESTS))) >= number, 300)  # noqa: B023
            if run.ended_within(rng.uniform(0, end - before)):
                break
            run.kill_group()
            kills += 1
    killed.build()
    assert kills >= 10
    assert losses(killed) == logged
    checks.accounts(killed)
    found, expected = checks.artifacts(killed), checks.artifacts(reference)
    weights = [name for name in expected if name.endswith((".safetensors", "tokenizer.json", "extension.json"))]
    assert len(weights) >= 12
    assert [name for name in weights if found[name] != expected[name]] == []

    models = [str(killed.root / "build" / "words" / name / "model") for name in ("whole", "tutor")]
    done = subprocess.run([sys.executable, "-c", LOADS, *models], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LlamaForCausalLM" in done.stdout
    assert "PeftModelForCausalLM" in done.stdout
    metrics = {(row["name"], row["of"]): row["value"] for row in killed.rows("measured")}
    print(f"{kills} kills in {len(complete)} stages; {done.stdout.split()}; {len(metrics)} metrics")
