"""What the page asks of the server: the next item, a vote, undo, the differences of two answers, agreement.

Answers leave here in the order that was drawn for the annotator, without models, scores, lengths or what they check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from .differences import differences
from .rendering import render_message
from .security import who_key
from .store import Voted

if TYPE_CHECKING:
    from aiohttp import web

    from .items import View
    from .line import Line
    from .showing import Rendered, Showing
    from .store import Labels

LONGEST = {"view": 200, "choice": 40, "reason": 2_000, "note": 10_000}  # characters
NOT_YOURS = "This item is on somebody else's screen."
MOST_SECONDS = 30 * 86_400.0  # a page that was left open
Body = dict[str, Any]


class Refused(Exception):
    """A request that is not done, with the sentence that says why."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


@dataclass(frozen=True)
class Turn:
    """What an annotator sees next: an item, None where all is done, and what the page is told beside it."""

    view: View | None
    told: Body
    voted: bool = False

    def body(self, item: Rendered | None) -> Body:
        """Everything, with the item's texts as they were rendered."""
        told = self.told
        if self.view is not None and item is not None:
            answers = [item.answers[place] for place in self.view.shown]
            told = {**told, "prompt": item.prompt, "answers": answers}
        return {"ok": True, "next": told} if self.voted else told


@dataclass(frozen=True)
class Desk:
    """Where votes are taken: a label set and what its page shows around the items.

    agreement  what an annotator may see of it, as JSON; it reads all votes
    """

    labels: Labels
    title: str
    guidelines_html: str
    agreement: Callable[[str], Mapping[str, Any]]

    def next(self, who: str, body: Body) -> Turn:
        """The item on the annotator's screen, the same until it is voted on."""
        return self._shown(who, self.labels.next(who))

    def undo(self, who: str, body: Body) -> Turn:
        """The item of the latest vote, which is taken back."""
        view = self.labels.undo(who)
        if view is None:
            raise Refused(409, "There is no vote of yours to take back.")
        return self._shown(who, view)

    def vote(self, who: str, body: Body) -> Turn:
        """Keep a vote, and the item after it."""
        view, choice = _text(body, "view"), _text(body, "choice")
        reason, note = _text(body, "reason", ""), _text(body, "note", "")
        ranking, edit, seconds = body.get("ranking"), body.get("edit"), body.get("seconds", 0)
        if ranking is not None and not isinstance(ranking, list):
            raise Refused(400, "'ranking' is a list of places, best first.")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise Refused(400, "'seconds' is a number from 0.")
        if edit is not None:
            edit = self._edited(who, view, edit)
        try:
            self.labels.vote(
                who,
                view,
                choice,
                ranking=ranking,
                reason=reason,
                note=note,
                edit=edit,
                seconds=min(float(seconds), MOST_SECONDS),
            )
        except PermissionError:
            raise Refused(403, NOT_YOURS) from None
        except Voted as error:
            raise Refused(409, _sentence(error)) from None
        except ValueError as error:
            raise Refused(400, _sentence(error)) from None
        return replace(self.next(who, {}), voted=True)

    def diff(self, who: str, body: Body) -> Body:
        """The two answers on the screen, or any two of a ranking, word by word."""
        view = self._own(who, _text(body, "view"))
        places = [body.get("left", 0), body.get("right", 1)]
        if any(type(place) is not int or not 0 <= place < len(view.shown) for place in places):
            raise Refused(400, f"'left' and 'right' are places from 0 to {len(view.shown) - 1}.")
        left, right = (render_message(view.item.completions[view.shown[place]])["text"] for place in places)
        return {"rows": differences(left, right)}

    def agreed(self, who: str, body: Body) -> Body:
        return dict(self.agreement(who))

    def _own(self, who: str, view: str) -> View:
        """A view of this annotator, also one that has its vote: a vote is sent again when its answer was lost."""
        try:
            return self.labels.look(who, view)
        except PermissionError:
            raise Refused(403, NOT_YOURS) from None
        except ValueError as error:
            raise Refused(409, _sentence(error)) from None

    def _edited(self, who: str, view: str, edit: Any) -> Body:
        """An edit with the answer's place in `completions` instead of the one on the screen."""
        if not isinstance(edit, dict) or set(edit) != {"answer", "text"} or not isinstance(edit["text"], str):
            raise Refused(400, "'edit' has 'answer', a place on the screen, and 'text'.")
        shown = self._own(who, view).shown
        if type(edit["answer"]) is not int or not 0 <= edit["answer"] < len(shown):
            raise Refused(400, f"'answer' of an edit is a place from 0 to {len(shown) - 1}.")
        return {"answer": shown[edit["answer"]], "text": edit["text"]}

    def _shown(self, who: str, view: View | None) -> Turn:
        progress = self.labels.progress(who)
        common = {
            "progress": {name: progress[name] for name in ("done", "mine", "total")},
            "name": who,
            "title": self.title,
            "guidelines_html": self.guidelines_html,
        }
        if view is None:
            return Turn(None, {"done": True, **common})
        vote = dict(view.vote) if view.vote else None
        if vote and vote.get("edit"):
            vote["edit"] = {**vote["edit"], "answer": view.shown.index(vote["edit"]["answer"])}
        return Turn(view, {"view": view.view, "mode": view.mode, "vote": vote, **common})


