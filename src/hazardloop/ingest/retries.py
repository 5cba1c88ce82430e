"""Dead letters that somebody asked to be taken again, as a batch, and what came of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hazardloop.devices.readings import Quality, Readings
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.judging import NAMED_IN_DETAIL, Reject
from hazardloop.ingest.texts import side_by_side


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A dead letter to be taken again."""

    retry_id: int
    received_us: int
    """When it was received first."""
    topic: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class RetryOutcome:
    """What came of a dead letter taken again."""

    retry_id: int
    stored: int
    """Readings."""
    duplicates: int
    """Readings that had been stored before."""
    reason: str | None
    """Why some or all of it was refused again."""
    detail: str | None


def as_batch(asked: Sequence[AskedAgain]) -> Batch:
    """The letters as messages of nobody's connection: there is nothing to acknowledge."""
    return Batch(
        0,
        0,
        *side_by_side([one.topic for one in asked], [one.payload for one in asked]),
        bytes(len(asked)),
        np.array([one.received_us for one in asked], np.int64),
    )


def as_late(readings: Readings) -> Readings:
    """The readings as what they are: history, which sounds no siren."""
    readings.quality[:] |= np.int16(Quality.BACKFILL)
    return readings


def outcomes(
    asked: Sequence[AskedAgain], readings: Readings, new: Readings, rejects: Sequence[Reject]
) -> list[RetryOutcome]:
    """What came of each letter.

    Args:
        asked: n letters.
        readings: all that could be used of them.
        new: those that were not stored before.
        rejects: what was refused of them.
    """
    heard = np.bincount(readings.message, minlength=len(asked)).tolist()
    stored = np.bincount(new.message, minlength=len(asked)).tolist()
    refused: dict[int, list[Reject]] = {}
    for reject in rejects:
        refused.setdefault(reject.message, []).append(reject)
    found = []
    for message, one in enumerate(asked):
        again = refused.get(message, [])[:NAMED_IN_DETAIL]
        reason = str(again[0].reason) if again else None
        detail = "; ".join(f"{reject.reason}: {reject.detail}" for reject in again) or None
        held = stored[message]
        found.append(RetryOutcome(one.retry_id, held, heard[message] - held, reason, detail))
    return found
