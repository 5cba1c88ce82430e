"""The path from the broker to the live list: how far canaries came, and whether it is whole."""

from dataclasses import dataclass, field
from enum import StrEnum


class Leg(StrEnum):
    """What happens to a canary, in the order of the path."""

    SENT = "sent"
    """The broker took it."""
    RECORDED = "recorded"
    """A worker received, decoded, evaluated and committed it."""
    HEARD = "heard"
    """It was announced over MQTT."""
    SHOWN = "shown"
    """An api met it in the live list."""


@dataclass(slots=True)
class Course:
    """How far the canaries of one watcher came; on its own monotonic clock, which nobody moves."""

    began_s: float
    """When it began to watch."""
    _sent: dict[int, float] = field(default_factory=dict)
    """When each canary that may still count was sent, by its own time in us."""
    _newest: dict[Leg, tuple[int, float]] = field(default_factory=dict)
    """The newest canary that came so far: its own time, and when it was sent."""

    def begin(self, at_us: int, now_s: float, within_s: float) -> None:
        """A canary of that time is sent now; those that would come too late are forgotten."""
        self._sent = {at: sent for at, sent in self._sent.items() if now_s - sent <= within_s}
        self._sent[at_us] = now_s

    def reach(self, leg: Leg, at_us: int | None) -> None:
        """The canary of that time came so far; others' canaries, and none, tell nothing."""
        sent = None if at_us is None else self._sent.get(at_us)
        if at_us is not None and sent is not None and at_us >= self._newest.get(leg, (at_us,))[0]:
            self._newest[leg] = at_us, sent

    def silence_s(self, leg: Leg, now_s: float) -> float:
        """How long ago the newest canary that came so far was sent; or the watch began."""
        return now_s - self._newest.get(leg, (0, self.began_s))[1]

    @property
    def arrived_us(self) -> int | None:
        """Own time of the newest canary that came the whole way; None: none of ours has."""
        if len(self._newest) < len(Leg):
            return None
        return min(at_us for at_us, _ in self._newest.values())

    def broken_legs(self, now_s: float, within_s: float) -> tuple[Leg, ...]:
        """Where no canary came that was sent within that time."""
        return tuple(leg for leg in Leg if self.silence_s(leg, now_s) > within_s)

    def is_whole(self, now_s: float, within_s: float) -> bool:
        """Whether one came the whole way within that time.

        A watch that has just begun knows neither this nor that anything is broken.
        """
        return self.arrived_us is not None and not self.broken_legs(now_s, within_s)
