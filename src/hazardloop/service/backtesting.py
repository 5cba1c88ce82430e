"""A backtest from what was asked to what is told: readings out of the store, shared out among
processes, each with the engine of the worker over its own points.
"""

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Any, Final

from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import Catalog
from hazardloop.devices.instants import microseconds_of, rfc3339
from hazardloop.devices.readings import Bools, Floats, Rows
from hazardloop.replay import store as replay_store
from hazardloop.replay.candidates import (
    CANDIDATE,
    TODAY,
    Plan,
    bodies_of,
    planned,
    read_candidates,
    varied,
)
from hazardloop.replay.comparing import (
    Judged,
    Period,
    against_verdicts,
    compared,
    load_of,
    pareto,
)
from hazardloop.replay.episodes import Episodes, together
from hazardloop.replay.errors import AskedWrongly, NothingWatched, Stopped
from hazardloop.replay.run import Run, Span, span_of
from hazardloop.replay.shards import (
    Shard,
    longest_interval_s,
    rows_of_enterprise,
    shard_of,
    shared_out,
    watched_rows,
)
from hazardloop.service.database import Connection, connect
from hazardloop.service.settings import Settings

READ_AT_ONCE: Final = 1_000_000
"""Readings that are asked of the store together, by the pace of those before."""
FIRST_READ: Final = 100_000
LOOK_EVERY_S: Final = 0.2
LONGEST_US: Final = 30 * 86_400 * 1_000_000
SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to know."""

    text: str
    """Rules, as a file `rules: [...]`."""
    start: datetime
    end: datetime
    name: str = "candidate"
    """Of the file, for what is wrong with it."""
    instead_of: tuple[str, ...] = ()
    """Ids of rules in force that they replace, beside those of their own ids."""
    sweep: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Fields of the one rule, each with values to try."""
    seats: int = 1
    enterprise_id: int | None = None
    """Only at points of this one."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backtest is."""

    share: float
    """0 to 1, of the time that is replayed."""
    readings: int


Tell = Callable[[Progress], Awaitable[None]]
"""Is told now and then; Stopped: whoever is told has had enough."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process is to replay."""

    nth: int
    database_url: str
    shard: Shard
    all_points: bool
    """It has every point that has readings: none need be picked out."""
    rules: tuple[Rule, ...]
    span: Span
    tz: str


def plan_of(asked: Asked, in_force: Sequence[Rule], catalog: Catalog) -> Plan:
    """What is to be replayed. FileRefused, AskedWrongly: why it cannot be."""
    given = read_candidates(asked.text, asked.name, catalog)
    if asked.start >= asked.end:
        raise AskedWrongly("the period ends before it begins")
    variants = Plan(())
    if asked.sweep:
        if len(given) != 1:
            raise AskedWrongly(f"sweep: it varies one rule, found {len(given)}")
        variants = varied(bodies_of(asked.text, asked.name)[0], asked.sweep, catalog)
    return planned(given, in_force, asked.instead_of, variants)


async def backtest(
    settings: Settings,
    asked: Asked,
    plan: Plan,
    catalog: Catalog,
    tell: Tell,
    hands: int,
) -> dict[str, Any]:
    """What would have been alarmed, as JSON. NothingWatched, TooManyEpisodes, Stopped."""
    async with await connect(settings.database_url, "backtest") as connection:
        registry = await registry_store.load_registry(connection, catalog)
        rules = plan.rules()
        table = compile_rules(rules, registry, tz=settings.tz)
        rows = rows_of_enterprise(registry, watched_rows(table), asked.enterprise_id)
        if not len(rows):
            raise NothingWatched("no point is watched by these rules, nor by those in force")
        start_us, end_us = microseconds_of(asked.start), microseconds_of(asked.end)
        span = span_of(rules, longest_interval_s(registry, rows), start_us, end_us)
        parts = [
            Part(nth, settings.database_url, shard_of(registry, part), len(part) == len(registry),
                 rules, span, settings.tz)
            for nth, part in enumerate(shared_out(table, rows, hands))
        ]  # fmt: skip
        verdicts = await _verdicts(connection, plan, registry.point_id[rows], asked)
    found, readings = await _replayed(parts, tell)
    period = Period(span, settings.tz, asked.seats)
    told = _told(plan, found, verdicts, period)
    points = {"points": len(rows), "readings": readings}
    said = {"from": rfc3339(asked.start), "to": rfc3339(asked.end), "seats": asked.seats}
    return said | points | told


async def _verdicts(connection: Connection, plan: Plan, points: Rows, asked: Asked) -> Judged:
    today = [rule.rule_id for trial in plan.trials if trial.label == TODAY for rule in trial.rules]
    return await replay_store.judged(connection, points, today, asked.start, asked.end)


