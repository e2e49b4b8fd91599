"""Where an adjudicator decides on what others disagree on or flagged."""

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from data_store.annotation.adjudication import case_of, cases, decide
from data_store.annotation.batches import batch_of
from data_store.annotation.judging import SCALE
from data_store.rows import REFUSALS, SAFETY_LABELS
from web.judging import verdict_in
from web.site import AdjudicatorOf, CheckedForm, Site, SiteOf, Visitor, number, redirect

router = APIRouter()


@router.get("/adjudicate")
def list_page(request: Request, site: SiteOf, visitor: AdjudicatorOf) -> Response:
    """What there is to decide."""
    return site.page(request, "cases.html", visitor, cases=cases(site.book, visitor.annotator.name))


@router.get("/adjudicate/{item}")
def case_page(request: Request, site: SiteOf, visitor: AdjudicatorOf, item: str) -> Response:
    """One pair, with what people said of it."""
    return _show(request, site, visitor, item)


def _show(request: Request, site: Site, visitor: Visitor, item: str, problem: str | None = None) -> Response:
    item_id = number(item)
    case = None if item_id is None else case_of(site.book, visitor.annotator.name, item_id)
    if case is None:
        raise HTTPException(404)
    return site.page(
        request,
        "case.html",
        visitor,
        status=422 if problem else 200,
        case=case,
        guidelines=batch_of(site.book, case.item.batch_id).spec.guidelines,
        refusals=REFUSALS,
        scale=SCALE,
        labels=SAFETY_LABELS,
        problem=problem,
        kept="",
    )


@router.post("/adjudicate/{item}")
def post_decision(request: Request, site: SiteOf, visitor: AdjudicatorOf, form: CheckedForm, item: str) -> Response:
    """Decide, or drop the pair."""
    item_id = number(item)
    if item_id is None:
        raise HTTPException(404)
    verdict = verdict_in(form, form.get("axis", ""))
    if verdict is None and form.get("drop") != "1":
        return _show(request, site, visitor, item, "problem_verdict")
    decide(site.book, visitor.annotator.name, item_id, None if form.get("drop") == "1" else verdict)
    return redirect("/adjudicate")
