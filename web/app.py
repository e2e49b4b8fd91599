"""The application: routes, errors and the guard around them."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from data_store.annotation.book import Book
from data_store.annotation.judging import FormOutOfDateError
from data_store.annotation.live import Answerer
from data_store.errors import InputError, StoreError
from web import adjudicating, attacking, entrance, judging, writing
from web.guard import Guard
from web.site import NotLoggedInError, Site, redirect

_log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"


def create_app(
    book: Book,
    *,
    hosts: Collection[str] = ("127.0.0.1", "localhost", "::1"),
    https: bool = False,
    answerer: Answerer | None = None,
) -> Guard:
    """The annotation page on a book.

    hosts: host names under which people reach it, without port. https: they reach it by https, so cookies are Secure.
    answerer: gives responses of the live policies; without it there is no page to write prompts or to attack.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.site = Site(book, https, answerer)
    app.include_router(entrance.router)
    app.include_router(judging.router)
    app.include_router(adjudicating.router)
    if answerer is not None:
        app.include_router(writing.router)
        app.include_router(attacking.router)
    for file in ("style.css", "page.js", "icon.svg"):  # these and no others: no path comes from the address
        app.add_api_route(f"/static/{file}", giving(STATIC / file))
    app.add_exception_handler(NotLoggedInError, _to_log_in)
    for kind, status in ((FormOutOfDateError, 409), (InputError, 422), (StoreError, 503)):
        app.add_exception_handler(kind, _told_as(status))
    app.add_exception_handler(HTTPException, _refused)
    # Around everything, not one of FastAPI's middlewares: what answers "internal error" needs the headers as well.
    return Guard(app, hosts=frozenset(host.lower() for host in hosts), https=https)


def giving(file: Path) -> Callable[[], Response]:
    """A route that gives one file."""
    return lambda: FileResponse(file)


def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    site: Site = request.app.state.site
    response = site.error_page(request, status, f"error_{status}" if status in (403, 404, 415, 429) else "error_400")
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


def _told_as(status: int) -> Callable[[Request, Exception], Response]:
    def told(request: Request, error: Exception) -> Response:
        if status >= 500:
            _log.error("%s", error)
        site: Site = request.app.state.site
        return site.error_page(request, status, f"error_{status}")

    return told


def _to_log_in(request: Request, error: Exception) -> Response:  # noqa: ARG001  (the shape of a handler)
    return redirect("/login")
