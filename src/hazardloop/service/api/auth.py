"""Log in, log out, who am I."""

import logging
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field

from hazardloop.service.api import sessions
from hazardloop.service.api.access import (
    COOKIE,
    Account,
    Actor,
    Conn,
    Here,
    Now,
    public,
    refuse_cross_site,
    require,
    session_token,
)
from hazardloop.service.api.permissions import permissions_of
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.schema import Body, Out, Ref
from hazardloop.service.database import EVERYTHING, request_scope

log = logging.getLogger(__name__)
router = APIRouter(tags=["session"])

ME_EXAMPLE: dict[str, Any] = {
    "username": "operator",
    "display_name": "王芳",
    "role": "operator",
    "language": "zh-CN",
    "enterprise": None,
    "permissions": ["alarms.acknowledge", "alarms.read", "cases.read", "cases.step"],
}


class LoginIn(Body):
    """A person's name and password."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"username": "operator", "password": "correct horse 9"}]}
    )
    username: str = Field(max_length=64)
    password: str = Field(max_length=1024, json_schema_extra={"format": "password"})


class Me(Out):
    """Who is logged in, and what that allows."""

    model_config = ConfigDict(json_schema_extra={"examples": [ME_EXAMPLE]})
    username: str
    display_name: str
    role: str
    language: str
    enterprise: Ref | None
    permissions: tuple[str, ...]


class LoginOut(Out):
    """A new session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"token": "pJ2c7mB0x0V7k0m8yq3oVY4mG3l0W9rTzC1nD5eA2sE", "user": ME_EXAMPLE}
            ]
        }
    )
    token: str = Field(description="For `Authorization: Bearer`; browsers use the cookie.")
    user: Me


def me_of(account: Account) -> Me:
    """What is told of `account`."""
    enterprise = None
    if account.enterprise_id is not None:
        enterprise = Ref(
            id=account.enterprise_id,
            code=account.enterprise or "",
            name=account.enterprise_name or "",
        )
    return Me(
        username=account.username,
        display_name=account.display_name,
        role=account.role,
        language=account.language,
        enterprise=enterprise,
        permissions=permissions_of(account.role),
    )


@router.post(
    "/auth/login",
    dependencies=[public()],
    responses=problems("bad_credentials", "cross_site", "too_many_requests"),
)
async def log_in(
    body: LoginIn, request: Request, response: Response, here: Here, now: Now
) -> LoginOut:
    """Open a session: the token is returned and set as a cookie.

    It ends after 30 minutes without use, and after 12 hours. An unknown user name and a wrong
    password are answered alike. After five failures in a minute the account has to wait (429).
    """
    refuse_cross_site(request)
    address = request.client.host if request.client else ""
    wait_s = here.throttle.wait_s(body.username, address, now.timestamp())
    if wait_s:
        raise Problem(
            "too_many_requests",
            f"try again in {wait_s} s",
            headers={"Retry-After": str(wait_s)},
        )
    async with request_scope(here.pool, EVERYTHING) as conn:
        found = await sessions.find_user(conn, body.username.replace("\x00", ""))
    stored = found[1] if found else None
    if not await here.passwords.matches(stored, body.password) or found is None:
        log.warning("login refused", extra={"username": body.username, "address": address})
        raise Problem("bad_credentials")
    account = found[0]
    here.throttle.succeeded(body.username, address)
    async with request_scope(here.pool, EVERYTHING) as conn:
        token = await sessions.open_session(conn, account, now)
    log.info("login", extra={"username": account.username, "address": address})
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(sessions.ABSOLUTE.total_seconds()),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return LoginOut(token=token, user=me_of(account))


@router.post("/auth/logout", status_code=204, dependencies=[require("session.own")])
async def log_out(request: Request, response: Response, conn: Conn) -> None:
    """End the session; its token is worthless from then on."""
    await sessions.end_session(conn, session_token(request) or "")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


@router.get("/me", dependencies=[require("session.own")])
async def me(account: Actor) -> Me:
    """Who is logged in, with the names of all that the role may do."""
    return me_of(account)
