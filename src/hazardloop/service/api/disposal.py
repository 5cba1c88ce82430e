"""Cases: what is to be done about alarms, step by step, with evidence."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import FileResponse
from pydantic import AwareDatetime

from hazardloop.alarms import case_store, disposal
from hazardloop.alarms.alarm import TIER_BY_NAME, Stage
from hazardloop.service import evidence
from hazardloop.service.api import case_view, uploads
from hazardloop.service.api.access import Actor, Conn, Here, Now, require
from hazardloop.service.api.case_examples import STEP_EXAMPLES
from hazardloop.service.api.case_forms import (
    CaseBrief,
    CaseWithSteps,
    EvidenceKept,
    StepIn,
)
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch_one
from hazardloop.service.database import request_scope

router = APIRouter(tags=["cases"])

TierName = Literal["red", "orange", "yellow", "blue"]


@router.get("/cases", dependencies=[require("cases.read")])
async def list_cases(
    conn: Conn,
    actor: Actor,
    now: Now,
    page: Paging,
    state: Annotated[
        Literal["open", "closed"] | None, Query(description="Open: not closed yet.")
    ] = None,
    stage: Annotated[list[Stage] | None, Query(description="Any of these.")] = None,
    tier: Annotated[list[TierName] | None, Query(description="Any of these.")] = None,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    device: Annotated[str | None, Query(description="Id or code.")] = None,
    point: Annotated[str | None, Query(description="Id or code.", examples=["GD-1.lel"])] = None,
    kind: Annotated[str | None, Query(description="Of the device.")] = None,
    alarm: Annotated[UUID | None, Query(description="The case of this alarm.")] = None,
    overdue: Annotated[bool | None, Query(description="What is owed next is late.")] = None,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="Opened since.")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="Opened before.")] = None,
) -> Listing[CaseBrief]:
    """Cases, newest first, without their steps and evidence."""
    after = page.after or (None, None)
    if page.after and [type(part) for part in page.after] != [datetime, str]:
        raise Problem("bad_request", "this cursor is none that this list gave")
    wanted = {
        "closed": None if state is None else state == "closed",
        "stages": stage,
        "tiers": None if tier is None else [int(TIER_BY_NAME[name]) for name in tier],
        "enterprise": enterprise,
        "device": device,
        "point": point,
        "kind": kind,
        "alarm": alarm,
        "overdue": overdue,
        "from": start,
        "to": end,
        "after_at": after[0],
        "after_id": after[1],
        "limit": page.limit + 1,
        "now": now,
    }
    briefs = await case_view.list_briefs(conn, wanted, actor.as_actor, now)
    return listing(briefs, page, key=lambda case: (case.opened_at, case.id))


@router.get(
    "/cases/{case_id}", dependencies=[require("cases.read")], responses=problems("not_found")
)
async def get_case(case_id: UUID, conn: Conn, actor: Actor, now: Now) -> CaseWithSteps:
    """One case: charges, duties, steps, evidence, and what you may do next."""
    return await case_view.whole_case(conn, case_id, actor.as_actor, now)


@router.post(
    "/cases/{case_id}/steps",
    status_code=201,
    dependencies=[require("cases.step")],
    responses=problems("forbidden", "not_found", "step_refused", "overtaken"),
)
async def post_step(
    case_id: UUID,
    body: Annotated[StepIn, Body(openapi_examples=STEP_EXAMPLES)],
    conn: Conn,
    actor: Actor,
    now: Now,
) -> CaseWithSteps:
    """Take one step: 409 when it is refused at this stage or the case was changed since.

    Order: sign (both sides), verify, handle, submit, close; `return` and `reopen` lead back to
    handling. Who handled or submitted neither closes nor returns. An active signal keeps its case
    open unless a supervisor attached a permit.
    """
    await disposal.take_step(conn, case_id, body.step(actor.as_actor, now))
    return await case_view.whole_case(conn, case_id, actor.as_actor, now)


@router.post(
    "/cases/{case_id}/evidence",
    status_code=201,
    dependencies=[require("cases.attach")],
    responses=problems(
        "forbidden", "not_found", "too_large", "unsupported_media_type", "bad_request"
    ),
    openapi_extra={"requestBody": uploads.REQUEST_BODY},
    max_body_size=uploads.BOUNDED_HERE,
)
async def post_evidence(
    case_id: UUID, request: Request, actor: Actor, here: Here, now: Now
) -> EvidenceKept:
    """Add a file to a case: JPEG, PNG, WebP or PDF, at most 20 MiB.

    It counts a revision, which comes back. The file is on disk before it is in the record.
    """
    # No transaction while the file arrives: a slow phone would hold a connection for minutes.
    async with request_scope(here.pool, actor.scope) as conn:
        if await case_store.load_case(conn, case_id) is None:
            raise Problem("not_found", f"case {case_id} is not known here")
    upload = await uploads.receive(request, here.settings.home / "evidence")
    added = upload.evidence_of(case_id, actor.username, now)
    async with request_scope(here.pool, actor.scope) as conn:
        case = await disposal.attach_evidence(conn, added, actor.as_actor, upload.caption)
    return EvidenceKept(
        id=added.evidence_id,
        case_id=case_id,
        revision=case.revision,
        file_name=added.file_name,
        media_type=added.media_type,
        size_bytes=added.size_bytes,
        sha256=added.sha256.hex(),
        uploaded_by=added.uploaded_by,
        uploaded_at=added.uploaded_at,
    )


ONE_FILE: Final = """
    SELECT file_name, media_type, sha256 FROM evidence WHERE evidence_id = %(evidence_id)s"""
HARMLESS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=31536000, immutable",
}
"""Headers under which a file that somebody sent is given out."""
FILE_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file, to be saved.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in evidence.MAGIC
        },
    }
}


@router.get(
    "/evidence/{evidence_id}",
    dependencies=[require("cases.read")],
    response_class=FileResponse,
    responses=FILE_RESPONSE | problems("not_found", "unavailable"),
)
async def get_evidence(evidence_id: UUID, conn: Conn, here: Here) -> FileResponse:
    """The content of a file of evidence, always as an attachment."""
    row = await fetch_one(conn, ONE_FILE, {"evidence_id": evidence_id})
    if row is None:
        raise Problem("not_found", f"evidence {evidence_id} is not known here")
    path = evidence.path_of(here.settings.home / "evidence", row["sha256"])
    if not path.is_file():
        raise Problem("unavailable", f"the file of evidence {evidence_id} is not on this machine")
    return FileResponse(
        path, media_type=row["media_type"], filename=row["file_name"], headers=HARMLESS
    )
