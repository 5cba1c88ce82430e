"""Gateways: what logs in at the broker for a part of an enterprise."""

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field

from hazardloop.devices import own_devices, wire
from hazardloop.devices.dialects.readers import SPARKPLUG
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, require
from hazardloop.service.api.gateway_dialects import DIALECT, PROFILE, Dialect, require_profile
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Code, Instant, Out, Ref, Text
from hazardloop.service.database import Connection
from hazardloop.service.gateway_secret import GatewaySecret, new_gateway_secret

router = APIRouter(tags=["registry"])

HEARD_WITHIN: Final = timedelta(days=31)
"""How far back the last reading of a gateway is looked for."""
EXAMPLE: Final[dict[str, Any]] = {
    "id": 12,
    "code": "GW-12",
    "name": "北罐区网关",
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "mqtt_username": "E003.GW-12",
    "online": True,
    "status_at": "2026-11-22T01:02:03.123Z",
    "firmware": "1.2.0",
    "last_heard_at": "2026-11-22T01:12:07.120Z",
    "dialect": "thingsboard",
    "profile": {"devices": {"Tank 5": "TK-5"}, "ignore": ["*.rssi"]},
    "internal": False,
    "created_at": "2026-11-20T08:00:00.000Z",
}
MQTT_EXAMPLE: Final[dict[str, Any]] = {
    "username": "E003.GW-12",
    "password": "shown-once-Jc0m8yq3oVY4mG3l0W9rTzC1nD5eA2s",
    "topics": {
        "telemetry": "hl/v1/E003/GW-12/telemetry",
        "backfill": "hl/v1/E003/GW-12/backfill",
        "event": "hl/v1/E003/GW-12/event",
        "status": "hl/v1/E003/GW-12/status",
        "reject": "hl/v1/E003/GW-12/reject",
        "command": "hl/v1/E003/GW-12/command",
        "command_reply": "hl/v1/E003/GW-12/command/reply",
        "alarm": "hl/v1/E003/alarm",
    },
}
GatewayRef = Annotated[str, Path(description="Id, code or ENTERPRISE:code.", examples=["GW-12"])]


class Gateway(Out):
    """One gateway, and when it was last heard."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    code: str
    name: str
    enterprise: Ref
    mqtt_username: str
    online: bool = Field(description="By its own word (retained status, last will).")
    status_at: Instant | None
    firmware: str | None
    last_heard_at: Instant | None = Field(description="Newest reading of any of its points.")
    dialect: Dialect = Field(description=DIALECT)
    profile: dict[str, Any] = Field(description=PROFILE)
    internal: bool = Field(
        description="The service itself reports for it; in lists only where asked for by name."
    )
    created_at: Instant


class MqttLogin(Out):
    """How the gateway logs in; the password is shown this once."""

    username: str
    password: str
    topics: dict[str, str]


class GatewayWithSecret(Gateway):
    """A gateway with its new secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE | {"mqtt": MQTT_EXAMPLE}]})
    mqtt: MqttLogin


class GatewayIn(Body):
    """A new gateway. Its code stands in topics and cannot be changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"enterprise": "E003", "code": "GW-12", "name": "北罐区网关"},
                {
                    "enterprise": "E003",
                    "code": "GW-13",
                    "dialect": "thingsboard",
                    "profile": EXAMPLE["profile"],
                },
            ]
        }
    )
    enterprise: str = Field(description="Id or code.")
    code: Code
    name: Text = ""
    dialect: Dialect = Field("hazardloop", description=DIALECT)
    profile: dict[str, Any] = Field(default_factory=dict, description=PROFILE)


class GatewayChange(Body):
    """What to change; what is left out stays."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "南罐区网关"},
                {"dialect": "senml", "profile": {"devices": {"urn:dev:mac:0024befffe80": "TK-5"}}},
            ]
        }
    )
    name: Text | None = None
    dialect: Dialect | None = None
    profile: dict[str, Any] | None = None


SELECT: Final = """
    SELECT x.gateway_id AS id, x.code, x.name, x.mqtt_username, x.online, x.status_at, x.firmware,
           x.created_at, x.dialect, x.profile, x.internal,
           jsonb_build_object('id', e.enterprise_id, 'code', e.code, 'name', e.name) AS enterprise,
           (SELECT max(newest.received_at)
              FROM device d JOIN point p USING (device_id),
                   LATERAL newest_reading(p.point_id, now() - %(heard_within)s) newest
             WHERE d.gateway_id = x.gateway_id AND NOT d.internal) AS last_heard_at
      FROM gateway x JOIN enterprise e USING (enterprise_id)"""
LIST: Final = f"""{SELECT}
     WHERE {lookup.matches("enterprise", "enterprise")} AND {lookup.matches("gateway", "gateway")}
       AND NOT (e.internal AND %(enterprise)s::text IS NULL AND %(gateway)s::text IS NULL)
       AND NOT (x.internal AND NOT e.internal AND %(gateway)s::text IS NULL)
       AND (%(online)s::boolean IS NULL OR x.online = %(online)s) AND x.gateway_id > %(after)s
     ORDER BY x.gateway_id LIMIT %(limit)s"""


@router.get("/gateways", dependencies=[require("registry.read")])
async def list_gateways(
    conn: Conn,
    page: Paging,
    enterprise: str | None = None,
    gateway: str | None = None,
    online: bool | None = None,
) -> Listing[Gateway]:
    """Gateways in the order of their ids."""
    rows = await fetch(
        conn,
        LIST,
        {
            "enterprise": enterprise,
            "gateway": gateway,
            "online": online,
            "heard_within": HEARD_WITHIN,
            "after": page.after[0] if page.after else 0,
            "limit": page.limit + 1,
        },
    )
    return listing([Gateway(**row) for row in rows], page, key=lambda one: (one.id,))


