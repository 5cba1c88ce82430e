"""The chain of the ledger: what each line must follow on, and what a checkpoint of it proves.

The hash at a position is SHA-256 of the hash before it and of the line: entry_id, subject,
subject_id, case_id, alarm_id, revision, enterprise_id, action, actor, actor_role, taken_at,
noted_at, note and body, as `record_send` of PostgreSQL writes them: type, length and bytes of each.
A chain alone shows a change; that it was not cut or made anew as a whole show signed checkpoints
that somebody else keeps.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hazardloop.alarms.errors import ChainBroken, CheckpointUnreadable
from hazardloop.devices.instants import rfc3339

# A row as binary COPY writes it: count of columns (2 bytes), then length (4) and bytes of position
# (6 to 14), hash (18 to 50) and line (from 54 on).


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stands."""

    position: int
    """Of its last line, counted from 1."""
    hash: bytes
    """At that position; 32 bytes."""


BEGINNING: Final = Head(0, bytes(32))
"""Of an empty ledger."""


def follow(head: Head, rows: Iterable[bytes], met: dict[int, bytes]) -> Head:
    """Where the chain stands after `rows`, which are to follow on `head` without a gap.

    Args:
        head: the place before the first of `rows`.
        rows: (position, hash, line) as binary COPY writes them, without header and trailer.
        met: positions somebody asks for; gets the hash of each that comes by.
    Raises ChainBroken: at the first that does not follow.
    """
    position, last = head.position, head.hash
    for row in rows:
        position += 1
        expected = sha256(last + row[54:]).digest()
        if row[18:50] != expected or row[6:14] != position.to_bytes(8):
            raise ChainBroken(position, expected, int.from_bytes(row[6:14]), bytes(row[18:50]))
        last = expected
        if position in met:
            met[position] = last
    return Head(position, last)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Signed word of where the ledger stood."""

    position: int
    hash: bytes
    made_at: datetime
    day: date | None
    """Set on the one that stands for a whole day: its anchor."""
    key: bytes
    """Public key of who signed, 32 bytes."""
    signature: bytes = b""
    """Ed25519, of `statement`."""

    @property
    def statement(self) -> bytes:
        """What is signed."""
        return b"hazardloop ledger " + json.dumps(self._said(), separators=(",", ":")).encode()

    @property
    def is_genuine(self) -> bool:
        """Whether the holder of `key` signed exactly this."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, self.statement)
        except (InvalidSignature, ValueError):
            return False
        return True

    def document(self) -> dict[str, Any]:
        """As it is kept and published."""
        return self._said() | {"signature": self.signature.hex()}

    def _said(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "hash": self.hash.hex(),
            "made_at": rfc3339(self.made_at),
            "day": None if self.day is None else self.day.isoformat(),
            "key": self.key.hex(),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """What `document` gave. CheckpointUnreadable."""
        try:
            day = document["day"]
            return cls(
                int(document["position"]),
                bytes.fromhex(document["hash"]),
                datetime.fromisoformat(document["made_at"]),
                None if day is None else date.fromisoformat(day),
                bytes.fromhex(document["key"]),
                bytes.fromhex(document["signature"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointUnreadable(f"no checkpoint of a ledger: {error!r}") from error


def sign(head: Head, made_at: datetime, day: date | None, key: Ed25519PrivateKey) -> Checkpoint:
    """Word that the ledger stood at `head`, signed with `key`."""
    public = key.public_key().public_bytes_raw()
    said = Checkpoint(head.position, head.hash, made_at, day, public)
    return Checkpoint(head.position, head.hash, made_at, day, public, key.sign(said.statement))


def objections(
    checkpoints: Sequence[Checkpoint], met: Mapping[int, bytes], head: Head, trusted: bytes | None
) -> list[str]:
    """What the checkpoints say against a chain that is whole in itself and ends at `head`.

    `met` holds the chain's hash at each of their positions; `trusted`: the only key that counts.
    """
    found = []
    for one in sorted(checkpoints, key=lambda one: (one.position, one.made_at)):
        name = f"checkpoint of {rfc3339(one.made_at)} at position {one.position}"
        if not one.is_genuine:
            found.append(f"{name}: its signature is not that of key {one.key.hex()[:16]}")
        elif trusted is not None and one.key != trusted:
            found.append(f"{name}: signed by {one.key.hex()[:16]}, not by {trusted.hex()[:16]}")
        elif one.position > head.position:
            lost = one.position - head.position
            found.append(
                f"{name}: the ledger ends at {head.position}; the last {lost} lines or more are"
                " missing"
            )
        elif one.position and met[one.position] != one.hash:
            found.append(
                f"{name}: expected hash {one.hash.hex()}, found {met[one.position].hex()}:"
                " the chain was made anew at or before it"
            )
    return found
