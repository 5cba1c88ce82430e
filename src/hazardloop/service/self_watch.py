"""What the service says of itself: readings of its own points, at a bounded pace.

They are stored and evaluated like any others, so that a gateway's clock or a filling spool raises
an ordinary alarm with an ordinary case. They never travel over MQTT, and no gateway can send them.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from hazardloop.devices.catalog import Catalog
from hazardloop.devices.own_devices import PLATFORM
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import Registry

AT_MOST_EVERY_US: Final = 10_000_000
"""A point is said at most so often, however much it moves."""


class SelfWatch:
    """The newest word on each of the service's own points, and when each was last told."""

    def __init__(self, registry: Registry, catalog: Catalog) -> None:
        self._nth = {place: nth for nth, place in enumerate(registry.own)}
        home = registry.gateways.get(f"{PLATFORM}/{PLATFORM}")
        self._platform = home.gateway_id if home else None
        count = len(self._nth)
        self._row = np.fromiter(registry.own.values(), np.int32, count)
        self._every_us = (registry.interval_s[self._row] * 1e6).astype(np.int64)
        self._step = np.fromiter(_steps(registry, catalog), np.float64, count)
        self._value = np.full(count, np.nan)
        self._said = np.zeros(count, np.bool_)
        self._told = np.full(count, np.nan)
        self._told_at = np.zeros(count, np.int64)

    def say(self, quantity: str, value: float, gateway_id: int | None = None) -> None:
        """The newest value of a quantity of a gateway, or of the platform; NaN = not known.

        Nothing is kept of a gateway without a device of its own: one just being registered.
        """
        place = self._platform if gateway_id is None else gateway_id
        nth = None if place is None else self._nth.get((place, quantity))
        if nth is not None and not np.isnan(value):
            self._value[nth], self._said[nth] = value, True

    def due(self, now_us: int) -> Readings:
        """What is to be told now: what moved by its resolution, and at times what did not.

        Args:
            now_us: server time; the readings bear it as both their times.
        Returns: `message` is -1: no message brought them.
        """
        moved = ~(np.abs(self._value - self._told) < self._step)  # true of the first, told is NaN
        waited = now_us - self._told_at
        due = self._said & (moved & (waited >= AT_MOST_EVERY_US) | (waited >= self._every_us))
        nth = np.flatnonzero(due)
        self._said[nth] = False
        self._told[nth] = self._value[nth]
        self._told_at[nth] = now_us
        at = np.full(len(nth), now_us, np.int64)
        return Readings(
            self._row[nth],
            at,
            at,
            self._value[nth],
            np.zeros(len(nth), np.int16),
            np.full(len(nth), -1, np.int32),
        )

    def moved_to(self, registry: Registry, catalog: Catalog) -> "SelfWatch":
        """The same for a registry that changed; what is known of a point stays with it."""
        after = SelfWatch(registry, catalog)
        for place, nth in self._nth.items():
            if (new := after._nth.get(place)) is not None:
                after._value[new], after._said[new] = self._value[nth], self._said[nth]
                after._told[new], after._told_at[new] = self._told[nth], self._told_at[nth]
        return after


def _steps(registry: Registry, catalog: Catalog) -> Iterable[float]:
    """The resolution of each own point, in its unit; 0 where none is known."""
    for row in registry.own.values():
        point = registry.points[row]
        quantity = catalog.quantity(point.kind, point.quantity)
        yield (quantity.resolution if quantity else None) or 0.0
