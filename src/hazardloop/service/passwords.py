"""People's passwords: argon2id, at most two being computed at a time."""

import asyncio
import secrets
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""19 MiB, two passes, one lane: the least that the OWASP password storage cheat sheet accepts."""


def hash_password(password: str) -> str:
    """The argon2id hash that is stored for `password`."""
    return HASHER.hash(password)


class Passwords:
    """Checks passwords without starving the event loop: two threads, the rest waits."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(2)
        _nobody()  # made now, or the first unknown user would take twice as long

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one hashed in `stored`; None (no such user) costs the same."""
        async with self._turn:
            right = await asyncio.to_thread(_verify, stored or _nobody(), password)
        return right and stored is not None


@cache
def _nobody() -> str:
    """What an unknown user's password is checked against, so that the answer takes as long."""
    return hash_password(secrets.token_urlsafe(32))


def _verify(stored: str, password: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
