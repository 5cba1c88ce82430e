"""What a phone shows when a link is opened: looking changes nothing, only a button does."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from hazardloop.alarms import disposal
from hazardloop.alarms.alarm import Actor, Role
from hazardloop.alarms.errors import CaseOvertaken, CaseUnknown, StepForbidden, StepRefused
from hazardloop.service.api import case_view, link_html, links, sessions
from hazardloop.service.api.access import Account, Here, Now, public, refuse_cross_site
from hazardloop.service.api.case_forms import CaseWithSteps, StepIn
from hazardloop.service.api.problems import Problem
from hazardloop.service.api.site import Site
from hazardloop.service.database import EVERYTHING, request_scope
from hazardloop.service.notification.wording import Speaker

router = APIRouter(include_in_schema=False)

COOKIE: Final = "hazardloop_case"
"""Of its own, so that opening a link takes nobody's session away."""
NOBODY: Final = Actor("", "", Role.AUDITOR)
"""Who may do nothing: a contact without an account."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    # With "no-referrer" a browser sends the origin "null", and a button of the page is refused.
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}


def _html(text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status, headers=HEADERS)


def _speaker(here: Site, language: str) -> Speaker:
    return Speaker(language, ZoneInfo(here.settings.tz))


def _language(request: Request, here: Site) -> str:
    """Of somebody who is not known: what the browser wants, else the site's."""
    wanted = request.headers.get("accept-language", "").lower()
    return {"zh": "zh-CN", "en": "en"}.get(wanted[:2], here.settings.lang)


@router.get("/l/{token}", dependencies=[public()])
async def show_link(token: str, request: Request, here: Here, now: Now) -> Response:
    """The facts of the case and a button; asked by a scanner, nothing happens."""
    async with request_scope(here.pool, EVERYTHING) as conn:
        link = await links.find(conn, token, now)
        if link is None:
            return _html(
                link_html.said_only(_speaker(here, _language(request, here)), "unknown"), 404
            )
        actor = link.account.as_actor if link.account else NOBODY
        case = await case_view.whole_case(conn, link.case_id, actor, now)
    speaker = _speaker(here, link.language)
    if link.spent:
        return _html(link_html.said_only(speaker, "gone", "goneWhy", case=case), 410)
    if link.account is None:
        return _html(link_html.landing_unknown(case, speaker, link.name, request.url.path))
    minutes = int(sessions.OF_A_LINK.total_seconds() // 60)
    return _html(link_html.landing(case, speaker, link.name, request.url.path, minutes))


@router.post("/l/{token}", dependencies=[public()])
async def open_link(token: str, request: Request, here: Here, now: Now) -> Response:
    """Uses the link up, signs if that was the button, and goes on to the case."""
    refuse_cross_site(request)
    form = await request.form()
    address = links.address_of(request)
    try:
        async with request_scope(here.pool, EVERYTHING) as conn:
            link, session = await links.use(conn, token, address, now)
    except Problem as problem:
        if problem.code not in ("not_found", "link_used"):
            raise
        return await show_link(token, request, here, now)
    if link.account is None or session is None:
        return _html(link_html.said_only(_speaker(here, link.language), "noted"))
    said = ""
    if form.get("step") == "sign":
        said = await _signed(here, link, now)
    answer = await _shown(here, link.account, link.case_id, now, said) if said else _onward(link)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=int(sessions.OF_A_LINK.total_seconds()),
        path="/l",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


def _onward(link: links.Link) -> Response:
    return RedirectResponse(f"/l/case/{link.case_id}", 303, headers=HEADERS)


async def _signed(here: Site, link: links.Link, now: datetime) -> str:
    """Signs for the link's account; what was wrong, else nothing."""
    assert link.account is not None  # asked before
    async with request_scope(here.pool, link.account.scope) as conn:
        case = await case_view.whole_case(conn, link.case_id, link.account.as_actor, now)
    return await _step(here, link.account, case, {"action": "sign", "revision": case.revision}, now)


async def _step(
    here: Site, account: Account, case: CaseWithSteps, given: dict[str, object], now: datetime
) -> str:
    """Takes a step; what was wrong, else nothing."""
    try:
        step = StepIn.model_validate(given).step(account.as_actor, now)
        async with request_scope(here.pool, account.scope) as conn:
            await disposal.take_step(conn, case.id, step)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    except (StepRefused, StepForbidden, CaseOvertaken, CaseUnknown) as error:
        return str(error)
    return ""


async def visitor(case_id: UUID, request: Request, here: Here, now: Now) -> Account | None:
    """Whose phone it is; None: its session has ended, or is of another case."""
    refuse_cross_site(request)
    token = request.cookies.get(COOKIE)
    if token is None:
        return None
    async with request_scope(here.pool, EVERYTHING) as conn:
        account = await sessions.account_of(conn, token, now)
    return account if account is not None and account.case_id == case_id else None


Visitor = Annotated[Account | None, Depends(visitor)]


@router.get("/l/case/{case_id}", dependencies=[public()])
async def show_case(
    case_id: UUID, account: Visitor, request: Request, here: Here, now: Now
) -> Response:
    """The case that the link opened."""
    if account is None:
        return _ended(request, here)
    return await _shown(here, account, case_id, now)


@router.post("/l/case/{case_id}", dependencies=[public()])
async def step_on(
    case_id: UUID, account: Visitor, request: Request, here: Here, now: Now
) -> Response:
    """Takes one of the steps that the page offers, with what the form brought."""
    if account is None:
        return _ended(request, here)
    form = await request.form()
    async with request_scope(here.pool, account.scope) as conn:
        case = await case_view.whole_case(conn, case_id, account.as_actor, now)
    given: dict[str, object] = {
        name: value
        for name in ("action", "revision", "verdict", "note")
        if isinstance(value := form.get(name), str) and value
    }
    if said := await _step(here, account, case, given, now):
        return await _shown(here, account, case_id, now, said)
    return RedirectResponse(f"/l/case/{case_id}", 303, headers=HEADERS)


def _ended(request: Request, here: Site) -> HTMLResponse:
    return _html(link_html.said_only(_speaker(here, _language(request, here)), "ended"), 401)


async def _shown(
    here: Site, account: Account, case_id: UUID, now: datetime, said: str = ""
) -> Response:
    """The page of the case; with `said`, what could not be done and why."""
    speaker = _speaker(here, account.language)
    async with request_scope(here.pool, account.scope) as conn:
        case = await case_view.whole_case(conn, case_id, account.as_actor, now)
    path = f"/l/case/{case_id}"
    told = speaker.say("page", "refused", reason=said) if said else ""
    page = link_html.case_page(case, speaker, account.display_name, path, told)
    return _html(page, 409 if said else 200)
