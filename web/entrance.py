"""Logging in and out, and the overview of the batches."""

from fastapi import APIRouter, Request, Response

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
def login(request: Request, site: SiteOf, form: AnyForm) -> Response:
    """Token → session. The failures of an address are limited; which part was wrong is not told."""
    address = request.client.host if request.client else ""
    if not site.failed_log_ins.allows(address, cost=0):
        return site.page(request, "login.html", status=429, problem="login_too_often")
    secret = log_in(site.book, form.get("token", "").strip()[:200])
    if secret is None:
        site.failed_log_ins.allows(address)
        return site.page(request, "login.html", status=403, problem="login_wrong")
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
