"""How much of what a gateway sends is refused, over the last minutes."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from hazardloop.ingest.arrivals import AGAIN, FATE, Arrivals, Fate

WINDOW: Final = 10
"""Minutes that the share looks back over, the present one among them."""
FEWEST: Final = 10
"""Messages in that time below which a share would say little."""


class RefusalShare:
    """Messages and refused messages of each gateway, minute by minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._counts = np.zeros((2, WINDOW, 0), np.int64)
        """All and refused; by minute modulo WINDOW; by gateway_id."""

    def note(self, arrivals: Arrivals, minute: int) -> None:
        """Counts what came in that minute (since the Unix epoch)."""
        self._turn(minute)
        if not len(arrivals):
            return
        largest = int(arrivals.gateway_id.max())
        if largest >= self._counts.shape[2]:
            more = largest + 1 - self._counts.shape[2]
            self._counts = np.pad(self._counts, ((0, 0), (0, 0), (0, more)))
        new = (arrivals.kind & AGAIN) == 0
        refused = new & ((arrivals.kind & FATE) == Fate.REJECTED)
        for which, counts in zip((new, refused), self._counts[:, minute % WINDOW], strict=True):
            np.add.at(counts, arrivals.gateway_id[which], arrivals.messages[which])

    def shares(self, minute: int) -> Iterator[tuple[int, float]]:
        """gateway_id and percent refused, of those that sent enough to tell."""
        self._turn(minute)
        total, refused = self._counts.sum(axis=1)
        told = np.flatnonzero(total >= FEWEST)
        yield from zip(told.tolist(), (100.0 * refused[told] / total[told]).tolist(), strict=True)

    def _turn(self, minute: int) -> None:
        """Forgets minutes that the window has left behind."""
        for passed in range(max(self._minute + 1, minute - WINDOW + 1), minute + 1):
            self._counts[:, passed % WINDOW] = 0
        self._minute = max(self._minute, minute)
