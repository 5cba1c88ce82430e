"""Which devices reported, and were blind for how long, against a plain count over the readings."""

import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.readings import Quality
from hazardloop.ingest import connectivity, rollups
from hazardloop.service.database import Connection, connect
from tests import worlds

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime.now(UTC).astimezone(ZONE)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
SLOT = timedelta(minutes=2)
"""Of three intervals of 40 s."""
REGISTERED = TODAY - DAY + timedelta(hours=3, minutes=1)
DEVICES = {"GD-1": "gas_detector", "EL-1": "elevator", "SD-1": "smoke_detector"}


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Connection]:
    async with await connect(database, "test") as connection:
        yield connection


def some_course(chance: random.Random) -> list[tuple[datetime, float, int]]:
    """Readings since the day before yesterday, with silences and bad times."""
    told, at, quality = [], TODAY - 2 * DAY, 0
    while at < NOW:
        at += timedelta(seconds=chance.choice([20, 40, 60, 200, 1000]))
        if chance.random() < 0.05:
            quality = chance.choice([0, int(Quality.NOT_A_NUMBER), int(Quality.OUT_OF_RANGE)])
        value = math.nan if quality & Quality.NOT_A_NUMBER else float(chance.random() < 0.5)
        told.append((at, value, quality))
    return told


async def test_slots_are_counted_as_a_loop_over_the_readings_counts_them(
    conn: Connection, database: str
) -> None:
    points = worlds.register(database, DEVICES, interval_s=40)
    await conn.execute("UPDATE device SET created_at = %s", [REGISTERED])
    chance = random.Random(7)
    reported = ("GD-1.lel", "GD-1.in_service", "EL-1.floor", "EL-1.entrapment", "SD-1.battery")
    courses = {name: some_course(chance) for name in reported}
    await conn.execute(
        "SELECT ensure_reading_partitions(%s, %s)", [(TODAY - 3 * DAY).date(), NOW.date()]
    )
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO reading VALUES (%s, %s, %s, %s, %s)",
            [
                (points[name], at, at, value, quality)
                for name, course in courses.items()
                for at, value, quality in course
            ],
        )
    await rollups.roll(conn)
    cursor = await conn.execute(connectivity.KNOWN_TO)
    (known_to,) = await cursor.fetchone() or (None,)
    assert known_to is not None
    catalog = shipped_catalog()
    looked_at = [(rule.device_kind, rule.quantity) for rule in catalogue_rules(catalog)]
    what = connectivity.watched(catalog, looked_at)
    assert await connectivity.tally(conn, what, keep_days=1, zone=ZONE) == (
        known_to.astimezone(ZONE).date()
    )
    for _ in range(2):  # counted again, it is the same
        found = await conn.execute(
            "SELECT code, day, slots, seen, usable, in_service FROM device_day"
            " JOIN device USING (device_id) ORDER BY 1, 2"
        )
        assert await found.fetchall() == expected(courses, known_to)
        await conn.execute("UPDATE device_day SET until = until - interval '1 hour'")
        await connectivity.tally(conn, what, keep_days=1, zone=ZONE)


def expected(
    courses: dict[str, list[tuple[datetime, float, int]]], known_to: datetime
) -> list[tuple[object, ...]]:
    """The same by looking at each slot."""
    sees_hazards = {"GD-1": {"lel"}, "SD-1": {"smoke"}, "EL-1": {"floor"}}
    rows: list[tuple[object, ...]] = []
    for device in sorted(DEVICES):
        for day in (TODAY - DAY, TODAY):
            since = day + math.ceil((max(REGISTERED, day) - day) / SLOT) * SLOT
            slots = (min(day + DAY, known_to) - since) // SLOT
            if slots <= 0:
                continue
            seen, usable, service = set(), set(), {}
            for name, course in courses.items():
                code, _, quantity = name.partition(".")
                for at, value, quality in course if code == device else ():
                    slot = (at - since) // SLOT
                    if not 0 <= slot < slots:
                        continue
                    seen.add(slot)
                    if quality == 0 and quantity in sees_hazards[device]:
                        usable.add(slot)
                    if quality == 0 and quantity == "in_service":
                        service[at] = value != 0
            said = service[max(service)] if service else None
            rows.append((device, day.date(), slots, len(seen), len(usable), said))
    return rows


def test_what_a_device_says_of_itself_shows_no_hazard() -> None:
    catalog = shipped_catalog()
    by_kind = defaultdict(set)
    for rule in catalogue_rules(catalog):
        by_kind[rule.device_kind].add(rule.quantity)
    what = connectivity.watched(
        catalog, [(kind, code) for kind, codes in by_kind.items() for code in codes]
    )
    told = dict(zip(what.kinds, what.quantities, strict=True))
    assert told["gas_detector"] == "lel ppm"
    assert told["smoke_detector"].split() == ["smoke", "temperature"]
    assert "platform" not in told
