"""What becomes of dead letters taken again."""

import numpy as np

from hazardloop.devices.readings import Quality, Readings
from hazardloop.devices.wire import Reason
from hazardloop.ingest.judging import Reject
from hazardloop.ingest.retries import AskedAgain, RetryOutcome, as_batch, as_late, outcomes

ASKED = [AskedAgain(nth, 1_000 * nth, b"topic", b"{}") for nth in (11, 12, 13)]


def readings(*message: int) -> Readings:
    n = len(message)
    times, of = np.zeros(n, np.int64), np.array(message, np.int32)
    return Readings(of, times, times, np.zeros(n), np.zeros(n, np.int16), of)


def test_each_letter_has_its_outcome() -> None:
    rejects = [Reject(1, Reason.UNKNOWN_POINT, "A.x"), Reject(2, Reason.NOT_JSON, "line 1", 0)]
    assert outcomes(ASKED, readings(0, 0, 1), readings(0, 1), rejects) == [
        RetryOutcome(11, 1, 1, None, None),
        RetryOutcome(12, 1, 0, "unknown_point", "unknown_point: A.x"),
        RetryOutcome(13, 0, 0, "not_json", "not_json: line 1"),
    ]


def test_a_letter_keeps_its_time_of_receipt_and_is_history() -> None:
    batch = as_batch(ASKED)
    assert batch.received_at.tolist() == [11_000, 12_000, 13_000]
    assert (batch.due.tolist(), batch.dup.tolist()) == ([], [False] * 3)
    assert as_late(readings(0, 1)).quality.tolist() == [Quality.BACKFILL] * 2
