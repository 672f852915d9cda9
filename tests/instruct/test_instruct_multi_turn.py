"""Conversations over a function that answers: who speaks, and when it ends."""

from __future__ import annotations

import pytest

from factory import Answer, text_of
from factory.instruct.multi_turn import most_requests, multi_turn

run = multi_turn.function
ASKS = ["And how do I turn it round?", "Which sort is fastest?", "What about words with accents?", "Is it stable?"]
TELLS = ["Reversing needs one call.", "Timsort wins mostly.", "Accents need a locale.", "Yes, equal items stay."]


def is_user(request):
    return request.messages[-1]["role"] == "assistant" or request.turn == "user"


def talker(request):
    return Answer((ASKS if is_user(request) else TELLS)[request.index - 1])


def saying(users, assistants="It is so because of the wind.", finish="stop"):
    return lambda request: Answer(users, finish) if is_user(request) else Answer(assistants)


def roles(record):
    return [message["role"] for message in record["messages"]]


def test_a_task_becomes_a_conversation(context, seeds, model):
    ctx, runtime = context(talker)
    made = list(run(iter(seeds), ctx, model, turns=4))
    assert len(made) == 20
    assert all(roles(record) == ["user", "assistant"] * 4 for record in made)
    assert made[0]["messages"][:2] == seeds[0]["prompt"] + seeds[0]["completion"]
    assert text_of(made[0]["messages"][2:4]) == f"{ASKS[0]}\n\n{TELLS[0]}"
    assert made[0]["parents"] == [seeds[0]["id"]]
    assert made[0]["meta"]["turns"] == 4
    assert len(runtime.asked) == most_requests(20, turns=4) == 120
    assert "| 4 | 20 |" in runtime.sections["Conversations"]


def test_the_assistant_answers_the_conversation_itself(context, seeds, model):
    ctx, runtime = context(talker)
    (made,) = run(iter(seeds[:1]), ctx, model, turns=3)
    told = [request for request in runtime.asked if not is_user(request)]
    assert [list(request.messages) for request in told] == [made["messages"][:3], made["messages"][:5]]
    shown = next(request for request in runtime.asked if is_user(request)).messages[0]["content"]
    assert "<user>\nSeed task 0 asks about lists\n</user>\n<assistant>\nSeed answer number 0\n</assistant>" in shown


def test_the_models_own_template_can_write_the_user(context, seeds, model):
    ctx, runtime = context(talker)
    (made,) = run(iter(seeds[:1]), ctx, model, template=True)
    assert list(runtime.asked[0].messages) == made["messages"][:2]
    assert runtime.asked[0].turn == "user"


@pytest.mark.parametrize(
    ("users", "assistants", "reason"),
    [
        ("Thank you!", "", "thanks"),
        ("谢谢你！", "", "thanks"),
        ("The person says next: Thanks, that's all.", "", "thanks"),
        ("Seed task 0 asks about lists!", "", "repeats what was said"),
        ("Why so?\nAssistant: because.", "", "roles are mixed"),
        ("I'm sorry, I cannot do that.", "", "refusal"),
        ("...", "", "nothing more to say"),
        ("Why is it so?", "Because.\n\nUser: And then?", "roles are mixed"),
        ("Why is it so?", "Seed answer number 0", "repeats what was said"),
        ("Why is it so?", "I'm sorry, but I do not know.", "refusal"),
    ],
)
def test_why_a_conversation_ends(context, seeds, model, users, assistants, reason):
    ctx, runtime = context(saying(users, assistants))
    assert list(run(iter(seeds[:1]), ctx, model)) == []
    assert runtime.dropped[0][:2] == (seeds[0], reason)
    ctx, runtime = context(saying(users, assistants))
    (made,) = run(iter(seeds[:1]), ctx, model, min_turns=1)
    assert (roles(made), made["meta"]["ended"]) == (["user", "assistant"], reason)


def test_thanks_with_a_question_go_on(context, seeds, model):
    ctx, _ = context(saying("Thanks! And why is it so?"))
    (made,) = run(iter(seeds[:1]), ctx, model)
    assert roles(made) == ["user", "assistant"] * 2


def test_it_ends_before_what_is_cut_off(context, seeds, model):
    def answers(request):
        return talker(request) if request.index == 1 else Answer("Half a", "length")

    ctx, _ = context(answers)
    (made,) = run(iter(seeds[:1]), ctx, model, turns=4)
    assert (roles(made), made["meta"]["ended"]) == (["user", "assistant"] * 2, "cut off")


def test_labels_of_roles_are_taken_off(context, seeds, model):
    ctx, _ = context(saying("**User:** Why is it so?", "Assistant: It is so because of the wind."))
    (made,) = run(iter(seeds[:1]), ctx, model)
    assert text_of(made["messages"][2:]) == "Why is it so?\n\nIt is so because of the wind."


def test_the_pace_of_answers_changes_nothing(context, seeds, model):
    results = []
    for pace in (1, 3, 64):
        ctx, _ = context(talker, lambda pace=pace: pace)
        results.append(list(run(iter(seeds), ctx, model, turns=4)))
    assert results[0] == results[1] == results[2]


def test_the_budget_ends_conversations_where_they_are(context, seeds, model):
    asked = []

    def answers(request):
        asked.append(request)
        return talker(request) if len(asked) <= 4 else Answer(finish="failed", error="budget used up")

    ctx, runtime = context(answers, lambda: 1)
    made = list(run(iter(seeds[:3]), ctx, model, turns=2))
    assert len(made) == 2
    assert [reason for _, reason, _ in runtime.dropped] == ["budget used up"]
