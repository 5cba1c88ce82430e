"""Running a program as somebody who is not root: PostgreSQL refuses to run as root.

The other user must also pass the folders above the program and its data, which only root may enter
where the checkout or the home lie below /root; for that it keeps one capability.
"""

import os
import pwd
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from hazardloop.service.errors import EmbeddedFailed

CAPABILITIES: Final = ("", "dac_read_search", "dac_override")
"""From least to most; the first that is enough is taken. Containers often have the last only."""


def needed() -> bool:
    """Whether we are root, and so have to become somebody else."""
    return os.geteuid() == 0


@cache
def account() -> pwd.struct_passwd:
    """Whom root becomes. EmbeddedFailed: there is nobody suitable."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedFailed("neither user `postgres` nor `nobody` exists: run as an ordinary user")


def uid() -> int:
    """Whose files the server's are."""
    return account().pw_uid if needed() else os.geteuid()


def give(path: Path) -> None:
    """Makes `path` the other user's, where there is one."""
    if needed():
        os.chown(path, account().pw_uid, account().pw_gid)


def become(program: Path, folder: Path, orphan_signal: signal.Signals | None = None) -> list[str]:
    """Words before a command so that it runs as the other user; none when we are not root.

    Args:
        program: what it must be able to run.
        folder: what it must be able to write into.
        orphan_signal: what it gets when the process that started it dies. Changing the user makes
            the kernel forget what was asked for before.

    Raises EmbeddedFailed: it cannot.
    """
    if not needed():
        return []
    if shutil.which("setpriv") is None:
        raise EmbeddedFailed("started as root, and setpriv (util-linux) is missing: install it,"
                             " or run as an ordinary user")  # fmt: skip
    words = [] if orphan_signal is None else [f"--pdeathsig={orphan_signal.name}"]
    for capability in CAPABILITIES:
        prefix = [*_setpriv(capability), *words]
        if _can(prefix, program, folder):
            return prefix
    raise EmbeddedFailed(
        f"user {account().pw_name} can neither run {program} nor write to {folder}:"
        " move checkout and home to a place that others may enter, or run as an ordinary user"
    )


def _setpriv(capability: str) -> list[str]:
    words = ["setpriv", f"--reuid={account().pw_uid}", f"--regid={account().pw_gid}",
             "--clear-groups"]  # fmt: skip
    if capability:
        # initdb asks access(2) whether it may run `postgres`; without the secure bit the kernel
        # answers that question as if nobody but root had capabilities.
        words += [f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}",
                  "--securebits=+no_setuid_fixup"]  # fmt: skip
    return words


def _can(prefix: list[str], program: Path, folder: Path) -> bool:
    # Really writes: `test -w` asks what the user may without the capability.
    script = 'cd "$1" && touch .may-write && rm .may-write && test -x "$2" && "$2" --version'
    tried = subprocess.run(
        [*prefix, "sh", "-c", script, "sh", str(folder), str(program)], capture_output=True
    )
    return tried.returncode == 0
