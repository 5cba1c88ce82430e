"""What goes wrong between sensor and broker, as data; who is hit follows from seed and number."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from hazardloop.simulators.field import Values
from hazardloop.simulators.signals import uniform


class FaultKind(StrEnum):
    """What can go wrong."""

    OFFLINE = "offline"
    """The gateway loses its link without a word and keeps readings for `backfill`."""
    DUPLICATE = "duplicate"
    """A message is sent twice."""
    REORDER = "reorder"
    """A message is overtaken by the next one."""
    CLOCK_SKEW = "clock_skew"
    """The gateway's clock is off by `seconds`."""
    CORRUPT = "corrupt"
    """A payload arrives cut off; its readings are lost."""
    STUCK = "stuck"
    """A point shows what it showed when the fault began."""
    SPIKE = "spike"
    """One value of a message is what no sensor of its kind can show."""


IMPOSSIBLE: Final = 1e12
"""Beyond the physical range of every quantity."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, from `from_s` on for `for_s` real seconds of the run."""

    kind: FaultKind
    gateway: str | None = None
    """`enterprise/gateway`; None = any of them."""
    point: str | None = None
    share: float = 1.0
    """Of the messages that are hit, 0 to 1; counts for duplicate, reorder, corrupt and spike."""
    seconds: float = 0.0
    """How far the clock is ahead; counts for clock_skew."""
    from_s: float = 0.0
    for_s: float = float("inf")

    def hits(self, gateway: str, run_s: float) -> bool:
        """Whether it reaches this gateway at this time."""
        return self.gateway in (None, gateway) and self.from_s <= run_s < self.from_s + self.for_s


@dataclass(frozen=True, slots=True)
class Weather:
    """The faults of a run, asked for one gateway and one moment at a time."""

    faults: Sequence[Fault]
    seed: int

    def skew_s(self, gateway: str, run_s: float) -> float:
        """Seconds by which the gateway's clock is ahead."""
        return sum(fault.seconds for fault in self._of(FaultKind.CLOCK_SKEW, gateway, run_s))

    def offline(self, gateway: str, run_s: float) -> bool:
        """Whether the gateway has lost its link."""
        return any(True for _ in self._of(FaultKind.OFFLINE, gateway, run_s))

    def struck(self, kind: FaultKind, gateway: str, seq: int, run_s: float) -> bool:
        """Whether message `seq` of the gateway is hit by a fault of this kind."""
        return any(
            self._throw(fault, gateway, seq) < fault.share
            for fault in self._of(kind, gateway, run_s)
        )

    def stuck(self, gateway: str, run_s: float) -> list[tuple[str, float]]:
        """Points that are stuck, each with the real second of the run that it still shows."""
        return [
            (fault.point, fault.from_s)
            for fault in self._of(FaultKind.STUCK, gateway, run_s)
            if fault.point is not None
        ]

    def spiked(self, values: Values, gateway: str, seq: int, run_s: float) -> Values:
        """`values` with one number made impossible in the messages that are hit."""
        if not self.struck(FaultKind.SPIKE, gateway, seq, run_s):
            return values
        numbers = [point for point, value in values.items() if not isinstance(value, bool)]
        return values | {numbers[seq % len(numbers)]: IMPOSSIBLE} if numbers else values

    def delays_alarms(self) -> bool:
        """Whether a message may come late or not at all, so that alarms may need the next one."""
        return any(f.kind in (FaultKind.CORRUPT, FaultKind.REORDER) for f in self.faults)

    def spared(self) -> frozenset[str]:
        """Gateways (`enterprise/gateway`) at which no incident shall be counted on."""
        hit = (FaultKind.OFFLINE, FaultKind.STUCK)
        found = [fault.gateway for fault in self.faults if fault.kind in hit]
        return frozenset(gateway for gateway in found if gateway is not None)

    def _of(self, kind: FaultKind, gateway: str, run_s: float) -> Iterable[Fault]:
        return (f for f in self.faults if f.kind is kind and f.hits(gateway, run_s))

    def _throw(self, fault: Fault, gateway: str, seq: int) -> float:
        row = np.array([zlib.crc32(f"{fault.kind} {gateway}".encode()) & 0x7FFFFFFF], np.int32)
        return float(uniform(self.seed + 7, row, np.array([seq]))[0])


def cut_off(payload: bytes) -> bytes:
    """The payload as a broken transmission leaves it: the end is missing, so it is no JSON."""
    return payload[: max(1, len(payload) * 2 // 3)]
