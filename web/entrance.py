"""Logging in and out, and the overview of the batches."""

import asyncio

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from data_store.annotation.adjudication import cases
from data_store.annotation.batches import batches
from data_store.annotation.people import log_in, log_out
from web.attacking import open_sessions
from web.site import AnyForm, CheckedForm, SiteOf, VisitorOf, redirect

router = APIRouter()


@router.get("/login")
def login_page(request: Request, site: SiteOf) -> Response:
    """Where a token is entered."""
    return site.page(request, "login.html", problem=None)


@router.post("/login")
async def login(request: Request, site: SiteOf, form: AnyForm) -> Response:
    """Token → session. A right token is taken at any time, whatever else comes from its address: many people may share
    one. Wrong ones cannot be guessed on, so that all a limit is for is to slow down whoever tries.
    """
    secret = await run_in_threadpool(log_in, site.book, form.get("token", "").strip()[:200])
    if secret is None:
        if site.failed_log_ins.allows(request.client.host if request.client else ""):
            return site.page(request, "login.html", status=403, problem="login_wrong")
        await asyncio.sleep(site.log_in_delay)
        return site.page(request, "login.html", status=429, problem="login_too_often")
    response = redirect("/")
    site.keep_session(response, secret)
    return response


@router.post("/logout")
def logout(site: SiteOf, visitor: VisitorOf, form: CheckedForm) -> Response:  # noqa: ARG001  (its check is meant)
    """End the session, here and in the browser."""
    log_out(site.book, visitor.secret)
    response = redirect("/login")
    site.drop_session(response)
    return response


@router.get("/")
def overview(request: Request, site: SiteOf, visitor: VisitorOf) -> Response:
    """The open batches with their progress."""
    is_adjudicator = visitor.annotator.role == "adjudicator"
    return site.page(
        request,
        "overview.html",
        visitor,
        batches=batches(site.book, only_open=True),
        now=site.book.clock(),
        can_write=site.takes_prompts,
        red_teams=open_sessions(site),
        undecided=len(cases(site.book, visitor.annotator.name)) if is_adjudicator else None,
    )
