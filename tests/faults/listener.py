"""Somebody who hears alarms, and when."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho

from tests.faults.load import Message
from tests.worlds import eventually


@dataclass(frozen=True, slots=True)
class Heard:
    """One change of an alarm, as it was announced."""

    at: float
    """Seconds of a rising clock."""
    body: dict[str, Any]


class Listener:
    """Subscribed to the alarms of all enterprises."""

    def __init__(self, port: int) -> None:
        """Not connected yet."""
        self.heard: list[Heard] = []
        self._port = port
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False
        )
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            Heard(time.monotonic(), json.loads(message.payload))
        )

    def __enter__(self) -> Self:
        """Subscribed."""
        granted: list[object] = []
        self._client.on_subscribe = lambda *_: granted.append(1)
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self._client.subscribe("hl/v1/+/alarm", 1)
        eventually(lambda: granted, "subscribed to alarms")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gone."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def unrecorded(self) -> int:
        """How many changes were heard that the database did not know."""
        return sum(not one.body["recorded"] for one in self.heard)

    @property
    def recorded(self) -> list[tuple[str, int]]:
        """Alarm and version of each change heard that the database knows, as often as heard."""
        return [(one.body["id"], one.body["version"]) for one in self.heard if one.body["recorded"]]

    def red_after_s(self, messages: Sequence[Message]) -> list[float]:
        """Seconds from the broker's acknowledgement of a message to its red alarm, of each."""
        said = {place: each.acknowledged_at for each in messages for place in each.readings}
        first: dict[str, float] = {}
        for one in self.heard:
            body = one.body
            if body["change"] != "raised" or body["tier"] != "red" or body["id"] in first:
                continue
            place = (
                body["point"],
                round(datetime.fromisoformat(body["raised_at"]).timestamp() * 1000),
            )
            if place in said:
                first[body["id"]] = one.at - said[place]
        return sorted(first.values())
