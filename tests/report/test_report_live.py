"""The page and the metrics of a build that runs: there before it ends, and whole after it was killed."""

from __future__ import annotations

import json
from typing import Any

import factory
from factory import report
from factory.report import live


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_page_is_there_while_a_stage_trains(making: Any) -> None:
    stage = making.target("tutor", ["train"], ["ppo"], factory.CausalLM)
    stage.work.mkdir(parents=True)
    (stage.work / "metrics.jsonl").write_text('\n{"step": 1, "reward/length": 0.25, "kl": 0.5}\n{"step": 2, "k')
    (stage.work / "sections.json").write_text(json.dumps([{"title": "Samples", "body": "so far: **boats**"}]))
    page, clock = making.plan.folder / "report.html", Clock()
    watched = live.Live(making.plan, clock)
    clock.now = live.EVERY - 1
    watched.log(stage, 1, {"kl": 0.5})
    assert not page.exists(), "not at every step"
    clock.now = live.EVERY
    watched.log(stage, 2, {"kl": 0.25})
    shown = page.read_text(encoding="utf-8")
    assert 'class="state running">running' in shown
    assert '<meta http-equiv="refresh" content="10">' in shown
    assert "<title>kl by training step</title>" in shown
    assert "<title>reward by part by training step</title>" in shown
    assert "so far: <strong>boats</strong>" in shown
    page.unlink()
    watched.draw()
    assert not page.exists(), "drawn a moment ago"
    report.after_build(plan=making.plan, error=None)
    assert "http-equiv" not in page.read_text(encoding="utf-8")


def test_a_page_that_takes_long_is_drawn_seldom(making: Any) -> None:
    class Slow(Clock):
        def __call__(self) -> float:
            self.now += 3.0
            return self.now

    watched = live.Live(making.plan, Slow())
    watched.due = 0.0
    watched.draw()
    assert watched.due >= 3.0 * live.LEAST_REST


def test_every_call_has_its_line_with_its_time(making: Any) -> None:
    stage = making.target("tutor", ["train"], ["sft"], factory.CausalLM)
    report.before_build(plan=making.plan)
    report.log_metrics(stage=stage, step=1, metrics={"train_loss": 2.0})
    report.log_metrics(stage=stage, step=1, metrics={"eval_loss": float("nan")})
    report.after_build(plan=making.plan, error=None)
    report.log_metrics(stage=stage, step=2, metrics={"train_loss": 1.0})  # of no build
    lines = [json.loads(line) for line in (making.plan.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["target"], line["stage"], line["step"], line["metrics"]) for line in lines] == [
        ("tutor", "sft", 1, {"train_loss": 2.0}),
        ("tutor", "sft", 1, {"eval_loss": None}),
    ]
    assert {line["fingerprint"] for line in lines} == {stage.fingerprint}
    assert 0 <= lines[1]["time"] - lines[0]["time"] < 60
