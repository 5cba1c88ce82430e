"""What hazard units hold, their level by GB 18218, and whether more may come in."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from hazardloop.alarms import level_store
from hazardloop.alarms.level_store import LEVEL_KIND, SubstancePlan, TankPlan, Unit
from hazardloop.devices.hazard_level import Held, Level, shipped_tables
from hazardloop.devices.unit_stock import Change, Gauge, Stock, prospect
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Actor, Conn, Here, Now, require
from hazardloop.service.api.hazard_level_forms import (
    InventoryIn,
    InventoryOut,
    LevelPart,
    NotedOut,
    SubstanceIn,
    SubstanceOut,
    TankOut,
    UnitLevelOut,
    WhatIfIn,
    WhatIfOut,
)
from hazardloop.service.api.hazard_units import UnitRef, hazard_unit_by_id
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.database import Connection

router = APIRouter(tags=["registry"])

TABLES: Final = shipped_tables()


async def _unit(conn: Connection, ref: str, now: datetime) -> Unit:
    identity = await lookup.hazard_unit_id(conn, ref)
    (unit,) = await level_store.load(conn, now, identity)
    return unit


@router.get(
    "/hazard-units/{hazard_unit}/substances",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def get_substances(hazard_unit: UnitRef, conn: Conn, now: Now) -> InventoryOut:
    """What the unit holds: design quantities, and live ones as far as tanks tell."""
    return _inventory(await _unit(conn, hazard_unit, now), now)


@router.put(
    "/hazard-units/{hazard_unit}/substances",
    dependencies=[require("registry.write")],
    responses=problems("not_found", "ambiguous", "overtaken", "exists"),
)
async def put_substances(
    hazard_unit: UnitRef, body: InventoryIn, conn: Conn, here: Here, account: Actor, now: Now
) -> InventoryOut:
    """Say all that the unit holds; its live level is watched from then on by a device of its own.

    That device is `LEVEL-` and the unit's code, at a gateway LEVELS that nobody can log in as.
    """
    unit = await _unit(conn, hazard_unit, now)
    if body.revision != unit.revision:
        raise Problem(
            "overtaken", f"the inventory is at revision {unit.revision}", revision=unit.revision
        )
    plans = [await _plan(conn, unit, one) for one in body.substances]
    await level_store.save(conn, unit, body.people, plans, account.as_actor, now)
    await level_store.ensure_device(conn, unit, here.kinds[LEVEL_KIND])
    (after,) = await level_store.load(conn, now, unit.hazard_unit_id)
    await level_store.note_level(conn, after, now, TABLES)
    return _inventory(after, now)


async def _plan(conn: Connection, unit: Unit, given: SubstanceIn) -> SubstancePlan:
    """The substance with its Q and beta. Problem invalid: the tables or the unit have none such."""
    try:
        threshold_t, beta = TABLES.weight(given.substance, given.hazard_class)
    except KeyError as error:
        raise Problem("invalid", f"{given.name}: GB 18218 has no {error.args[0]!r}") from error
    except ValueError as error:
        raise Problem("invalid", f"{given.name}: {error}") from error
    tanks = tuple(
        [TankPlan(await _tank(conn, unit, one.device), one.tank()) for one in given.tanks]
    )
    said = (given.name, given.substance, given.hazard_class, threshold_t, beta, given.design_t)
    return SubstancePlan(*said, tanks)


TANK: Final = """
    SELECT d.device_id, p.unit, t.hazard_unit_id, u.code FROM device d
           LEFT JOIN point p ON p.device_id = d.device_id AND p.quantity = 'level'
           LEFT JOIN unit_tank t ON t.device_id = d.device_id
           LEFT JOIN hazard_unit u ON u.hazard_unit_id = t.hazard_unit_id
     WHERE d.enterprise_id = %(enterprise)s AND d.code = %(device)s"""


async def _tank(conn: Connection, unit: Unit, device: str) -> int:
    """Id of a tank that can be the unit's. Problem invalid: it cannot."""
    code = device.rpartition(":")[2]
    row = await fetch_one(conn, TANK, {"enterprise": unit.enterprise_id, "device": code})
    if row is None:
        raise Problem("invalid", f"the enterprise has no device {device}")
    if row["unit"] != "m":
        raise Problem("invalid", f"{device} measures no level in m")
    if row["hazard_unit_id"] not in (None, unit.hazard_unit_id):
        raise Problem("invalid", f"{device} is a tank of hazard unit {row['code']}")
    return int(row["device_id"])


