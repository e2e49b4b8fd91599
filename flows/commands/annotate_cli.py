"""`halter annotate` serves the page on which people judge pairs; `halter annotators` says who may."""

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape
from rich.table import Table

from data_store.annotation.batches import batches
from data_store.annotation.book import Book
from data_store.annotation.export import judgements
from data_store.annotation.people import add_annotator, annotators, disable_annotator
from data_store.annotation.red_team import red_teams
from data_store.commands import halter
from data_store.errors import InputError
from data_store.figures import figure, percent, seconds
from data_store.read_only import check_writable
from data_store.store import Store
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json, say
from flows.live import open_answerer
from flows.session import recall, store_root
from flows.shown.annotation_figures import agreements, annotator_figures

DEFAULT_PORT = 4300
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  (to refuse them, unless told what people call this machine)

people = typer.Typer(help="Who may judge pairs on the annotation page, and how they agree.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="Lower-case letters, digits, '_', '.', '-'")]


@guarded
def annotate(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = DEFAULT_PORT,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", help="Where people's browsers reach it, such as https://judge.example.org"),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", exists=True, dir_okay=False, help="TLS certificate (PEM).")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", exists=True, dir_okay=False, help="Its key (PEM).")] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option("--answer", help="A policy that answers prompts of people, such as model/policy@V1; one or two."),
    ] = None,
    answer_seconds: Annotated[
        float, typer.Option("--answer-seconds", min=1, help="The longest time for one response.")
    ] = 60.0,
    name: RunOption = None,
) -> None:
    """Serve the page on which people judge pairs of responses, until Ctrl-C. Policies answer there what people write:
    those of --answer in pairs, those of open red teams alone."""
    config = recall(name)
    if (certificate is None) != (key is None):
        raise InputError("--certificate and --key go together: give both or none")
    hosts, https = _reached_by(host, public_url, tls=certificate is not None)
    check_writable(store_root(config.name))
    book = Book.open(store_root(config.name))
    attacked = red_teams(book, only_open=True)
    answerer = open_answerer(config, Store.open(store_root(config.name)), answer or [], attacked, answer_seconds)

    import uvicorn

    from web.app import create_app
    from web.connections import BoundedProtocol

    if not annotators(book):
        console.print(f"nobody may judge yet: {halter('annotators', 'add', 'NAME')}", highlight=False)
    waiting = [batch.spec.batch_id for batch in batches(book, only_open=True)]
    console.print(f"open batches of {config.name}: {', '.join(waiting) or 'none'}", highlight=False)
    if attacked:
        console.print(f"red teams: {', '.join(one.spec.session_id for one in attacked)}", highlight=False)
    url = public_url or f"{'https' if https else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    if answer or attacked:
        console.print("loading the policies that answer", highlight=False)
    answerer.start()
    console.print(
        f"annotation page: {url}\nCtrl-C ends it; every judgement that was acknowledged is kept", highlight=False
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        uvicorn.run(
            create_app(book, hosts=hosts, https=https, answerer=answerer),
            host=host,
            port=port,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            log_level="warning",
            http=BoundedProtocol,
            ws="none",
            access_log=False,  # addresses and times of people are not kept
            server_header=False,
            proxy_headers=public_url is not None,  # only a proxy on this machine is believed
            timeout_graceful_shutdown=5,
        )
    finally:
        answerer.close()


def _reached_by(host: str, public_url: str | None, *, tls: bool) -> tuple[tuple[str, ...], bool]:
    """The host names under which people reach the page, and whether by https."""
    if public_url is None:
        if host in _EVERYWHERE:
            raise InputError(
                f"--host {host} listens on every address: say with --public-url by which one people come, "
                "for example https://judge.example.org"
            )
        return (*_LOOPBACK, host), tls
    parts = urlsplit(public_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise InputError(f"--public-url {public_url!r}: write it like https://judge.example.org, without a path")
    return (parts.hostname,), parts.scheme == "https"


@people.command("add")
@guarded
def add(
    annotator: NameArgument,
    adjudicator: Annotated[bool, typer.Option("--adjudicator", help="May also decide where others disagree.")] = False,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter a person and print the token they log in with. It is shown this once."""
    token = add_annotator(_book(name), annotator, adjudicator=adjudicator)
    if as_json:
        print_json({"annotator": annotator, "adjudicator": adjudicator, "token": token})
    else:
        say(as_json, f"{annotator} logs in with this token; it is not shown again:")
        console.print(token, highlight=False)


@people.command("list")
@guarded
def list_annotators(name: RunOption = None, as_json: JsonOption = False) -> None:
    """The people with their work: how much, how long, attention checks, agreement with others; AC2 per batch."""
    book = _book(name)
    known = annotators(book)
    by_batch = {batch.spec.batch_id: judgements(book, batch.spec.batch_id) for batch in batches(book)}
    figures = annotator_figures([one.name for one in known], [one for found in by_batch.values() for one in found])
    agreed = [one for batch_id, found in by_batch.items() for one in agreements(batch_id, found)]
    if as_json:
        rows = [
            {**asdict(one), "role": who.role, "created_at": who.created_at, "disabled_at": who.disabled_at}
            for who, one in zip(known, figures, strict=True)
        ]
        print_json({"annotators": rows, "agreement": [asdict(one) for one in agreed]})
        return
    table = Table(title="annotators", title_justify="left", header_style="bold")
    for column in ("name", "role", "judged", "median time", "checks passed", "agrees with others"):
        table.add_column(column)
    for who, one in zip(known, figures, strict=True):
        table.add_row(
            escape(who.name),
            who.role if who.disabled_at is None else "disabled",
            str(one.judged),
            "" if one.median_seconds is None else seconds(one.median_seconds),
            f"{one.passed} of {one.checks}" if one.checks else "",
            "" if one.agreement is None else percent(one.agreement),
        )
    console.print(table)
    for measured in agreed:
        value = (
            "no pair was judged twice" if measured.ac2 is None else f"{figure(measured.ac2)} on {measured.pairs} pairs"
        )
        console.print(f"{measured.batch_id} {measured.axis}, {measured.measure}: Gwet's AC2 {value}", highlight=False)


@people.command("disable")
@guarded
def disable(annotator: NameArgument, name: RunOption = None) -> None:
    """End a person's access at once. Their judgements stay."""
    disable_annotator(_book(name), annotator)
    console.print(f"{annotator} can no longer log in; open sessions are ended", highlight=False)


def _book(name: str | None) -> Book:
    return Book.open(store_root(recall(name).name))
