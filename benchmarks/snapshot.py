"""What a snapshot costs a worker with that many points, and how long a start from it takes.

    python benchmarks/snapshot.py --points 500000 --alarms 20000

Prints one JSON object: what holds the stream while the snapshot is taken, the longest that the
stream waits for the interpreter while it is written beside it, its CPU seconds and bytes, and the
seconds until a worker has registry, rules and memory back from it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hazardloop.alarms import evaluation
from hazardloop.alarms.memory import new_memory
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.readings import Readings
from hazardloop.ingest.repeats import nothing_seen, see
from hazardloop.service import snapshot_file
from hazardloop.service.benches.load import Load, machine, registry_of
from hazardloop.service.doubts import Doubts
from hazardloop.service.known import recalled, still
from hazardloop.service.site import site_of
from hazardloop.service.snapshot import frames_of, snapshot_of


async def measure(points: int, alarms: int, file: Path) -> dict[str, Any]:
    """All figures."""
    catalog = shipped_catalog()
    rules = catalogue_rules(catalog)
    registry = registry_of(Load(1, 1, points))
    site = site_of(catalog, rules, dict.fromkeys((rule.rule_id for rule in rules), 1), registry)
    memory, seen = new_memory(site.table), nothing_seen(points)
    doubts = Doubts(registry, catalog)
    at = np.full(points, time.time_ns() // 1000)
    value = np.where(np.arange(points) < alarms, 60.0, 5.0)
    zero = np.zeros(points, np.int16)
    everybody = np.arange(points, dtype=np.int32)
    readings = Readings(everybody, at, at, value, zero, zero.astype(np.int32))
    see(readings, seen)
    evaluation.evaluate(site.table, memory, readings)

    began = time.perf_counter()
    then = still(memory, seen, doubts)
    held_s = time.perf_counter() - began
    cpu, began = time.process_time(), time.perf_counter()
    frames = frames_of(site, then, 1)
    writing = asyncio.create_task(asyncio.to_thread(snapshot_file.write, file, frames, 0))
    longest_s = 0.0
    while not writing.done():
        asked = time.perf_counter()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, time.perf_counter() - asked)
    written_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    size = await asyncio.to_thread(lambda: file.stat().st_size)
    cpu, began = time.process_time(), time.perf_counter()
    found = snapshot_of(snapshot_file.read(file), catalog)
    again, *_ = recalled(found.site, found.known)
    started_s, started_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    assert len(again.signals) == len(memory.signals) == alarms
    return {
        "points": points,
        "alarms": alarms,
        "stream_held_ms": round(1e3 * held_s, 1),
        "stream_waited_at_most_ms": round(1e3 * longest_s, 1),
        "written_s": round(written_s, 2),
        "written_cpu_s": round(cpu_s, 2),
        "bytes_per_point": round(size / points, 1),
        "start_s": round(started_s, 2),
        "start_cpu_s": round(started_cpu_s, 2),
        "machine": machine(),
    }


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument("--alarms", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="snapshot-") as folder:
        file = Path(folder) / "known.snapshot"
        print(json.dumps(asyncio.run(measure(given.points, given.alarms, file))))


if __name__ == "__main__":
    sys.exit(main())
