"""The folder below which everything of an embedded run lies, used by one run at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hazardloop.service.embedded.child import end_leftovers
from hazardloop.service.errors import ServiceError

LEAST_FREE: Final = 500 << 20
"""Bytes: below this a database soon stops in the middle of something."""


class HomeUnusable(ServiceError):
    """The home cannot be written, has no room, or is in use."""


def require_room(folder: Path) -> int:
    """Free bytes where `folder` lies. HomeUnusable: too few."""
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise HomeUnusable(
            f"only {free >> 20} MiB are free in {folder}, at least {LEAST_FREE >> 20} are needed:"
            " free some, or choose another place with --home"
        )
    return free


@contextmanager
def occupied(home: Path) -> Iterator[Path]:
    """The home as an absolute path, ours until the end; what a killed run left has been ended."""
    home = home.resolve()
    made = _made(home)
    try:
        require_room(home)
    except HomeUnusable:
        for folder in made:  # nothing half-made stays behind
            folder.rmdir()
        raise
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = (home / "lock").read_text().strip() or "unknown"
            raise HomeUnusable(
                f"{home} is in use by process {owner}: stop that one, or choose another with --home"
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        end_leftovers(home)
        yield home
    finally:
        os.close(lock)


def _made(home: Path) -> list[Path]:
    """Makes the home; which folders were not there before, the deepest first."""
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name in ("run", "logs", "secrets"):
            (home / name).mkdir(exist_ok=True, mode=0o700 if name == "secrets" else 0o755)
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise HomeUnusable(
            f"{home} cannot be written ({error.strerror}): choose another place with --home"
        ) from error
    return [home / name for name in ("run", "logs", "secrets")] + missing if missing else []
