"""What the broker kept and sends at each subscribe: the last word on a topic, not a new one."""

from dataclasses import replace

import numpy as np

from hazardloop.devices.readings import Bools, Quality
from hazardloop.devices.wire import Reason
from hazardloop.ingest.decoding import Intake
from hazardloop.ingest.judging import Reject


def without_undated_replays(intake: Intake, retained: Bools) -> Intake:
    """`intake` without the readings of retained messages that bring no time of their own.

    A retained reading with its time is stored once, like any other that comes twice. Without one
    it would pass for new at every subscribe: it is set aside, with the reason.

    Args:
        intake: what was decoded.
        retained: (messages,) the RETAIN flag of each; a live message does not carry it.
    """
    if not retained.any():
        return intake
    readings = intake.readings
    undated = (readings.quality & int(Quality.NO_TIMESTAMP)) != 0
    replayed = retained[readings.message] & undated
    if not replayed.any():
        return intake
    messages, counts = np.unique(readings.message[replayed], return_counts=True)
    rejects = [
        Reject(
            int(message),
            Reason.DUPLICATE,
            "retained message without a time of its own: sent by the broker at each subscribe",
            int(count),
        )
        for message, count in zip(messages, counts, strict=True)
    ]
    return replace(intake, readings=readings.take(~replayed), rejects=intake.rejects + rejects)
