"""When to ask the broker whether it is there, and how long to wait before calling it again."""

from enum import Enum
from typing import Final

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 10.0
STEADY_S: Final = 10.0
"""A connection that held this long counts as a success: the next loss starts with short delays."""


def delay_s(failures: int, chance: float) -> float:
    """Seconds to wait after that many failures in a row (from 1); `chance` in 0..1.

    Exponential with full jitter, so that a thousand clients do not come back in step.
    Source: Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 32))
    return chance * ceiling


class Vitals(Enum):
    """What to do about the connection now."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class KeepAlive:
    """Keep-alive of one connection (MQTT 5, 3.1.2.10); instants in seconds of a rising clock.

    Anything heard proves life. Silence proves death only while somebody was listening: not
    while reading is paused, and not over a time in which this process itself stood still.
    """

    def __init__(self, interval_s: float, now: float) -> None:
        """`interval_s`: > 0, as told in CONNECT.

        We ask after three quarters of it, since brokers count the whole of it strictly (NATS: in
        whole seconds); the peer is dead after one and a half of it in silence.
        """
        self.interval_s = interval_s
        self._heard = now
        self._asked = now
        self._checked = now

    @property
    def check_every_s(self) -> float:
        """How often `check` is to be called, seconds."""
        return self.interval_s / 8

    def heard(self, now: float) -> None:
        """Bytes came."""
        self._heard = now

    def check(self, now: float, *, listening: bool) -> Vitals:
        """What to do at `now`; PING is given once and taken as done."""
        stood_still = now - self._checked > self.interval_s / 2
        self._checked = now
        if not listening or stood_still:
            self._heard = now
        if now - self._heard >= 1.5 * self.interval_s:
            return Vitals.DEAD
        if now - self._asked >= 0.75 * self.interval_s:
            self._asked = now
            return Vitals.PING
        return Vitals.WAIT
