"""The chain of the ledger followed by several processes at once, each from a link of its own on.

A part begins with the hash that the chain says stands before it; that it does stand there is what
the part before it finds. So all parts together prove what one walk from the beginning proves.
"""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import IsolationLevel, sql

from hazardloop.alarms import ledger_reading
from hazardloop.alarms.errors import ChainBroken
from hazardloop.alarms.ledger import Head
from hazardloop.alarms.ledger_reading import Progress, Reader
from hazardloop.service.database import patient

PAYS_FROM: Final = 200_000
"""Lines; for fewer, processes take longer to start than they save."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process is to follow."""

    database_url: str
    snapshot: str
    head: Head
    """Before its first line."""
    through: int
    asked: tuple[int, ...]
    """Positions whose hashes somebody wants to know."""


@dataclass(frozen=True, slots=True)
class Found:
    """What it found."""

    head: Head
    met: dict[int, bytes]
    broken: tuple[int, bytes, int, bytes] | None
    """As ChainBroken takes it."""


def follow_in_parts(
    conn: Reader,
    database_url: str,
    through: int,
    met: dict[int, bytes],
    progress: Progress,
    hands: int,
) -> Head:
    """Where the chain stands at `through`, followed from its beginning by so many processes.

    As `follow_chain`, in the snapshot of `conn`. Raises ChainBroken at the first broken link.
    """
    parts = _parts(conn, database_url, through, met, hands)
    head = parts[0].head
    spawned = multiprocessing.get_context("spawn")  # a forked one would share our connection
    with ProcessPoolExecutor(len(parts), mp_context=spawned) as pool:
        for found in pool.map(follow_part, parts):
            if found.broken is not None:
                raise ChainBroken(*found.broken)
            met |= found.met
            head = found.head
            progress(head.position)
    return head


def _parts(
    conn: Reader, database_url: str, through: int, met: dict[int, bytes], hands: int
) -> Sequence[Part]:
    (snapshot,) = conn.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
    bounds = [through * nth // hands for nth in range(hands + 1)]
    starts = [(one, ledger_reading.hash_at(conn, one)) for one in bounds[:-1]]
    # A part cannot begin at a link that is gone: the part before it goes on and finds the gap.
    there = [Head(position, known) for position, known in starts if known is not None]
    ends = [head.position for head in there[1:]] + [through]
    return [
        Part(
            database_url, snapshot, head, end,
            tuple(one for one in met if head.position < one <= end),
        )
        for head, end in zip(there, ends, strict=True)
    ]  # fmt: skip


def follow_part(part: Part) -> Found:
    """What a process of its own finds."""
    met = dict.fromkeys(part.asked, b"")
    with psycopg.connect(patient(part.database_url, "ledger")) as conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(part.snapshot)))
        try:
            head = ledger_reading.follow_chain(conn, part.head, part.through, met, lambda _: None)
        except ChainBroken as broken:
            told = (broken.position, broken.expected, broken.found_position, broken.found)
            return Found(part.head, met, told)
    return Found(head, met, None)
