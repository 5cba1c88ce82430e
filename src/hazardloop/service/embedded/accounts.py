"""Who may log in at the embedded broker, and what each may publish and subscribe to."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import OURS
from hazardloop.devices.dialects.readers import SPARKPLUG
from hazardloop.devices.own_devices import CANARY, PLATFORM
from hazardloop.service.database import Connection
from hazardloop.service.embedded.templates import write_private
from hazardloop.service.gateway_secret import hashed

WORKER_READS: Final = (
    "hl/v1/+/+/telemetry",
    "hl/v1/+/+/backfill",
    "hl/v1/+/+/event",
    "hl/v1/+/+/status",
)
"""What the worker subscribes to. Until it has, nobody else may log in: a broker acknowledges and
drops what nobody subscribed to."""
WORKER_ALSO_READS: Final = wire.sparkplug_filters()
OF_NODE: Final = ("NBIRTH", "NDEATH", "NDATA")
OF_DEVICE: Final = ("DBIRTH", "DDEATH", "DDATA")
COMMANDS: Final = ("NCMD", "DCMD")
WORKER_WRITES: Final = (
    "hl/v1/+/alarm",
    "hl/v1/+/+/reject",
    "hl/v1/+/+/command",
    "spBv1.0/+/NCMD/+",
)

SERVICE_WRITES: Final = ("hl/v1/+/+/command",)
SERVICE_READS: Final = ("hl/v1/+/alarm", "hl/v1/+/+/command/reply")

CANARY_WRITES: Final = (
    wire.topic(PLATFORM, CANARY, wire.Channel.EVENT),
    wire.alarm_topic(PLATFORM),
)
CANARY_READS: Final = (wire.alarm_topic(PLATFORM),)
"""For the watch over the path, whichever of our accounts the clerk logs in with."""

GATEWAYS: Final = """
    SELECT enterprise.code, gateway.code, mqtt_username, secret_bcrypt, secret_pbkdf2, dialect
      FROM gateway JOIN enterprise USING (enterprise_id)
     WHERE NOT enterprise.internal ORDER BY mqtt_username"""
REVISION: Final = "SELECT revision FROM registry_revision"


@dataclass(frozen=True, slots=True)
class Account:
    """A login over MQTT; topics are MQTT filters."""

    username: str
    bcrypt: str
    """As NATS checks the password."""
    pbkdf2: str
    """As Mosquitto checks it."""
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def gateway_account(
    enterprise: str,
    gateway: str,
    username: str,
    bcrypt: str,
    pbkdf2: str,
    dialect: str = OURS,
) -> Account:
    """A gateway writes below its own topic, and hears what is meant for it or its enterprise.

    One that speaks Sparkplug B is, besides, the edge node of its code in its enterprise's group.
    """
    own = f"hl/v1/{enterprise}/{gateway}"
    publish: tuple[str, ...] = (f"{own}/#",)
    subscribe: tuple[str, ...] = (f"{own}/command", f"{own}/reject", f"hl/v1/{enterprise}/alarm")
    if dialect == SPARKPLUG:
        group = f"{wire.SPARKPLUG}/{enterprise}"
        publish += tuple(f"{group}/{kind}/{gateway}" for kind in OF_NODE)
        publish += tuple(f"{group}/{kind}/{gateway}/+" for kind in OF_DEVICE)
        # With `#` as edge nodes ask for it; what is not below counts by itself at NATS.
        subscribe += tuple(
            f"{group}/{kind}/{gateway}{below}" for kind in COMMANDS for below in ("", "/#")
        )
    return Account(username, bcrypt, pbkdf2, publish, subscribe)


def service_accounts(worker: str, service: str) -> list[Account]:
    """The accounts of our own processes, by their passwords.

    Args:
        worker: of `worker`, which receives everything and tells alarms and rejects.
        service: of `service`, which hears alarms and sends commands (api, clerk, tools).
    """
    worker_reads = (*WORKER_READS, *WORKER_ALSO_READS, *CANARY_READS)
    ours = (
        ("worker", worker, (*WORKER_WRITES, *CANARY_WRITES), worker_reads),
        ("service", service, (*SERVICE_WRITES, *CANARY_WRITES), SERVICE_READS),
    )
    accounts = []
    for username, password, publish, subscribe in ours:
        known = hashed(password)
        accounts.append(Account(username, known.bcrypt, known.pbkdf2, publish, subscribe))
    return accounts


async def registered(connection: Connection) -> list[Account]:
    """One account for each registered gateway."""
    rows = await (await connection.execute(GATEWAYS)).fetchall()
    return [gateway_account(*row) for row in rows]


async def revision(connection: Connection) -> int:
    """A number that grows with every change of the registry."""
    row = await (await connection.execute(REVISION)).fetchone()
    return int(row[0]) if row else 0


def subjects(filters: Iterable[str]) -> list[str]:
    """MQTT filters as NATS subjects; `a/#` stands for everything below `a`, not `a` itself.

    A dot in a topic is `//` in a subject.
    """
    return [
        topic.replace("/", "\0").replace(".", "//").replace("\0", ".").replace("+", "*")
        .replace("#", ">")
        for topic in filters
    ]  # fmt: skip


def kept_secret(home: Path, name: str) -> str:
    """The secret `name` of this home, made at its first use, readable by its owner only."""
    file = home / "secrets" / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text()
