"""Readings: the course of one point, and the newest of many."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.devices.readings import quality_names, quality_word
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.points import SELECT, WHERE, Chosen, PointPath, finite, latest_of
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["readings"])

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
BUCKET_FORM: Final = re.compile(r"([1-9]\d{0,4})([smhd])")
MOST_BUCKETS: Final = 50_000


class Reading(Out):
    """One reading."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "observed_at": "2026-11-22T01:12:07.120Z",
                    "value": 12.5,
                    "quality": "good",
                    "flags": [],
                }
            ]
        }
    )
    observed_at: Instant
    value: float | None = Field(description="In the point's unit. Null: nothing usable was said.")
    quality: str = Field(description="`good`, `uncertain` or `bad`.")
    flags: list[str] = Field(
        description="What speaks against it: " + ", ".join(quality_names(-1)) + "."
    )


class Bucket(Out):
    """The readings of a span of time in one line; bad ones are left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-11-22T01:12:00.000Z",
                    "min": 11.9,
                    "max": 13.0,
                    "mean": 12.4,
                    "last": 12.5,
                    "count": 6,
                    "bad_share": 0.0,
                }
            ]
        },
        populate_by_name=True,
    )
    start: Instant = Field(alias="from")
    min: float | None
    max: float | None
    mean: float | None
    last: float | None
    count: int = Field(description="Of the readings that are not bad.")
    bad_share: float = Field(description="0 to 1: which part of the readings is bad.")


class LatestReading(Out):
    """The newest reading of one point."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "point": {
                        "id": 1042,
                        "code": "GD-101.lel",
                        "quantity": "lel",
                        "unit": "%{LEL}",
                    },
                    "device": "GD-101",
                    "kind": "gas_detector",
                    "enterprise": "E003",
                    "value": 12.5,
                    "quality": "good",
                    "observed_at": "2026-11-22T01:12:07.120Z",
                    "received_at": "2026-11-22T01:12:07.180Z",
                }
            ]
        }
    )
    point: dict[str, Any]
    device: str
    kind: str
    enterprise: str
    value: float | None
    quality: str
    observed_at: Instant
    received_at: Instant


LATEST: Final = (
    f"{SELECT}{WHERE} AND newest.observed_at IS NOT NULL ORDER BY p.point_id LIMIT %(limit)s"
)


@router.get("/readings/latest", dependencies=[require("readings.read")])
async def latest_readings(
    conn: Conn,
    page: Paging,
    chosen: Chosen,
) -> Listing[LatestReading]:
    """The newest reading of each point that has one, in the order of the points' ids."""
    rows = await fetch(
        conn,
        LATEST,
        chosen,
    )
    return listing([_latest(row) for row in rows], page, key=lambda one: (one.point["id"],))


RAW: Final = "SELECT * FROM readings_of(%(point)s, %(from)s, %(to)s, %(limit)s)"
BUCKETS: Final = "SELECT * FROM reading_buckets(%(point)s, %(from)s, %(to)s, %(width)s, %(limit)s)"


@router.get(
    "/points/{point}/readings",
    dependencies=[require("readings.read")],
    responses=problems("not_found", "ambiguous"),
)
async def readings_of(
    point: PointPath,
    conn: Conn,
    page: Paging,
    now: Now,
    since: Annotated[
        AwareDatetime | None, Query(alias="from", description="First instant; default 1 h ago.")
    ] = None,
    until: Annotated[
        AwareDatetime | None, Query(alias="to", description="First instant after; default now.")
    ] = None,
    bucket: Annotated[
        str | None, Query(description="Width of a bucket, such as 10s, 1m, 5m, 1h, 1d.")
    ] = None,
) -> Listing[Reading] | Listing[Bucket]:
    """The readings of a point in the order of time, one by one or summed up in buckets."""
    end = until or now + timedelta(minutes=5)  # gateways' clocks may be that far ahead
    start = since or now - timedelta(hours=1)
    if start > end:
        raise Problem("invalid", "from: it is later than `to`")
    after = page.after[0] if page.after else None
    if after is not None and not isinstance(after, datetime):
        raise Problem("bad_request", "this cursor is of another list")
    arguments: dict[str, Any] = {
        "point": await lookup.point_id(conn, point),
        "from": start,
        "to": end,
        "limit": page.limit + 1,
    }
    if bucket is None:
        if after is not None:
            arguments["from"] = max(start, after + timedelta(microseconds=1))
        rows = await fetch(conn, RAW, arguments)
        return listing([_reading(row) for row in rows], page, key=lambda one: (one.observed_at,))
    width = bucket_width(bucket)
    if (end - start) / width > MOST_BUCKETS:
        raise Problem(
            "invalid", f"bucket: more than {MOST_BUCKETS} of {bucket} between from and to"
        )
    if after is not None:
        arguments["from"] = max(start, after + width)
    rows = await fetch(conn, BUCKETS, arguments | {"width": width})
    return listing([_bucket(row) for row in rows], page, key=lambda one: (one.start,))


def bucket_width(text: str) -> timedelta:
    """The width that `text` such as `5m` names. Problem invalid: none, or more than 31 d."""
    match = BUCKET_FORM.fullmatch(text)
    width = timedelta(**{UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < width <= timedelta(days=31):
        raise Problem("invalid", f"bucket: found {text[:20]!r}, allowed 1s to 31d, such as 5m")
    return width


def _reading(row: dict[str, Any]) -> Reading:
    return Reading(
        observed_at=row["observed_at"],
        value=finite(row["value"]),
        quality=quality_word(row["quality"]),
        flags=quality_names(row["quality"]),
    )


def _bucket(row: dict[str, Any]) -> Bucket:
    bad = int(row.pop("bad"))
    return Bucket(**row, bad_share=bad / (row["count"] + bad))


def _latest(row: dict[str, Any]) -> LatestReading:
    latest = latest_of(row)
    assert latest is not None
    return LatestReading(
        point={key: row[key] for key in ("id", "code", "quantity", "unit")},
        device=row["device"]["code"],
        kind=row["kind"],
        enterprise=row["enterprise"]["code"],
        **latest.model_dump(),
    )
