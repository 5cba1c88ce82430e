"""The invented district in the database, and the keys with which people and gateways enter it."""

import json
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from psycopg.types.json import Jsonb

from hazardloop.devices import own_devices
from hazardloop.devices.catalog import Catalog, shipped_catalog
from hazardloop.service.database import Connection
from hazardloop.service.embedded.home import HomeUnusable
from hazardloop.service.embedded.templates import write_private
from hazardloop.service.gateway_secret import hashed, matches
from hazardloop.service.passwords import hash_password
from hazardloop.simulators.district import DeviceSpec, District, build_district

PEOPLE: Final = {
    "operator": "值班员",
    "supervisor": "值班长",
    "authority": "属地监管员",
    "enterprise": "企业安全员",
    "admin": "系统管理员",
    "auditor": "审计员",
    "tester": "测试员",
}
"""Role and user name to display name."""

PRESENT: Final = """
    SELECT EXISTS (SELECT FROM enterprise WHERE NOT internal)
        OR EXISTS (SELECT FROM user_account),
           (SELECT secret_pbkdf2 FROM gateway WHERE mqtt_username = %(username)s)"""
ADD_ENTERPRISES: Final = """
    INSERT INTO enterprise (code, name, area)
    SELECT code, name, area FROM jsonb_to_recordset(%s) AS t (code text, name text, area text)"""
ADD_UNITS: Final = """
    INSERT INTO hazard_unit (enterprise_id, code, name, grade)
    SELECT enterprise_id, t.code, t.name, t.grade
      FROM jsonb_to_recordset(%s) AS t (enterprise text, code text, name text, grade smallint)
      JOIN enterprise ON enterprise.code = t.enterprise"""
ADD_GATEWAYS: Final = """
    INSERT INTO gateway (enterprise_id, code, name, mqtt_username, secret_bcrypt, secret_pbkdf2)
    SELECT enterprise_id, t.code, t.name, t.username, t.bcrypt, t.pbkdf2
      FROM jsonb_to_recordset(%s) AS t (enterprise text, code text, name text, username text,
                                        bcrypt text, pbkdf2 text)
      JOIN enterprise ON enterprise.code = t.enterprise"""
ADD_DEVICES: Final = """
    INSERT INTO device (enterprise_id, gateway_id, hazard_unit_id, code, kind, name, location, tags,
                        expected_interval_s)
    SELECT enterprise.enterprise_id, gateway_id, hazard_unit_id, t.code, t.kind, t.name, t.location,
           t.tags, t.expected_interval_s
      FROM jsonb_to_recordset(%s) AS t (enterprise text, gateway text, hazard_unit text, code text,
                                        kind text, name text, location text, tags jsonb,
                                        expected_interval_s real)
      JOIN enterprise ON enterprise.code = t.enterprise
      JOIN gateway ON gateway.enterprise_id = enterprise.enterprise_id AND gateway.code = t.gateway
      LEFT JOIN hazard_unit ON hazard_unit.enterprise_id = enterprise.enterprise_id
                           AND hazard_unit.code = t.hazard_unit"""
ADD_POINTS: Final = """
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, t.quantity, t.unit
      FROM jsonb_to_recordset(%s) AS t (device text, quantity text, unit text)
      JOIN device ON device.code = t.device"""
ADD_USERS: Final = """
    INSERT INTO user_account (username, display_name, role, enterprise_id, password_hash)
    SELECT t.username, t.display_name, t.role, enterprise_id, t.password_hash
      FROM jsonb_to_recordset(%s) AS t (username text, display_name text, role text,
                                        enterprise text, password_hash text)
      LEFT JOIN enterprise ON enterprise.code = t.enterprise"""


@dataclass(frozen=True, slots=True)
class Keys:
    """Seed of a demo's district, and the secrets of those who enter it."""

    seed: int
    people: dict[str, str]
    """Role, which is the user name too, to password."""
    gateways: dict[str, str]
    """ENTERPRISE/GATEWAY to password."""

    @property
    def district(self) -> District:
        """The district they belong to."""
        return build_district(self.seed)

    def logins(self) -> dict[str, dict[str, str]]:
        """What people type in, by role."""
        return {
            role: {"username": role, "password": password} for role, password in self.people.items()
        }

    def fleet(self) -> dict[str, dict[str, str]]:
        """What the simulated gateways log in with; that of `try` is left to people."""
        own = f"{self.district.try_enterprise}/{self.district.try_gateway}"
        return {
            name: {"username": username(name), "password": password}
            for name, password in self.gateways.items()
            if name != own
        }

    def try_gateway(self) -> dict[str, str]:
        """The gateway that the fleet leaves alone."""
        enterprise, gateway = self.district.try_enterprise, self.district.try_gateway
        name = f"{enterprise}/{gateway}"
        return {
            "enterprise": enterprise,
            "gateway": gateway,
            "username": username(name),
            "password": self.gateways[name],
        }


