"""The loop in its four readings, and how it ends: full, dry, out of budget."""

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from factory import Answer, Budget, StepError, assistant, digest, text_of, user
from factory.instruct.self_instruct import self_instruct

run = self_instruct.function
THINGS = ["ships", "stars", "rivers", "songs", "farms", "tools", "birds", "letters", "numbers", "loops", "lakes"]


def a_seed(number, chinese=False, labels=False):
    instruction = (
        f"第{number}题：说说{'山水风云'[number % 4]}" if chinese else f"Seed {number}: tell about {THINGS[number % 11]}"
    )
    return {
        "id": digest(["seed", number, chinese]),
        "parents": [f"seeds.jsonl#{number}"],
        "prompt": user(f"{instruction}\n\nx = {number}"),
        "completion": assistant(f"answer {number}"),
        "meta": {"instruction": instruction, "input": f"x = {number}", "is_classification": labels},
    }


SEEDS = [a_seed(number, labels=number > 7) for number in range(12)]
CHINESE = [a_seed(number, chinese=True) for number in range(8)]


def numbered(request, model):
    return random.Random(request.key(model))


def test_alpaca(context, model):
    def answer(request):
        draw = numbered(request, model)
        blocks = [
            f" Tell {' '.join(draw.sample(THINGS, 6))}.\n4. Input:\n<noinput>\n4. Output:\nThe {draw.random()}"
            for n in range(6)
        ]
        return Answer("\n###\n5. Instruction:".join(blocks), "length")

    ctx, runtime = context(answer)
    made = list(run(SEEDS, ctx, model, count=20, reading="alpaca"))
    assert len(made) == 20
    for request in runtime.asked:
        assert (request.temperature, request.top_p, request.max_tokens) == (1.0, 1.0, 3072)
        assert request.stop == ("\n20", "20.")
        assert len(request.about["shown"]) == 3
        assert all(shown in SEEDS for shown in request.about["shown"])  # never machine-made ones
    assert {"cut off"} <= {reason for _, reason, _ in runtime.dropped}
    assert all(record["meta"]["input"] == "" for record in made)


def test_belle(context, model):
    def answer(request):
        draw = numbered(request, model)
        said = "".join(chr(0x4E00 + draw.randrange(3000)) for _ in range(9))
        return Answer(f" 请GPT模型写{said}\n4. 输入:\n<无输入>\n4. 输出:\n{said[::-1]}\n")

    ctx, runtime = context(answer)
    made = list(run(CHINESE, ctx, model, count=10, reading="belle"))
    assert len(made) == 10
    assert all(record["meta"]["instruction"].startswith("写") for record in made)
    assert all("10项" in text_of(request.messages) for request in runtime.asked)


def test_the_prompt_is_chinese_where_the_seeds_are(context, model):
    ctx, runtime = context(
        lambda request: Answer(f"写一首第{request.index + request.about['draw']}号的诗\n输入：无\n输出：好的，诗在这里")
    )
    list(run(CHINESE, ctx, model, count=2))
    assert text_of(runtime.asked[0].messages).startswith("下面是一份带编号的各类任务清单")
    assert runtime.asked[0].messages[-1]["content"] == "4. 指令："
    assert runtime.asked[0].stop == ("\n5. 指令",)


def three_requests(request, model):
    """Instructions for a list, yes to one in four of them, and two instances with a slip now and then."""
    draw = numbered(request, model)
    asked = text_of(request.messages)
    if "Continue it" in asked:
        lines = [f"{draw.choice(['Tell', 'Sort', 'Name'])} {' '.join(draw.sample(THINGS, 7))}." for _ in range(5)]
        return Answer("\n".join(f"{n}. {line}" for n, line in enumerate(lines, 9))[2:])
    if "Does it classify?" in asked:
        return Answer(" Yes" if draw.random() < 0.25 else " No")
    if "first a label" in asked:
        return Answer(f"Class label: good\nInput: {draw.random()}\nClass label: bad\nInput: {draw.random()}")
    return Answer(f"Example 1\nInput: {draw.random()}\nOutput: {draw.random()}\nExample 2\nInput: a\nOutput: a")


