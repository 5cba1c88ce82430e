"""Faults under load, more often and longer than in the tests; one line of JSON a run, then a table.

    python -m benchmarks.faults --kills 50 --seed 1                  # everything
    python -m benchmarks.faults --kills 50 --fault "worker killed"   # one of them, repeatable
    python -m benchmarks.faults --list

Worker, broker (Mosquitto, NATS) and PostgreSQL are processes of their own, with a proxy before each
of the two. Exit 1 if a run lost, doubled or did not list something; if its alarms are not those of
the undisturbed run of the same plan; if too little was acknowledged to prove anything; or if the
control that must lose did not.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.faults import runs
from tests.faults.disk import SmallDisk
from tests.faults.faults import FAULTS
from tests.faults.load import Plan
from tests.faults.runs import Reference
from tests.faults.stage import DatabaseServer
from tests.faults.verdict import Verdict

TEMPLATE: Final = "template_of_faults"
CONTROL: Final = "broker forgets"
SELECTIONS: Final = frozenset({"processes die", "processes die, NATS", "links fail",
                               "the database fails"})  # fmt: skip
"""Of the tests; here their parts run by themselves."""
SHORT: Final = 0.2
"""Share of the kills for what is not a kill: it takes longer, or shows less each time."""


def main() -> None:
    """Runs what was asked for."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kills", type=int, default=50, help="how often each kill strikes")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--fault", action="append", choices=FAULTS, help="this one; repeatable")
    options.add_argument("--long", type=float, default=10.0, help="seconds of what lasts")
    options.add_argument("--messages", type=int, default=2000, help="of each of 6 gateways")
    options.add_argument("--list", action="store_true", help="names the faults")
    asked = options.parse_args()
    names = asked.fault or [name for name in FAULTS if name not in SELECTIONS]
    if asked.list:
        print("\n".join(names))
        return
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        verdicts = campaign(
            names, Path(folder), asked.seed, asked.kills, asked.long, asked.messages
        )
    print(table(verdicts))
    sys.exit(0 if all(map(as_it_must_be, verdicts)) else 1)


def campaign(
    names: Sequence[str], folder: Path, seed: int, kills: int, long_s: float, messages: int
) -> list[Verdict]:
    """The verdict on a run of each, the undisturbed one first."""
    server = DatabaseServer(folder / "database", fsync="off")
    server.start()
    try:
        server.make_template(TEMPLATE)
        reference = _undisturbed(server, folder, seed, messages)
        verdicts = [reference.verdict]
        print(reference.verdict, flush=True)
        for nth, name in enumerate(names):
            times = kills if "killed" in name else max(1, round(kills * SHORT))
            with surroundings(name, server, folder / f"run-{nth}") as (own, disk, settings):
                found = runs.disturbed(
                    name,
                    own.clone(TEMPLATE),
                    own,
                    folder / f"run-{nth}",
                    reference,
                    seed=seed,
                    times=times,
                    long_s=long_s,
                    disk=disk,
                    **settings,
                )
            print(found, flush=True)
            verdicts.append(found)
    finally:
        server.stop()
    return verdicts


@contextmanager
def surroundings(
    name: str, server: DatabaseServer, folder: Path
) -> Iterator[tuple[DatabaseServer, SmallDisk | None, dict[str, Any]]]:
    """Server, disk to be filled and settings for that fault, where it needs its own.

    Disks that are to be full are mounted: it takes root.
    """
    if name == "spool's disk full":
        with SmallDisk(folder / "home", 16) as disk:
            yield server, disk, {"spool_reserve_bytes": 0}
    elif name == "database's disk full":
        with SmallDisk(folder / "database", 400) as disk:
            own = DatabaseServer(disk.path, fsync="off", max_wal_size="64MB", min_wal_size="32MB")
            own.start()
            try:
                own.make_template(TEMPLATE)
                yield own, disk, {}
            finally:
                own.stop()
    else:
        yield server, None, {}


def _undisturbed(server: DatabaseServer, folder: Path, seed: int, messages: int) -> Reference:
    plan = Plan(seed=seed, base_ms=0, messages=messages, poison_share=0.01)
    span_ms = plan.messages * plan.step_ms
    plan = dataclasses.replace(plan, base_ms=time.time_ns() // 1_000_000 - span_ms)
    database = server.clone(TEMPLATE)
    return runs.undisturbed(database, folder / "undisturbed", plan)


def as_it_must_be(found: Verdict) -> bool:
    """Sound; but the control, which must have lost."""
    if found.fault == CONTROL:
        return found.lost + found.excused > 0
    return found.sound


def table(verdicts: Sequence[Verdict]) -> str:
    """What is published."""
    columns = ("fault", "faults", "acknowledged", "readings", "lost", "excused", "doubled",
               "unlisted", "alarms", "changes", "alarms_equal", "lives", "seed")  # fmt: skip
    lines = [" | ".join(("", *columns, "as it must be", "")), "|---" * (len(columns) + 1) + "|"]
    for each in verdicts:
        cells = [*(getattr(each, column) for column in columns), as_it_must_be(each)]
        lines.append(" | ".join(("", *(str(cell).lower() for cell in cells), "")))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
