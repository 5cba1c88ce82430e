"""Who is asking, whether they may, and the transaction in which they are answered."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request

from hazardloop.service.api import sessions
from hazardloop.service.api.permissions import PERMISSIONS
from hazardloop.service.api.problems import Problem
from hazardloop.service.api.sessions import Account
from hazardloop.service.api.site import Here, Now
from hazardloop.service.database import Connection, request_scope

__all__ = ["COOKIE", "Account", "Actor", "Conn", "Here", "Now", "public", "require"]

COOKIE: Final = "hazardloop_session"
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def session_token(request: Request) -> str | None:
    """The token that `request` brings: as bearer, else in the cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.cookies.get(COOKIE)


def refuse_cross_site(request: Request) -> None:
    """Problem cross_site: a browser sent this write for a page of another site."""
    if request.method in READS:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise Problem("cross_site", "writes are taken from this site's own pages only")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Problem("cross_site", f"origin {origin[:200]} is not this site")


async def current_account(request: Request, here: Here, now: Now) -> Account:
    """Who is logged in. Problem unauthenticated: nobody, or the session ended."""
    token = session_token(request)
    if token is None:
        raise Problem("unauthenticated", headers={"WWW-Authenticate": "Bearer"})
    if "authorization" not in request.headers:
        refuse_cross_site(request)  # only a cookie travels without the page's doing
    async with here.pool.connection() as conn:  # a statement or two, each by itself
        account = await sessions.account_of(conn, token, now)
    if account is None:
        raise Problem(
            "unauthenticated", "the session has ended", headers={"WWW-Authenticate": "Bearer"}
        )
    return account


Actor = Annotated[Account, Depends(current_account)]


async def request_transaction(account: Actor, here: Here) -> AsyncIterator[Connection]:
    """The request's transaction: sees what the account may, commits before the answer leaves."""
    async with request_scope(here.pool, account.scope, account.username, account.role) as conn:
        yield conn


# scope="function": an answer must not leave before the commit that it speaks of.
Conn = Annotated[Connection, Depends(request_transaction, scope="function")]


class Permitted:
    """The check of one permission, kept findable so that a route without one is noticed."""

    def __init__(self, permission: str | None, *, further_cases: bool = False) -> None:
        if permission is not None and permission not in PERMISSIONS:
            raise LookupError(f"no permission is called {permission!r}")
        self.permission = permission
        self.own = permission == "session.own"
        self.further_cases = further_cases

    async def __call__(self, account: Actor, request: Request) -> Account:
        """`account`, if its role has the permission; Problem forbidden otherwise.

        A session that a link opened reaches the addresses of its case, and its own end.
        """
        at = None if self.further_cases else request.path_params.get("case_id")
        if account.case_id is not None and at != str(account.case_id) and not self.own:
            raise Problem("forbidden", f"this session is for case {account.case_id} alone")
        if self.permission is None or not account.may(self.permission):
            raise Problem(
                "forbidden", f"{account.role} may not do this: it takes {self.permission}"
            )
        return account


class Public(Permitted):
    """For the few routes that ask nobody who they are."""

    def __init__(self) -> None:
        super().__init__(None)

    async def __call__(self) -> None:  # type: ignore[override]
        """Anyone."""


def require(permission: str, *, further_cases: bool = False) -> Any:
    """For a route's `dependencies`: only accounts whose role has `permission`.

    `further_cases`: it reaches cases beside that of its address, so it is for no session of one.
    """
    return Depends(Permitted(permission, further_cases=further_cases))


def public() -> Any:
    """For a route's `dependencies`: anyone."""
    return Depends(Public())


def declared(route: Any) -> Permitted:
    """What `route` declared. LookupError: nothing, or more than one thing."""
    found = [
        dependency.dependency
        for dependency in getattr(route, "dependencies", [])
        if isinstance(dependency.dependency, Permitted)
    ]
    if len(found) != 1:
        raise LookupError(f"{route.path} must declare exactly one of require(...) and public()")
    return found[0]
