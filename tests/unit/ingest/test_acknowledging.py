"""Which packet ids are acknowledged when a broker sends a message again on a live connection."""

import numpy as np

from hazardloop.ingest.acknowledging import Outstanding
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.messages import DUP
from hazardloop.ingest.texts import side_by_side


def batch(number: int, packet_ids: list[int], *, again: bool = False, generation: int = 1) -> Batch:
    count = len(packet_ids)
    return Batch(
        number,
        generation,
        *side_by_side([b"t"] * count, [b"x"] * count),
        bytes([2 | DUP * again]) * count,
        due=np.array(packet_ids, np.intp),
    )


def test_a_packet_id_that_came_twice_is_acknowledged_with_its_first_message() -> None:
    outstanding = Outstanding()
    outstanding.hand_out(batch(1, [1, 2, 3]))
    outstanding.hand_out(batch(2, [2, 3, 4, 4, 5], again=True))
    assert outstanding.settle(1, 1).due.tolist() == [1, 2, 3]
    again = outstanding.settle(2, 1)
    assert (again.due.tolist(), again.count) == ([4, 5], 5)


def test_once_it_was_acknowledged_the_number_names_a_new_message() -> None:
    outstanding = Outstanding()
    outstanding.hand_out(batch(1, [1, 2]))
    outstanding.settle(1, 1)
    outstanding.hand_out(batch(2, [1, 2], again=True))
    assert outstanding.settle(2, 1).due.tolist() == [1, 2]


def test_numbers_of_an_earlier_connection_do_not_count() -> None:
    outstanding = Outstanding()
    outstanding.hand_out(batch(1, [1, 2]))
    outstanding.hand_out(batch(2, [1, 2], again=True, generation=2))
    assert outstanding.settle(1, 2).stale == 2
    assert outstanding.settle(2, 2).due.tolist() == [1, 2]
