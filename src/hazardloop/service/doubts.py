"""What speaks against readings beyond what each tells alone, and what a worker keeps for that."""

from typing import Final

import numpy as np

from hazardloop.devices.catalog import Catalog
from hazardloop.devices.readings import Floats, Quality, Readings, Rows, Times
from hazardloop.devices.registry import Registry
from hazardloop.ingest import quality
from hazardloop.ingest.clocks import Clocks, Stamps
from hazardloop.ingest.quality import Courses
from hazardloop.ingest.store import Newest
from hazardloop.service.self_watch import SelfWatch

TIMED_BY_US: Final = int(Quality.NO_TIMESTAMP | Quality.CLOCK_UNSET | Quality.BACKFILL)
CLOCK: Final = "clock_offset"


class Doubts:
    """The courses of all points and the clocks of all gateways, as a worker knows them."""

    def __init__(self, registry: Registry, catalog: Catalog) -> None:
        self._expected = expected_of(registry, catalog)
        self._courses = quality.nothing_heard(len(registry))
        self._clocks = Clocks()

    def restore(self, registry: Registry, recent: Newest, newest: Floats) -> None:
        """Goes on where an earlier worker stopped.

        Not restored: since when a point stands still that was not STUCK yet, and windows of clocks.

        Args:
            registry: as at the making.
            recent: the newest three judged readings of each point, by rising time.
            newest: (rows,) newest usable value of each point, of our own ones above all.
        """
        self._courses = quality.restore(_readings(registry, recent), self._expected)
        for (gateway_id, quantity), row in registry.own.items():
            if quantity == CLOCK and np.isfinite(newest[row]):
                self._clocks.remember(gateway_id, float(newest[row]) * 1e6)

    def kept(self) -> tuple[Courses, Floats]:
        """The courses by row, and us that each clock is off by gateway_id: not to be changed."""
        return self._courses, self._clocks.offset

    def resume(self, courses: Courses, offsets: Floats) -> None:
        """Goes on with what `kept` gave; windows of clocks begin anew."""
        self._courses = courses
        for gateway_id in np.flatnonzero(np.isfinite(offsets)).tolist():
            self._clocks.remember(gateway_id, float(offsets[gateway_id]))

    def watched(self, registry: Registry) -> Rows:
        """Ids of the points whose course is looked at."""
        watched: Rows = registry.point_id[self._expected.kind != 0]
        return watched

    def cast(self, readings: Readings, stamps: Stamps, received_at: Times) -> None:
        """Flags what is implausible, and what a clock that is off gave its time to.

        Args:
            readings: those of a batch that are new, flagged so far as a look at each alone tells.
            stamps: of the same batch.
            received_at: (messages of the batch,) us since the Unix epoch.
        """
        quality.flag(readings, self._expected, self._courses)
        off = self._clocks.is_off()
        if off.any():
            mistimed = np.zeros(len(received_at), np.bool_)
            known = stamps.gateway_id < len(off)
            mistimed[stamps.message[known]] = off[stamps.gateway_id[known]]
            theirs = (readings.quality & TIMED_BY_US) == 0
            readings.quality[mistimed[readings.message] & theirs] |= Quality.CLOCK_OFFSET
        self._clocks.hear(stamps, received_at)

    def tell(self, watch: SelfWatch) -> None:
        """Says how far the clocks are off of the gateways heard since the last time."""
        for gateway_id in self._clocks.estimate().tolist():
            watch.say(CLOCK, round(float(self._clocks.offset[gateway_id]) / 1e6, 3), gateway_id)

    def follow(self, registry: Registry, catalog: Catalog) -> None:
        """Goes on with a registry whose rows keep their points and may have more of them."""
        self._expected = expected_of(registry, catalog)
        self._courses = quality.with_room(self._courses, len(registry))


def _readings(registry: Registry, recent: Newest) -> Readings:
    row = registry.row_of.many(recent.point_id)
    nobody = np.zeros(len(row), np.int32)
    at = recent.observed_at
    readings = Readings(row, at, at, recent.value, recent.quality, nobody)
    return readings.take(row >= 0)


def expected_of(registry: Registry, catalog: Catalog) -> quality.Expectations:
    """What the catalogue expects of each point."""
    known = [catalog.quantity(each.kind, each.quantity) for each in registry.measurands]
    expected = [quantity.plausible if quantity else None for quantity in known]
    return quality.expectations(registry.measurand, expected)
