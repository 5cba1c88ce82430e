"""The share of refused messages over the last ten minutes."""

import numpy as np

from hazardloop.ingest.arrivals import AGAIN, UNNUMBERED, Arrivals
from hazardloop.ingest.refusal_share import FEWEST, WINDOW, RefusalShare


def came(*runs: tuple[int, int, int]) -> Arrivals:
    gateway_id, messages, kind = (np.array(c) for c in zip(*runs, strict=True))
    n = len(runs)
    return Arrivals(
        gateway_id.astype(np.int32), np.zeros(n, np.int32), np.zeros(n, np.int64),
        messages.astype(np.int32), kind.astype(np.int16),
    )  # fmt: skip


def test_the_share_is_of_messages_of_the_gateway_itself() -> None:
    share = RefusalShare()
    share.note(came((3, 60, 0), (3, 20, 2), (3, 20, 2 | UNNUMBERED), (3, 999, 2 | AGAIN)), 100)
    share.note(came((7, FEWEST - 1, 2)), 100)
    assert dict(share.shares(100)) == {3: 40.0}
    share.note(came((7, 1, 0)), 101)
    assert dict(share.shares(101)) == {3: 40.0, 7: 90.0}


def test_what_is_older_than_the_window_is_forgotten() -> None:
    share = RefusalShare()
    share.note(came((3, 100, 2)), 100)
    share.note(came((3, 100, 0)), 100 + WINDOW - 1)
    assert dict(share.shares(100 + WINDOW - 1)) == {3: 50.0}
    assert dict(share.shares(100 + WINDOW)) == {3: 0.0}
    assert dict(share.shares(100 + 5 * WINDOW)) == {}
