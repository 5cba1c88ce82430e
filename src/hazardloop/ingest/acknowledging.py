"""Which packet ids may be acknowledged once a batch is durable."""

from dataclasses import dataclass, field

import numpy as np

from hazardloop.ingest.batching import Batch
from hazardloop.ingest.packets import PacketIds


@dataclass(slots=True)
class Settled:
    """What became free: `count` messages of `wire_bytes`, `stale` of them of an earlier connection.

    `due`: packet ids to acknowledge, in the order their messages came.
    """

    count: int = 0
    wire_bytes: int = 0
    stale: int = 0
    due: PacketIds = field(default_factory=lambda: np.empty(0, np.intp))


@dataclass(slots=True)
class _HandedOut:
    generation: int
    count: int
    wire_bytes: int
    due: PacketIds
    settled: bool = False


class Outstanding:
    """Batches handed out and not acknowledged, in their order.

    A packet id belongs to its connection. After a reconnect, and even more after a restart of
    the broker, the same number names another message: acknowledging it for the older one would
    lose the newer. So ids of an earlier generation are never given.
    """

    def __init__(self) -> None:
        """None outstanding."""
        self._batches: dict[int, _HandedOut] = {}

    def hand_out(self, batch: Batch) -> None:
        """Note that somebody has this batch now.

        A broker that sends again on a live connection (NATS, after `ack_wait`) gives us the same
        packet id twice. It is acknowledged with its first message: the second time the number
        could already belong to another one.
        """
        count = len(batch) + len(batch.oversized)
        due = self._once(batch) if batch.sent_again else batch.due
        self._batches[batch.number] = _HandedOut(batch.generation, count, batch.wire_bytes, due)

    def _once(self, batch: Batch) -> PacketIds:
        held = {
            number
            for each in self._batches.values()
            if each.generation == batch.generation
            for number in each.due.tolist()
        }
        once = [number for number in dict.fromkeys(batch.due.tolist()) if number not in held]
        return np.array(once, np.intp)

    def settle(self, number: int, generation: int) -> Settled:
        """What is free now that this batch is durable, on the connection of that generation.

        A batch waits for those before it (MQTT 5, 4.6: acknowledgements keep the order of their
        messages). A number not outstanding changes nothing.
        """
        freed = Settled()
        batch = self._batches.get(number)
        if batch is None:
            return freed
        batch.settled = True
        due = [freed.due]
        for first, handed_out in list(self._batches.items()):
            if not handed_out.settled:
                break
            del self._batches[first]
            freed.count += handed_out.count
            freed.wire_bytes += handed_out.wire_bytes
            if handed_out.generation == generation:
                due.append(handed_out.due)
            else:
                freed.stale += handed_out.count
        freed.due = np.concatenate(due)
        return freed