def _text(body: Body, name: str, otherwise: str | None = None) -> str:
    value = body.get(name, otherwise)
    if value is None and otherwise is not None:
        return otherwise
    if not isinstance(value, str):
        raise Refused(400, f"'{name}' is a text.")
    if len(value) > LONGEST[name]:
        raise Refused(400, f"'{name}' has at most {LONGEST[name]:,} characters.")
    return value


def _sentence(error: ValueError) -> str:
    text = str(error) or "this is no vote"
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


TURNS: dict[tuple[str, str], Callable[[Desk, str, Body], Turn]] = {
    ("GET", "/api/next"): Desk.next,
    ("POST", "/api/vote"): Desk.vote,
    ("POST", "/api/undo"): Desk.undo,
}


def routes(desk: Desk, line: Line, showing: Showing, workers: Executor, aside: Executor) -> list[web.RouteDef]:
    """Turns are taken in one line and shown once they are kept; what only reads is done beside it.

    Agreement takes seconds where there are many votes; `aside`, a thread of its own, keeps it from the others'.
    """
    import asyncio

    from aiohttp import web

    async def turn(act: Callable[[Desk, str, Body], Turn], who: str, data: bytes) -> Body:
        made = await line.do(lambda: act(desk, who, _body(data)))
        item = None if made.view is None else await showing.shown(made.view.item)
        showing.go_ahead()
        return made.body(item)

    def read_in(threads: Executor) -> Callable[..., Awaitable[Body]]:
        async def read(act: Callable[[Desk, str, Body], Body], who: str, data: bytes) -> Body:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(threads, lambda: act(desk, who, _body(data)))

        return read

    def route(method: str, path: str, act: Callable[..., Any], do: Callable[..., Awaitable[Body]]) -> web.RouteDef:
        async def handle(request: web.Request) -> web.Response:
            try:
                status, said = 200, await do(act, request[who_key()], await request.read())
            except Refused as error:
                status, said = error.status, {"error": str(error)}
            answer = orjson.dumps(said)
            return web.Response(body=answer, status=status, content_type="application/json", charset="utf-8")

        return web.RouteDef(method, path, handle, {})

    return [
        *(route(method, path, act, turn) for (method, path), act in TURNS.items()),
        route("POST", "/api/diff", Desk.diff, read_in(workers)),
        route("GET", "/api/agreement", Desk.agreed, read_in(aside)),
    ]


def _body(data: bytes) -> Body:
    try:
        body = orjson.loads(data) if data else {}
    except orjson.JSONDecodeError:
        raise Refused(400, "The request is no JSON.") from None
    if not isinstance(body, dict):
        raise Refused(400, "The request is a JSON object.")
    return body
