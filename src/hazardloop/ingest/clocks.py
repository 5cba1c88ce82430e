"""How far each gateway's clock is off, by the times on what it says live.

What is said cannot have been measured after it was received, so a clock that says so is ahead, for
sure. A clock that is behind looks like a message that was long on its way: only if the least delay
stays the same from one window of time to the next is it the clock, or a delay as constant as one.
A backlog that is being worked off shrinks, and is not mistaken for a clock.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hazardloop.devices.readings import Bools, Floats, Rows, Times
from hazardloop.ingest.judging import FUTURE_TOLERANCE_US, OLDEST_US

TOLERANCE_US: Final = 30_000_000
"""Readings of a gateway whose clock is off by more are flagged (house: reliability, time)."""
WINDOW_US: Final = 30_000_000
"""An offset is believed that two windows in a row agree on."""
STEADY_US: Final = 5_000_000
"""How far two windows may differ on a clock that is behind ..."""
APART_US: Final = 15_000_000
"""... so long after the first of them: what shrinks by a third of a second each second differs."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """Times that gateways gave to what they said live, as said; columns of equal length."""

    message: Rows
    """(m,) index in the batch."""
    gateway_id: Rows
    at_us: Times
    """us since the Unix epoch, however impossible."""


def _unknown() -> Floats:
    return np.empty(0)


@dataclass(slots=True)
class Clocks:
    """What is known of each clock; columns by gateway_id, in us, positive = ahead of ours."""

    offset: Floats = field(default_factory=_unknown)
    """NaN = nothing to go by yet."""
    _best: Floats = field(default_factory=_unknown)
    """Farthest ahead in the present window, and in the one before: what was least delayed."""
    _earlier: Floats = field(default_factory=_unknown)
    _earlier_until: Floats = field(default_factory=_unknown)
    """When the window before was last added to."""
    _window_at: Floats = field(default_factory=_unknown)
    """When the present window began."""
    _astray: Floats = field(default_factory=_unknown)
    """The last time that was too far off to be used, and when it was heard."""
    _astray_at: Floats = field(default_factory=_unknown)
    _heard_at: Floats = field(default_factory=_unknown)
    _heard: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    """Since `estimate` last looked."""

    def hear(self, stamps: Stamps, received_at: Times) -> None:
        """Takes in what a batch says of the clocks.

        Args:
            stamps: m of them.
            received_at: (messages of the batch,) us since the Unix epoch.
        """
        if not len(stamps.gateway_id):
            return
        self._make_room(int(stamps.gateway_id.max()) + 1)
        received = received_at[stamps.message]
        ahead = (stamps.at_us - received).astype(np.float64)
        usable = (ahead <= FUTURE_TOLERANCE_US) & (ahead >= -OLDEST_US)
        if not usable.all():
            off = stamps.gateway_id[~usable]
            self._astray[off], self._astray_at[off] = ahead[~usable], received[~usable]
        gateway_id, now = stamps.gateway_id[usable], received[usable]
        full = now - self._window_at[gateway_id] >= WINDOW_US
        over, since = gateway_id[full], now[full]
        self._earlier[over], self._earlier_until[over] = self._best[over], self._heard_at[over]
        self._best[over], self._window_at[over] = -np.inf, since
        np.maximum.at(self._best, gateway_id, ahead[usable])
        self._heard[stamps.gateway_id] = True
        self._heard_at[stamps.gateway_id] = received

    def estimate(self) -> Rows:
        """(k,) ids of the gateways heard since the last time, with `offset` brought up to date.

        Those of which nothing is known yet are left out.
        """
        heard = np.flatnonzero(self._heard)
        self._heard[heard] = False
        best, earlier = self._best[heard], self._earlier[heard]
        least, most = np.minimum(best, earlier), np.maximum(best, earlier)
        agreed = np.clip(0.0, least, most)
        apart = self._heard_at[heard] - self._earlier_until[heard] >= APART_US
        steady = apart & (most - least <= STEADY_US)
        sure = np.isfinite(agreed) & ((agreed >= -TOLERANCE_US) | steady)
        offset = np.where(sure, agreed, self.offset[heard])
        lately = self._heard_at[heard] - self._astray_at[heard] < WINDOW_US
        self.offset[heard] = np.where(lately, self._astray[heard], offset)
        return heard[~np.isnan(self.offset[heard])].astype(np.int32)

    def is_off(self) -> Bools:
        """(gateway_id,) whose clock is off by more than is tolerated."""
        return np.abs(self.offset) > TOLERANCE_US

    def remember(self, gateway_id: int, offset_us: float) -> None:
        """What an earlier worker knew of a clock."""
        self._make_room(gateway_id + 1)
        self.offset[gateway_id] = offset_us

    def _make_room(self, gateways: int) -> None:
        more = gateways - len(self.offset)
        if more <= 0:
            return
        more += gateways  # twice what is needed: ids come one by one
        for name, nothing in (
            ("offset", np.nan),
            ("_best", np.nan),
            ("_earlier", np.nan),
            ("_earlier_until", -np.inf),
            ("_window_at", -np.inf),
            ("_astray", np.nan),
            ("_astray_at", -np.inf),
            ("_heard_at", -np.inf),
            ("_heard", False),
        ):
            column = getattr(self, name)
            setattr(self, name, np.append(column, np.full(more, nothing, column.dtype)))
