"""The message balance of a gateway by minutes: sent = stored + duplicate + rejected + missing."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.ingest import balance_store
from hazardloop.ingest.balance import Account, Tally
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, Now, require
from hazardloop.service.api.gateways import GatewayRef
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.readings import bucket_width
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out
from hazardloop.service.balance_chores import days_in
from hazardloop.service.database import Connection

router = APIRouter(tags=["intake"])

MINUTE: Final = timedelta(minutes=1)
MOST_BUCKETS: Final = 10_000
MOST_GAPS: Final = 100
"""Stretches of missing numbers that an answer names of a gateway."""
GRACE: Final = timedelta(minutes=2)
"""So long after its end a span may still change without anything being late."""
NO_DAYS: Final = (date(2000, 1, 1), date(2000, 1, 1))
FORMULA: Final = "sent = numbers + repeated = stored + duplicate + rejected + missing"


class Unnumbered(Out):
    """Messages that carry no number: what became of them, and nothing of what was lost."""

    stored: int
    duplicate: int
    rejected: int


class Balance(Out):
    """What a gateway sent by its own numbering, and what became of it."""

    sent: int = Field(description="Numbers used, and messages under a number used before.")
    stored: int = Field(description="Something new of the message is in the table.")
    duplicate: int = Field(description="All that the message held had been stored before.")
    rejected: int = Field(description="Nothing of the message could be stored: see dead letters.")
    missing: int = Field(description="Numbers that never came, between two that did.")
    numbers: int = Field(description="Different numbers, missing ones among them.")
    repeated: int = Field(description="Messages under a number that had come before.")
    redelivered: int = Field(description="Sent twice by the broker; in none of the above.")
    unnumbered: Unnumbered


class Span(Balance):
    """The balance of a stretch of time."""

    start: Instant = Field(alias="from")
    provisional: bool = Field(description="Not over for 2 min: what is missing may be on its way.")


class Gap(Out):
    """Numbers that are missing."""

    first: int
    last: int
    since: Instant = Field(description="When the next higher number was received.")


FIGURES: Final[dict[str, Any]] = {
    "sent": 604,
    "stored": 598,
    "duplicate": 3,
    "rejected": 1,
    "missing": 2,
    "numbers": 601,
    "repeated": 3,
    "redelivered": 12,
    "unnumbered": {"stored": 0, "duplicate": 0, "rejected": 0},
}
GAP: Final[dict[str, Any]] = {"first": 88121, "last": 88122, "since": "2026-11-22T01:12:00.000Z"}


class BalanceOut(Out):
    """The balance of one gateway, exact to the moment of asking."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "gateway": "GW-12",
                    "enterprise": "E003",
                    "from": "2026-11-22T01:00:00.000Z",
                    "to": "2026-11-22T02:00:00.000Z",
                    "total": FIGURES,
                    "items": [FIGURES | {"from": "2026-11-22T01:12:00.000Z", "provisional": False}],
                    "gaps": [GAP],
                    "formula": FORMULA,
                }
            ]
        }
    )
    gateway: str
    enterprise: str
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    total: Balance
    items: list[Span] = Field(description="Spans in which nothing happened are left out.")
    gaps: list[Gap] = Field(description=f"Of this time, the first {MOST_GAPS}.")
    formula: str