ADD: Final = """
    INSERT INTO gateway (enterprise_id, code, name, mqtt_username, secret_bcrypt, secret_pbkdf2,
                         dialect, profile)
    SELECT enterprise_id, %(code)s, %(name)s, code || '.' || %(code)s, %(bcrypt)s, %(pbkdf2)s,
           %(dialect)s, %(profile)s
      FROM enterprise WHERE enterprise_id = %(enterprise_id)s
    RETURNING gateway_id AS id"""


@router.post(
    "/gateways",
    status_code=201,
    dependencies=[require("registry.write")],
    responses=problems("not_found", "exists"),
)
async def add_gateway(body: GatewayIn, conn: Conn, here: Here) -> GatewayWithSecret:
    """Register a gateway. Its MQTT secret is in the answer, and nowhere else, once.

    With it goes a device of kind `gateway`, on which the service itself measures the gateway.
    """
    enterprise = await lookup.enterprise_id(conn, body.enterprise)
    require_profile(body.dialect, body.profile, here.kinds)
    secret = new_gateway_secret()
    row = await fetch_one(
        conn,
        ADD,
        {
            "enterprise_id": enterprise,
            "code": body.code,
            "name": body.name,
            "bcrypt": secret.bcrypt,
            "pbkdf2": secret.pbkdf2,
            "dialect": body.dialect,
            "profile": Jsonb(body.profile),
        },
    )
    assert row is not None
    await own_devices.add_of_gateways(conn, here.kinds)
    return with_secret(await gateway_by_id(conn, row["id"]), secret)


ROTATE: Final = """
    UPDATE gateway SET secret_bcrypt = %(bcrypt)s, secret_pbkdf2 = %(pbkdf2)s,
           secret_rotated_at = now()
     WHERE gateway_id = %(id)s"""


@router.post(
    "/gateways/{gateway}/rotate-secret",
    dependencies=[require("registry.write")],
    responses=problems("not_found", "ambiguous"),
)
async def rotate_secret(gateway: GatewayRef, conn: Conn) -> GatewayWithSecret:
    """Give the gateway a new MQTT secret; the old one stops working when the broker is told."""
    identity = await lookup.gateway_id(conn, gateway)
    secret = new_gateway_secret()
    await conn.execute(ROTATE, {"id": identity, "bcrypt": secret.bcrypt, "pbkdf2": secret.pbkdf2})
    return with_secret(await gateway_by_id(conn, identity), secret)


@router.get(
    "/gateways/{gateway}",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def get_gateway(gateway: GatewayRef, conn: Conn) -> Gateway:
    """One gateway."""
    return await gateway_by_id(conn, await lookup.gateway_id(conn, gateway))


@router.patch(
    "/gateways/{gateway}",
    dependencies=[require("registry.write")],
    responses=problems("not_found", "ambiguous"),
)
async def change_gateway(
    gateway: GatewayRef, body: GatewayChange, conn: Conn, here: Here
) -> Gateway:
    """Change what a gateway is called, or how its payloads are read; that holds within 2 s."""
    identity = await lookup.gateway_id(conn, gateway)
    if body.name is not None:
        await conn.execute(RENAME, {"id": identity, "name": body.name})
    if body.dialect is not None or body.profile is not None:
        known = await fetch_one(conn, KNOWN_DIALECT, {"id": identity})
        assert known is not None
        dialect = body.dialect or known["dialect"]
        profile = known["profile"] if body.profile is None else body.profile
        require_profile(dialect, profile, here.kinds)
        told = {"id": identity, "dialect": dialect, "profile": Jsonb(profile)}
        await conn.execute(SET_DIALECT, told)
    return await gateway_by_id(conn, identity)


RENAME: Final = "UPDATE gateway SET name = %(name)s WHERE gateway_id = %(id)s"
KNOWN_DIALECT: Final = "SELECT dialect, profile FROM gateway WHERE gateway_id = %(id)s FOR UPDATE"
SET_DIALECT: Final = """
    UPDATE gateway SET dialect = %(dialect)s, profile = %(profile)s WHERE gateway_id = %(id)s"""


async def gateway_by_id(conn: Connection, identity: int) -> Gateway:
    """The gateway of that id, which is visible."""
    row = await fetch_one(
        conn,
        f"{SELECT} WHERE x.gateway_id = %(id)s",
        {"id": identity, "heard_within": HEARD_WITHIN},
    )
    assert row is not None
    return Gateway(**row)


def with_secret(gateway: Gateway, secret: GatewaySecret) -> GatewayWithSecret:
    """`gateway` with what it needs to log in."""
    own = f"hl/v1/{gateway.enterprise.code}/{gateway.code}"
    topics = {
        name: f"{own}/{name}"
        for name in ("telemetry", "backfill", "event", "status", "reject", "command")
    }
    topics |= {
        "command_reply": f"{own}/command/reply",
        "alarm": f"hl/v1/{gateway.enterprise.code}/alarm",
    }
    if gateway.dialect == SPARKPLUG:
        group = f"{wire.SPARKPLUG}/{gateway.enterprise.code}"
        topics["sparkplug"] = f"{group}/{{type}}/{gateway.code}[/{{device}}]"
    return GatewayWithSecret(
        **gateway.model_dump(),
        mqtt=MqttLogin(username=gateway.mqtt_username, password=secret.password, topics=topics),
    )
