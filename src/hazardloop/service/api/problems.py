"""What is refused over HTTP and how it is said (RFC 9457): a table of codes, one of exceptions."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hazardloop.alarms.errors import (
    CaseOvertaken,
    CaseUnknown,
    DraftRefused,
    DrillRefused,
    DrillUnknown,
    HazardForbidden,
    HazardOvertaken,
    HazardRefused,
    HoldForbidden,
    HoldRefused,
    HoldUnknown,
    InventoryOvertaken,
    SignalRefused,
    StepForbidden,
    StepRefused,
)
from hazardloop.alarms.lifecycle import allowed_actions
from hazardloop.service.errors import (
    EvidenceAbsent,
    EvidenceAway,
    EvidenceDamaged,
    FileKindRefused,
    FileTooLarge,
    PlanRefused,
)
from hazardloop.service.simulation_runs import SimulationRefused

CODES: Final[Mapping[str, tuple[int, str]]] = {
    "bad_request": (400, "The request cannot be read"),
    "unauthenticated": (401, "Log in first"),
    "bad_credentials": (401, "User name or password is wrong"),
    "forbidden": (403, "Your role may not do this"),
    "cross_site": (403, "Refused: sent by another site"),
    "not_found": (404, "There is no such thing here"),
    "method_not_allowed": (405, "This address does not take that method"),
    "exists": (409, "There is one already"),
    "ambiguous": (409, "Several have this code"),
    "changed": (409, "It changed meanwhile"),
    "already_acknowledged": (409, "It is acknowledged already"),
    "signal_refused": (409, "The signal does not allow this now"),
    "drill_refused": (409, "A drill is not announced or cancelled like this"),
    "draft_refused": (409, "A rule is not changed like this"),
    "hold_refused": (409, "Annunciation is not withheld like this"),
    "not_retryable": (409, "This message cannot be taken again"),
    "step_refused": (409, "This step is not allowed now"),
    "overtaken": (409, "Somebody took a step meanwhile"),
    "still_under_way": (409, "It is still on its way"),
    "key_reused": (409, "The key of this request belongs to another one"),
    "simulation_refused": (409, "A simulated fleet is not started like this"),
    "sheet_refused": (409, "The sheet is not in the state for this"),
    "link_used": (410, "This link is no longer valid"),
    "too_large": (413, "Too large"),
    "unsupported_media_type": (415, "This kind of content is not taken"),
    "invalid": (422, "Some of it is not allowed"),
    "too_many_requests": (429, "Too many attempts"),
    "damaged": (500, "What was kept here is no longer whole"),
    "internal": (500, "Something went wrong here"),
    "unavailable": (503, "Not available at the moment"),
}
BY_STATUS: Final = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    503: "unavailable",
}
"""The code for a refusal that the framework makes by itself."""


class Problem(Exception):
    """A refusal: `code` is a key of CODES, `extras` become members of the answer's top level."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        **extras: Any,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status, self.title = CODES[code]
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        self.extras = extras

    def document(self) -> dict[str, Any]:
        """The answer's body."""
        document: dict[str, Any] = {
            "type": f"urn:hazardloop:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail or self.title,
            "code": self.code,
        }
        if self.errors is not None:
            document["errors"] = self.errors
        return document | self.extras


def _unavailable(_: Exception) -> Problem:
    return Problem(
        "unavailable", "the database does not answer; try again", headers={"Retry-After": "2"}
    )


def _busy(_: Exception) -> Problem:
    return Problem(
        "unavailable", "others were changing the same; try again", headers={"Retry-After": "1"}
    )


def _read_only(_: Exception) -> Problem:
    return Problem(
        "unavailable", "the database takes no changes at present", headers={"Retry-After": "10"}
    )


def _step_refused(error: StepRefused) -> Problem:
    return Problem(
        "step_refused",
        str(error),
        stage=error.case.stage,
        revision=error.case.revision,
        missing=list(error.missing),
        allowed_actions=_allowed(error),
    )


def _allowed(error: StepRefused | StepForbidden) -> list[str]:
    return list(allowed_actions(error.case, error.step.actor, error.step.taken_at))


def _step_forbidden(error: StepForbidden) -> Problem:
    return Problem("forbidden", str(error), stage=error.case.stage, revision=error.case.revision)


