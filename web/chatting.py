"""The page on which one person talks with one or two models. It is for whoever started it, on their own machine: the
address that the command prints holds a secret, and no page is shown without it."""

import hmac
import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from data_store.annotation.chat import SIDES, Chat, Said
from data_store.annotation.judging import SCALE
from data_store.annotation.live import AnswerError, TooLongError
from data_store.errors import InputError, StoreError
from data_store.figures import figure, seconds
from data_store.rows import AXES, SAFETY_LABELS
from web.app import STATIC, giving
from web.guard import Guard
from web.judging import verdict_in
from web.site import AnyForm, Pages, language_of, problem_of, redirect
from web.texts import TEXTS

_COOKIE = "halter_chat"
_LINES = "application/x-ndjson"

Told = Callable[[Said], Sequence[tuple[str, str]]]


class Room(Pages):
    """The parts of the application. told: what the reward models say of an answer; judge: whose these are."""

    def __init__(self, chat: Chat, told: Told, judge: str) -> None:
        super().__init__(https=False)
        self.chat, self.told, self.judge = chat, told, judge
        self.secret = secrets.token_urlsafe(24)

    @property
    def csrf(self) -> str:
        """What each form must carry."""
        return hmac.new(self.secret.encode(), b"csrf", sha256).hexdigest()

    def facts(self, said: Said) -> dict[str, Any]:
        """An answer as the page shows it."""
        tokens = len(said.response.token_ids or ())
        return {
            "text": said.response.text,
            "scores": list(self.told(said)),
            "cut": not said.response.finished and not said.stopped,
            "stopped": said.stopped,
            "speed": f"{figure(tokens)} · {seconds(said.first_seconds)} · {seconds(said.seconds)}",
        }

    def show(self, request: Request, problem: str = "", prompt: str = "", status: int = 200) -> Response:
        """The dialogue so far, and the forms under it."""
        chat = self.chat
        last = chat.turns[-1] if chat.turns else None
        return self.page(
            request,
            "chat.html",
            status=status,
            chat=chat,
            names=[each.name for each in chat.speakers],
            turns=[(turn, [self.facts(each) for each in turn.answers]) for turn in chat.turns],
            judge=self.judge,
            csrf=self.csrf,
            can_repeat=last is not None and len(chat.speakers) == 1 and not last.saved,
            is_pair=last is not None and len(last.answers) == 2,
            is_saved=last is not None and last.saved,
            sides=SIDES,
            scale=SCALE,
            axes=AXES,
            labels=SAFETY_LABELS,
            problem=problem,
            prompt=prompt,
        )


def create_chat_app(
    chat: Chat, told: Told, judge: str, *, hosts: Collection[str] = ("127.0.0.1", "localhost", "::1")
) -> tuple[Guard, str]:
    """The page of a chat, and the path, with the secret, under which it is opened."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    room = Room(chat, told, judge)
    app.state.site = room
    app.include_router(router)
    for file in ("style.css", "chat.js", "icon.svg"):
        app.add_api_route(f"/static/{file}", giving(STATIC / file))
    app.add_exception_handler(HTTPException, _refused)
    return Guard(app, hosts=frozenset(hosts), https=False, fetches=True), f"/?key={room.secret}"


def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    room: Room = request.app.state.site
    return room.error_page(request, status, f"error_{status}" if status in (403, 404, 415) else "error_400")


def room_of(request: Request) -> Room:
    """The room, for whoever holds its secret; raises HTTPException 403 for others."""
    room: Room = request.app.state.site
    given = request.cookies.get(_COOKIE, "")
    if not hmac.compare_digest(given.encode(), room.secret.encode()):
        raise HTTPException(403)
    return room


def checked(room: Annotated[Room, Depends(room_of)], form: AnyForm) -> Mapping[str, str]:
    """A form of our own page; raises HTTPException 403 for others."""
    if not hmac.compare_digest(form.get("csrf", "").encode(), room.csrf.encode()):
        raise HTTPException(403)
    return form


RoomOf = Annotated[Room, Depends(room_of)]
Checked = Annotated[Mapping[str, str], Depends(checked)]
router = APIRouter()


@router.get("/")
def chat_page(request: Request, key: str = "") -> Response:
    """The dialogue; with the secret in the address the browser is let in, and the address forgotten."""
    room: Room = request.app.state.site
    if key and hmac.compare_digest(key.encode(), room.secret.encode()):
        response = redirect("/")
        room.set_cookie(response, _COOKIE, room.secret, 12 * 3600)
        return response
    return room_of(request).show(request)


@router.post("/say")
def post_prompt(request: Request, room: RoomOf, form: Checked) -> Response:
    """Let the models answer: as lines of JSON while they speak, for the script, or as the page when they are done."""
    prompt = form.get("prompt", "")
    return _answered(request, room, lambda: room.chat.say(prompt), prompt)


@router.post("/again")
def post_again(request: Request, room: RoomOf, form: Checked) -> Response:  # noqa: ARG001  (its check is meant)
    """One more answer, to be compared."""
    return _answered(request, room, room.chat.again, "")


@router.post("/choose")
def post_choice(request: Request, room: RoomOf, form: Checked) -> Response:
    """The dialogue goes on with this answer."""
    return _done(request, room, lambda: room.chat.choose(form.get("side", "")))


@router.post("/save")
def post_verdict(request: Request, room: RoomOf, form: Checked) -> Response:
    """Save which answer is better."""
    axis = form.get("axis", "")
    verdict = verdict_in(form, axis)
    if verdict is None:
        key = "problem_label" if ":" in form.get("verdict", "") and axis == "safety" else "problem_verdict"
        return room.show(request, TEXTS[language_of(request)][key], status=422)
    return _done(request, room, lambda: room.chat.save(axis, verdict))


@router.post("/anew")
def post_anew(request: Request, room: RoomOf, form: Checked) -> Response:
    """An empty dialogue, with this system message and temperature."""
    try:
        temperature = float(form.get("temperature", ""))
    except ValueError:
        temperature = 0.0  # which is refused, as any other that cannot be
    return _done(request, room, lambda: room.chat.begin_anew(system=form.get("system", ""), temperature=temperature))


def _done(request: Request, room: Room, act: Callable[[], object]) -> Response:
    try:
        act()
    except InputError as error:
        return room.show(request, str(error), status=422)
    except (AnswerError, StoreError) as error:
        return room.show(request, str(error), status=503)
    return redirect("/")


def _answered(
    request: Request, room: Room, answers: Callable[[], Iterator[tuple[int, str | Said]]], prompt: str
) -> Response:
    texts = TEXTS[language_of(request)]

    def lines() -> Iterator[str]:
        try:
            for side, piece in answers():
                told = {"text": piece} if isinstance(piece, str) else {**room.facts(piece), "done": True}
                yield json.dumps({"side": side, **told}) + "\n"
        except (AnswerError, TooLongError) as error:
            problem = problem_of(error)
            yield json.dumps({"problem": texts[problem.text].format(**problem.fields)}) + "\n"
        except InputError as error:
            yield json.dumps({"problem": str(error)}) + "\n"

    if _LINES in request.headers.get("accept", ""):
        return StreamingResponse(lines(), media_type=_LINES)
    last = [json.loads(line) for line in lines()][-1]
    return room.show(request, last["problem"], prompt, status=422) if "problem" in last else redirect("/")
