"""The page of a red team: an attacker writes, the policy answers, the attacker says whether that is a violation."""

import logging

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from data_store.annotation.live import AnswerError, TooLongError
from data_store.annotation.red_team import (
    AttackLabel,
    RedTeam,
    attack_form,
    enter_turn,
    label_attack,
    red_team_of,
    red_teams,
)
from data_store.errors import InputError
from data_store.rows import RISKS, SEVERITIES, VECTORS, VIOLATIONS
from web.site import CheckedForm, Problem, Site, SiteOf, Visitor, VisitorOf, number, problem_of, redirect
from web.writing import PROMPT_LENGTH

router = APIRouter()
_log = logging.getLogger(__name__)


def open_sessions(site: Site) -> list[RedTeam]:
    """The open sessions whose policy answers here."""
    answerer = site.answerer
    if answerer is None:
        return []
    return [one for one in red_teams(site.book, only_open=True) if answerer.attackable(one.spec.policy_version)]


def _session(site: Site, session_id: str) -> RedTeam:
    try:
        session = red_team_of(site.book, session_id)
    except InputError:
        raise HTTPException(404) from None
    if site.answerer is None or not site.answerer.attackable(session.spec.policy_version):
        raise HTTPException(404)
    return session


@router.get("/red-team/{session_id}")
@router.get("/red-team/{session_id}/label")  # where a form with a problem leaves the browser
def attack_page(request: Request, site: SiteOf, visitor: VisitorOf, session_id: str, again: str = "") -> Response:
    """The attack under way; `again` shows the last one, to correct its label."""
    return _show(request, site, visitor, session_id, again=again == "1")


def _show(
    request: Request,
    site: Site,
    visitor: Visitor,
    session_id: str,
    problem: Problem | None = None,
    prompt: str = "",
    again: bool = False,
) -> Response:
    session = _session(site, session_id)
    if session.closed is not None:
        return site.page(request, "attacked.html", visitor, session=session)
    form = attack_form(site.book, session_id, visitor.annotator.name)
    if session.is_finished and form.attack is None and not again:
        return site.page(request, "attacked.html", visitor, session=session)
    return site.page(
        request,
        "attack.html",
        visitor,
        status=problem.status if problem else 200,
        session=session,
        form=form,
        attack=form.last if again and form.last else form.attack,
        again=again and form.last is not None,
        severities=SEVERITIES,
        violations=VIOLATIONS,
        risks=RISKS,
        vectors=VECTORS,
        prompt=prompt,
        prompt_length=PROMPT_LENGTH,
        problem=problem,
    )


@router.post("/red-team/{session_id}")
def post_prompt(request: Request, site: SiteOf, visitor: VisitorOf, form: CheckedForm, session_id: str) -> Response:
    """Let the policy answer the next prompt of the attack."""
    session, name, prompt = _session(site, session_id), visitor.annotator.name, form.get("prompt", "").strip()
    if site.answerer is None:
        raise HTTPException(404)
    if not prompt or len(prompt) > PROMPT_LENGTH:
        problem = Problem("problem_prompt")
        return _show(request, site, visitor, session_id, problem, prompt[:PROMPT_LENGTH])
    if not site.prompts.allows(visitor.csrf):
        raise HTTPException(429)
    attack, key = attack_form(site.book, session_id, name).attack, form.get("form_key", "")[:64]
    messages = [*(attack.messages if attack else ()), {"role": "user", "content": prompt}]
    try:
        response = site.answerer.reply(messages, key, session.spec.policy_version)
    except (AnswerError, TooLongError) as error:
        _log.warning("no live answer: %s", error)
        return _show(request, site, visitor, session_id, problem_of(error), prompt)
    enter_turn(site.book, session_id, name, key, prompt, response, number(form.get("milliseconds")))
    return redirect(f"/red-team/{session.spec.session_id}")


@router.post("/red-team/{session_id}/label")
def post_label(request: Request, site: SiteOf, visitor: VisitorOf, form: CheckedForm, session_id: str) -> Response:
    """Write down what the attacker says of the response; on to the next attack."""
    session, attack_id = _session(site, session_id), number(form.get("attack_id"))
    label = AttackLabel(form.get("severity", ""), form.get("risk", ""), form.get("vector", ""))
    try:
        label.check()
    except InputError:
        problem = Problem("problem_attack_label")
        return _show(request, site, visitor, session_id, problem, again=form.get("again") == "1")
    if attack_id is None:
        raise HTTPException(400)
    spent = number(form.get("milliseconds"))
    label_attack(site.book, session_id, visitor.annotator.name, form.get("form_key", ""), attack_id, label, spent)
    return redirect(f"/red-team/{session.spec.session_id}")