EXCEPTIONS: Final[dict[type[Exception], Callable[[Any], Problem]]] = {
    StepRefused: _step_refused,
    StepForbidden: _step_forbidden,
    CaseOvertaken: lambda error: Problem(
        "overtaken",
        str(error),
        revision=error.revision,
        allowed_actions=list(error.allowed),
    ),
    HazardRefused: lambda error: Problem(
        "step_refused", str(error), allowed_acts=list(error.allowed)
    ),
    HazardForbidden: lambda error: Problem("forbidden", str(error)),
    HazardOvertaken: lambda error: Problem("overtaken", str(error), revision=error.revision),
    InventoryOvertaken: lambda error: Problem("overtaken", str(error)),
    SignalRefused: lambda error: Problem(
        "signal_refused", str(error), state=error.state, allowed=list(error.allowed)
    ),
    DrillRefused: lambda error: Problem("drill_refused", str(error)),
    SimulationRefused: lambda error: Problem("simulation_refused", str(error)),
    DrillUnknown: lambda error: Problem("not_found", str(error)),
    DraftRefused: lambda error: Problem("draft_refused", str(error)),
    HoldRefused: lambda error: Problem("hold_refused", str(error)),
    HoldForbidden: lambda error: Problem("forbidden", str(error)),
    HoldUnknown: lambda error: Problem("not_found", str(error)),
    CaseUnknown: lambda error: Problem("not_found", str(error)),
    FileKindRefused: lambda error: Problem("unsupported_media_type", str(error)),
    EvidenceAbsent: lambda error: Problem("damaged", str(error)),
    EvidenceDamaged: lambda error: Problem("damaged", str(error)),
    EvidenceAway: lambda error: Problem("unavailable", str(error), headers={"Retry-After": "5"}),
    PlanRefused: lambda error: Problem("invalid", f"drawing: {error}"),
    FileTooLarge: lambda error: Problem("too_large", str(error)),
    psycopg.OperationalError: _unavailable,
    psycopg_pool.PoolTimeout: _unavailable,
    psycopg_pool.PoolClosed: _unavailable,
    psycopg.errors.ReadOnlySqlTransaction: _read_only,
    psycopg.errors.SerializationFailure: _busy,
    psycopg.errors.DeadlockDetected: _busy,
    psycopg.errors.LockNotAvailable: _busy,
    psycopg.errors.UniqueViolation: lambda _: Problem("exists", "the code is taken already"),
    psycopg.errors.InsufficientPrivilege: lambda _: Problem("forbidden"),
    psycopg.DataError: lambda _: Problem("invalid", "a value is out of range or not text"),
    # Arithmetic with what was sent: the ends of the calendar, half a pair of surrogates.
    OverflowError: lambda _: Problem("invalid", "a time or a number is too far out"),
    UnicodeEncodeError: lambda _: Problem("invalid", "a text holds what is no character"),
}
"""What may come up from below; the nearest class counts, anything else is our error (500)."""


def answer(problem: Problem) -> JSONResponse:
    """`problem` as a response."""
    return JSONResponse(
        problem.document(),
        status_code=problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


async def _refused(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Problem):
        return answer(error)
    kind = next(kind for kind in type(error).__mro__ if kind in EXCEPTIONS)
    return answer(EXCEPTIONS[kind](error))


async def _http_refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = BY_STATUS.get(error.status_code)
    if code is None:
        code = "bad_request" if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else "internal"
    usual = error.detail == HTTPStatus(error.status_code).phrase
    return answer(Problem(code, "" if usual else str(error.detail), headers=error.headers))


async def _not_valid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # What was sent is left out: it may hold a password.
    errors = [
        {"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()
    ]
    if any(one["type"] == "json_invalid" for one in errors):
        return answer(Problem("bad_request", "the body is not JSON", errors=errors))
    where = ".".join(str(part) for part in errors[0]["loc"])
    return answer(Problem("invalid", f"{where}: {errors[0]['msg']}", errors=errors))


async def _broken(_: Request, __: Exception) -> JSONResponse:
    return answer(Problem("internal", "the service log says more"))


def install(app: FastAPI) -> None:
    """Makes every refusal and error of `app` a problem document."""
    app.add_exception_handler(Problem, _refused)
    for kind in EXCEPTIONS:
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(HTTPException, _http_refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(Exception, _broken)


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the problems it may answer with, with an example of each."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        one = Problem(code)
        told = by_status.setdefault(
            one.status,
            {
                "description": one.title,
                "content": {
                    "application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        told["content"]["application/problem+json"]["examples"][code] = {"value": one.document()}
    return by_status


PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457; `code` is the machine's word for it. Some codes bring members of"
    " their own, such as `revision` with `overtaken` or `current` with `changed`.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:hazardloop:problem:invalid"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": sorted(CODES)},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}
