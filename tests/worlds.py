"""A small district in a real database, and real processes over it."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from hazardloop.devices.catalog import shipped_catalog

REPOSITORY = Path(__file__).parents[1]

PATIENCE_S = 120.0
"""How long what must happen may take on a busy machine; only a failure waits so long."""

DEVICES = {
    "GD-1": "gas_detector",
    "TK-1": "tank",
    "EL-1": "elevator",
    "SD-1": "smoke_detector",
}

STORED = """
    SELECT count(*) FROM reading
     WHERE point_id NOT IN (SELECT point_id FROM point JOIN device USING (device_id)
                             WHERE device.internal)"""
"""How many readings of gateways are stored; those that a worker takes of itself come on top."""


_numbers = itertools.count(1)


@contextmanager
def cloned(server: str, template: str) -> Iterator[str]:
    """Conninfo of a copy of the database `template` on that server, dropped on the way out.

    As files: a copy through the log takes five times the processor time.
    """
    name = f"hazardloop_test_{os.getpid()}_{next(_numbers)}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy").format(**names)
        )
        yield make_conninfo(server, dbname=name)
        # WITH (FORCE) may not end an autovacuum of the superuser's; a plain DROP asks it to leave.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND backend_type = 'client backend'",
            [name],
        )
        connection.execute(sql.SQL("DROP DATABASE {name}").format(**names))


def register(
    conninfo: str,
    devices: Mapping[str, str] = DEVICES,
    *,
    enterprise: str = "E1",
    gateway: str = "G1",
    interval_s: float = 86_400,
) -> dict[str, int]:
    """point_id by code of an enterprise with one gateway and these devices, code to kind."""
    kinds = shipped_catalog().kinds
    with psycopg.connect(conninfo) as connection:
        enterprise_id = _id(
            connection,
            "INSERT INTO enterprise (code, name, area) VALUES (%s, %s, 'area')"
            " RETURNING enterprise_id",
            [enterprise, f"enterprise {enterprise}"],
        )
        gateway_id = _id(
            connection,
            "INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)"
            " VALUES (%s, %s, %s, '', '') RETURNING gateway_id",
            [enterprise_id, gateway, f"{enterprise}.{gateway}"],
        )
        points: dict[str, int] = {}
        for code, kind in devices.items():
            device_id = _id(
                connection,
                "INSERT INTO device (enterprise_id, gateway_id, code, kind, tags,"
                " expected_interval_s) VALUES (%s, %s, %s, %s, %s, %s) RETURNING device_id",
                [enterprise_id, gateway_id, code, kind, Jsonb({}), interval_s],
            )
            for quantity in kinds[kind].quantities.values():
                points[f"{code}.{quantity.code}"] = _id(
                    connection,
                    "INSERT INTO point (device_id, enterprise_id, quantity, unit)"
                    " VALUES (%s, %s, %s, %s) RETURNING point_id",
                    [device_id, enterprise_id, quantity.code, quantity.unit],
                )
    return points


def _id(connection: psycopg.Connection, query: str, arguments: list[Any]) -> int:
    row = connection.execute(query, arguments).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def process(
    role: str, home: Path, log: Path | None = None, **settings: object
) -> Iterator[subprocess.Popen[bytes]]:
    """`hazardloop serve --role ROLE` with these settings, ended on the way out.

    Unless it is set so, no clerk takes the path for broken: most tests run only a part of it.
    """
    home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "HAZARDLOOP_HOME": str(home),
        "HAZARDLOOP_CANARY_WITHIN_S": "86400",
        **{f"HAZARDLOOP_{key.upper()}": str(value) for key, value in settings.items()},
    }
    with (log or home / f"{role}.log").open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "hazardloop", "serve", "--role", role],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.wait(PATIENCE_S)


def eventually(happened: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
    """The first true answer of `happened`; fails when there is none in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        answer = happened()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s} s: {what}")


def query(conninfo: str, sql: str, arguments: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """The rows of one query."""
    with psycopg.connect(conninfo) as connection:
        return connection.execute(sql, arguments).fetchall()  # type: ignore[arg-type]
