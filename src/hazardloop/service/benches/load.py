"""The district that benchmarks report for, and the messages of its gateways."""

import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from hazardloop.devices import wire
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry

GATEWAYS: Final = 50
ENTERPRISE: Final = "BENCH"
KIND: Final = "gas_detector"
QUANTITY: Final = "lel"


@dataclass(frozen=True, slots=True)
class Load:
    """Messages of `values` readings each, from gateways that report in turn."""

    messages: int
    values: int
    points: int

    def __post_init__(self) -> None:
        """ValueError: a gateway has fewer points than a message is to carry."""
        if self.points_each < self.values:
            raise ValueError(
                f"{self.points} points are {self.points_each} a gateway,"
                f" fewer than {self.values} values"
            )

    @property
    def points_each(self) -> int:
        """Of one gateway."""
        return self.points // GATEWAYS

    @property
    def readings(self) -> int:
        """In all messages together."""
        return self.messages * self.values

    def topic(self, message: int) -> str:
        """Where a message is published."""
        return f"{wire.ROOT}/{ENTERPRISE}/G{message % GATEWAYS}/telemetry"

    def device(self, message: int, value: int) -> str:
        """The device of the nth value of a message: a gateway's points take turns."""
        gateway, turn = message % GATEWAYS, message // GATEWAYS
        return f"GD-{gateway * self.points_each + (turn * self.values + value) % self.points_each}"

    def observed_ms(self, message: int, start_ms: int) -> int:
        """One instant per turn of all gateways, so that no point says two things at once."""
        return start_ms + message // GATEWAYS

    def payload(self, message: int, start_ms: int) -> bytes:
        """Quiet readings: nothing near a limit."""
        return wire.encode_telemetry(
            self.observed_ms(message, start_ms),
            message // GATEWAYS,
            {
                f"{self.device(message, value)}.{QUANTITY}": (message * 7 + value) % 200 / 10
                for value in range(self.values)
            },
        )

    def all_messages(self, start_ms: int) -> Iterator[tuple[str, bytes]]:
        """Topic and payload of each."""
        for message in range(self.messages):
            yield self.topic(message), self.payload(message, start_ms)


def start_ms_of(load: Load) -> int:
    """An instant from which the readings of a load reach up to about now."""
    return time.time_ns() // 1_000_000 - load.messages // GATEWAYS - 1_000


def registry_of(load: Load) -> Registry:
    """The registry that `register` would make, without a database."""
    lel = shipped_catalog().kinds[KIND].quantities[QUANTITY]
    each = load.points_each
    return build_registry(
        1,
        [GatewayRecord(g + 1, f"G{g}", 1, ENTERPRISE) for g in range(GATEWAYS)],
        [
            PointRecord(
                p + 1, QUANTITY, lel.unit, str(lel.type), lel.low, lel.high, 3_600.0, 0,
                p + 1, f"GD-{p}", KIND, {}, p // each + 1, f"G{p // each}", 1, ENTERPRISE, 0,
            )
            for p in range(each * GATEWAYS)
        ],
    )  # fmt: skip


def register(conninfo: str, load: Load) -> None:
    """Puts the district into an empty database."""
    unit = shipped_catalog().kinds[KIND].quantities[QUANTITY].unit
    each = load.points_each
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO enterprise (code, name) VALUES (%s, 'benchmark')", [ENTERPRISE])
        cursor.executemany(
            "INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)"
            " VALUES (1, %s, %s, '', '')",
            [(f"G{g}", f"{ENTERPRISE}.G{g}") for g in range(GATEWAYS)],
        )
        cursor.executemany(
            "INSERT INTO device (enterprise_id, gateway_id, code, kind, tags, expected_interval_s)"
            " VALUES (1, %s, %s, %s, %s, 3600)",
            [(p // each + 1, f"GD-{p}", KIND, Jsonb({})) for p in range(each * GATEWAYS)],
        )
        cursor.execute(
            "INSERT INTO point (device_id, enterprise_id, quantity, unit)"
            " SELECT device_id, 1, %s, %s FROM device ORDER BY device_id",
            [QUANTITY, unit],
        )


def machine() -> str:
    """What it ran on, in one line."""
    import os

    return (
        f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}"
    )
