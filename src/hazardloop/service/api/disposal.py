"""Cases: what is to be done about alarms, step by step, with evidence."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, BinaryIO, Final, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from hazardloop.alarms import case_store, disposal
from hazardloop.alarms.alarm import TIER_BY_NAME, Action, Stage, Step
from hazardloop.service import evidence, file_content
from hazardloop.service.api import case_view, once, uploads
from hazardloop.service.api.access import Actor, Conn, Here, Now, require
from hazardloop.service.api.case_examples import STEP_EXAMPLES
from hazardloop.service.api.case_forms import (
    CaseBrief,
    CaseWithSteps,
    EvidenceKept,
    MergeIn,
    RelatedList,
    SplitIn,
    StepIn,
)
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch_one
from hazardloop.service.database import Connection, request_scope

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
    responses=problems("forbidden", "not_found", "step_refused", "overtaken", "key_reused"),
)
async def post_step(
    case_id: UUID,
    body: Annotated[StepIn, Body(openapi_examples=STEP_EXAMPLES)],
    conn: Conn,
    actor: Actor,
    now: Now,
    key: once.Key = None,
) -> CaseWithSteps:
    """Take one step: 409 when it is refused at this stage or the case was changed since.

    Order: sign (both sides), verify, handle, submit, close; `return` and `reopen` lead back to
    handling. Who handled or submitted neither closes nor returns. A signal that is active, or not
    normal for long enough, keeps its case open unless a supervisor attached a permit. `tick` items
    of the response plan before `submit`; `amend` findings before the next thing is due.
    """
    content = f"{case_id} {body.model_dump_json()}".encode()
    if await once.earlier(conn, actor, key, content, now) is not None:
        return await case_view.whole_case(conn, case_id, actor.as_actor, now)
    async with disposal.step_taken(conn, case_id, body.step(actor.as_actor, now)):
        return await case_view.whole_case(conn, case_id, actor.as_actor, now)


@router.get(
    "/cases/{case_id}/related",
    dependencies=[require("cases.read", further_cases=True)],
    responses=problems("not_found"),
)
async def list_related(case_id: UUID, conn: Conn, actor: Actor, now: Now) -> RelatedList:
    """Open cases of the same device or hazard unit, raised near in time: one matter, perhaps."""
    return await case_view.related_cases(conn, case_id, actor.as_actor, now)


@router.post(
    "/cases/{case_id}/merge",
    status_code=201,
    dependencies=[require("cases.step", further_cases=True)],
    responses=problems("forbidden", "not_found", "step_refused", "overtaken"),
)
async def merge_cases(
    case_id: UUID, body: MergeIn, conn: Conn, actor: Actor, now: Now
) -> CaseWithSteps:
    """Handle other cases under this one: each step here is taken on every one of them, too.

    A member keeps its alarm, verdict and charges, counts in every figure as before, and is
    closed only with its lead, by the same guards. All must stand at the same stage with the same
    receipts, of one enterprise.
    """
    step = Step(Action.MERGE, actor.as_actor, body.revision, now, note=body.note)
    members = {one.id: one.revision for one in body.members}
    await disposal.merge(conn, case_id, members, step)
    return await case_view.whole_case(conn, case_id, actor.as_actor, now)


@router.post(
    "/cases/{case_id}/split",
    status_code=201,
    dependencies=[require("cases.step", further_cases=True)],
    responses=problems("forbidden", "not_found", "step_refused", "overtaken"),
)
async def split_cases(
    case_id: UUID, body: SplitIn, conn: Conn, actor: Actor, now: Now
) -> CaseWithSteps:
    """Let members go on by themselves from where they stand; possible until the report."""
    step = Step(Action.SPLIT, actor.as_actor, body.revision, now, note=body.note)
    await disposal.split(conn, case_id, frozenset(body.members), step)
    return await case_view.whole_case(conn, case_id, actor.as_actor, now)


@router.post(
    "/cases/{case_id}/evidence",
    status_code=201,
    dependencies=[require("cases.attach")],
    responses=problems(
        "forbidden",
        "not_found",
        "too_large",
        "unsupported_media_type",
        "bad_request",
        "unavailable",
        "key_reused",
    ),
    openapi_extra={"requestBody": uploads.REQUEST_BODY},
    max_body_size=uploads.BOUNDED_HERE,
)
async def post_evidence(
    case_id: UUID, request: Request, actor: Actor, here: Here, now: Now, key: once.Key = None
) -> EvidenceKept:
    """Add a file to a case: JPEG, PNG, WebP, PDF, or readings as CSV or JSON, at most 20 MiB.

    It is judged by its whole content. It counts a revision, which comes back. The file is kept for
    good before it is in the record.
    """
    # No transaction while the file arrives: a slow phone would hold a connection for minutes.
    async with request_scope(here.pool, actor.scope) as conn:
        if await case_store.load_case(conn, case_id) is None:
            raise Problem("not_found", f"case {case_id} is not known here")
    upload = await uploads.receive(request, here.shelf, here.settings.home / "evidence")
    added = upload.evidence_of(case_id, actor.username, now)
    content = b" ".join((case_id.bytes, added.sha256, (upload.caption or "").encode()))
    async with request_scope(here.pool, actor.scope) as conn:
        before = await once.earlier(conn, actor, key, content, now, added.evidence_id)
        if before is not None:
            return await _kept_before(conn, case_id, before)
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


KEPT: Final = """
    SELECT e.evidence_id AS id, case_id, c.revision, file_name, media_type, size_bytes,
           encode(sha256, 'hex') AS sha256, uploaded_by, uploaded_at
      FROM evidence e JOIN disposal_case c USING (case_id)
     WHERE e.evidence_id = %(evidence_id)s AND case_id = %(case_id)s"""


async def _kept_before(conn: Connection, case_id: UUID, before: once.Earlier) -> EvidenceKept:
    """What was answered the first time, with the revision of now."""
    row = await fetch_one(conn, KEPT, {"evidence_id": before.evidence_id, "case_id": case_id})
    if row is None:
        raise Problem("not_found", f"case {case_id} is not known here")
    return EvidenceKept(**row)


ONE_FILE: Final = """
    SELECT file_name, media_type, size_bytes, sha256
      FROM evidence WHERE evidence_id = %(evidence_id)s"""
HARMLESS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=31536000, immutable",
}
"""Headers under which a file that somebody sent is given out."""
READINGS_EXAMPLE: Final = {
    "application/json": '{"items": [{"observed_at": "2026-11-22T01:00:00Z", "value": 12.5}]}',
    "text/csv": "point,observed_at,value\r\nGD-1.lel,2026-11-22T01:00:00Z,12.5\r\n",
}
FILE_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file, to be saved.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            | ({"example": READINGS_EXAMPLE[media_type]} if media_type in READINGS_EXAMPLE else {})
            for media_type in file_content.MEDIA_TYPES
        },
    }
}


@router.get(
    "/evidence/{evidence_id}",
    dependencies=[require("cases.read")],
    response_class=StreamingResponse,
    responses=FILE_RESPONSE | problems("not_found", "damaged", "unavailable"),
)
async def get_evidence(evidence_id: UUID, conn: Conn, here: Here) -> StreamingResponse:
    """The content of a file of evidence, always as an attachment, if it is what was kept."""
    row = await fetch_one(conn, ONE_FILE, {"evidence_id": evidence_id})
    if row is None:
        raise Problem("not_found", f"evidence {evidence_id} is not known here")
    file = await asyncio.to_thread(evidence.verified, here.shelf, row["sha256"])
    name = quote(row["file_name"])
    return StreamingResponse(
        _parts(file),
        media_type=row["media_type"],
        headers=HARMLESS
        | {
            "Content-Disposition": f"attachment; filename*=utf-8''{name}",
            "Content-Length": str(row["size_bytes"]),
        },
    )


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(1 << 16):
            yield part
