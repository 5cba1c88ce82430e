"""Who may say and hear what on the topics of Sparkplug B, at both embedded brokers."""

import contextlib
from pathlib import Path

import aiomqtt
import pytest

from hazardloop.devices.wire import sparkplug_filters, uplink_filters
from hazardloop.ingest.options import SubscriptionOptions
from hazardloop.ingest.subscription import Subscription
from hazardloop.service.embedded.accounts import Account, gateway_account, service_accounts
from hazardloop.service.gateway_secret import hashed
from tests.brokers import nats
from tests.integration.test_embedded import KINDS, client, running

SECRET = hashed("secret")


def gateway(enterprise: str, code: str, dialect: str = "sparkplug") -> Account:
    name = f"{enterprise}.{code}"
    return gateway_account(enterprise, code, name, SECRET.bcrypt, SECRET.pbkdf2, dialect)


OURS = service_accounts("worker-secret", "service-secret")
ACCOUNTS = [
    *OURS,
    gateway("E1", "G1"),
    gateway("E1", "G2"),
    gateway("E2", "G1"),
    gateway("E1", "G3", "senml"),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_edge_node_speaks_for_itself_and_its_devices_only(kind: str, home: Path) -> None:
    async with (
        running(kind, home, ACCOUNTS) as broker,
        client(broker, "worker", "worker-secret") as worker,
    ):
        for topic in sparkplug_filters():
            await worker.subscribe(topic, qos=1)
        forged = {
            "E1.G1": ("E2/NDATA/G1", "E1/NDATA/G2", "E1/DDATA/G2/D", "E1/NCMD/G1", "E1/NDATA/G1/D"),
            "E1.G3": ("E1/NDATA/G3", "E1/NBIRTH/G3", "E1/DDATA/G3/D"),
        }
        for username, topics in forged.items():
            for topic in topics:
                # Both acknowledge what they drop; Mosquitto then ends the connection, too.
                with contextlib.suppress(aiomqtt.MqttError):
                    async with client(broker, username, "secret") as forger:
                        await forger.publish(f"spBv1.0/{topic}", b"forged", qos=1)
        allowed = ("NBIRTH/G1", "NDATA/G1", "NDEATH/G1", "DBIRTH/G1/D", "DDATA/G1/D", "DDEATH/G1/D")
        heard = []
        async with client(broker, "E1.G1", "secret") as edge:
            for topic in allowed:
                await edge.publish(f"spBv1.0/E1/{topic}", b"own", qos=1)
            for _ in allowed:
                message = await anext(worker.messages)
                assert message.payload == b"own"
                heard.append(message.topic.value.removeprefix("spBv1.0/E1/"))
        assert sorted(heard) == sorted(allowed)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_edge_node_hears_its_own_commands_only(kind: str, home: Path) -> None:
    async with (
        running(kind, home, ACCOUNTS) as broker,
        client(broker, "worker", "worker-secret") as worker,
        client(broker, "E1.G1", "secret") as edge,
    ):
        # NATS refuses the first three; Mosquitto grants them and delivers nothing.
        for topic in ("E1/NCMD/G2", "E2/NCMD/G1", "#", "E1/NCMD/G1/#", "E1/DCMD/G1/#"):
            await edge.subscribe(f"spBv1.0/{topic}", qos=1)
        for topic in ("E1/NCMD/G2", "E2/NCMD/G1", "E1/NCMD/G1"):
            await worker.publish(f"spBv1.0/{topic}", b"told", qos=1)
        # By order of the sender the last one published comes last.
        assert (await anext(edge.messages)).topic.value == "spBv1.0/E1/NCMD/G1"


async def test_a_broker_that_refuses_those_topics_still_brings_all_others(tmp_path: Path) -> None:
    # MQTT lets a session have 65,535 unacknowledged messages; four filters take 64,000 of them.
    with nats(tmp_path, max_ack_pending=16_000) as broker:
        options = SubscriptionOptions(
            url=broker.url, client_id="w", filters=uplink_filters(), beside=sparkplug_filters()
        )
        async with Subscription(options) as subscription:
            assert await subscription.subscribed(10)
            assert subscription.state.refused == sparkplug_filters()
            async with aiomqtt.Client("127.0.0.1", broker.port, identifier="g") as gateway:
                await gateway.publish("hl/v1/E1/G1/telemetry", b"{}", qos=1)
            batch = await subscription.next_batch(10)
            assert batch is not None
            await subscription.acknowledge(batch)
