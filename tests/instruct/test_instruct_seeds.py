"""Our seed tasks: well formed, of every kind, all different, and their code is code."""

import ast
import contextlib
import io
import json
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory import InputError
from factory.instruct.faults import fault_in_instruction, fault_in_output
from factory.instruct.parsing import parse_tasks, task_text
from factory.instruct.seed_coverage import coverage, languages, opening
from factory.instruct.seeds import TYPES, check_seeds
from factory.text.overlap import RougeIndex
from factory.text.words import words

FILE = Path(__file__).parents[2] / "seeds" / "python.jsonl"
SEEDS = [json.loads(line) for line in FILE.read_text().splitlines()]
KINDS = {
    "brainstorming", "open_qa", "closed_qa", "rewrite", "extract", "generation", "classification", "chat",
    "summarization", "code", "maths",
}  # fmt: skip
CODE = [seed for seed in SEEDS if seed["id"].startswith("code-")]


def kind_of(seed):
    return seed["id"].rsplit("-", 1)[0]


def test_every_kind_is_there():
    counts = Counter(map(kind_of, SEEDS))
    assert set(counts) == KINDS
    assert min(counts.values()) >= 5
    assert len(SEEDS) >= 60


def test_they_are_well_formed():
    for seed in SEEDS:
        assert set(seed) == {"id", "name", "instruction", "instances", "is_classification"}
        assert seed["is_classification"] == (kind_of(seed) == "classification")
        for instance in seed["instances"]:
            assert set(instance) == {"input", "output"}
            assert instance["output"].strip() == instance["output"] != ""
    assert len({seed["id"] for seed in SEEDS}) == len({seed["name"] for seed in SEEDS}) == len(SEEDS)


def test_they_are_short_and_half_have_no_input():
    lengths = sorted(len(instance["output"].split()) for seed in SEEDS for instance in seed["instances"])
    assert lengths[-1] <= 60
    without = sum(not instance["input"] for seed in SEEDS for instance in seed["instances"])
    assert 0.35 < without / len(SEEDS) < 0.65


def test_no_two_are_alike():
    index = RougeIndex()
    for seed in SEEDS:
        assert index.nearest(words(seed["instruction"]), 0.7) is None
        index.add(seed["id"], words(seed["instruction"]))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed["id"])
def test_each_passes_the_filters_and_reads_back(seed):
    for instance in seed["instances"]:
        given, output = instance["input"], instance["output"]
        assert fault_in_instruction(seed["instruction"], given, 3, 150) is None
        assert fault_in_output(output, seed["instruction"], given) is None
        (block,) = parse_tasks(task_text(4, seed["instruction"], given, output))
        assert (block.instruction, block.input, block.output, block.fault) == (seed["instruction"], given, output, "")


@pytest.mark.parametrize("seed", CODE, ids=lambda seed: seed["id"])
def test_code_is_python(seed):
    for instance in seed["instances"]:
        ast.parse(instance["output"])


# The larger sets, and what checks them.

ROOT = FILE.parent
FILES = sorted(path.name for path in ROOT.glob("*.jsonl"))
SIZES = {"english.jsonl": 175, "chinese.jsonl": 175, "law.jsonl": 40, "medicine.jsonl": 40, "support.jsonl": 40}
GOOD = {
    "id": "extract-01", "name": "amount", "instruction": "Find the amount in the letter.",
    "instances": [{"input": "Please pay 12 euros.", "output": "12 euros"}], "is_classification": False,
}  # fmt: skip
LABELS = [{"input": "a rose", "output": "plant"}, {"input": "a dog", "output": "animal"}]


def tasks(name):
    return [json.loads(line) for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]


def checked(tmp_path, *rows):
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return check_seeds([path])


def test_our_sets_have_no_mistakes_and_are_unlike_each_other():
    found = check_seeds([ROOT / name for name in FILES])
    assert found.mistakes == []
    alike = [one for one in found.remarks if "is like that of" in one.text]
    assert len(alike) <= 1, [str(one) for one in alike]
    assert sum((ROOT / name).stat().st_size for name in FILES) < 1_000_000


@pytest.mark.parametrize("name", SIZES)
def test_a_set_is_complete_and_covers_every_type(name):
    found = check_seeds([ROOT / name])
    rows = {row.type: row for row in coverage(found.seeds)}
    assert found.findings == []
    assert set(rows) == {*TYPES, "all"}
    assert rows["all"].tasks == SIZES[name]
    assert rows["all"].classification == {175: 26, 40: 5}[SIZES[name]]
    assert 0.25 < rows["all"].without_input / rows["all"].tasks < 0.45
    assert rows["all"].openings > 25
    assert set(languages(found.seeds)) == {"zh" if name == "chinese.jsonl" else "en"}


