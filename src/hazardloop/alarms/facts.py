"""Facts: what is known of each alarm of a period, as equal-length columns that figures count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Any, Final, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt

from hazardloop.alarms.alarm import Verdict

Bools: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.int32]
Seconds: TypeAlias = npt.NDArray[np.float32]
Places: TypeAlias = npt.NDArray[np.intp]
Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]


class Mark(IntFlag):
    """What is so or not so of one alarm and its case."""

    DRILL = 1
    """Marked as such before it was raised."""
    CLOSED = 2
    """Its case is closed, with a verdict."""
    LATE_SIGN_ENTERPRISE = 4
    LATE_SIGN_AUTHORITY = 8
    LATE_VERIFY = 16
    LATE_SUBMIT = 32
    LATE_REVIEW = 64
    """These five: done, and after its deadline, at least once."""
    FOUND_LATE = 128
    """Found in data that came late."""


VERDICTS: Final[Mapping[str | None, int]] = {None: 0} | {
    verdict.value: code for code, verdict in enumerate(Verdict, start=1)
}
"""A verdict's number in a column; 0 = none yet. Never renumbered: blocks on disk hold them."""

MARKS: Final = np.dtype(
    [
        ("raised_us", "<i8"),
        ("enterprise", "<i4"),
        ("area", "<i2"),
        ("kind", "<i2"),
        ("operator", "<i2"),
        ("flags", "<u2"),
        ("tier", "u1"),
        ("verdict", "u1"),
        ("returned", "u1"),
        ("reopened", "u1"),
    ]
)
"""One alarm: data time of its raise, us since 1970; enterprise_id; numbers of words; Mark bits."""

TIMES: Final = np.dtype(
    [
        (name, "<f4")
        for name in (
            "signed_by_enterprise",
            "signed_by_authority",
            "verified",
            "submitted",
            "closed",
            "acknowledged",
        )
    ]
)
"""Seconds from dispatch to the first of each (closed: the last; signed: when the last post of the
side did); NaN = not yet."""

IDS: Final = np.dtype([("alarm_id", "V16")])
"""Bytes of the UUID."""


class Table(StrEnum):
    """The three parts in which facts are kept; a figure may need one, the second, or all."""

    MARKS = "marks"
    TIMES = "times"
    IDS = "ids"


LAYOUT: Final[Mapping[Table, np.dtype[np.void]]] = {
    Table.MARKS: MARKS,
    Table.TIMES: TIMES,
    Table.IDS: IDS,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """Columns over n alarms."""

    columns: Columns
    """(n,) each, contiguous, by their names in MARKS, TIMES and IDS; MARKS are always there."""
    words: Mapping[int, str]
    """By number: areas, kinds and user names; enterprises by their id are not among them."""

    def __len__(self) -> int:
        return len(self.columns["raised_us"])

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column. KeyError: its table was not asked for."""
        return self.columns[name]

    def has(self, mark: Mark) -> Bools:
        """Of which alarms any bit of `mark` is set."""
        marked: Bools = (self.column("flags") & np.uint16(mark)) != 0
        return marked

    def among(self, others: "Facts") -> Bools:
        """Of which alarms `others` tells too."""
        # An alarm's instant never changes and few share one: ids are compared for these alone.
        found = np.isin(self.column("raised_us"), others.column("raised_us"))
        suspect = np.flatnonzero(found)
        known = {one.tobytes() for one in others.column("alarm_id")}
        ids = self.column("alarm_id")
        found[suspect] = [ids[row].tobytes() in known for row in suspect]
        return found

    def where(self, keep: Bools) -> "Facts":
        """Those alarms only."""
        if keep.all():
            return self
        return Facts({name: column[keep] for name, column in self.columns.items()}, self.words)

    def after(self, raised_us: int, alarm_id: str) -> Bools:
        """Which alarms come after that one, by instant and then by id."""
        instants = self.column("raised_us")
        later: Bools = instants > raised_us
        for row in np.flatnonzero(instants == raised_us):
            later[row] = str(UUID(bytes=self.column("alarm_id")[row].tobytes())) > alarm_id
        return later

    def first(self, keep: Bools, most: int) -> Places:
        """Places of the `most` oldest of those alarms, oldest first; of one instant by their id."""
        chosen = np.flatnonzero(keep)
        raised_us = self.column("raised_us")[chosen]
        if 0 < most < len(chosen):
            # Whoever shares the last instant is sorted too: ids decide among them.
            within = raised_us <= np.partition(raised_us, most - 1)[most - 1]
            chosen, raised_us = chosen[within], raised_us[within]
        halves = self.column("alarm_id")[chosen].view(">u8").reshape(-1, 2)
        return chosen[np.lexsort((halves[:, 1], halves[:, 0], raised_us))][:most]

    def in_order(self, keep: Bools) -> Places:
        """Places of those alarms, oldest first; of one instant by their id."""
        return self.first(keep, len(self))

    def alarm_ids(self, places: Places) -> list[UUID]:
        """Ids of the alarms at these places."""
        return [UUID(bytes=one.tobytes()) for one in self.column("alarm_id")[places]]

    def packed(self, table: Table) -> bytes:
        """The bytes that a block holds of one table."""
        rows = np.empty(len(self), LAYOUT[table])
        for name in LAYOUT[table].names or ():
            rows[name] = self.column(name)
        return rows.tobytes()


def columns_of(table: Table, packed: bytes) -> Columns:
    """The columns of one table. ValueError: the bytes hold no whole number of alarms."""
    rows = np.frombuffer(packed, LAYOUT[table])
    return {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}


def unpacked(packed: Mapping[Table, bytes], words: Mapping[int, str]) -> Facts:
    """Facts from the bytes that blocks hold. ValueError: the tables are not of one length."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for table, content in packed.items():
        columns |= columns_of(table, content)
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("the tables of a block tell of different numbers of alarms")
    return Facts(columns, words)


def together(parts: Sequence[Facts], words: Mapping[int, str]) -> Facts:
    """The alarms of all parts (at least one), in the columns that every one of them has."""
    names = [name for name in parts[0].columns if all(name in one.columns for one in parts)]
    return Facts(
        {name: np.concatenate([one.columns[name] for one in parts]) for name in names}, words
    )
