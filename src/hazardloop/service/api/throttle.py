"""Slows the guessing of passwords: failures per account and per address, kept for a minute."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 60.0
PER_ACCOUNT: Final = 5
"""Failures a minute for one account from one address. The address is part of it, so that nobody can
lock an operator out from elsewhere."""
PER_ADDRESS: Final = 20
MOST_KEYS: Final = 20_000


@dataclass(slots=True)
class Throttle:
    """Failures of the last minute. Every attempt counts as one until it is known to be right."""

    _failures: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    """The key that failed last stands last."""

    def __len__(self) -> int:
        return len(self._failures)

    def wait_s(self, account: str, address: str, now_s: float) -> int:
        """Whole seconds until the next attempt is let through; 0 = now, and it is counted."""
        self._forget(now_s)
        keys = ((account, address), ("", address))
        waits = []
        for key, most in zip(keys, (PER_ACCOUNT, PER_ADDRESS), strict=True):
            failures = self._failures.get(key, deque())
            while failures and failures[0] <= now_s - WINDOW_S:
                failures.popleft()
            if len(failures) >= most:
                waits.append(failures[-most] + WINDOW_S - now_s)
        if waits:
            return max(1, math.ceil(max(waits)))
        for key in keys:
            failures = self._failures.pop(key, deque())
            failures.append(now_s)
            self._failures[key] = failures
        return 0

    def succeeded(self, account: str, address: str) -> None:
        """Takes back what was counted for an attempt that turned out right."""
        self._failures.pop((account, address), None)
        if attempts := self._failures.get(("", address)):
            attempts.pop()

    def _forget(self, now_s: float) -> None:
        """Bounds what is kept, as names and addresses come from outside: the oldest go first."""
        while self._failures:
            key, failures = next(iter(self._failures.items()))
            if len(self._failures) <= MOST_KEYS and failures and failures[-1] > now_s - WINDOW_S:
                return
            del self._failures[key]
