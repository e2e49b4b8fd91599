"""The page on which annotators write prompts that the live policies answer. It is there only where a model is."""

import logging
import secrets

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from data_store.annotation.live import AnswerError, TooLongError
from data_store.annotation.writing import Dialogue, begin_dialogue, continue_dialogue, enter_written
from data_store.rows import AXES
from web.judging import open_batch_of
from web.site import CheckedForm, Problem, Site, SiteOf, Visitor, VisitorOf, number, problem_of, redirect

router = APIRouter()
_log = logging.getLogger(__name__)
PROMPT_LENGTH = 8000


@router.get("/batches/{batch_id}/write")
def write_page(
    request: Request, site: SiteOf, visitor: VisitorOf, batch_id: str, after: str = "", axis: str = AXES[0]
) -> Response:
    """An empty prompt, or the next turn of a dialogue whose last responses were judged."""
    return _show(request, site, visitor, batch_id, _dialogue(site, visitor, batch_id, after, axis), after)


def _dialogue(site: Site, visitor: Visitor, batch_id: str, after: str, axis: str) -> Dialogue:
    if not after:
        return begin_dialogue(axis)
    item_id = number(after)
    if item_id is None:
        raise HTTPException(404)
    return continue_dialogue(site.book, batch_id, visitor.annotator.name, item_id)


def _show(
    request: Request,
    site: Site,
    visitor: Visitor,
    batch_id: str,
    dialogue: Dialogue,
    after: str,
    problem: Problem | None = None,
    prompt: str = "",
) -> Response:
    batch = open_batch_of(site, batch_id)
    if batch.closed is not None or not batch.spec.written_prompts or not site.takes_prompts:
        raise HTTPException(404)
    return site.page(
        request,
        "write.html",
        visitor,
        status=problem.status if problem else 200,
        batch=batch,
        dialogue=dialogue,
        after=after,
        axes=AXES,
        prompt=prompt,
        prompt_length=PROMPT_LENGTH,
        form_key=secrets.token_urlsafe(16),
        problem=problem,
    )


@router.post("/batches/{batch_id}/write")
def post_prompt(request: Request, site: SiteOf, visitor: VisitorOf, form: CheckedForm, batch_id: str) -> Response:
    """Let the model answer twice; on to judging the two."""
    after, prompt, form_key = form.get("after", ""), form.get("prompt", "").strip(), form.get("form_key", "")[:64]
    dialogue = _dialogue(site, visitor, batch_id, after, form.get("axis", ""))
    if site.answerer is None or not site.takes_prompts or not open_batch_of(site, batch_id).spec.written_prompts:
        raise HTTPException(404)

    def refused(problem: Problem) -> Response:
        return _show(request, site, visitor, batch_id, dialogue, after, problem, prompt[:PROMPT_LENGTH])

    if not prompt or len(prompt) > PROMPT_LENGTH:
        return refused(Problem("problem_prompt"))
    if not site.prompts.allows(visitor.csrf):
        raise HTTPException(429)
    try:
        sides = list(site.answerer.pair([*dialogue.messages, {"role": "user", "content": prompt}], form_key))
    except (AnswerError, TooLongError) as error:
        _log.warning("no live answer: %s", error)
        return refused(problem_of(error))
    if sides[0].text == sides[1].text:
        return refused(Problem("problem_same"))
    if secrets.randbelow(2):
        sides.reverse()  # whoever judges cannot tell the variants by their place
    enter_written(site.book, batch_id, visitor.annotator.name, dialogue, prompt, sides, form_key)
    return redirect(f"/batches/{open_batch_of(site, batch_id).spec.batch_id}")