@pytest.mark.parametrize("name", SIZES)
def test_every_label_of_a_classification_is_shown_and_none_dominates(name):
    for seed in tasks(name):
        if seed["is_classification"]:
            labels = Counter(instance["output"] for instance in seed["instances"])
            assert len(labels) >= 2, seed["id"]
            assert max(labels.values()) <= 2 * min(labels.values()) + 1, seed["id"]


def checks():
    """(file, name of the task, Python) of every check in seed_checks.txt."""
    text = (Path(__file__).parent / "seed_checks.txt").read_text(encoding="utf-8")
    for part in text.split("\n== ")[1:]:
        head, _, code = part.partition("\n")
        yield pytest.param(*head.split(maxsplit=1), code, id=head)


def run(code, **names):
    exec(code, names)
    return names


def stdout(code):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        run(code)
    return said.getvalue().strip()


def sql(setup, query):
    base = sqlite3.connect(":memory:")
    base.executescript(setup)
    return base.execute(query).fetchall()


@pytest.mark.parametrize(("file", "name", "code"), checks())
def test_what_can_be_computed_is_right(file, name, code):
    (seed,) = [seed for seed in tasks(file) if seed["name"] == name]
    inps, outs = ([instance[side] for instance in seed["instances"]] for side in ("input", "output"))
    run(code, inp=inps[0], out=outs[0], inps=inps, outs=outs, run=run, stdout=stdout, sql=sql, json=json)


SUM = r"[\d(][\d.,()+−×÷/²³ ]*(?<=[\d)²³%])"


def equations(text):
    """(left, right) of every equation between numbers, as Python has them; of chains each link."""
    for line in text.split("\n"):
        for at in (i for i, c in enumerate(line) if c == "="):
            left = re.search(rf"(?<![\w)\]./,+−×÷²³%(])(?<![×+−÷/] )(?:{SUM})$", line[:at].rstrip())
            after = line[at + 1 :].lstrip()
            right = re.match(rf"-?{SUM}", after)
            if left and right and not re.match(r"[A-Za-z(]| ?[×+−÷/^²]| per cent", after[right.end() :]):
                sides = plain(left[0]), plain(right[0])
                if not any(re.search(r"[\d)] *\(|[\d)] +\d", side) for side in sides):  # no mixed numbers
                    yield sides


def plain(sum_):
    sum_ = re.sub(r"\d+/\d+", r"(\g<0>)", re.sub(r"(?<=\d),(?=\d{3})", "", sum_))  # a fraction binds closer than ÷
    sum_ = sum_.replace("−", "-").replace("×", "*").replace("÷", "/")
    return re.sub(r"([\d.]+)%", r"(\1/100)", sum_.replace("²", "**2").replace("³", "**3")).strip()


def test_equations_are_found_and_wrong_ones_noticed():
    assert list(equations("so 1,200 × 2 = 2,400 and 3 ÷ 4 = 0.75")) == [("1200 * 2", "2400"), ("3 / 4", "0.75")]
    assert list(equations("f(2) = 1, w = 5, C(5,2) = 10, 3w² = 4")) == []


