"""What all pages share: the book, who is asking, in which language, the form that was posted, and rendering."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from data_store.annotation.book import Book
from data_store.annotation.live import Answerer, AnswerError, BusyError, TooLongError, TooSlowError
from data_store.annotation.people import SESSION_SECONDS, Annotator, session_annotator
from web.limits import RateLimit
from web.texts import LANGUAGES, TEXTS

LANGUAGE_COOKIE = "halter_language"
_FIELDS = 40


class NotLoggedInError(Exception):
    """There is no session, or it is over."""


@dataclass(frozen=True)
class Visitor:
    """Who is asking. secret: of their session; csrf: what each of their forms must carry."""

    annotator: Annotator
    secret: str

    @property
    def csrf(self) -> str:
        """Made of the session's secret, which no page shows, so that nothing more need be kept."""
        return hmac.new(self.secret.encode(), b"csrf", sha256).hexdigest()


@dataclass(frozen=True)
class Problem:
    """What is wrong with a form, as a key of the texts with its fields, and the status that goes with it."""

    text: str
    status: int = 422
    fields: Mapping[str, int] = field(default_factory=dict)


def problem_of(error: AnswerError | TooLongError) -> Problem:
    """What to tell somebody who got no response."""
    if isinstance(error, TooLongError):
        return Problem("problem_long", 422, {"tokens": error.tokens, "limit": error.limit})
    if isinstance(error, BusyError):
        return Problem("problem_busy", 503)
    return Problem("problem_slow" if isinstance(error, TooSlowError) else "problem_answer", 503)


class Pages:
    """Templates, languages and cookies of one application."""

    def __init__(self, https: bool) -> None:
        self.https = https
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["iso_time"] = lambda seconds: _local(seconds).isoformat()
        self._templates.filters["readable_time"] = lambda seconds: f"{_local(seconds):%Y-%m-%d %H:%M %Z}"

    def page(
        self, request: Request, template: str, visitor: Visitor | None = None, *, status: int = 200, **content: Any
    ) -> Response:
        """A page in the visitor's language."""
        language = language_of(request)
        html = self._templates.get_template(template).render(
            t=TEXTS[language], language=language, languages=LANGUAGES, visitor=visitor, **content
        )
        response = HTMLResponse(html, status)
        response.headers["Content-Language"] = language
        response.headers["Vary"] = "Accept-Language, Cookie"
        if request.query_params.get("lang") == language:
            self.set_cookie(response, LANGUAGE_COOKIE, language, 365 * 24 * 3600)
        return response

    def error_page(self, request: Request, status: int, text: str) -> Response:
        """A page that says what is wrong and leads back."""
        return self.page(request, "error.html", status=status, text=text)

    def set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        """One that no script and no other site sees."""
        response.set_cookie(name, value, seconds, path="/", secure=self.https, httponly=True, samesite="strict")


class Site(Pages):
    """The parts of the annotation page."""

    def __init__(self, book: Book, https: bool, answerer: Answerer | None) -> None:
        super().__init__(https)
        self.book, self.answerer = book, answerer
        self.session_cookie = "__Host-halter" if https else "halter"
        self.failed_log_ins = RateLimit(burst=10, seconds=30)  # by address; after them wrong tokens wait
        self.log_in_delay = 1.0  # seconds
        self.requests = RateLimit(burst=120, seconds=0.25)  # by session; a person needs a few a minute
        self.prompts = RateLimit(burst=10, seconds=6)  # by session; a model answers them

    @property
    def takes_prompts(self) -> bool:
        """Whether policies answer what people write."""
        return self.answerer is not None and self.answerer.answers_prompts

    def keep_session(self, response: Response, secret: str) -> None:
        """Give the browser its session."""
        self.set_cookie(response, self.session_cookie, secret, int(SESSION_SECONDS))

    def drop_session(self, response: Response) -> None:
        """Take it back."""
        self.set_cookie(response, self.session_cookie, "", 0)


def site_of(request: Request) -> Site:
    """The parts of the application that got the request."""
    return cast(Site, request.app.state.site)


def visitor_of(request: Request, site: Annotated[Site, Depends(site_of)]) -> Visitor:
    """The logged-in visitor; raises NotLoggedInError, and HTTPException 429 for one who asks too often."""
    secret = request.cookies.get(site.session_cookie, "")
    annotator = session_annotator(site.book, secret) if secret else None
    if annotator is None:
        raise NotLoggedInError
    if not site.requests.allows(sha256(secret.encode()).hexdigest()):
        raise HTTPException(429)
    return Visitor(annotator, secret)


def adjudicator_of(visitor: Annotated[Visitor, Depends(visitor_of)]) -> Visitor:
    """The same, for those who may decide; raises HTTPException 403 for others."""
    if visitor.annotator.role != "adjudicator":
        raise HTTPException(403)
    return visitor


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a posted form, line ends as \\n; raises HTTPException 415 or 400 for what is no form of ours."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    try:
        body = (await request.body()).decode("ascii")
        fields = parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS, errors="replace")
    except ValueError:
        raise HTTPException(400) from None
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def checked_form(
    visitor: Annotated[Visitor, Depends(visitor_of)], form: Annotated[Mapping[str, str], Depends(form_of)]
) -> Mapping[str, str]:
    """The form of a logged-in visitor; raises HTTPException 403 unless it carries the token of their session."""
    if not hmac.compare_digest(form.get("csrf", "").encode(), visitor.csrf.encode()):
        raise HTTPException(403)
    return form


SiteOf = Annotated[Site, Depends(site_of)]
VisitorOf = Annotated[Visitor, Depends(visitor_of)]
AdjudicatorOf = Annotated[Visitor, Depends(adjudicator_of)]
AnyForm = Annotated[Mapping[str, str], Depends(form_of)]
CheckedForm = Annotated[Mapping[str, str], Depends(checked_form)]


def language_of(request: Request) -> str:
    """What the visitor switched to, else the first language of their browser that there is, else English."""
    for wanted in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if wanted is not None and wanted in LANGUAGES:
            return wanted
    best, most = "en", 0.0
    for entry in request.headers.get("accept-language", "").split(",")[:20]:
        tag, _, weight = entry.strip().partition(";q=")
        language = tag.split("-")[0].lower()
        try:
            share = float(weight or 1)
        except ValueError:
            continue
        if language in LANGUAGES and share > most:
            best, most = language, share
    return best


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()


def redirect(to: str) -> Response:
    """On to one of our own pages after a form, so that reloading does not send it again."""
    return RedirectResponse(to, 303)


def number(text: str | None) -> int | None:
    """A whole number from a form or an address that SQLite can hold, None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 15 else None
