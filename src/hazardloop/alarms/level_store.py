"""What hazard units hold and how their level changed, in PostgreSQL.

The caller owns the transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from hazardloop.alarms import ledger_store
from hazardloop.alarms.alarm import Actor
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.errors import InventoryOvertaken
from hazardloop.alarms.ledger_store import Act
from hazardloop.devices.catalog import DeviceKind
from hazardloop.devices.hazard_level import Level, Tables, Tank
from hazardloop.devices.unit_stock import Gauge, Inventory, Noted, Stock, reason_to_note

LOOK_BACK: Final = timedelta(days=1)
"""A level that is older tells nothing any more (house)."""
LEVEL_KIND: Final = "hazard_level"
LEVELS: Final = "LEVELS"
"""Code of the gateway of an enterprise that the levels of its units are told by."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A hazard unit and what it holds."""

    hazard_unit_id: int
    enterprise_id: int
    code: str
    revision: int
    """Of its inventory; 0: nobody has said what it holds."""
    changed_at: datetime | None
    changed_by: str | None
    inventory: Inventory
    described: tuple[Mapping[str, Any], ...]
    """The rows of its substances, with those of their tanks."""


LOAD: Final = """
    SELECT u.hazard_unit_id, u.enterprise_id, u.code, u.grade, i.people, i.changed_at, i.changed_by,
           coalesce(i.revision, 0) AS revision,
           (SELECT jsonb_agg(to_jsonb(s) || jsonb_build_object('tanks',
                       (SELECT jsonb_agg(to_jsonb(t) || jsonb_build_object(
                                   'device', d.code, 'level_m', depth.value,
                                   'read_at', depth.observed_at, 'celsius', warmth.value)
                                   ORDER BY d.code)
                          FROM unit_tank t JOIN device d USING (device_id)
                               LEFT JOIN point a ON a.device_id = d.device_id
                                                AND a.quantity = 'level'
                               LEFT JOIN point b ON b.device_id = d.device_id
                                                AND b.quantity = 'temperature'
                               LEFT JOIN LATERAL newest_usable_reading(a.point_id, %(since)s)
                                      AS depth ON true
                               LEFT JOIN LATERAL newest_usable_reading(b.point_id, %(since)s)
                                      AS warmth ON true
                         WHERE (t.hazard_unit_id, t.name) = (s.hazard_unit_id, s.name)))
                       ORDER BY s.name)
              FROM unit_substance s WHERE s.hazard_unit_id = u.hazard_unit_id) AS described
      FROM hazard_unit u LEFT JOIN unit_inventory i USING (hazard_unit_id)
     WHERE u.hazard_unit_id = %(unit)s OR (%(unit)s::int IS NULL AND i.revision IS NOT NULL)
     ORDER BY u.hazard_unit_id"""


async def load(conn: Connection, now: datetime, unit_id: int | None = None) -> list[Unit]:
    """That unit, or all of which it is known what they hold, with what their tanks told last."""
    wanted = {"unit": unit_id, "since": now - LOOK_BACK}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LOAD, wanted)
        return [_unit(row) for row in await cursor.fetchall()]


def _unit(row: Mapping[str, Any]) -> Unit:
    described = tuple(row["described"] or ())
    return Unit(
        row["hazard_unit_id"],
        row["enterprise_id"],
        row["code"],
        row["revision"],
        row["changed_at"],
        row["changed_by"],
        Inventory(row["people"], row["grade"], tuple(map(_stock, described))),
        described,
    )


def _stock(row: Mapping[str, Any]) -> Stock:
    gauges = tuple(map(_gauge, row["tanks"] or ()))
    return Stock(row["name"], row["threshold_t"], row["beta"], row["design_t"], gauges)


def _gauge(row: Mapping[str, Any]) -> Gauge:
    strapping = tuple(zip(row["levels_m"], row["volumes_m3"], strict=True))
    tank = Tank(strapping, row["density_t_m3"], row["density_at_cel"], row["expansion_per_k"])
    read_at = datetime.fromisoformat(row["read_at"]) if row["read_at"] else None
    return Gauge(row["device"], tank, row["level_m"], read_at, row["celsius"])


@dataclass(frozen=True, slots=True)
class TankPlan:
    """A tank as it is to be kept."""

    device_id: int
    tank: Tank


@dataclass(frozen=True, slots=True)
class SubstancePlan:
    """A substance as it is to be kept."""

    name: str
    substance: str | None
    hazard_class: str | None
    threshold_t: float
    beta: float
    design_t: float
    tanks: tuple[TankPlan, ...]


BEGIN: Final = """
    INSERT INTO unit_inventory (hazard_unit_id, enterprise_id, people, revision, changed_at,
                                changed_by)
    SELECT hazard_unit_id, enterprise_id, %(people)s, 1, %(now)s, %(by)s FROM hazard_unit
     WHERE hazard_unit_id = %(unit)s AND %(revision)s = 0
        ON CONFLICT DO NOTHING RETURNING revision"""
CHANGE: Final = """
    UPDATE unit_inventory SET people = %(people)s, revision = revision + 1, changed_at = %(now)s,
           changed_by = %(by)s
     WHERE hazard_unit_id = %(unit)s AND revision = %(revision)s RETURNING revision"""
CLEAR: Final = "DELETE FROM unit_substance WHERE hazard_unit_id = %(unit)s"
ADD_SUBSTANCE: Final = """
    INSERT INTO unit_substance (hazard_unit_id, enterprise_id, name, substance, class, threshold_t,
                                beta, design_t)
    VALUES (%(unit)s, %(enterprise)s, %(name)s, %(substance)s, %(hazard_class)s, %(threshold_t)s,
            %(beta)s, %(design_t)s)"""
