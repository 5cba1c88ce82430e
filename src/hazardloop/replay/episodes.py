"""Episodes: what rules would have alarmed, from the raise to the end, as columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from hazardloop.alarms.alarm import Change, ChangeKind
from hazardloop.devices.instants import rfc3339, utc
from hazardloop.devices.readings import Bools, Floats, Rows, Tiers, Times
from hazardloop.replay.errors import TooManyEpisodes

MOST: Final = 2_000_000
"""Episodes of one replay; rules that raise more say nothing that anybody could read."""
STANDS: Final = np.iinfo(np.int64).max
"""End of an episode that had not ended when the replay did (us)."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Equal-length columns, in the order of rule, point and raise."""

    rule: Rows
    """(n,) place among the rules that were replayed."""
    point_id: Rows
    raised_us: Times
    """(n,) data time; of a silence, time of receipt."""
    cleared_us: Times
    """(n,) the same; STANDS = it had not ended."""
    tier: Tiers
    """(n,) worst reached, 1..4."""
    late: Bools
    """(n,) it was raised by data that a gateway had kept while it was offline."""
    value: Floats
    """(n,) that raised it."""

    def __len__(self) -> int:
        return len(self.rule)

    def take(self, which: Bools) -> "Episodes":
        """Those where the (n,) mask is true."""
        return Episodes(*(getattr(self, each.name)[which] for each in fields(self)))


@dataclass(slots=True)
class Collector:
    """Follows the changes of one engine; `most` episodes at the most."""

    place: dict[str, int]
    """Rule id to its place among the rules that are replayed."""
    most: int = MOST
    rows: list[list[float]] = field(default_factory=list)
    """As the columns of `Episodes`."""
    standing: dict[tuple[str, int], int] = field(default_factory=dict)
    """Rule and point to the place of their episode that has not ended."""

    def take(self, changes: Iterable[Change]) -> None:
        """Changes in the order of evaluation. TooManyEpisodes."""
        for change in changes:
            key = change.rule_id, change.point_id
            if change.kind is ChangeKind.RAISED:
                self._begin(key, change)
            elif change.kind is ChangeKind.CLEARED:
                self.rows[self.standing.pop(key)][3] = change.changed_at_us
            else:
                told = self.rows[self.standing[key]]
                told[4] = max(told[4], int(change.tier))

    def _begin(self, key: tuple[str, int], change: Change) -> None:
        if len(self.rows) >= self.most:
            raise TooManyEpisodes(
                f"more than {self.most} alarms until {rfc3339(utc(change.changed_at_us))}: narrow"
                " the rules, their selection or the period"
            )
        self.standing[key] = len(self.rows)
        self.rows.append(
            [
                self.place[change.rule_id],
                change.point_id,
                change.raised_at_us,
                STANDS,
                int(change.tier),
                change.found_late,
                change.value,
            ]
        )


TYPES: Final = (np.int32, np.int32, np.int64, np.int64, np.uint8, np.bool_, np.float64)


def episodes_of(collectors: Sequence[Collector]) -> Episodes:
    """All that they found, in one order, whoever found it."""
    rows = [row for each in collectors for row in each.rows]
    columns = list(zip(*rows, strict=True)) or [()] * len(TYPES)
    found = Episodes(*(np.array(each, kind) for each, kind in zip(columns, TYPES, strict=True)))
    return _ordered(found)


def together(parts: Sequence[Episodes]) -> Episodes:
    """The episodes of several replays over different points, as if it had been one."""
    names = [each.name for each in fields(Episodes)]
    return _ordered(
        Episodes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    )


def _ordered(found: Episodes) -> Episodes:
    order = np.lexsort((found.raised_us, found.point_id, found.rule))
    return Episodes(*(getattr(found, each.name)[order] for each in fields(found)))
