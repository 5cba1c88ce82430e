"""Disks that are full: for everybody (a small tmpfs) or for one process (a bound on its files)."""

import resource
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

PIECES: Final = (1 << 16, 1 << 12, 1)
"""Bytes written at once until nothing more goes."""


class Disk(Protocol):
    """Can be full, and have room again."""

    def fill(self) -> None:
        """Nothing more can be written from now on."""

    def free(self) -> None:
        """It can."""


class SmallDisk:
    """A tmpfs that is mounted at a folder of its own."""

    def __init__(self, path: Path, megabytes: int) -> None:
        """`path`: made if it is not there."""
        self.path = path
        self._megabytes = megabytes

    def __enter__(self) -> Self:
        """Mounted. CalledProcessError: one may not, see `may_mount`."""
        self.path.mkdir(parents=True, exist_ok=True)
        size = f"size={self._megabytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.path)], check=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gone, with all that is in it."""
        subprocess.run(["umount", "-l", str(self.path)], check=True)

    def fill(self) -> None:
        """No byte is free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for piece in PIECES:
                try:
                    while ballast.write(bytes(piece)) == piece:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """As it was before."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"


def may_mount(folder: Path) -> bool:
    """Whether we may: as root, outside of most containers."""
    tried = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True)
    if tried.returncode == 0:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    return tried.returncode == 0


def bound_files(pid: int, most_bytes: int | None) -> None:
    """No file of that process grows beyond so many bytes; None: as it will."""
    soft = resource.RLIM_INFINITY if most_bytes is None else most_bytes
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