ADD_TANK: Final = """
    INSERT INTO unit_tank (device_id, hazard_unit_id, enterprise_id, name, levels_m, volumes_m3,
                           density_t_m3, density_at_cel, expansion_per_k)
    VALUES (%(device)s, %(unit)s, %(enterprise)s, %(name)s, %(levels)s, %(volumes)s, %(density)s,
            %(at)s, %(expansion)s)"""


async def save(
    conn: Connection,
    unit: Unit,
    people: int | None,
    plans: Sequence[SubstancePlan],
    actor: Actor,
    now: datetime,
) -> None:
    """Puts these in place of all that the unit held. InventoryOvertaken: changed since `unit`."""
    said: dict[str, Any] = _place(unit) | {"people": people}
    said |= {"now": now, "by": actor.username, "revision": unit.revision}
    begun = await conn.execute(CHANGE if unit.revision else BEGIN, said)
    if begun.rowcount == 0:
        raise InventoryOvertaken(unit.code, unit.revision)
    await conn.execute(CLEAR, said)
    for plan in plans:
        row = {name: getattr(plan, name) for name in SubstancePlan.__slots__ if name != "tanks"}
        await conn.execute(ADD_SUBSTANCE, said | row)
        for one in plan.tanks:
            await conn.execute(ADD_TANK, said | {"name": plan.name} | _columns(one))
    body: dict[str, Any] = {"people": people, "revision": unit.revision + 1}
    body |= {"design_t": {plan.name: plan.design_t for plan in plans}}
    who = (actor.username, actor.role, now, None, body, unit.enterprise_id)
    await ledger_store.note_act(
        conn, Act("hazard_unit", str(unit.hazard_unit_id), "inventory", *who)
    )


def _place(unit: Unit) -> dict[str, Any]:
    return {"unit": unit.hazard_unit_id, "enterprise": unit.enterprise_id}


def _columns(one: TankPlan) -> dict[str, Any]:
    levels, volumes = zip(*one.tank.strapping, strict=True)
    return {
        "device": one.device_id,
        "levels": list(levels),
        "volumes": list(volumes),
        "density": one.tank.density_t_m3,
        "at": one.tank.density_at_cel,
        "expansion": one.tank.expansion_per_k,
    }


# The secrets match nothing: nobody logs in as this gateway, the clerk reports for it.
ADD_GATEWAY: Final = """
    INSERT INTO gateway (enterprise_id, code, name, mqtt_username, secret_bcrypt, secret_pbkdf2,
                         internal)
    SELECT enterprise_id, %(levels)s, '危险源实时级别', code || '.' || %(levels)s, '', '', true
      FROM enterprise WHERE enterprise_id = %(enterprise)s
        ON CONFLICT DO NOTHING"""
ADD_DEVICE: Final = """
    INSERT INTO device (enterprise_id, gateway_id, hazard_unit_id, code, kind, name)
    SELECT g.enterprise_id, g.gateway_id, u.hazard_unit_id, left('LEVEL-' || u.code, 64), %(kind)s,
           u.name
      FROM hazard_unit u JOIN gateway g ON g.enterprise_id = u.enterprise_id
                                       AND g.code = %(levels)s
     WHERE u.hazard_unit_id = %(unit)s
       AND NOT EXISTS (SELECT FROM device d
                        WHERE d.hazard_unit_id = u.hazard_unit_id AND d.kind = %(kind)s)
        ON CONFLICT DO NOTHING RETURNING device_id"""
ADD_POINTS: Final = """
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT %(device)s, %(enterprise)s, made.quantity, made.unit
      FROM unnest(%(quantities)s::text[], %(units)s::text[]) AS made (quantity, unit)"""


async def ensure_device(conn: Connection, unit: Unit, kind: DeviceKind) -> None:
    """Makes the device that tells the unit's level, unless it has one."""
    said = _place(unit) | {"kind": kind.code, "levels": LEVELS}
    await conn.execute(ADD_GATEWAY, said)
    made = await (await conn.execute(ADD_DEVICE, said)).fetchone()
    if made is not None:
        units = [quantity.unit for quantity in kind.quantities.values()]
        told = {"device": made[0], "quantities": list(kind.quantities), "units": units}
        await conn.execute(ADD_POINTS, said | told)


LAST: Final = """
    SELECT revision, r, grade FROM unit_level WHERE hazard_unit_id = %(unit)s
     ORDER BY noted_at DESC LIMIT 1"""
NOTE: Final = """
    INSERT INTO unit_level (hazard_unit_id, enterprise_id, noted_at, reason, revision, s, r, alpha,
                            grade, was_r, was_grade, quantities)
    VALUES (%(unit)s, %(enterprise)s, %(now)s, %(reason)s, %(revision)s, %(s)s, %(r)s, %(alpha)s,
            %(grade)s, %(was_r)s, %(was_grade)s, %(quantities)s)
        ON CONFLICT DO NOTHING"""


async def note_level(conn: Connection, unit: Unit, now: datetime, tables: Tables) -> Level:
    """The unit's live level; a line of its history where it changed, with reason and old value."""
    level = unit.inventory.live_level(now, tables)
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LAST, {"unit": unit.hazard_unit_id})
        row = await cursor.fetchone()
    last = Noted(row["revision"], row["r"], row["grade"]) if row else None
    reason = reason_to_note(last, Noted(unit.revision, level.r, level.grade))
    if reason is not None:
        known = {one.name: one.live(now) for one in unit.inventory.stocks}
        said = _place(unit) | {"now": now, "reason": reason, "revision": unit.revision}
        said |= {"s": level.s, "r": level.r}
        said |= {"alpha": level.alpha, "grade": level.grade}
        said |= {"was_r": last and last.r, "was_grade": last and last.grade}
        await conn.execute(NOTE, said | {"quantities": Jsonb(known)})
    return level
