"""Saying how a gateway's payloads are read, and looking at what comes of one."""

import base64
import json
from typing import Any, get_args

import pytest
from psycopg import errors

from hazardloop.devices.dialects.readers import DIALECTS
from hazardloop.service.api.gateway_dialects import Dialect
from tests.integration.api.world import World
from tests.unit.devices.dialects.edge_node import EdgeNode, metric

AT_MS = 1_795_309_200_000
"""2026-11-22T01:00:00Z, what the api takes for the time."""
LEVEL = {"point": "TK-1.level", "unit": "mm"}


async def test_a_gateway_speaks_ours_until_told_otherwise_and_every_change_is_counted(
    api: World,
) -> None:
    admin = await api.client("admin")
    made = (await admin.post("/gateways", json={"enterprise": "E1", "code": "GW-5"})).json()
    assert (made["dialect"], made["profile"]) == ("hazardloop", {})

    async def revision() -> int:
        row = await (await api.conn.execute("SELECT revision FROM registry_revision")).fetchone()
        assert row is not None
        return int(row[0])

    before = await revision()
    profile = {"names": {"L1": LEVEL}, "ignore": ["rssi"]}
    told = await admin.patch("/gateways/GW-5", json={"dialect": "senml", "profile": profile})
    assert told.status_code == 200, told.text
    assert (told.json()["dialect"], told.json()["profile"]) == ("senml", profile)
    assert (await admin.get("/gateways/GW-5")).json() == told.json()
    between = await revision()
    assert between > before
    # What is left out stays.
    told = await admin.patch("/gateways/GW-5", json={"dialect": "sparkplug", "name": "五号"})
    assert told.json()["profile"] == profile
    assert told.json()["name"] == "五号"
    assert await revision() > between
    made = (
        await admin.post(
            "/gateways", json={"enterprise": "E1", "code": "GW-6", "dialect": "sparkplug"}
        )
    ).json()
    assert made["mqtt"]["topics"]["sparkplug"] == "spBv1.0/E1/{type}/GW-6[/{device}]"


