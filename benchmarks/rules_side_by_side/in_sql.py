"""The rules as SQL over a table of what is remembered, evaluated anew for each batch (DuckDB).

python in_sql.py FOLDER POINTS ROUNDS INTERVAL_US: prints changes and processor seconds. Needs
DuckDB and numpy, in a Python of its own if need be.
"""

import json
import sys
import time

import duckdb
import numpy as np

REMEMBERED = """
    CREATE TABLE remembered AS
    SELECT point::INT AS point, l.rule, l.nth, l.tier, l.high, l.value AS bound, l.deadband,
           l.off_delay, false AS holds, NULL::BIGINT AS since
      FROM range(?) p(point), limits l"""
BEFORE = """
    CREATE OR REPLACE TEMP TABLE before AS
    SELECT point, rule, max(CASE WHEN holds THEN tier ELSE 0 END) AS tier
      FROM remembered WHERE point IN (SELECT point FROM batch) GROUP BY point, rule"""
EVALUATE = """
    UPDATE remembered r SET
        holds = CASE WHEN NOT r.holds THEN beyond
                     WHEN kept THEN true
                     ELSE b.at - coalesce(r.since, b.at) < r.off_delay END,
        since = CASE WHEN NOT r.holds OR kept THEN NULL
                     WHEN b.at - coalesce(r.since, b.at) >= r.off_delay THEN NULL
                     ELSE coalesce(r.since, b.at) END
      FROM (SELECT x.point, x.rule, x.nth, b.at,
                   CASE WHEN x.high THEN b.value >= x.bound ELSE b.value <= x.bound END AS beyond,
                   CASE WHEN x.high THEN b.value >= x.bound - x.deadband
                        ELSE b.value <= x.bound + x.deadband END AS kept
              FROM batch b JOIN remembered x USING (point)) b
     WHERE r.point = b.point AND r.rule = b.rule AND r.nth = b.nth"""
CHANGES = """
    SELECT count(*) FROM (
        SELECT point, rule, max(CASE WHEN holds THEN tier ELSE 0 END) AS tier
          FROM remembered WHERE point IN (SELECT point FROM batch) GROUP BY point, rule) a
      JOIN before USING (point, rule) WHERE a.tier <> before.tier"""


def main() -> None:
    """Runs the rounds."""
    folder, points, rounds, interval_us = sys.argv[1], *map(int, sys.argv[2:])
    with open(f"{folder}/rules.json", encoding="utf-8") as file:
        rules = json.load(file)
    base = duckdb.connect()
    base.execute("SET threads = 1")
    base.execute(
        "CREATE TABLE limits (rule INT, nth INT, tier INT, high BOOL, value DOUBLE,"
        " deadband DOUBLE, off_delay BIGINT)"
    )
    base.executemany(
        "INSERT INTO limits VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (r, n, each["tier"], rule["high"], each["limit"], rule["deadband"], rule["offDelayUs"])
            for r, rule in enumerate(rules)
            for n, each in enumerate(rule["limits"])
        ],
    )
    base.execute(REMEMBERED, [points]).fetchall()
    changes, seconds = 0, []
    for nth in range(rounds):
        value = np.fromfile(f"{folder}/round-{nth}.bin")
        point = np.arange(points, dtype=np.int32)
        at = np.full(points, nth * interval_us, np.int64)
        batch = {"point": point, "at": at, "value": value}
        start = time.process_time()
        base.register("batch", batch)
        base.execute(BEFORE).fetchall()
        base.execute(EVALUATE).fetchall()
        ((found,),) = base.execute(CHANGES).fetchall()
        seconds.append(time.process_time() - start)
        changes += found
    print(json.dumps({"changes": changes, "seconds": seconds}))


if __name__ == "__main__":
    main()
