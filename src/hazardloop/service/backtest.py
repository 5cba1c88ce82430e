"""`hazardloop rules backtest`: history through candidate rules, beside those in force."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from hazardloop.devices.marked_yaml import FileRefused
from hazardloop.replay.errors import ReplayError
from hazardloop.service.backtesting import Asked, Progress, backtest, plan_of
from hazardloop.service.database import connect, require_schema
from hazardloop.service.errors import ServiceError
from hazardloop.service.settings import Settings
from hazardloop.service.site import known_kinds, rules_in_force


class BacktestRefused(ServiceError):
    """It cannot be done as it was asked for."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Its options."""
    command.add_argument("file", type=Path, metavar="FILE", help="rules: [...]")
    command.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="TIME",
        help="RFC 3339, or a local day such as 2026-11-01",
    )
    command.add_argument(
        "--to", dest="end", required=True, metavar="TIME", help="the first instant after it"
    )
    command.add_argument(
        "--instead-of",
        action="append",
        default=[],
        metavar="RULE",
        help="a rule in force that they replace, beside those of their own ids",
    )
    command.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="FIELD=VALUES",
        help="try values for a field of the one rule, such as high.yellow=20,25 or on_delay_s=0,30",
    )
    command.add_argument("--seats", type=int, default=1, help="operator positions (1)")
    command.add_argument("--workers", type=int, help="processes (one for each processor)")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--home", type=Path, help="of a service that `up` or `demo` runs (./var)")


def main(arguments: argparse.Namespace, settings: Settings) -> int:
    """Prints what would have been alarmed. BacktestRefused."""
    if not settings.database_url:
        raise BacktestRefused(
            f"no service runs in {settings.home}, and HAZARDLOOP_DATABASE_URL is not set: start"
            " it, or name the database"
        )
    hands = arguments.workers or len(os.sched_getaffinity(0))
    if hands < 1 or arguments.seats < 1:
        raise BacktestRefused("--workers and --seats are at least 1")
    try:
        told = asyncio.run(_run(settings, _asked(arguments, settings), hands))
    except (ReplayError, FileRefused) as wrong:
        raise BacktestRefused(str(wrong)) from wrong
    print(json.dumps(told, ensure_ascii=False) if arguments.json else said(told))
    return 0


async def _run(settings: Settings, asked: Asked, hands: int) -> dict[str, Any]:
    catalog = known_kinds(settings)
    async with await connect(settings.database_url, "backtest") as connection:
        await require_schema(connection)
        plan = plan_of(asked, await rules_in_force(connection, catalog), catalog)
    shown = sys.stderr.isatty()

    async def tell(progress: Progress) -> None:
        if shown:
            line = f"{progress.share:6.1%}  {progress.readings:,} readings"
            print(f"\r{line:<40}", end="", file=sys.stderr, flush=True)

    try:
        return await backtest(settings, asked, plan, catalog, tell, hands)
    finally:
        if shown:
            print(f"\r{'':<40}\r", end="", file=sys.stderr, flush=True)


def _asked(arguments: argparse.Namespace, settings: Settings) -> Asked:
    try:
        text = arguments.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BacktestRefused(f"{arguments.file} cannot be read: {error}") from error
    zone = ZoneInfo(settings.tz)
    return Asked(
        text,
        _instant(arguments.start, "--from", zone),
        _instant(arguments.end, "--to", zone),
        str(arguments.file),
        tuple(arguments.instead_of),
        dict(_values(each) for each in arguments.sweep),
        arguments.seats,
    )


def _instant(text: str, option: str, zone: ZoneInfo) -> datetime:
    """A local time, where no offset is written. BacktestRefused."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BacktestRefused(f"{option}: found {text!r}, expected RFC 3339 or a day") from error
    return at if at.tzinfo else at.replace(tzinfo=zone)


def _values(text: str) -> tuple[str, list[Any]]:
    """A field, and the values to try; each is read as in a rule file. BacktestRefused."""
    path, equals, values = text.partition("=")
    if not path or not equals or not values:
        raise BacktestRefused(f"--sweep: found {text!r}, expected FIELD=VALUE,VALUE")
    return path, [yaml.safe_load(each) for each in values.split(",")]


LINES: Final = (
    ("alarms", "alarms"),
    ("per_day", "a day"),
    ("per_operator_hour", "an operator's hour"),
    ("per_shift", "an operator's shift"),
    ("true_events", "true events"),
    ("missed_true_events", "of them missed"),
    ("false_alarms", "false alarms"),
    ("spared_false_alarms", "of them spared"),
    ("found_late", "found in late data"),
    ("standing_before", "standing before"),
)


def said(told: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{told['from']} to {told['to']}, {told['points']} points, {told['readings']:,} readings",
        f"candidate: {', '.join(told['rules'])}; today: {', '.join(told['against']) or 'nothing'}",
        "",
        f"{'':<22}{'today':>12}{'candidate':>12}",
    ]
    lines += [f"{word:<22}{told['today'][key]:>12}{told['candidate'][key]:>12}"
              for key, word in LINES]  # fmt: skip
    lines += [f"{tier:<22}{many:>12}{told['candidate']['tiers'][tier]:>12}"
              for tier, many in told["today"]["tiers"].items()]  # fmt: skip
    lines.append(
        f"{'chattering sources':<22}"
        + "".join(f"{told[whose]['chattering']['sources']:>12}" for whose in ("today", "candidate"))
    )
    episodes = told["episodes"]
    lines += ["", f"kept {episodes['kept']}, lost {episodes['lost']}, gained {episodes['gained']}"]
    if delay := episodes["added_delay_s"]:
        lines.append(f"added delay: median {delay['p50']:g} s, 95 % {delay['p95']:g} s,"
                     f" most {delay['most']:g} s")  # fmt: skip
    if "sweep" in told:
        lines += ["", *_swept(told["sweep"])]
    return "\n".join(lines)


def _swept(sweep: Mapping[str, Any]) -> Sequence[str]:
    """The best of each number of missed events first; the rest by alarms."""
    order = sorted(sweep["variants"], key=lambda one: (not one["pareto"], one["alarms"]))
    lines = [f"{'':<3}{'a shift':>10}{'missed':>8}{'spared':>8}{'chatter':>9}  values"]
    for one in order:
        values = " ".join(f"{name}={value}" for name, value in one["changed"].items())
        lines.append(
            f"{'*' if one['pareto'] else '':<3}{one['per_shift']:>10}{one['missed_true_events']:>8}"
            f"{one['spared_false_alarms']:>8}{one['chattering']['sources']:>9}  {values}"
        )
    lines += [f"no rule: {one['changed']}: {one['why']}" for one in sweep["refused"]]
    return [*lines, "* no other has fewer alarms and misses no more"]
