"""How fast the rules are: one pass over all points, small batches, looking for silent points,
compiling, and walking each reading limit by limit. `cpu` is processor time: while others use the
machine it grows far less than the time by the clock.
"""

import platform
import time
from dataclasses import replace
from statistics import median
from typing import Any, Final

import numpy as np

from hazardloop.alarms.alarm import Direction, Tier
from hazardloop.alarms.evaluation import evaluate, tick
from hazardloop.alarms.kernels import let_time_pass, take_value
from hazardloop.alarms.memory import Memory, new_memory
from hazardloop.alarms.rule import Rule, RuleKind, Select, Silence, Threshold
from hazardloop.alarms.rule_table import RuleTable, compile_rules
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.alarms.watch import signal_at_rest
from hazardloop.devices.catalog import Text
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry

PASSES: Final = 15
CROSSING: Final = 0.001
"""Share of the readings of a pass that are beyond a limit."""
SCALAR_READINGS: Final = 20_000
"""At most so many are walked one by one; the whole pass would take minutes."""
START_US: Final = 1_795_300_000 * US_PER_S


BATCH: Final = 10_000
"""Readings of a small batch."""
BATCHES: Final = 30


def run(points: int = 440_000, rules: int = 2) -> dict[str, Any]:
    """One object of figures.

    Args:
        points: each has one reading in a pass.
        rules: each watches every point with two limits, high and low rules in turn.
    """
    table = compile_rules([bench_rule(nth) for nth in range(rules)], bench_registry(points))
    memory, dice = new_memory(table), np.random.default_rng(1)
    seconds: list[float] = []
    ticks: list[float] = []
    processor: list[float] = []
    changes = 0
    began, cpu_began = time.perf_counter(), time.process_time()
    for nth in range(PASSES):
        batch = bench_pass(points, nth, dice)
        start, cpu_start = time.perf_counter(), time.process_time()
        changes += len(evaluate(table, memory, batch).changes)
        middle = time.perf_counter()
        processor.append(time.process_time() - cpu_start)
        changes += len(tick(table, memory, START_US + nth * 30 * US_PER_S).changes)
        seconds.append(middle - start)
        ticks.append(time.perf_counter() - middle)
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    batch_s = _batch_seconds(table, memory, dice)
    calm_s = _calm_seconds(table, dice)
    scalar_s = _scalar_seconds(table, bench_pass(points, PASSES, dice))
    pass_s, pass_cpu_s = median(seconds), median(processor)
    return {
        "bench": "rules",
        "points": points,
        "rules": rules,
        "limits_per_point": 2 * rules,
        "passes": PASSES,
        "readings": points * PASSES,
        "changes": changes,
        "pass_ms": round(1e3 * pass_s, 3),
        "pass_cpu_ms": round(1e3 * pass_cpu_s, 3),
        "changes_per_pass": round(changes / PASSES),
        "calm_cpu_ms": round(1e3 * calm_s, 3),
        "batch": min(BATCH, points),
        "batch_cpu_ms": round(1e3 * batch_s, 3),
        "tick_ms": round(1e3 * median(ticks), 3),
        "readings_per_second": round(points / pass_s),
        "scalar_ratio": round(scalar_s * points / pass_cpu_s, 1),
        "seconds": round(elapsed, 3),
        "cpu_seconds": round(cpu, 3),
        "machine": f"{platform.machine()} {platform.system()} Python {platform.python_version()}",
    }


def _batch_seconds(table: RuleTable, memory: Memory, dice: np.random.Generator) -> float:
    """Processor seconds for a small batch, of points all over the table."""
    seconds = []
    for nth in range(BATCHES):
        whole = bench_pass(len(table.point_id), PASSES + nth, dice)
        few = dice.choice(len(whole), min(BATCH, len(whole)), replace=False)
        batch = whole.take(few)
        start = time.process_time()
        evaluate(table, memory, batch)
        seconds.append(time.process_time() - start)
    return median(seconds)


