"""Rubrics: ours say what they must in both languages, and a bad file is told of in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import InputError
from factory.preference.rubrics import LANGUAGES, SHIPPED, read_rubric, rubrics_for, shipped, shipped_digest

GOOD = "aspect: brief\nscale: [1, 3]\nen:\n  question: Is it brief?\n  anchors: {1: long, 3: brief}\n"


def test_ours_are_there_in_both_languages() -> None:
    found = {path.stem: read_rubric(path) for path in shipped()}
    assert set(found) == {"helpful", "honest", "harmless", "follows_instruction", "overall"}
    for name, rubric in found.items():
        assert rubric.aspect == name
        assert set(rubric.words) == set(LANGUAGES)
        for words in rubric.words.values():
            assert sorted(words.anchors) == list(range(rubric.lowest, rubric.highest + 1))


def test_what_ours_say_is_part_of_the_code() -> None:
    assert shipped_digest() == SHIPPED, f'set SHIPPED = "{shipped_digest()}": what was judged by the old words is stale'


def test_a_file_of_ones_own_goes_first(tmp_path: Path) -> None:
    mine = tmp_path / "any.yaml"
    mine.write_text(GOOD.replace("brief\nscale", "helpful\nscale"))
    helpful, honest = rubrics_for(["helpful", "honest"], [mine])
    assert helpful.said("en").question == "Is it brief?"
    assert helpful.said("zh").question == "Is it brief?", "in the language there is"
    assert (helpful.share(1), helpful.share(2), honest.share(2)) == (0, 0.5, 0.25)
    assert rubrics_for(["overall"])[0].key == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1, 2]", "the rubric 'bad.yaml': holds list; expected the keys aspect, scale"),
        ("", "holds NoneType"),
        ("a: [", r"bad.yaml:1: no YAML: "),
        (GOOD + "anchor: 2\n", "has no key 'anchor'"),
        (GOOD.replace("brief\nscale", "Too Long\nscale"), "aspect is 'Too Long'; expected a lower_case name"),
        (GOOD.replace("[1, 3]", "[3, 1]"), r"scale is \[3, 1\]; expected \[lowest, highest\]"),
        (GOOD.replace("[1, 3]", "5"), "scale is 5"),
        (GOOD.replace("[1, 3]", "[true, 3]"), r"scale is \[True, 3\]"),
        (GOOD.replace("3: brief", "2: brief"), "en: anchors must say what 1 and 3 mean"),
        (GOOD.replace("3: brief", "3: brief, 4: briefer"), "en: anchors: 4 is not on the scale from 1 to 3"),
        (GOOD.replace("3: brief", "3: "), "en: anchors: 3 is None; expected words"),
        (GOOD.replace("Is it brief?", "''"), "en: question is ''; expected a sentence"),
        (GOOD.replace("question", "ask"), "en: expected the keys question and anchors"),
        ("aspect: brief\nscale: [1, 3]\n", "has words in no language; expected en or zh"),
    ],
)
def test_a_bad_file_is_told_of_in_a_sentence(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=says) as caught:
        read_rubric(file)
    assert "\n" not in str(caught.value)


def test_aspects_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rubric for the aspect 'helpfull'; did you mean 'helpful'"):
        rubrics_for(["helpfull"])
    with pytest.raises(InputError, match="named twice"):
        rubrics_for(["helpful", "helpful"])
    with pytest.raises(InputError, match="no aspect is named"):
        rubrics_for([])
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(GOOD)
    with pytest.raises(InputError, match="two rubric files are of the same aspect"):
        rubrics_for(["brief"], [tmp_path / "a.yaml", tmp_path / "b.yaml"])