@pytest.mark.parametrize(
    ("body", "loc", "message"),
    [
        pytest.param(
            {"dialect": "senml", "profile": {"nmaes": {}}},
            ["profile", "nmaes"], "Extra inputs", id="a key that is not known",
        ),
        pytest.param(
            {"dialect": "senml", "profile": {"names": {"x": LEVEL | {"unit": "kpaa"}}}},
            ["profile", "names", "x", "unit"], "no unit known here", id="a unit that is none",
        ),
        pytest.param(
            {"dialect": "mapping", "profile": {"readings": [{"path": "a["} | LEVEL]}},
            ["profile", "readings", 0, "path"], "no JMESPath", id="a path that is none",
        ),
        pytest.param(
            {"profile": {"names": {}}}, ["profile", "names"], "Extra inputs",
            id="ours takes no profile",
        ),
        pytest.param(
            {"dialect": "modbus"}, ["dialect"], "Input should be", id="a dialect that is none"
        ),
    ],
)  # fmt: skip
async def test_what_the_dialect_cannot_use_is_refused_with_its_place(
    api: World, body: dict[str, Any], loc: list[str | int], message: str
) -> None:
    admin = await api.client("admin")
    answer = await admin.patch("/gateways/E1:GW-1", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == ["body", *loc]
    assert message in error["msg"]
    assert ".".join(map(str, loc)) in answer.json()["detail"]
    assert (await admin.get("/gateways/E1:GW-1")).json()["dialect"] == "hazardloop"


async def test_a_dialect_that_does_not_fit_the_profile_there_is_is_refused(api: World) -> None:
    admin = await api.client("admin")
    profile = {"readings": [{"path": "a", "point": "TK-1.level"}]}
    await admin.patch("/gateways/E1:GW-1", json={"dialect": "mapping", "profile": profile})
    answer = await admin.patch("/gateways/E1:GW-1", json={"dialect": "thingsboard"})
    assert answer.json()["errors"][0]["loc"] == ["body", "profile", "readings"]


async def test_api_database_and_readers_know_the_same_dialects(api: World) -> None:
    assert set(get_args(Dialect)) == set(DIALECTS)
    for dialect in DIALECTS:
        await api.conn.execute("UPDATE gateway SET dialect = %s", [dialect])
    with pytest.raises(errors.CheckViolation):
        await api.conn.execute("UPDATE gateway SET dialect = 'modbus'")


async def preview(api: World, body: dict[str, Any], user: str = "ent1") -> dict[str, Any]:
    answer = await (await api.client(user)).post(
        "/gateways/E1:GW-1/preview",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_preview_shows_what_would_be_stored_and_refused_and_stores_nothing(
    api: World,
) -> None:
    payload = {"ts": AT_MS, "values": {"TK-1.level": 7.42, "TK-1.lvl": 1, "GD-1.lel": None}}
    told = await preview(api, {"payload": payload})
    assert told["topic"] == "hl/v1/E1/GW-1/telemetry"
    assert told["readings"] == [
        {"point": "TK-1.level", "value": 7.42, "unit": "m",
         "observed_at": "2026-11-22T01:00:00.000Z", "quality": "good", "flags": []},
        {"point": "GD-1.lel", "value": None, "unit": "%{LEL}",
         "observed_at": "2026-11-22T01:00:00.000Z", "quality": "bad", "flags": ["not_a_number"]},
    ]  # fmt: skip
    assert {one["reason"]: one["detail"] for one in told["rejects"]} == {
        "unknown_point": "TK-1.lvl: device TK-1 has no such point",
        "bad_shape": "GD-1.lel: nan is no value; stored as bad",
    }
    for table in ("reading", "dead_letter"):
        row = await (await api.conn.execute(f"SELECT count(*) FROM {table}")).fetchone()
        assert row == (0,)


@pytest.mark.parametrize(
    ("dialect", "profile", "payload"),
    [
        ("thingsboard", {"devices": {"Tank 5": "TK-1"}, "quantities": {"L": "level"}},
         {"Tank 5": [{"ts": AT_MS, "values": {"L": 7.42}}]}),
        ("senml", {},
         [{"bn": "TK-1:", "bt": AT_MS / 1000, "n": "level", "u": "mm", "v": 7420}]),
        ("mapping", {"ts": "at", "readings": [{"path": "d.l"} | LEVEL]},
         {"at": AT_MS, "d": {"l": 7420}}),
    ],
)  # fmt: skip
async def test_a_preview_reads_by_the_dialect(
    api: World, dialect: str, profile: dict[str, Any], payload: Any
) -> None:
    admin = await api.client("admin")
    body = {"dialect": dialect, "profile": profile}
    assert (await admin.patch("/gateways/E1:GW-1", json=body)).status_code == 200
    told = await preview(api, {"payload": payload})
    assert [(one["point"], one["value"]) for one in told["readings"]] == [
        ("TK-1.level", pytest.approx(7.42))
    ]
    assert told["readings"][0]["observed_at"] == "2026-11-22T01:00:00.000Z"
    assert told["rejects"] == []


async def test_a_preview_of_sparkplug_takes_bytes_and_shows_what_it_would_ask_for(
    api: World,
) -> None:
    admin = await api.client("admin")
    await admin.patch("/gateways/E1:GW-1", json={"dialect": "sparkplug"})
    node = EdgeNode("E1", "GW-1")
    topic, payload = node.birth(metric("TK-1/level", 7.42, ts=AT_MS))
    body = {"topic": topic.decode(), "payload_base64": base64.b64encode(payload).decode()}
    told = await preview(api, body)
    assert [(one["point"], one["value"]) for one in told["readings"]] == [("TK-1.level", 7.42)]
    assert told["status"]["online"] is True
    topic, payload = node.data(metric(alias=1, value=7.42))
    body = {"topic": topic.decode(), "payload_base64": base64.b64encode(payload).decode()}
    told = await preview(api, body)
    assert [one["reason"] for one in told["rejects"]] == ["no_birth"]
    assert told["asked_of_gateway"] == ["spBv1.0/E1/NCMD/GW-1"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param({"payload": "{"}, "not_json", id="a text that is no JSON"),
        pytest.param({"payload": None}, "bad_shape", id="null"),
        pytest.param({"payload": "\ud800"}, "not_json", id="half a character"),
        pytest.param({"topic": "a/b", "payload": {}}, "unknown_gateway", id="a topic of none"),
        pytest.param({"topic": "hl/v1/E2/GW-1/telemetry", "payload": {}}, "wrong_enterprise",
                     id="a topic of somebody else"),
    ],
)  # fmt: skip
async def test_a_preview_of_nonsense_says_so(api: World, body: dict[str, Any], reason: str) -> None:
    told = await preview(api, body)
    assert [one["reason"] for one in told["rejects"]] == [reason]


@pytest.mark.parametrize("body", [{}, {"payload": 1, "payload_base64": "AA=="},
                                  {"payload_base64": "!"}])  # fmt: skip
async def test_a_preview_of_nothing_is_refused(api: World, body: dict[str, Any]) -> None:
    client = await api.client("ent1")
    assert (await client.post("/gateways/E1:GW-1/preview", json=body)).status_code == 422


async def test_a_preview_of_another_enterprise_s_gateway_finds_none(api: World) -> None:
    client = await api.client("ent2")
    answer = await client.post("/gateways/E1:GW-1/preview", json={"payload": {}})
    assert answer.status_code == 404