def test_self_instruct_in_three_requests(context, model):
    ctx, runtime = context(lambda request: three_requests(request, model), pace=lambda: 4)
    made = list(run(SEEDS, ctx, model, count=40, reading="self_instruct", lookahead=4, collapse=0))
    assert len(made) == 40
    first = [request for request in runtime.asked if "Continue it" in text_of(request.messages)]
    second = [request for request in runtime.asked if "Does it classify?" in text_of(request.messages)]
    assert {(r.temperature, r.top_p, r.presence_penalty, r.max_tokens) for r in first} == {(0.7, 0.5, 2.0, 1024)}
    assert {(r.temperature, r.max_tokens, r.stop) for r in second} == {(0.0, 3, ("\n", "Task"))}
    third = [request for request in runtime.asked if request not in first and request not in second]
    assert {(r.temperature, r.presence_penalty) for r in third} == {(0.0, 1.5)}
    assert {r.max_tokens for r in third} == {300, 350}
    assert all(len(request.about["shown"]) == 8 for request in first)
    machine = [sum("draw" in task["meta"] for task in request.about["shown"]) for request in first]
    assert machine[0] == 0
    assert machine[-1] == 2
    inputs = {seed["id"] for seed in SEEDS}
    assert all(set(record["parents"]) <= inputs for record in made)
    labelled = [record for record in made if record["meta"]["type"] == "classification"]
    assert {text_of(record["completion"]) for record in labelled} == {"good", "bad"}
    assert "output is its input" in {reason for _, reason, _ in runtime.dropped}
    ids = [record["id"] for record in made] + [record["id"] for record, _, _ in runtime.dropped]
    assert len(set(ids)) == len(ids)


def test_self_instruct_does_not_depend_on_the_pace(context, model):
    def result(pace):
        ctx, _ = context(lambda request: three_requests(request, model), pace=lambda: pace)
        return list(run(SEEDS, ctx, model, count=30, reading="self_instruct", lookahead=4, collapse=0))

    assert result(1) == result(4) == result(2)


def fresh(request, model, verb="Tell"):
    draw = numbered(request, model)
    return Answer(
        f" {verb} {' '.join(draw.sample(THINGS, 7))}.\nOutput: {draw.randrange(10**9)}",
        prompt_tokens=100,
        completion_tokens=50,
    )


def test_a_run_that_dries_up_late_keeps_what_there_is(context, model):
    def answer(request):
        return fresh(request, model) if request.about["draw"] < 100 else Answer(" A picture of it.\nOutput: x")

    ctx, runtime = context(answer)
    made = list(run(SEEDS, ctx, model, count=1000, max_requests=5000, novelty=0.99))
    assert len(made) == 100
    assert 300 < len(runtime.asked) < 100 + 250 + 32
    told = runtime.sections["Self-instruct"]
    assert "It ended short of 1000: of the latest" in told
    assert "less than min_yield = 0.04" in told
    assert "| beyond text |" in told
    assert runtime.alarms[-1]["says"].startswith("ended at 100 of 1000: of the latest")


def test_a_budget_that_is_used_up(context, model):
    ctx, runtime = context(lambda request: fresh(request, model))
    made = list(run(SEEDS, ctx, model, count=1000, budget=Budget(max_requests=50), novelty=0.99))
    assert len(made) == 50
    assert not runtime.dropped
    told = runtime.sections["Self-instruct"]
    assert "It ended short of 1000: the budget is used up." in told
    assert "They took 5,000 tokens in and 2,500 out." in told


def test_a_budget_in_three_requests(context, model):
    ctx, runtime = context(lambda request: three_requests(request, model))
    made = list(
        run(SEEDS, ctx, model, count=1000, reading="self_instruct", budget=Budget(max_requests=120), collapse=0)
    )
    assert 0 < len(made) < 100
    assert "the budget is used up" in runtime.sections["Self-instruct"]