def _calm_seconds(table: RuleTable, dice: np.random.Generator) -> float:
    """Processor seconds for a pass in which no value is beyond a limit."""
    memory, seconds = new_memory(table), []
    for nth in range(BATCHES // 4):
        whole = bench_pass(len(table.point_id), nth, dice)
        np.clip(whole.value, 40.0, 60.0, out=whole.value)
        start = time.process_time()
        evaluate(table, memory, whole)
        seconds.append(time.process_time() - start)
    return median(seconds)


def run_stale(points: int = 1_000_000) -> dict[str, Any]:
    """Looking for points that fell silent, among so many that are heard all the time."""
    silence = Silence(Tier.YELLOW, 90.0, None, 0.0)
    rule = replace(bench_rule(0), kind=RuleKind.STALE, condition=silence)
    table = compile_rules([rule], bench_registry(points))
    memory, dice, seconds = new_memory(table), np.random.default_rng(1), list[float]()
    for nth in range(PASSES):
        now_us = START_US + (nth + 1) * 100 * US_PER_S
        memory.heard_at[:] = now_us - dice.integers(0, 90 * US_PER_S, points)
        start = time.process_time()
        assert not tick(table, memory, now_us).changes
        seconds.append(time.process_time() - start)
    return {"bench": "stale", "points": points, "look_cpu_ms": round(1e3 * median(seconds), 3)}


def run_compile(points: int = 440_000, rules: int = 1_000, kinds: int = 100) -> dict[str, Any]:
    """Many rules, each of one of so many kinds of device, over all points."""
    made = [replace(bench_rule(nth), device_kind=f"bench{nth % kinds}") for nth in range(rules)]
    registry = bench_registry(points, kinds)
    start = time.process_time()
    table = compile_rules(made, registry)
    seconds = time.process_time() - start
    return {
        "bench": "compile",
        "points": points,
        "rules": rules,
        "limits_per_point": sum(len(watch.limits) for watch in table.watches(0)),
        "cpu_seconds": round(seconds, 3),
    }


def bench_rule(nth: int) -> Rule:
    """The n-th of rules with two limits, high and low ones in turn."""
    words = Text("基准", "benchmark")
    high = nth % 2 == 0
    steps = (1.0 + 0.01 * nth, 2.0 + 0.01 * nth)
    limits = tuple(
        (tier, 50.0 + 15.0 * step if high else 50.0 - 15.0 * step)
        for tier, step in zip((Tier.YELLOW, Tier.ORANGE), steps, strict=True)
    )
    return Rule(
        rule_id=f"bench.{nth}",
        kind=RuleKind.THRESHOLD,
        device_kind="bench",
        quantity="value",
        name=words,
        guidance=words,
        source="benchmark",
        confidence="house",
        select=Select(),
        condition=Threshold(Direction.HIGH if high else Direction.LOW, limits, deadband=2.0),
        off_delay_s=10.0,
    )


def bench_registry(points: int, kinds: int = 0) -> Registry:
    """So many points, of one kind of device or of so many."""
    records = (
        PointRecord(
            point_id=nth + 1,
            quantity="value",
            unit="1",
            type="number",
            low=0.0,
            high=100.0,
            interval_s=30.0,
            registered_at_us=START_US,
            device_id=nth + 1,
            device=f"B-{nth}",
            kind=f"bench{nth % kinds}" if kinds else "bench",
            tags={},
            gateway_id=1,
            gateway="BENCH",
            enterprise_id=1,
            enterprise="BENCH",
            grade=0,
        )
        for nth in range(points)
    )
    return build_registry(1, [GatewayRecord(1, "BENCH", 1, "BENCH")], records)


def bench_pass(points: int, nth: int, dice: np.random.Generator) -> Readings:
    """One reading of every point, half a minute after the last, a few of them beyond a limit."""
    value = dice.uniform(40.0, 60.0, points)
    value[dice.random(points) < CROSSING] = 99.0
    at = np.full(points, START_US + nth * 30 * US_PER_S, np.int64)
    row = np.arange(points, dtype=np.int32)
    return Readings(row, at, at, value, np.zeros(points, np.int16), np.zeros(points, np.int32))


def _scalar_seconds(table: RuleTable, readings: Readings) -> float:
    """Seconds per reading if each is walked through every limit of its point."""
    rows = readings.row[:SCALAR_READINGS].tolist()
    times = readings.observed_at[:SCALAR_READINGS].tolist()
    values = readings.value[:SCALAR_READINGS].tolist()
    watched = [[(watch, signal_at_rest(watch)) for watch in table.watches(row)] for row in rows]
    start = time.perf_counter()
    for at_us, value, signals in zip(times, values, watched, strict=True):
        for watch, signal in signals:
            for _ in let_time_pass(watch, signal, at_us):
                pass
            take_value(watch, signal, at_us, value)
    return (time.perf_counter() - start) / max(1, len(rows))
