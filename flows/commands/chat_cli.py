"""`halter chat` talks with one or two models, in the terminal or on a page of this machine."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from data_store.annotation.chat import SIDES, Chat, Said
from data_store.annotation.judging import Verdict
from data_store.annotation.live import AnswerError, TooLongError
from data_store.commands import halter
from data_store.errors import InputError, StoreError
from data_store.figures import figure, seconds
from data_store.rows import AXES, RATINGS, SAFETY_LABELS
from data_store.store import Store
from flows.chat import Limits, Opened, named_model, open_chat
from flows.commands.command import RunOption, console, guarded
from flows.recipe.config import RunConfig
from flows.session import opened
from flows.shown.visible import visible

DEFAULT_PORT = 4310
_HELP = f"""/again              another answer of the same model, to compare
/a, /b              go on with this answer
/save a RATING      save that A is better, and go on with it: {", ".join(RATINGS)};
                    where it is about safety also {" or ".join(SAFETY_LABELS)}
/system TEXT        a new dialogue with this system message, or without one
/temperature NUMBER a new dialogue at this temperature
/new                a new dialogue
/quit               the end, as Ctrl-D; Ctrl-C stops an answer"""


@guarded
def chat(
    model: Annotated[
        str,
        typer.Argument(metavar="NAME", help="V2, model/policy@V2, the beginning of a version, or a folder."),
    ],
    other: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Another one, beside it.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Talk on a page in the browser, not here.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page.")] = DEFAULT_PORT,
    annotator: Annotated[
        str | None, typer.Option("--as", help="Who saves judgements: a name of `halter annotators list`.")
    ] = None,
    system: Annotated[str, typer.Option("--system", help="The system message.")] = "",
    temperature: Annotated[float, typer.Option("--temperature", help="Above 0, and 2 at most.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens of an answer.")] = 256,
    context: Annotated[int, typer.Option("--context", min=16, help="Tokens of a dialogue; bounds the memory.")] = 2048,
    answer_seconds: Annotated[
        float, typer.Option("--answer-seconds", min=1, help="The longest time for one answer.")
    ] = 120.0,
    dtype: Annotated[str, typer.Option("--dtype", help="float32 or bfloat16, of all models.")] = "float32",
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="To have the same answers again.")] = None,
    name: RunOption = None,
) -> None:
    """Talk with one model, or with two side by side. Answers appear as they are drawn, with the scores of the
    iteration's reward models; which of two is better can be saved for training."""
    if dtype not in ("float32", "bfloat16"):
        raise InputError(f"--dtype is {dtype!r}; use float32 or bfloat16")
    run = _run(name, is_needed=not all(Path(each).is_dir() for each in (model, other) if each is not None))
    models = [named_model(each, run) for each in (model, other) if each is not None]
    console.print(f"loading {' and '.join(each.name for each in models)}", highlight=False)
    limits = Limits(context, max_new_tokens, answer_seconds)
    room = open_chat(models, run, limits, annotator=annotator, dtype=dtype, threads=threads, seed=seed)
    room.chat.begin_anew(system=system, temperature=temperature)
    if page:
        _serve(room, port)
    else:
        talk(room, _typed)


def _run(name: str | None, *, is_needed: bool) -> tuple[RunConfig, Store] | None:
    """The run that is named, or the last one; None where there is none and folders are enough."""
    try:
        return opened(name)
    except InputError:
        if name is not None or is_needed:
            raise
        return None


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input("> ")
        except EOFError:
            return


def talk(room: Opened, typed: Callable[[], Iterator[str]]) -> None:
    """The chat in the terminal: each line that is typed is a prompt, or a command that begins with a slash."""
    chat = room.chat
    console.print("/help lists what else can be typed", highlight=False)
    console.print(f"scores: {room.judge}" if room.judge else "no reward model scores these answers", highlight=False)
    if chat.keeper is None:
        console.print(f"nothing is saved: {chat.why_not}", highlight=False)
    for line in typed():
        try:
            if not line.startswith("/"):
                _show(room, chat.say(line))
            elif not _obey(room, *line[1:].split(None, 1)):
                return
        except KeyboardInterrupt:
            console.print("\nstopped; the dialogue is as before", highlight=False)
        except (InputError, StoreError, AnswerError, TooLongError) as error:
            console.print("[red]error:[/red] ", end="", highlight=False)
            console.print(_plain(str(error)))


def _obey(room: Opened, word: str = "", rest: str = "") -> bool:
    """Do what a command says; False at the end."""
    chat = room.chat
    match word:
        case "quit":
            return False
        case "again":
            _show(room, chat.again())
        case "a" | "b":
            chat.choose(word)
        case "new":
            chat.begin_anew()
        case "system":
            chat.begin_anew(system=rest)
        case "temperature":
            try:
                chat.begin_anew(temperature=float(rest))
            except ValueError:
                raise InputError(f"/temperature takes a number, not {rest!r}") from None
        case "save":
            console.print(_saved(chat, rest.split()), highlight=False)
        case _:
            console.print(_plain(_HELP))
    return True


def _saved(chat: Chat, words: list[str]) -> str:
    if len(words) not in (2, 3) or words[0] not in SIDES:
        raise InputError("write for example /save a better, or about safety /save b better both_safe")
    axis = AXES[1] if len(words) == 3 else AXES[0]
    batch = chat.save(axis, Verdict(*words))
    export = halter("preferences", "export", "FILE", "--format", "datasets", "--batch", batch)
    return f"saved in batch {batch}; `{export}` writes what data.{axis}_preferences reads"


def _show(room: Opened, answers: Iterator[tuple[int, str | Said]]) -> None:
    """Print answers as they come: one after the other, as they are drawn."""
    shown: dict[int, str] = {}
    speakers = room.chat.speakers
    for side, piece in answers:
        if side not in shown:
            speaker = speakers[side] if side < len(speakers) else speakers[0]
            console.print(f"[bold]{SIDES[side].upper()}[/bold] ", end="", highlight=False)
            console.print(_plain(speaker.name))
            shown[side] = ""
        text = piece if isinstance(piece, str) else piece.response.text
        before = shown[side]
        console.print(_plain(text[len(before) :] if text.startswith(before) else f"\n{text}"), end="")
        shown[side] = text
        if isinstance(piece, Said):
            console.print()
            console.print(_plain("; ".join(_told(room, piece))), style="dim")


def _plain(text: str) -> Text:
    """What a model or somebody else wrote: none of it is a style of ours or a control of the terminal."""
    return Text(visible(text))


def _told(room: Opened, said: Said) -> Iterator[str]:
    yield from (f"{axis} {score}" for axis, score in room.told(said))
    tokens = len(said.response.token_ids or ())
    yield f"{figure(tokens)} tokens, the first after {seconds(said.first_seconds)}, all after {seconds(said.seconds)}"
    if said.stopped or not said.response.finished:
        yield said.stopped or "cut off at the length limit"


def _serve(room: Opened, port: int) -> None:
    import uvicorn

    from web.chatting import create_chat_app
    from web.connections import BoundedProtocol

    app, path = create_chat_app(room.chat, room.told, room.judge)
    with socket.create_server(("127.0.0.1", port)) as listener:
        console.print(
            f"chat page, for you alone: http://127.0.0.1:{listener.getsockname()[1]}{path}\nCtrl-C ends it",
            highlight=False,
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        config = uvicorn.Config(
            app,
            log_level="warning",
            http=BoundedProtocol,
            ws="none",
            access_log=False,  # it would hold the secret
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listener])