@router.get(
    "/hazard-units/{hazard_unit}/level",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def get_level(hazard_unit: UnitRef, conn: Conn, now: Now) -> UnitLevelOut:
    """The registered grade beside those by design and by what is there now, written out."""
    unit = await _unit(conn, hazard_unit, now)
    inventory = unit.inventory
    known = await hazard_unit_by_id(conn, unit.hazard_unit_id)
    design, live = inventory.design, inventory.live(now)
    return UnitLevelOut.model_validate(
        {
            "hazard_unit": {"id": known.id, "code": known.code, "name": known.name},
            "registered_grade": inventory.registered,
            "people": inventory.people,
            "design": _part(design, inventory.design_level(TABLES)),
            "live": _part(live, inventory.live_level(now, TABLES)),
            "at": now,
            "substances": _substances(unit, now),
        }
    )


@router.post(
    "/hazard-units/{hazard_unit}/what-if",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def ask_what_if(hazard_unit: UnitRef, body: WhatIfIn, conn: Conn, now: Now) -> WhatIfOut:
    """Whether so much may come in (may this truck unload?); nothing is changed by asking.

    What nobody has measured within a quarter of an hour counts as full, and is no yes.
    """
    unit = await _unit(conn, hazard_unit, now)
    changes = [Change(one.name, one.add_t, one.device) for one in body.changes]
    try:
        found = prospect(unit.inventory, changes, now, TABLES)
    except KeyError as error:
        raise Problem("invalid", f"{unit.code} has no {error.args[0]}") from error
    except ValueError as error:
        raise Problem("invalid", str(error)) from error
    return WhatIfOut.model_validate(
        {
            "allowed": found.allowed,
            "crossings": found.crossings,
            "before": _part(found.held_before, found.before),
            "after": _part(found.held_after, found.after),
        }
    )


HISTORY: Final = """
    SELECT noted_at, reason, s, r, alpha, grade, was_r, was_grade, quantities FROM unit_level
     WHERE hazard_unit_id = %(unit)s ORDER BY noted_at DESC LIMIT %(limit)s"""


@router.get(
    "/hazard-units/{hazard_unit}/level-history",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def list_levels(
    hazard_unit: UnitRef, conn: Conn, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[NotedOut]:
    """How the live level changed, the newest first: when, why, and what it was before."""
    identity = await lookup.hazard_unit_id(conn, hazard_unit)
    rows = await fetch(conn, HISTORY, {"unit": identity, "limit": limit})
    return [NotedOut.model_validate(row) for row in rows]


def _inventory(unit: Unit, now: datetime) -> InventoryOut:
    return InventoryOut(
        revision=unit.revision,
        people=unit.inventory.people,
        changed_at=unit.changed_at,
        changed_by=unit.changed_by,
        substances=_substances(unit, now),
    )


def _substances(unit: Unit, now: datetime) -> list[SubstanceOut]:
    return [
        _substance(row, stock, now)
        for row, stock in zip(unit.described, unit.inventory.stocks, strict=True)
    ]


def _substance(row: Mapping[str, Any], stock: Stock, now: datetime) -> SubstanceOut:
    live_t, known = stock.live(now)
    return SubstanceOut.model_validate(
        {name: row[name] for name in ("name", "substance", "threshold_t", "beta", "design_t")}
        | {"hazard_class": row["class"], "live_t": live_t, "known": known}
        | {"tanks": [_gauge(gauge, now) for gauge in stock.gauges]}
    )


def _gauge(gauge: Gauge, now: datetime) -> TankOut:
    mass_t, known = gauge.mass_t(now)
    told = {"device": gauge.device, "level_m": gauge.level_m, "read_at": gauge.read_at}
    told |= {"celsius": gauge.celsius, "mass_t": mass_t, "known": known}
    return TankOut.model_validate(asdict(gauge.tank) | told | {"full_t": gauge.tank.full_t})


def _part(held: Sequence[Held], level: Level) -> LevelPart:
    shares = [f"{one.mass_t:.12g}/{one.threshold_t:g}" for one in held] or ["0"]
    weighted = [
        f"{one.beta:g} × {share}" for one, share in zip(held, shares, strict=bool(held))
    ] or ["0"]
    return LevelPart(
        s=level.s,
        alpha=level.alpha,
        r=level.r,
        grade=level.grade,
        next_at=level.next_at,
        arithmetic=[
            f"S = {' + '.join(shares)} = {level.s:.12g}",
            f"R = {level.alpha:g} × ({' + '.join(weighted)}) = {level.r:.12g}",
        ],
    )