def username(gateway: str) -> str:
    """Login of ENTERPRISE/GATEWAY at the broker; codes have no dot."""
    return gateway.replace("/", ".")


def keys_of(home: Path, seed: int | None, say: Callable[[str], None]) -> Keys:
    """The keys of this home, made at its first demo; the registry is of the first seed."""
    file = home / "secrets" / "demo.json"
    if not file.exists():
        fresh = _new_keys(1 if seed is None else seed)
        write_private(
            file,
            json.dumps({"seed": fresh.seed, "people": fresh.people, "gateways": fresh.gateways}),
        )
        return fresh
    keys = Keys(**json.loads(file.read_text()))
    if seed not in (None, keys.seed):
        say(f"this home has the district of seed {keys.seed}, which stays: another needs --home")
    return keys


Statements: TypeAlias = list[tuple[str, list[dict[str, Any]]]]
"""SQL, and the rows that it inserts."""


def statements(keys: Keys) -> Statements:
    """All that makes the district and its people, in the order of who refers to whom."""
    return list(_rows(keys.district, keys, shipped_catalog()))


async def furnish(connection: Connection, keys: Keys, rows: Awaitable[Statements]) -> str:
    """Writes district and people unless they are there; what was done, for a line of progress.

    HomeUnusable: there is something else already.
    """
    async with connection.transaction():
        ours = keys.try_gateway()
        found = await (await connection.execute(PRESENT, ours)).fetchone()
        present, secret = found or (False, None)
        if present and not (secret and matches(secret, ours["password"])):
            raise HomeUnusable(
                "the database of this home holds a service that is no demo of ours:"
                " choose another place with --home"
            )
        if present:
            return "district is there already, its history goes on"
        district = keys.district
        for statement, values in await rows:
            await connection.execute(statement, [Jsonb(values)])
        await own_devices.add_of_gateways(connection, shipped_catalog().kinds)
    gateways = sum(len(enterprise.gateways) for enterprise in district.enterprises)
    return (
        f"district has {len(district.enterprises)} enterprises, {gateways} gateways,"
        f" {district.points()} points"
    )


def _new_keys(seed: int) -> Keys:
    names = [
        f"{enterprise.code}/{gateway.code}"
        for enterprise in build_district(seed).enterprises
        for gateway in enterprise.gateways
    ]
    return Keys(
        seed,
        people={role: secrets.token_urlsafe(9) for role in PEOPLE},
        gateways={name: secrets.token_urlsafe(24) for name in names},
    )


def _rows(
    district: District, keys: Keys, catalog: Catalog
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each statement with its rows, in the order in which they refer to each other."""
    enterprises = district.enterprises
    yield ADD_ENTERPRISES, [{"code": e.code, "name": e.name, "area": e.area} for e in enterprises]
    yield (
        ADD_UNITS,
        [
            {"enterprise": e.code, "code": u.code, "name": u.name, "grade": u.grade}
            for e in enterprises
            for u in e.hazard_units
        ],
    )
    yield (
        ADD_GATEWAYS,
        [_gateway(e.code, g.code, g.name, keys) for e in enterprises for g in e.gateways],
    )
    devices = [(e.code, g.code, d) for e in enterprises for g in e.gateways for d in g.devices]
    yield ADD_DEVICES, [_device(*each) for each in devices]
    yield (
        ADD_POINTS,
        [
            {"device": d.code, "quantity": q, "unit": catalog.kinds[d.kind].quantities[q].unit}
            for _, _, d in devices
            for q in d.quantities
        ],
    )
    yield (
        ADD_USERS,
        [
            {
                "username": role,
                "display_name": name,
                "role": role,
                "enterprise": district.try_enterprise if role == "enterprise" else None,
                "password_hash": hash_password(keys.people[role]),
            }
            for role, name in PEOPLE.items()
        ],
    )


def _gateway(enterprise: str, code: str, name: str, keys: Keys) -> dict[str, Any]:
    known = hashed(keys.gateways[f"{enterprise}/{code}"])
    return {
        "enterprise": enterprise,
        "code": code,
        "name": name,
        "username": username(f"{enterprise}/{code}"),
        "bcrypt": known.bcrypt,
        "pbkdf2": known.pbkdf2,
    }


def _device(enterprise: str, gateway: str, device: DeviceSpec) -> dict[str, Any]:
    return {
        "enterprise": enterprise,
        "gateway": gateway,
        "hazard_unit": device.hazard_unit,
        "code": device.code,
        "kind": device.kind,
        "name": device.name,
        "location": device.location,
        "tags": dict(device.tags),
        "expected_interval_s": device.expected_interval_s,
    }