def test_sums_in_maths_tasks_are_right():
    seen = 0
    for name in FILES:
        for seed in tasks(name):
            if kind_of(seed) != "maths":
                continue
            for left, right in equations("\n".join(instance["output"] for instance in seed["instances"])):
                digits = len(right.partition(".")[2])
                assert abs(eval(left) - eval(right)) <= 0.5001 * 10**-digits, (name, seed["id"], left, right)
                seen += 1
    assert seen > 70, seen


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"instances": None}, "'instances' is null; expected a list"),
        ({"instances": []}, "'instances' is empty; expected at least one {input, output}"),
        ({"instances": ["x"]}, "instance 1 is text; expected an object with input and output"),
        ({"instances": [{"input": "x"}]}, "instance 1: 'output' is missing; expected text"),
        ({"instances": [{"input": 1, "output": "x"}]}, "instance 1: 'input' is a number; expected text"),
        ({"is_classification": "no"}, "'is_classification' is text; expected true or false"),
        ({"is_classification": 1}, "'is_classification' is a number; expected true or false"),
        ({"instrution": "x"}, "no field 'instrution' is known; did you mean 'instruction'?"),
        ({"instruction": " "}, "'instruction' is empty; expected text"),
        ({"id": "sumarization-01"}, "'sumarization' is no type of task; did you mean 'summarization'?"),
        ({"id": "calculation-1"}, "'calculation' is no type of task; did you mean 'maths'?"),
        ({"type": "coding"}, "'coding' is no type of task; did you mean 'code'?"),
        ({"instances": [{"input": "x", "output": " "}]}, "empty output"),
        ({"instances": [{"input": "Dear [your name]", "output": "Hello"}]}, "placeholder: found [your name]"),
        (
            {"instruction": "Shorten the following.", "instances": [{"input": "", "output": "Short."}]},
            "input is missing: phrase the following",
        ),
        (
            {"instruction": "把下面这段话改得更短", "instances": [{"input": "", "output": "短。"}]},
            "the instruction speaks of an input, but it is empty",
        ),
        ({"instances": GOOD["instances"] * 2}, "two of its instances are equal; expected different inputs"),
        ({"instruction": "请概括这封信,不要太长。"}, "the instruction has half-width punctuation after a character"),
        ({"instances": [{"input": "x", "output": "他说：“走吧。"}]}, "an output has 1 of “ and 0 of ”"),
        ({"instances": [{"input": "x", "output": "下雨了，。我们走吧。"}]}, "an output has two marks of punctuation"),
        ({"instances": [{"input": "x", "output": '他说"走吧"就走了。'}]}, "an output has straight quotation marks"),
        ({"id": "classification-1"}, "the type is classification, so is_classification is expected to be true"),
        ({"instances": [{"input": "x", "output": "12 \ufffd"}]}, "a character is lost (U+FFFD)"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, changes, said):
    found = checked(tmp_path, {**GOOD, "id": "chat-01", "name": "first"}, "", {**GOOD, **changes, "name": "second"})
    told = [str(one) for one in found.mistakes]
    assert any(text.startswith(f"{tmp_path}/seeds.jsonl:3: ") and said in text for text in told), told


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (("plant", "Plant", "animal"), "'plant' and 'Plant' are one label spelled two ways"),
        (("plant", "plant"), "every instance has the label 'plant'; expected one of each label at least"),
        (("red", "green", "blue"), "every output is another and the instruction names none"),
        (("one of those things that grow in the garden", "animal"), "expected a label of at most 8"),
        (tuple(map(str, range(13))), "13 labels; expected a small set of at most 12"),
    ],
)
def test_labels_that_are_no_small_set_are_mistakes(tmp_path, outputs, said):
    instances = [{"input": f"thing {at}", "output": output} for at, output in enumerate(outputs)]
    row = {**GOOD, "id": "classification-1", "instruction": "What is it?", "is_classification": True}
    assert checked(tmp_path, {**row, "instances": LABELS}).findings == []
    (mistake,) = checked(tmp_path, {**row, "instances": instances}).mistakes
    assert said in mistake.text


def test_chinese_that_is_right_is_not_marked(tmp_path):
    texts = [
        "时间是 8:30，费用 3.5 元。",
        '{"姓名": "沈,若溪"}',
        "姓名,电话\n王,1380",
        "用 `列表[1, 2]` 试试……好吗？！",
    ]
    rows = [{**GOOD, "id": f"chat-{n}", "instances": [{"input": "x", "output": t}]} for n, t in enumerate(texts)]
    rows = [{**row, "name": row["id"], "instruction": f"Task {row['id']}: translate it."} for row in rows]
    assert checked(tmp_path, *rows).mistakes == []


def test_equal_ids_and_tasks_are_mistakes_and_alike_ones_remarks(tmp_path):
    long = {**GOOD, "instruction": "Find the amount that has to be paid in the letter below and copy it."}
    other = {**long, "name": "near", "instances": [{"input": "Pay 9 euros.", "output": "9 euros"}]}
    other["instruction"] = long["instruction"].replace("copy it", "write it")
    found = checked(tmp_path, long, {**long, "name": "again"}, {**other, "id": "extract-03"})
    assert [one.text.split(" at ")[0] for one in found.mistakes] == [
        "the id 'extract-01' is that of line 1, too",
        "the same task as extract-01",
    ]
    (remark,) = found.remarks
    assert remark.line == 3
    assert "its instruction is like that of extract-01" in remark.text


def test_files_that_are_none(tmp_path):
    checked(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"no file .*sedes\.jsonl'; did you mean 'seeds\.jsonl'"):
        check_seeds([tmp_path / "sedes.jsonl"])
    (mistake,) = checked(tmp_path, "{'id': 1}").mistakes
    assert mistake.text.startswith("not JSON: ")
    assert [one.text for one in checked(tmp_path, "[]").mistakes] == ["expected a JSON object, not a list"]
    assert [one.text for one in checked(tmp_path).mistakes] == ["the file is empty; expected a seed task a line"]
    twice = json.dumps(GOOD)[:-1] + ', "id": "chat-02"}'
    assert [one.text for one in checked(tmp_path, twice).mistakes] == ["the field 'id' stands there twice"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "input", "output"]), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "type", "other"]), JSON))
def test_whatever_a_line_holds_is_told_and_never_raised(tmp_path, changes):
    found = checked(tmp_path, {**GOOD, **changes})
    assert all(one.line == 1 and one.text for one in found.findings)
    assert len(found.seeds) == 1 or found.mistakes


@pytest.mark.parametrize(
    ("instruction", "verb"),
    [
        ("Please rewrite the note.", "rewrite"),
        ("请把这段话缩写成一句", "把"),
        ("为什么天是蓝的？", "为什么"),
        ("42", "42"),
    ],
)
def test_opening(instruction, verb):
    assert opening(instruction) == verb
