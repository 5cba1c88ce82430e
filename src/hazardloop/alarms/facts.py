"""Facts: what is known of each alarm of a period, as equal-length columns that figures count."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Final, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt

from hazardloop.alarms.alarm import Verdict

Bools: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.int32]
Seconds: TypeAlias = npt.NDArray[np.float32]
Places: TypeAlias = npt.NDArray[np.intp]


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

IDS: Final = np.dtype("V16")
"""alarm_id."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Columns over n alarms; `marks` (n,) of MARKS, `times` (n,) of TIMES, `ids` (n,) of IDS."""

    marks: npt.NDArray[np.void]
    times: npt.NDArray[np.void]
    ids: npt.NDArray[np.void]
    words: Mapping[int, str]
    """By number: areas, kinds and user names; enterprises by their id are not among them."""

    def __len__(self) -> int:
        return len(self.marks)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column of marks or times, contiguous."""
        source = self.marks if name in MARKS.names else self.times  # type: ignore[operator]
        return np.ascontiguousarray(source[name])

    def has(self, mark: Mark) -> Bools:
        """Of which alarms any bit of `mark` is set."""
        marked: Bools = (self.column("flags") & np.uint16(mark)) != 0
        return marked

    def without(self, others: "Facts") -> "Facts":
        """All but those alarms that `others` tells of too."""
        # An alarm's instant never changes and few share one: ids are compared for these alone.
        suspect = np.flatnonzero(np.isin(self.column("raised_us"), others.column("raised_us")))
        known = {one.tobytes() for one in others.ids}
        keep = np.ones(len(self), np.bool_)
        keep[suspect] = [self.ids[row].tobytes() not in known for row in suspect]
        return self.where(keep)

    def where(self, keep: Bools) -> "Facts":
        """Those alarms only."""
        if keep.all():
            return self
        return Facts(self.marks[keep], self.times[keep], self.ids[keep], self.words)

    def in_order(self, keep: Bools) -> Places:
        """Places of those alarms, oldest first; of one instant by their id."""
        chosen = np.flatnonzero(keep)
        halves = self.ids[chosen].view(">u8").reshape(-1, 2)
        raised_us = self.column("raised_us")[chosen]
        return chosen[np.lexsort((halves[:, 1], halves[:, 0], raised_us))]

    def alarm_ids(self, places: Places) -> list[UUID]:
        """Ids of the alarms at these places."""
        return [UUID(bytes=one.tobytes()) for one in self.ids[places]]


def unpacked(ids: bytes, marks: bytes, times: bytes, words: Mapping[int, str]) -> Facts:
    """Facts from the bytes that blocks hold. ValueError: the three are not of one length."""
    facts = Facts(
        np.frombuffer(marks, MARKS),
        np.frombuffer(times, TIMES),
        np.frombuffer(ids, IDS),
        words,
    )
    if not len(facts.marks) == len(facts.times) == len(facts.ids):
        raise ValueError("ids, marks and times of a block tell of different numbers of alarms")
    return facts


def together(first: Facts, second: Facts, words: Mapping[int, str]) -> Facts:
    """The alarms of both."""
    return Facts(
        np.concatenate((first.marks, second.marks)),
        np.concatenate((first.times, second.times)),
        np.concatenate((first.ids, second.ids)),
        words,
    )
