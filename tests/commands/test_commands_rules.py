"""`factory rules`: two settings of a rule side by side, over what a target holds and what the rule dropped."""

from __future__ import annotations

from typing import Any


def test_counts_and_examples_of_what_two_settings_decide_differently(lab: Any) -> None:
    said = lab("rules", "short: {n: 4}", "short: {n: 2}", "lab.yaml", "texts")
    assert said.code == 0, said.err
    found = lab("rules", "short: {n: 4}", "short: {n: 2}", "lab.yaml", "texts", "--json").json
    held = lab("show", "lab.yaml", "texts", "--json").json["funnel"][-1]["out"]
    lost = [line for line in lab("show", "lab.yaml", "texts", "--json").json["funnel"] if line["step"] == "short"]
    assert found["records"] == held + sum(sum(line["reasons"].values()) for line in lost)
    assert found["both keep"] + found["only A"] + found["only B"] + found["both drop"] == found["records"]
    assert f"decided differently: {found['only A'] + found['only B']:,}" in said.out
    assert all(example["text"] for side in "AB" for example in found["examples"][side])


def test_the_same_setting_twice_decides_nothing_differently(lab: Any) -> None:
    found = lab("rules", "short", "short", "lab.yaml", "texts", "--json").json
    assert (found["only A"], found["only B"], found["changed"]) == (0, 0, 0)
    assert found["records"] > 0


def test_mistakes_are_told_in_a_sentence(lab: Any) -> None:
    for setting, told in (
        ("shrot", "no step 'shrot'"),
        ("short: {m: 4}", "short has no option 'm'"),
        ("[short]", "'[short]' is no step"),
        ("short: {n: ", "is not YAML"),
        ("short: &a {n: *a}", "is not YAML"),
        ("short: {n: 4, n: 5}", "'n' is given twice"),
        ("shout", "'shout' is a map"),
    ):
        said = lab("rules", setting, "short", "lab.yaml", "texts")
        assert (said.code, told in said.err) == (2, True), (setting, said.err)
