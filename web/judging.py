"""The page on which pairs are judged."""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from data_store.annotation.batches import Batch, batch_of
from data_store.annotation.judging import NOTE_LENGTH, SCALE, Verdict, flag, judge, last_answer, next_item, undo
from data_store.errors import InputError
from data_store.rows import REFUSALS, SAFETY_LABELS
from web.site import CheckedForm, Site, SiteOf, Visitor, VisitorOf, number, redirect

router = APIRouter()


def open_batch_of(site: Site, batch_id: str) -> Batch:
    """The batch of an address; raises HTTPException 404 where there is none."""
    try:
        return batch_of(site.book, batch_id)
    except InputError:
        raise HTTPException(404) from None


def verdict_in(form: Mapping[str, str], axis: str) -> Verdict | None:
    """The verdict that a form holds; None when something is missing or no word of ours."""
    chosen, _, rating = form.get("verdict", "").partition(":")
    asks_refusal = form.get("asks_refusal") == "1"
    label = form.get("safety_label") if axis == "safety" else None
    refusing = form.get("refusing") if asks_refusal else None
    verdict = Verdict(chosen, rating, label or None, refusing or None)
    try:
        verdict.check(axis, asks_refusal=asks_refusal)
    except InputError:
        return None
    return verdict


@router.get("/batches/{batch_id}")
@router.get("/batches/{batch_id}/judge")  # where a form with a problem leaves the browser
@router.get("/batches/{batch_id}/flag")
def judge_page(request: Request, site: SiteOf, visitor: VisitorOf, batch_id: str) -> Response:
    """The next pair, or that there is none."""
    return show_next(request, site, visitor, batch_id)


def show_next(
    request: Request, site: Site, visitor: Visitor, batch_id: str, problem: str | None = None, kept: str = ""
) -> Response:
    """The next pair of the batch, with a problem of the form that was sent; `kept` is the verdict it had."""
    batch = open_batch_of(site, batch_id)
    name = visitor.annotator.name
    shown = next_item(site.book, batch_id, name)
    return site.page(
        request,
        "judge.html" if shown else "done.html",
        visitor,
        status=422 if problem else 200,
        batch=batch,
        shown=shown,
        last=last_answer(site.book, batch_id, name),
        scale=SCALE,
        labels=SAFETY_LABELS,
        refusals=REFUSALS,
        noted=request.query_params.get("noted") == "1",
        note_length=NOTE_LENGTH,
        can_write=site.takes_prompts and batch.spec.written_prompts,
        can_continue=site.takes_prompts and shown is not None and shown.item.written_by == name,
        problem=problem,
        kept=kept,
    )


@router.post("/batches/{batch_id}/judge")
def post_judgement(request: Request, site: SiteOf, visitor: VisitorOf, form: CheckedForm, batch_id: str) -> Response:
    """Write a judgement down; on to the next pair, or to the dialogue's next turn where that was asked for."""
    axis = form.get("axis", "")
    verdict = verdict_in(form, axis)
    if verdict is None:
        asked = {"safety": "problem_label"}.get(axis) or ("problem_refusal" if form.get("asks_refusal") == "1" else "")
        problem = asked if ":" in form.get("verdict", "") and asked else "problem_verdict"
        return show_next(request, site, visitor, batch_id, problem, form.get("verdict", ""))
    judge(site.book, visitor.annotator.name, form.get("form_key", ""), verdict, number(form.get("milliseconds")))
    written = number(form.get("continue"))
    base = f"/batches/{open_batch_of(site, batch_id).spec.batch_id}"
    return redirect(base if written is None or not site.takes_prompts else f"{base}/write?after={written}")


@router.post("/batches/{batch_id}/skip")
def post_skip(site: SiteOf, visitor: VisitorOf, form: CheckedForm, batch_id: str) -> Response:
    """Leave this pair to others."""
    judge(site.book, visitor.annotator.name, form.get("form_key", ""), None, number(form.get("milliseconds")))
    return redirect(f"/batches/{open_batch_of(site, batch_id).spec.batch_id}")


@router.post("/batches/{batch_id}/flag")
def post_flag(request: Request, site: SiteOf, visitor: VisitorOf, form: CheckedForm, batch_id: str) -> Response:
    """Leave a note; the pair stays on the screen."""
    note = form.get("note", "")
    if not note.strip() or len(note) > NOTE_LENGTH:
        return show_next(request, site, visitor, batch_id, "problem_note")
    flag(site.book, visitor.annotator.name, form.get("form_key", ""), note)
    return redirect(f"/batches/{open_batch_of(site, batch_id).spec.batch_id}?noted=1")


@router.post("/batches/{batch_id}/undo")
def post_undo(site: SiteOf, visitor: VisitorOf, form: CheckedForm, batch_id: str) -> Response:
    """Take the last answer back; its pair comes up again."""
    answer_id = number(form.get("answer_id"))
    if answer_id is None:
        raise HTTPException(400)
    undo(site.book, batch_id, visitor.annotator.name, answer_id)
    return redirect(f"/batches/{open_batch_of(site, batch_id).spec.batch_id}")
