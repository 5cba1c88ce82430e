"""The ledger as it lies in the database, read to be judged: nothing here writes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias

from psycopg import Connection, sql
from psycopg.rows import dict_row, scalar_row

from hazardloop.alarms.errors import ChainBroken
from hazardloop.alarms.ledger import BEGINNING, Head, follow

Reader: TypeAlias = Connection[tuple[Any, ...]]

PIECE: Final = 50_000
"""Positions that are asked for at once."""

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

# The bytes of a line are those of append_to_chain. Its entry is looked for in a stretch only, so
# that it is not the whole ledger that is gone through for each piece.
CHAIN: Final = sql.SQL("""
    COPY (SELECT c.position, c.hash,
                 record_send(ROW(l.entry_id, l.subject, l.subject_id, l.case_id, l.alarm_id,
                                 l.revision, l.enterprise_id, l.action, l.actor, l.actor_role,
                                 l.taken_at, l.noted_at, l.note, l.body))
            FROM ledger_chain c
                 LEFT JOIN ledger l ON l.entry_id = c.entry_id
                       AND l.entry_id BETWEEN {first} AND {last}
           WHERE c.position > {after} AND c.position <= {through} ORDER BY c.position)
      TO STDOUT (FORMAT binary)""")

ROOM: Final = "SET LOCAL work_mem = '64MB'"
"""For one piece, so that it is sorted in memory."""

STRETCH: Final = """
    SELECT min(entry_id), max(entry_id), max(position) FROM ledger_chain
     WHERE position > %(after)s AND position <= %(through)s"""

EXTENT: Final = """
    SELECT coalesce(max(position), 0) AS position, count(*) AS links,
           (SELECT count(*) FROM ledger) AS lines FROM ledger_chain"""

AT: Final = "SELECT hash FROM ledger_chain WHERE position = %(position)s"

LINE: Final = """
    SELECT c.entry_id, l.entry_id IS NULL AS gone, l.action, l.actor, l.taken_at, l.subject,
           coalesce(l.subject_id, l.case_id::text) AS subject_id
      FROM ledger_chain c LEFT JOIN ledger l USING (entry_id) WHERE c.position = %(position)s"""

UNCHAINED: Final = """
    SELECT entry_id FROM ledger l
     WHERE NOT EXISTS (SELECT FROM ledger_chain c WHERE c.entry_id = l.entry_id)
     ORDER BY entry_id LIMIT 1"""

Progress: TypeAlias = Callable[[int], None]
"""Told the position that was reached."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is."""

    position: int
    """Of the last link of the chain."""
    links: int
    lines: int
    """Of the ledger."""


def extent(conn: Reader) -> Extent:
    """How much there is to verify."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(EXTENT).fetchone()
    assert row is not None  # count(*) gives one
    return Extent(**row)


def hash_at(conn: Reader, position: int) -> bytes | None:
    """What the chain says at a position; None where it has none."""
    if position == BEGINNING.position:
        return BEGINNING.hash
    with conn.cursor(row_factory=scalar_row) as cursor:
        found: bytes | None = cursor.execute(AT, {"position": position}).fetchone()
    return found


def follow_chain(
    conn: Reader, head: Head, through: int, met: dict[int, bytes], progress: Progress
) -> Head:
    """Where the chain stands at `through`, piece by piece from `head` on. Raises ChainBroken.

    As `follow`, which tells of `met`.
    """
    while head.position < through:
        rows = _piece(conn, head.position, min(head.position + PIECE, through))
        before = head
        try:
            head = follow(head, rows, met)
        except ChainBroken:
            deque(rows, maxlen=0)  # until the piece has ended the connection answers nothing else
            raise
        if head == before:  # the whole piece is gone: what comes after it?
            raise _gap(conn, head.position)
        progress(head.position)
    return head


def _piece(conn: Reader, after: int, through: int) -> Iterator[bytes]:
    with conn.cursor() as cursor:
        cursor.execute(ROOM)
        found = cursor.execute(STRETCH, {"after": after, "through": through}).fetchone()
        if found is None or found[0] is None:
            return
        first, last, _ = found
        query = CHAIN.format(first=first, last=last, after=after, through=through)
        with cursor.copy(query) as copy:
            yield from without_frame(copy)


def without_frame(messages: Iterable[Any]) -> Iterator[bytes]:
    """The rows of a binary COPY that come one by one, the header before the first."""
    following = iter(messages)
    first = bytes(next(following, b""))[len(HEADER) :]
    if first and first != TRAILER:
        yield first
    for message in following:
        if message != TRAILER:
            yield message


def _gap(conn: Reader, position: int) -> ChainBroken:
    query = "SELECT position, hash FROM ledger_chain WHERE position > %s ORDER BY position LIMIT 1"
    row = conn.execute(query, [position]).fetchone()
    found, its_hash = row or (0, b"")
    return ChainBroken(position + 1, b"", found, its_hash)


def described(conn: Reader, position: int) -> str:
    """The line at a position, in words: what a reader needs to find it."""
    with conn.cursor(row_factory=dict_row) as cursor:
        line = cursor.execute(LINE, {"position": position}).fetchone()
    if line is None:
        return "the chain has no such position"
    if line["gone"]:
        return f"line {line['entry_id']} of the ledger is gone"
    return (
        f"line {line['entry_id']}: {line['action']} of {line['subject']} {line['subject_id']}"
        f" by {line['actor']} at {line['taken_at']:%F %T} UTC"
    )


def first_unchained(conn: Reader) -> int | None:
    """The first line that is not in the chain: put in behind its back."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        found: int | None = cursor.execute(UNCHAINED).fetchone()
    return found


def export(conn: Reader, through: int, file: BinaryIO, progress: Progress) -> None:
    """Writes the chain with its lines up to `through` to `file`, in binary COPY format."""
    file.write(HEADER)
    position = 0
    while position < through:
        piece = min(position + PIECE, through)
        file.writelines(_piece(conn, position, piece))
        position = piece
        progress(position)
    file.write(TRAILER)


def exported(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    """The rows that `export` wrote. ValueError: the file is none, or it was cut."""
    if file.read(len(HEADER)) != HEADER:
        raise ValueError("it does not begin as an exported ledger")
    position = 0
    while (start := file.read(54)) != TRAILER:
        size = int.from_bytes(start[50:54]) if len(start) == 54 else -1
        line = file.read(size) if 0 <= size < 1 << 30 else b""
        if len(line) != size:
            raise ValueError(f"it was cut after position {position}")
        position += 1
        if position % PIECE == 0:
            progress(position)
        yield start + line