def test_a_task_of_an_evaluation_set_is_dropped(context, model):
    item = "Tell " + " ".join(THINGS) + " and more"

    def answer(request):
        return Answer(f" {item}.\nOutput: Yes.") if request.about["draw"] % 2 else fresh(request, model)

    evaluation = [
        {"id": "item", "parents": [], "prompt": user(f"please {item}"), "choices": ["a"], "answer": 0, "meta": {}}
    ]
    ctx, runtime = context(answer)
    made = list(run(SEEDS, ctx, model, count=10, evaluation=[evaluation], novelty=1))
    assert len(made) == 10
    assert {(reason, details["of"]) for _, reason, details in runtime.dropped} == {("in an evaluation set", "item")}


def test_novelty_by_bm25_with_an_index_that_grows(context, model):
    said = " Sort the seventeen northern lighthouses by age and colour.\nOutput: "
    ctx, runtime = context(lambda request: Answer(f"{said}{request.about['draw']}"))
    made = list(run(SEEDS, ctx, model, count=5, max_requests=5, likeness="bm25", novelty=8))
    assert len(made) == 1
    assert [reason for _, reason, _ in runtime.dropped] == ["not novel"] * 4
    assert runtime.dropped[0][2]["bm25"] > 8


def test_a_novelty_that_no_rouge_has(context, model):
    ctx, _ = context()
    with pytest.raises(StepError, match="novelty is 18; a ROUGE-L F lies between 0 and 1"):
        list(run(SEEDS, ctx, model, novelty=18))


def test_half_a_machine_shot_is_one_in_every_other_request(context, model):
    ctx, runtime = context(lambda request: fresh(request, model))
    list(run(SEEDS, ctx, model, count=150, machine_shots=0.5, lookahead=4, novelty=0.99))
    shown = [sum("draw" in task["meta"] for task in request.about["shown"]) for request in runtime.asked[20:]]
    assert set(shown) == {0, 1}
    assert 0.35 < sum(shown) / len(shown) < 0.65


class Scripted(BaseHTTPRequestHandler):
    """Continues any list of tasks; one answer in five is cut, one in seven restates the label."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        self.server.bodies.append(asked)
        draw = random.Random(digest(body))
        tasks = [
            f"Instruction: {draw.choice(['Tell', 'Sort', 'Name', 'List'])} {' '.join(draw.sample(THINGS, 6))}.\n"
            f"Input: None.\nOutput: It is {draw.randrange(10**6)}."
            for _ in range(4)
        ]
        text = "\n\n".join(f"{n}. {task}" for n, task in enumerate(tasks, 4))
        text = text if draw.random() < 1 / 7 else text.removeprefix("4. Instruction:")
        cut = draw.random() < 0.2
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "length" if cut else "stop"}
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4}
        said = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format, *args): ...


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as one:
        one.daemon_threads = True
        one.bodies = []
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield one
        one.shutdown()


RECIPE = """
name: r
targets:
  tasks:
    from: seeds.jsonl
    steps:
      - self_instruct: {{model: "openai:m?base_url=http://127.0.0.1:{port}/v1", per_request: 4, {options}}}
"""


@pytest.mark.builds
def test_a_build_against_a_real_server(server, tmp_path, monkeypatch):
    import factory

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    kinds = ("code", "chat")
    rows = [
        {"id": f"{kind}-{n}", "instruction": f"{kind} {n} {THINGS[n]}", "instances": [{"input": "", "output": f"{n}"}]}
        for kind in kinds
        for n in range(6)
    ]
    (tmp_path / "seeds.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = tmp_path / "r.yaml"

    def built(options):
        recipe.write_text(RECIPE.format(port=server.server_port, options=options))
        return factory.build(recipe)

    result = built("types: {code: 20, chat: 10}")
    made = list(result["tasks"])
    assert [sum(record["meta"]["type"] == kind for record in made) for kind in kinds] == [20, 10]
    assert all(record["meta"]["input"] == "" for record in made)
    asked = len(server.bodies)
    again = list(built("types: {code: 20, chat: 10}")["tasks"])
    assert (again, len(server.bodies)) == (made, asked)
    built("types: {code: 20, chat: 10}, collapse: 0.9")  # another stage, of the same answers
    assert len(server.bodies) == asked
