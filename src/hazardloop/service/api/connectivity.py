"""Whether what is registered reports: coverage, online rate, what is installed and in service."""

from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms.figures import floored_share
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Now, require
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.required_devices import REQUIRED, RequiredOut, UnitRefOut
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Instant, Out
from hazardloop.service.api.site import Zone
from hazardloop.service.api.spoken import ReadIn, formula_in

router = APIRouter(tags=["figures"])

USUAL: Final = timedelta(days=7)
LONGEST: Final = timedelta(days=366)
MOST_NAMED: Final = 100

FORMULA: Final = (
    "Whole days of the service's time zone from `from` to `to`, today as far as it is counted"
    " (as_of). A device has to be"
    " heard once in every slot of three expected intervals (at least a minute): online_rate ="
    " slots in which it was / slots, floored to 0.001. blind_minutes = minutes of slots in which it"
    " had no usable value of anything a rule looks at. coverage = hazard units of which at least"
    " one device was heard / hazard units registered. installed_rate = devices registered, at most"
    " as many as required / devices required. in_service_rate = devices neither out of service by"
    " permit nor by their own word, and usable on the last day / devices registered."
)


class SplitBy(StrEnum):
    """By what connectivity may be split."""

    ENTERPRISE = "enterprise"
    AREA = "area"
    KIND = "kind"
    HAZARD_UNIT = "hazard_unit"


KEYS: Final = {
    None: "''",
    SplitBy.ENTERPRISE: "e.code",
    SplitBy.AREA: "e.area",
    SplitBy.KIND: "d.kind",
    SplitBy.HAZARD_UNIT: "coalesce(e.code || '/' || u.code, '')",
}

# A device that is registered counts even where nothing was ever counted of it; what the service
# itself reports does not.
DEVICES: Final = """
    WITH day AS (
        SELECT device_id, sum(slots) AS slots, sum(seen) AS seen, max(until) AS until,
               sum((slots - usable) * slot_s) / 60 AS blind_minutes,
               (array_agg(usable > 0 ORDER BY day DESC))[1] AS usable,
               (array_agg(in_service ORDER BY day DESC)
                FILTER (WHERE in_service IS NOT NULL))[1] AS in_service
          FROM device_day WHERE day BETWEEN %(first)s AND %(last)s GROUP BY device_id
    ), counted AS (
        SELECT d.device_id, d.code, d.kind, d.enterprise_id, d.hazard_unit_id, {key} AS key,
               e.code AS enterprise, day.until,
               coalesce(slots, 0) AS slots, coalesce(seen, 0) AS seen,
               coalesce(blind_minutes, 0) AS blind_minutes,
               coalesce(usable, false) AND coalesce(in_service, true)
               AND NOT EXISTS (SELECT FROM alarm_hold h
                                WHERE h.device_id = d.device_id AND h.kind = 'out_of_service'
                                  AND h.point_id IS NULL AND h.granted_at IS NOT NULL
                                  AND h.ended_at IS NULL AND h.until > %(now)s) AS serving
          FROM device d JOIN enterprise e USING (enterprise_id)
               JOIN gateway g ON g.gateway_id = d.gateway_id
               LEFT JOIN hazard_unit u USING (hazard_unit_id)
               LEFT JOIN day USING (device_id)
         WHERE d.created_at < %(to)s AND NOT d.internal AND NOT g.internal
           AND (d.enterprise_id = %(enterprise)s OR %(enterprise)s::int IS NULL AND NOT e.internal)
    )"""

GROUPS: Final = """
    SELECT key, count(*) AS devices, count(*) FILTER (WHERE seen > 0) AS reporting,
           count(*) FILTER (WHERE serving) AS in_service, sum(slots)::bigint AS slots,
           sum(seen)::bigint AS seen, sum(blind_minutes)::bigint AS blind_minutes,
           max(until) AS until
      FROM counted GROUP BY key ORDER BY key"""

WORST: Final = """
    SELECT enterprise, code AS device, kind, slots, seen, blind_minutes
      FROM counted WHERE blind_minutes > 0 OR seen = 0
     ORDER BY seen = 0 DESC, blind_minutes DESC, enterprise, code LIMIT %(most)s"""

UNITS: Final = """
    SELECT u.code, e.code AS enterprise,
           coalesce(sum(counted.seen), 0) > 0 AS reporting
      FROM hazard_unit u JOIN enterprise e USING (enterprise_id)
           LEFT JOIN counted USING (hazard_unit_id)
     WHERE u.created_at < %(to)s
       AND (u.enterprise_id = %(enterprise)s OR %(enterprise)s::int IS NULL AND NOT e.internal)
     GROUP BY u.hazard_unit_id, e.code ORDER BY e.code, u.code"""


class Connectivity(Out):
    """How the devices of a group reported."""

    devices: int
    reporting: int = Field(description="Heard at least once in the period.")
    in_service: int
    in_service_rate: float | None
    online_rate: float | None = Field(description="Floored to 0.001; null: nothing counted.")
    blind_minutes: int = Field(description="Of all its devices together.")


