"""A worker that restarts goes by what the running one goes by, and tells the same of what comes."""

import random
import time

import numpy as np
import pytest

from hazardloop.alarms import evaluation
from hazardloop.alarms.memory import Memory, told
from hazardloop.devices.readings import Quality, Readings
from hazardloop.ingest.repeats import nothing_seen, novelty, see
from hazardloop.ingest.store import stored_already
from hazardloop.service.database import connect
from hazardloop.service.keeping import Keeper
from hazardloop.service.remembering import remembered
from hazardloop.service.settings import Settings
from hazardloop.service.site import Site, load_site
from hazardloop.service.work import Work
from tests import worlds
from tests.worlds import PATIENCE_S

DEVICES = {"GD-1": "gas_detector", "TK-1": "tank", "SD-1": "smoke_detector"}
SECOND_US = 1_000_000
LEVELS = {
    "GD-1.lel": (5.0, 24.0, 25.0, 30.0, 50.0, 60.0),
    "TK-1.level": (0.1, 5.0, 9.0, 9.6, 12.0),
    "SD-1.smoke": (0.0, 1.0),
}


def batch(site: Site, chance: random.Random, start_us: int, now_s: int) -> Readings:
    """Some readings of one kind: live, or kept offline for long, or for a moment."""
    rows = {site.registry.points[row].code: row for row in site.registry.row_of.rows.tolist()}
    kept = chance.random() < 0.6
    said = [(code, chance.choice(values), now_s - (chance.randrange(900) if kept else 0))
            for code, values in LEVELS.items() for _ in range(1 + 4 * kept)]  # fmt: skip
    quality = int(Quality.BACKFILL) if kept else 0
    n = len(said)
    return Readings(
        np.array([rows[code] for code, _, _ in said], np.int32),
        np.array([start_us + at * SECOND_US for _, _, at in said], np.int64),
        np.full(n, start_us + now_s * SECOND_US, np.int64),
        np.array([value for _, value, _ in said]),
        np.full(n, quality, np.int16),
        np.zeros(n, np.int32),
    )


def known(site: Site, memory: Memory) -> tuple[object, ...]:
    """All that a worker goes by, in an order that nothing depends on."""
    cells, alarms, finds = told(site.table, memory)
    spoken = np.flatnonzero(np.isfinite(memory.newest_value))
    return (
        sorted((c.rule_id, c.point_id, c.tier, c.holds, c.since_us or 0)
               for c in cells if not c.at_rest),
        sorted((a.rule_id, a.point_id, a.tier, a.raised_us, a.late) for a in alarms),
        [(f.rule_id, f.point_id, f.tier, f.raised_us, f.cleared_us)
         for f in sorted(finds, key=lambda each: (each.rule_id, each.point_id))],
        memory.newest_at.tolist(),
        memory.newest_value[spoken].tolist(),
        memory.newest_late.tolist(),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_a_restart_changes_nothing_of_what_is_found_in_old_data(
    database: str, seed: int
) -> None:
    worlds.register(database, DEVICES)
    chance, start_us = random.Random(seed), time.time_ns() // 1000 - 7_200 * SECOND_US
    keeper = Keeper(database, give_up_s=PATIENCE_S)
    async with await connect(database, "test") as connection:
        site = await load_site(connection, Settings(database_url=database))
        memory, seen, _ = await remembered(connection, site)
        assert known(site, memory)[0] == []
        assert (seen == nothing_seen(len(site.registry))).all()
        finds = 0
        for turn in range(40):
            heard = batch(site, chance, start_us, now_s := 1_000 + 30 * turn)
            stored = await stored_already(connection, heard, site.registry.point_id)
            fresh = heard.take(~novelty(heard, seen).repeated & ~stored)
            see(fresh, seen)
            outcome = evaluation.merge(
                evaluation.evaluate(site.table, memory, fresh),
                evaluation.tick(site.table, memory, start_us + now_s * SECOND_US),
            )
            await keeper.keep(Work(site.registry, outcome, readings=fresh))
            restarted, seen_then, _ = await remembered(connection, site)
            assert known(site, restarted) == known(site, memory), f"turn {turn}"
            np.testing.assert_array_equal(seen_then, seen)
            finds = max(finds, len(known(site, memory)[2]))  # type: ignore[arg-type]
        assert finds > 3
    await keeper.close()