def _told(plan: Plan, found: Episodes, verdicts: Judged, period: Period) -> dict[str, Any]:
    of = {trial.label: found.take(_of_trial(plan, found, trial.label)) for trial in plan.trials}
    today, candidate = of[TODAY], of[CANDIDATE]
    told = {
        "rules": [rule.rule_id for rule in plan.trials[1].rules],
        "against": [rule.rule_id for rule in plan.trials[0].rules],
        TODAY: load_of(today, period) | against_verdicts(verdicts, today),
        CANDIDATE: load_of(candidate, period) | against_verdicts(verdicts, candidate),
        "episodes": compared(today, candidate, period.span),
    }
    lines = [
        {"changed": dict(trial.changed)}
        | _short(load_of(of[trial.label], period))
        | against_verdicts(verdicts, of[trial.label])
        for trial in plan.trials[2:]
    ]
    best = pareto(lines)
    table = [line | {"pareto": one} for line, one in zip(lines, best, strict=True)]
    if lines or plan.refused:
        told["sweep"] = {"variants": table, "refused": list(plan.refused)}
    return told


def _short(load: Mapping[str, Any]) -> dict[str, Any]:
    return {name: load[name] for name in ("alarms", "per_day", "per_shift", "tiers", "chattering")}


def _of_trial(plan: Plan, found: Episodes, label: str) -> Bools:
    places = plan.places(label)
    return (found.rule >= places.start) & (found.rule < places.stop)


async def _replayed(parts: Sequence[Part], tell: Tell) -> tuple[Episodes, int]:
    """What all parts found, and how many readings they were given."""
    spawned = multiprocessing.get_context("spawn")  # a forked one would share our connection
    board = spawned.Array(ctypes.c_longlong, 2 * len(parts) + 1)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(len(parts), spawned, _share, (board,)) as pool:
        working = [loop.run_in_executor(pool, replay_part, part) for part in parts]
        try:
            while (await asyncio.wait(working, timeout=LOOK_EVERY_S))[1]:
                await tell(_progress(board, parts[0].span))
                for one in working:
                    if one.done():
                        one.result()  # what keeps one from its end ends all
            return together([one.result() for one in working]), sum(board[0:-1:2])
        finally:
            board[-1] = 1
            with contextlib.suppress(Exception):
                await asyncio.gather(*working, return_exceptions=True)


def _progress(board: "SynchronizedArray[int]", span: Span) -> Progress:
    reached = [max(0, until - span.warm_us) for until in board[1:-1:2]]
    whole = len(reached) * (span.end_us - span.warm_us)
    return Progress(sum(reached) / whole, sum(board[0:-1:2]))


_board: "SynchronizedArray[int] | None" = None
"""Of the process that replays a part: readings and instant reached of each, and whether to stop."""


_parent = 0
"""Of whom it got its part."""


def _share(board: "SynchronizedArray[int]") -> None:
    global _board, _parent
    _board, _parent = board, os.getppid()


def replay_part(part: Part) -> Episodes:
    """What a process of its own finds."""
    return asyncio.run(_replay(part))


async def _replay(part: Part) -> Episodes:
    registry = part.shard.registry()
    run = Run(part.rules, registry, part.span, part.tz)
    wanted = None if part.all_points else registry.point_id
    readings = 0
    async with await connect(part.database_url, "backtest") as connection:
        at_us, pace = part.span.warm_us, pace_of(registry.interval_s)
        while at_us < part.span.end_us:
            until_us = min(at_us + pace.step_us, part.span.end_us)
            piece = await replay_store.readings_between(
                connection, registry.row_of, wanted, at_us, until_us
            )
            run.take(piece, until_us)
            readings, at_us = readings + len(piece), until_us
            pace.follow(len(piece))
            _note(part.nth, readings, at_us)
    return run.end()


def _note(nth: int, readings: int, at_us: int) -> None:
    """Tells how far we are. Stopped: nobody waits for it any more."""
    assert _board is not None  # the pool gave it
    _board[2 * nth], _board[2 * nth + 1] = readings, at_us
    if _board[-1] or os.getppid() != _parent:
        raise Stopped("it was cancelled")


@dataclass(slots=True)
class Pace:
    """How much time is read at once, so that about so many readings come."""

    step_us: int
    most_us: int
    """Also after a time without readings: those that follow come as is expected of their points."""

    def follow(self, readings: int) -> None:
        """By what came in the last step."""
        factor = min(4.0, max(0.1, READ_AT_ONCE / max(readings, 1)))
        self.step_us = min(self.most_us, max(SECOND_US, int(self.step_us * factor)))


def pace_of(interval_s: Floats) -> Pace:
    """The pace for points that are expected to report so often."""
    per_s = max(float((1 / interval_s[interval_s > 0]).sum()), 1e-9)
    first, most = (
        min(LONGEST_US, max(SECOND_US, int(many / per_s * 1e6)))
        for many in (FIRST_READ, 2 * READ_AT_ONCE)
    )
    return Pace(first, most)
