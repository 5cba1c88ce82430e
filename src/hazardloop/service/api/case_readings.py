"""The readings that are kept with a case for good."""

from typing import Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from hazardloop.alarms import case_store
from hazardloop.devices.instants import utc
from hazardloop.devices.readings import quality_names, quality_word
from hazardloop.service.api.access import Conn, require
from hazardloop.service.api.points import finite
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.readings import Reading
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["cases"])


class KeptPoint(Out):
    """What one point said in the window."""

    point: str
    quantity: str
    unit: str
    readings: list[Reading]


class KeptWindow(Out):
    """The readings of the alarm's device around one event."""

    around: Literal["raised", "cleared", "closed"]
    since: Instant
    until: Instant
    frozen_at: Instant | None = Field(description="Null: not yet; retention waits for it.")
    due_at: Instant = Field(description="From when on it is kept.")
    sha256: str | None = Field(description="Of its content; the ledger holds the same.")
    points: list[KeptPoint]


class KeptReadings(Out):
    """The windows of a case, each in its newest copy."""

    windows: list[KeptWindow]


WINDOWS: Final = """
    SELECT DISTINCT ON (around) around, since, until, frozen_at, due_at,
           encode(sha256, 'hex') AS sha256
      FROM case_window WHERE case_id = %(case_id)s
     ORDER BY around, frozen_at IS NULL, nth DESC"""
CONTENT: Final = """
    SELECT DISTINCT ON (around, point_id) around, d.code || '.' || p.quantity AS point,
           p.quantity, p.unit, observed_at_us, value, quality
      FROM case_reading JOIN point p USING (point_id) JOIN device d USING (device_id)
     WHERE case_id = %(case_id)s ORDER BY around, point_id, nth DESC"""


@router.get(
    "/cases/{case_id}/readings",
    dependencies=[require("cases.read")],
    responses=problems("not_found"),
)
async def case_readings(case_id: UUID, conn: Conn) -> KeptReadings:
    """Readings of the alarm's device around its raising, its clearing and the case's close.

    Copied to the case when the window is over, and once more at close with what came late; no
    retention removes them.
    """
    if await case_store.load_case(conn, case_id) is None:
        raise Problem("not_found", f"case {case_id} is not known here")
    windows = await fetch(conn, WINDOWS, {"case_id": case_id})
    content = await fetch(conn, CONTENT, {"case_id": case_id})
    return KeptReadings(
        windows=[
            KeptWindow(
                **window, points=[_point(one) for one in content if _of(one) == window["around"]]
            )
            for window in sorted(windows, key=lambda window: window["since"])
        ]
    )


def _of(row: dict[str, Any]) -> str:
    return str(row["around"])


def _point(row: dict[str, Any]) -> KeptPoint:
    said = zip(row["observed_at_us"], row["value"], row["quality"], strict=True)
    return KeptPoint(
        point=row["point"],
        quantity=row["quantity"],
        unit=row["unit"],
        readings=[
            Reading(
                observed_at=utc(at_us),
                value=finite(value),
                quality=quality_word(quality),
                flags=list(quality_names(quality)),
            )
            for at_us, value, quality in said
        ],
    )
