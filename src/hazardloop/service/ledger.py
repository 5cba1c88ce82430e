"""`hazardloop ledger`: recomputes the chain and every published rate, or hands the ledger out.

Stands alone: it needs a database (a role that reads is enough) or an exported file, and what was
kept of checkpoints; no process of the service.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import IsolationLevel

from hazardloop.alarms import agreement, ledger_figures, ledger_reading
from hazardloop.alarms.errors import ChainBroken, CheckpointUnreadable
from hazardloop.alarms.ledger import BEGINNING, Checkpoint, Head, follow, objections
from hazardloop.alarms.ledger_reading import Progress, Reader
from hazardloop.service import checkpoints, ledger_hands
from hazardloop.service.database import patient
from hazardloop.service.errors import DatabaseAbsent, ServiceError
from hazardloop.service.settings import Settings


@dataclass(slots=True)
class Verdict:
    """What was found."""

    findings: list[str] = field(default_factory=list)
    """What is wrong, the first bad position first; empty: the ledger is whole."""
    head: Head = BEGINNING
    """How far the chain is whole."""
    checkpoints: int = 0
    """That were held against it."""
    seconds: float = 0.0
    """That the chain took."""
    rates: list[dict[str, Any]] = field(default_factory=list)
    """Of each UTC month every figure by who gives it: `ledger`, `tables` and what is `packed`."""
    figures: list[dict[str, Any]] = field(default_factory=list)
    """Those that differ, with the alarms that make the difference."""

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "intact": not self.findings,
            "entries": self.head.position,
            "head": self.head.hash.hex(),
            "checkpoints": self.checkpoints,
            "findings": self.findings,
            "rates": self.rates,
            "figures_that_differ": self.figures,
            "seconds": round(self.seconds, 3),
            "entries_per_second": round(self.head.position / self.seconds) if self.seconds else 0,
        }


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Its options."""
    actions = command.add_subparsers(metavar="ACTION", required=True, dest="action")
    verify = actions.add_parser(
        "verify", help="recomputes the hash chain and every published rate; exit 1 if one differs"
    )
    verify.add_argument(
        "--checkpoint", type=Path, action="append", default=[], metavar="FILE",
        help="checkpoints or anchors that you kept; those of the home are looked at in any case",
    )  # fmt: skip
    verify.add_argument(
        "--key", metavar="HEX", help="public key of who signs; otherwise that of the home"
    )
    verify.add_argument(
        "--file", type=Path, help="of `ledger export`, in place of a database; without rates"
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    export = actions.add_parser("export", help="writes the ledger to a file that `verify` takes")
    export.add_argument("file", type=Path, metavar="FILE")
    for action in (verify, export):
        action.add_argument("--home", type=Path, help="of a service that `up` or `demo` runs")


def main(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code: 1 if the ledger is not whole."""
    if arguments.action == "export":
        return export(settings, arguments.file)
    kept = checkpoints.kept(settings)
    for file in arguments.checkpoint:
        kept += read_checkpoints(file)
    trusted = bytes.fromhex(arguments.key) if arguments.key else checkpoints.public_key(settings)
    if arguments.file:
        verdict = verify_file(arguments.file, kept, trusted)
    else:
        with snapshot(settings) as conn:
            verdict = verify(conn, kept, trusted, _tell, settings.database_url)
    _print(verdict, as_json=arguments.json)
    return 1 if verdict.findings else 0


@contextmanager
def snapshot(settings: Settings) -> Iterator[Reader]:
    """The database as it stands at one instant. DatabaseAbsent."""
    if not settings.database_url:
        raise DatabaseAbsent(
            f"no service runs in {settings.home}, and HAZARDLOOP_DATABASE_URL is not set: start"
            " it, or name the database"
        )
    try:
        conn: Reader = psycopg.connect(patient(settings.database_url, "ledger"))
    except psycopg.OperationalError as error:
        raise DatabaseAbsent(f"the database does not answer: {str(error).strip()}") from error
    with conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        conn.execute("SET TIME ZONE 'UTC'")
        yield conn


def verify(
    conn: Reader,
    kept: Sequence[Checkpoint],
    trusted: bytes | None,
    progress: Progress,
    database_url: str | None = None,
) -> Verdict:
    """What is found in the ledger of a database, held against `kept` and its own checkpoints.

    Where `database_url` says how others reach it, a long chain is followed by a process for every
    two processors: each keeps a backend of the database busy, too.
    """
    kept = [*kept, *checkpoints.recorded(conn)]
    there = ledger_reading.extent(conn)
    verdict = Verdict(checkpoints=len(kept))
    met = {one.position: b"" for one in kept}
    began = time.perf_counter()
    try:
        hands = len(os.sched_getaffinity(0)) // 2
        if database_url and hands > 1 and there.position >= ledger_hands.PAYS_FROM:
            verdict.head = ledger_hands.follow_in_parts(
                conn, database_url, there.position, met, progress, hands
            )
        else:
            verdict.head = ledger_reading.follow_chain(
                conn, BEGINNING, there.position, met, progress
            )
    except ChainBroken as broken:
        verdict.head = Head(broken.position - 1, b"")
        what = ledger_reading.described(conn, broken.found_position)
        verdict.findings.append(f"{broken} ({what})")
    verdict.seconds = time.perf_counter() - began
    unchained = ledger_reading.first_unchained(conn) if there.lines != there.links else None
    if unchained is not None:
        verdict.findings.append(f"line {unchained} of the ledger is not in the chain")
    if not verdict.findings:
        verdict.findings += objections(kept, met, verdict.head, trusted)
    _compare_figures(conn, verdict)
    return verdict


def verify_file(file: Path, kept: Sequence[Checkpoint], trusted: bytes | None) -> Verdict:
    """What is found in an exported ledger. ServiceError: it cannot be read."""
    verdict = Verdict(checkpoints=len(kept))
    met = {one.position: b"" for one in kept}
    began = time.perf_counter()
    try:
        with file.open("rb") as opened:
            rows = ledger_reading.exported(opened, _tell)
            verdict.head = follow(BEGINNING, rows, met)
        verdict.findings += objections(kept, met, verdict.head, trusted)
    except ChainBroken as broken:
        verdict.head = Head(broken.position - 1, b"")
        verdict.findings.append(str(broken))
    except (OSError, ValueError) as error:
        raise ServiceError(f"{file} is no exported ledger: {error}") from error
    verdict.seconds = time.perf_counter() - began
    return verdict


def export(settings: Settings, file: Path) -> int:
    """Writes the ledger as it stands; 0."""
    with snapshot(settings) as conn, file.open("wb") as opened:
        through = ledger_reading.extent(conn).position
        ledger_reading.export(conn, through, opened, _tell)
    print(f"{through} lines in {file}")
    return 0


def read_checkpoints(file: Path) -> list[Checkpoint]:
    """Those in `file`, one JSON object a line or a list. ServiceError: it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
        if text.lstrip().startswith("["):
            documents = json.loads(text)
        else:
            documents = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [Checkpoint.read(document) for document in documents]
    except (OSError, ValueError, CheckpointUnreadable) as error:
        raise ServiceError(f"{file} holds no checkpoints: {error}") from error


def _compare_figures(conn: Reader, verdict: Verdict) -> None:
    """Every published figure from the ledger against tables and what is packed of them."""
    told = ledger_figures.read(conn)
    accounts = {"tables": told.tables} | ({"packed": told.published} if told.published else {})
    months = {name: agreement.months(one) for name, one in accounts.items()}
    months["ledger"] = agreement.months(told.ledger)
    for month in sorted({key for found in months.values() for key in found}):
        given = {name: found[month] for name, found in months.items() if month in found}
        verdict.rates.append(
            {"month": month}
            | {name: _rates(given[name]) if name in given else None for name in months}
        )
    for name, account in accounts.items():
        matched = agreement.match(told.ledger, account)
        for one in agreement.differences(matched):
            verdict.findings.append(
                f"alarm {one.alarm_id}: the ledger says {_json(one.one)},"
                f" the {_SAYING[name]} {_json(one.other)}"
            )
        for figure in agreement.figures_that_differ(matched):
            verdict.figures.append({"against": name} | asdict(figure))
            by = ", ".join(map(str, figure.members))
            verdict.findings.append(
                f"{figure.figure} of {figure.month}: the ledger gives {figure.one},"
                f" the {_SAYING[name]} {figure.other}{by and f'; by {by}'}"
            )


_SAYING: Final = {"tables": "tables say", "packed": "packed figures say"}


def _rates(month: agreement.Month) -> dict[str, Any]:
    return month.counted | month.rates


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


def _tell(position: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{position:,} lines", end="", file=sys.stderr, flush=True)


def _print(verdict: Verdict, *, as_json: bool) -> None:
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    said = verdict.document()
    if as_json:
        print(json.dumps(said, ensure_ascii=False))
        return
    for month in verdict.rates:
        told = month["ledger"] or {}
        print(f"{month['month']}  raised {told.get('raised')}", end="")
        print("".join(f"  {name} {told.get(name)}" for name in agreement.RATES))
    print(
        f"{said['entries']:,} lines follow on one another, {said['entries_per_second']:,} a second;"
        f" {verdict.checkpoints} checkpoints; head {said['head'] or '-'}"
    )
    for finding in verdict.findings:
        print(f"WRONG  {finding}")
    print("the ledger is NOT whole" if verdict.findings else "the ledger is whole")