class ConnectivityGroup(Connectivity):
    """The same for one group."""

    key: str


class WorstDevice(Out):
    """A device that was silent or blind."""

    enterprise: str
    device: str
    kind: str
    online_rate: float | None
    blind_minutes: int


EXAMPLE: Final[dict[str, Any]] = {
    "from": "2026-11-15",
    "to": "2026-11-22",
    "as_of": "2026-11-22T01:00:00.000Z",
    "devices": 640,
    "reporting": 639,
    "in_service": 636,
    "in_service_rate": 0.9937,
    "online_rate": 0.998,
    "blind_minutes": 12960,
    "hazard_units": 24,
    "hazard_units_reporting": 24,
    "coverage": 1.0,
    "missing": [],
    "required": 300,
    "installed": 298,
    "installed_rate": 0.9933,
    "lacking": [
        {
            "enterprise": "E012",
            "hazard_unit": "HU-1",
            "kind": "gas_detector",
            "required": 12,
            "installed": 10,
        }
    ],
    "worst": [],
    "groups": [],
    "formula": FORMULA,
}


class ConnectivityOut(Connectivity):
    """Coverage, online rate (在线率), installed (装备率) and in service (使用率), kept apart."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    as_of: Instant | None = Field(description="Up to when it is counted.")
    hazard_units: int
    hazard_units_reporting: int
    coverage: float | None
    missing: list[UnitRefOut] = Field(description=f"At most {MOST_NAMED} of those not heard.")
    required: int
    installed: int = Field(description="Of those required.")
    installed_rate: float | None = Field(description="Null where nothing is required.")
    lacking: list[RequiredOut]
    worst: list[WorstDevice] = Field(description=f"At most {MOST_NAMED}, silent ones first.")
    groups: list[ConnectivityGroup]
    formula: str


@router.get(
    "/kpi/connectivity",
    dependencies=[require("figures.read")],
    responses=problems("not_found", "invalid"),
)
async def get_connectivity(
    conn: Conn,
    now: Now,
    zone: Zone,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="7 days ago.")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="Now.")] = None,
    group_by: SplitBy | None = None,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    language: ReadIn = None,
) -> ConnectivityOut:
    """Which registered sources report, how steadily, and how long they were blind."""
    end = end or now
    start = start or end - USUAL
    if not start < end <= start + LONGEST:
        raise Problem("invalid", "from, to: a period of up to 366 days, its start before its end")
    only = enterprise and await lookup.enterprise_id(conn, enterprise)
    wanted = {
        "first": start.astimezone(zone).date(),
        "last": end.astimezone(zone).date(),
        "to": end,
        "now": now,
        "enterprise": only or None,
        "most": MOST_NAMED,
    }
    counted = DEVICES.format(key=KEYS[None])
    whole = await fetch_one(conn, counted + GROUPS, wanted)
    units = await fetch(conn, counted + UNITS, wanted)
    required = await fetch(conn, REQUIRED, wanted | {"unit": None})
    groups = (
        await fetch(conn, DEVICES.format(key=KEYS[group_by]) + GROUPS, wanted) if group_by else []
    )
    return ConnectivityOut.model_validate(
        _rates(whole or NOTHING)
        | _coverage(units)
        | _installed(required)
        | {
            "from": wanted["first"],
            "to": wanted["last"],
            "as_of": whole and whole["until"],
            "worst": [
                one | {"online_rate": _online(one)}
                for one in await fetch(conn, counted + WORST, wanted)
            ],
            "groups": [_rates(one) for one in groups],
            "formula": formula_in(language, "connectivity", FORMULA),
        }
    )


NOTHING: Final[dict[str, Any]] = dict.fromkeys(
    ("devices", "reporting", "in_service", "slots", "seen", "blind_minutes"), 0
)


def _rates(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "in_service_rate": floored_share(row["in_service"], row["devices"]),
        "online_rate": _online(row),
    }


def _online(row: dict[str, Any]) -> float | None:
    """To 0.1 %, cut: 1.0 means every slot."""
    slots = int(row["slots"])
    return None if slots == 0 else int(row["seen"]) * 1_000 // slots / 1_000


def _coverage(units: list[dict[str, Any]]) -> dict[str, Any]:
    missing = [
        {"enterprise": one["enterprise"], "hazard_unit": one["code"]}
        for one in units
        if not one["reporting"]
    ]
    return {
        "hazard_units": len(units),
        "hazard_units_reporting": len(units) - len(missing),
        "coverage": floored_share(len(units) - len(missing), len(units)),
        "missing": missing[:MOST_NAMED],
    }


def _installed(required: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = sum(one["required"] for one in required)
    installed = sum(min(one["installed"], one["required"]) for one in required)
    return {
        "required": wanted,
        "installed": installed,
        "installed_rate": floored_share(installed, wanted),
        "lacking": [one for one in required if one["installed"] < one["required"]],
    }
