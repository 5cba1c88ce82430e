"""A subscription for tests, what gateways say into it, and what comes out."""

import asyncio
import os
from collections.abc import Callable, Sequence

import paho.mqtt.client as paho

from hazardloop.ingest.batching import Batch
from hazardloop.ingest.options import SubscriptionOptions, SubscriptionState
from hazardloop.ingest.subscription import Subscription
from tests.brokers import Broker
from tests.worlds import PATIENCE_S


def options(url: str, **given: object) -> SubscriptionOptions:
    standing: dict[str, object] = {
        "url": url,
        "client_id": "worker",
        "filters": ("hl/v1/+/+/telemetry", "hl/v1/+/+/event"),
    }
    return SubscriptionOptions(**(standing | given))  # type: ignore[arg-type]


def subscription(url: str, **given: object) -> Subscription:
    return Subscription(options(url, **given), chance=lambda: 0.3)


async def publish(
    broker: Broker, payloads: Sequence[bytes], topic: str = "hl/v1/E/G/telemetry"
) -> None:
    """Give them to the broker with QoS 1; returns when it has taken all of them."""

    def carry() -> None:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"gw{os.urandom(4).hex()}")
        client.max_inflight_messages_set(500)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        try:
            for sent in [client.publish(topic, payload, qos=1) for payload in payloads]:
                sent.wait_for_publish(PATIENCE_S)
                assert sent.is_published()
        finally:
            client.disconnect()
            client.loop_stop()

    await asyncio.to_thread(carry)


async def speak(broker: Broker, *said: tuple[str, bytes, int, bool], protocol: int = 4) -> None:
    """Publish (topic, payload, QoS, retain) one after the other, each taken by the broker."""

    def carry() -> None:
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTProtocolVersion(protocol)
        )
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        try:
            for topic, payload, qos, retain in said:
                client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)
        finally:
            client.disconnect()
            client.loop_stop()

    await asyncio.to_thread(carry)


async def gather(
    subscribed: Subscription, count: int, acknowledge: bool = True
) -> tuple[list[bytes], list[Batch]]:
    """Payloads of batches until there are `count`, and the batches."""
    payloads: list[bytes] = []
    batches: list[Batch] = []
    while len(payloads) < count:
        batch = await subscribed.next_batch(PATIENCE_S)
        assert batch is not None, f"{len(payloads)} of {count} came; {subscribed.state}"
        payloads += batch.payloads
        batches.append(batch)
        if acknowledge:
            await subscribed.acknowledge(batch)
    return payloads, batches


async def until(
    subscribed: Subscription, wanted: Callable[[SubscriptionState], bool]
) -> SubscriptionState:
    """The state, once it is as wanted."""
    async with asyncio.timeout(PATIENCE_S):
        while not wanted(subscribed.state):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return subscribed.state