@router.get(
    "/gateways/{gateway}/balance",
    dependencies=[require("balance.read")],
    responses=problems("not_found", "ambiguous", "invalid"),
)
async def get_balance(
    gateway: GatewayRef,
    conn: Conn,
    here: Here,
    now: Now,
    since: Annotated[
        AwareDatetime | None, Query(alias="from", description="Default 1 h ago; whole minutes.")
    ] = None,
    until: Annotated[
        AwareDatetime | None, Query(alias="to", description="Default now; whole minutes.")
    ] = None,
    bucket: Annotated[str, Query(description="Width of a span: 1m, 5m, 1h, …, at most 1d.")] = "1m",
) -> BalanceOut:
    """The message balance of a gateway, by spans of the minutes in which messages came.

    What comes late is booked when it came, and leaves what was missing. A day has a statement of
    its own. Minutes are kept for `balance_minute_days`.
    """
    width = bucket_width(bucket)
    if width % MINUTE or width > timedelta(days=1):
        raise Problem("invalid", f"bucket: found {bucket}, allowed whole minutes up to 1d")
    first, end = _minute(since or now - timedelta(hours=1)), -(-_seconds(until or now) // 60)
    if first > end or (end - first) * MINUTE / width > MOST_BUCKETS:
        raise Problem(
            "invalid", f"from, to: at most {MOST_BUCKETS} spans, the first before the last"
        )
    kept = here.settings.balance_minute_days
    if first < _minute(now - timedelta(days=kept)):
        raise Problem("invalid", f"from: minutes are kept for {kept} days; ask for days")
    identity = await lookup.gateway_id(conn, gateway)
    name = (await named(conn, [identity]))[identity]
    accounts, minutes, _ = await balance_store.balance_of(
        conn, [identity], (first, end), NO_DAYS, days_in(here.settings.tz)
    )
    return BalanceOut.model_validate(
        {
            "gateway": name["gateway"],
            "enterprise": name["enterprise"],
            "from": _instant(first),
            "to": _instant(end),
            "total": figures(total_of(minutes.values())),
            "items": _spans(minutes, width // MINUTE, here.settings.tz, now),
            "gaps": _gaps(accounts.get(identity, Account()), first, end),
            "formula": FORMULA,
        }
    )


GATEWAYS: Final = """
    SELECT gateway_id AS id, g.code AS gateway, e.code AS enterprise
      FROM gateway g JOIN enterprise e USING (enterprise_id)
     WHERE NOT e.internal
       AND (%(gateways)s::int[] IS NULL OR gateway_id = ANY (%(gateways)s))
       AND (%(enterprise)s::int IS NULL OR enterprise_id = %(enterprise)s)
     ORDER BY e.code, g.code"""


async def named(
    conn: Connection, gateways: list[int] | None, enterprise: int | None = None
) -> dict[int, dict[str, Any]]:
    """Codes of these gateways with their enterprises, in that order; None is all of them."""
    rows = await fetch(conn, GATEWAYS, {"gateways": gateways, "enterprise": enterprise})
    return {row["id"]: row for row in rows}


def figures(tally: Tally) -> dict[str, Any]:
    """A tally as it is shown."""
    shown = asdict(tally) | {"sent": tally.sent}
    fates = ("stored", "duplicate", "rejected")
    return shown | {"unnumbered": {name: shown[f"unnumbered_{name}"] for name in fates}}


def total_of(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def _spans(
    minutes: Mapping[tuple[int, int], Tally], width: int, tz: str, now: datetime
) -> list[dict[str, Any]]:
    """Minutes summed up in spans of `width` minutes, which begin where the clocks say so."""
    spans: dict[int, Tally] = {}
    zone = ZoneInfo(tz)
    for (_, minute), tally in minutes.items():
        offset = _instant(minute).astimezone(zone).utcoffset() or timedelta()
        ahead = offset // MINUTE
        start = (minute + ahead) // width * width - ahead
        spans.setdefault(start, Tally()).add(tally)
    return [
        figures(spans[start])
        | {
            "from": _instant(start),
            "provisional": _instant(start + width) + GRACE > now,
        }
        for start in sorted(spans)
        if spans[start] != Tally()
    ]


def _gaps(account: Account, first: int, end: int) -> list[dict[str, Any]]:
    gaps = sorted(
        (gap.minute, gap.first, gap.last)
        for series in account.series
        for gap in series.gaps
        if first <= gap.minute < end
    )
    return [
        {"first": first, "last": last, "since": _instant(minute)}
        for minute, first, last in gaps[:MOST_GAPS]
    ]


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


def _minute(instant: datetime) -> int:
    return _seconds(instant) // 60


def _instant(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
