"""Registering enterprises, hazard units, gateways and devices."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import bcrypt
import pytest

from hazardloop.devices.catalog import shipped_catalog
from tests.integration.api.world import World


async def test_an_enterprise_with_all_that_it_has_is_registered_over_the_api(api: World) -> None:
    admin = await api.client("admin")
    made = await admin.post("/enterprises", json={"code": "E9", "name": "新企业"})
    assert made.status_code == 201
    assert made.json()["area"] == ""
    unit = await admin.post(
        "/hazard-units", json={"enterprise": "E9", "code": "HU-9", "name": "罐区", "grade": 2}
    )
    assert unit.json()["enterprise"]["code"] == "E9"
    gateway = await admin.post("/gateways", json={"enterprise": "E9", "code": "GW-9"})
    assert gateway.json()["mqtt_username"] == "E9.GW-9"
    device = await admin.post(
        "/devices",
        json={
            "gateway": "GW-9",
            "code": "GD-9",
            "kind": "gas_detector",
            "hazard_unit": "HU-9",
            "tags": {"gas": "CH4", "height_m": 2.5},
        },
    )
    assert device.status_code == 201, device.text
    told = device.json()
    assert told["hazard_unit"]["code"] == "HU-9"
    assert told["enterprise"]["code"] == "E9"
    kind = shipped_catalog().kinds["gas_detector"]
    assert told["expected_interval_s"] == kind.expected_interval_s
    assert {point["quantity"]: point["unit"] for point in told["points"]} == {
        code: quantity.unit for code, quantity in kind.quantities.items()
    }
    point = (await admin.get("/points/GD-9.lel")).json()
    lel = kind.quantities["lel"]
    assert point["range"] == [lel.low, lel.high]
    assert point["latest"] is None
    assert (await admin.get(f"/points/{point['id']}")).json() == point


async def test_a_gateway_s_secret_is_shown_once_and_stored_as_hashes_brokers_can_check(
    api: World,
) -> None:
    admin = await api.client("supervisor")
    made = (await admin.post("/gateways", json={"enterprise": "E1", "code": "GW-5"})).json()
    password = made["mqtt"]["password"]
    assert len(base64.urlsafe_b64decode(password + "=")) == 32
    assert made["mqtt"]["topics"]["telemetry"] == "hl/v1/E1/GW-5/telemetry"
    assert made["mqtt"]["topics"]["alarm"] == "hl/v1/E1/alarm"

    async def stored() -> tuple[str, str]:
        cursor = await api.conn.execute(
            "SELECT secret_bcrypt, secret_pbkdf2 FROM gateway WHERE code = 'GW-5'"
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]

    by_bcrypt, by_pbkdf2 = await stored()
    assert bcrypt.checkpw(password.encode(), by_bcrypt.encode())
    _, form, rounds, salt, digest = by_pbkdf2.split("$")
    assert form == "7"
    assert base64.b64decode(digest) == hashlib.pbkdf2_hmac(
        "sha512", password.encode(), base64.b64decode(salt), int(rounds)
    )
    assert "mqtt" not in (await admin.get("/gateways/GW-5")).json()

    again = (await admin.post("/gateways/GW-5/rotate-secret")).json()
    assert again["mqtt"]["password"] != password
    assert not bcrypt.checkpw(password.encode(), (await stored())[0].encode())


async def test_a_gateway_was_last_heard_when_its_newest_reading_came(api: World) -> None:
    api.now = datetime.now(UTC).replace(microsecond=0)  # what was heard long ago is not looked for
    await api.store("E1:GD-1.lel", (20, 1.0, 0), (10, 2.0, 0))
    client = await api.client("operator")
    heard = (await client.get("/gateways/E1:GW-1")).json()["last_heard_at"]
    assert datetime.fromisoformat(heard) == api.now - timedelta(seconds=10, milliseconds=-50)
    assert (await client.get("/gateways/E2:GW-1")).json()["last_heard_at"] is None


async def test_a_code_that_two_enterprises_use_must_be_qualified(api: World) -> None:
    client = await api.client("operator")
    answer = await client.get("/devices/GD-1")
    assert answer.status_code == 409
    assert answer.json()["code"] == "ambiguous"
    assert (await client.get("/devices/E2:GD-1")).json()["enterprise"]["code"] == "E2"
    own = await api.client("ent1")
    assert (await own.get("/devices/GD-1")).json()["enterprise"]["code"] == "E1"


async def test_what_is_left_out_of_a_change_stays(api: World) -> None:
    admin = await api.client("admin")
    changed = (await admin.patch("/devices/E1:GD-1", json={"location": "西侧"})).json()
    assert changed["location"] == "西侧"
    assert changed["hazard_unit"]["code"] == "HU-1"
    changed = (await admin.patch("/devices/E1:GD-1", json={"hazard_unit": None})).json()
    assert changed["hazard_unit"] is None
    changed = (await admin.patch("/hazard-units/HU-1", json={"name": "氨"})).json()
    assert (changed["name"], changed["grade"]) == ("氨", 1)
    assert (await admin.patch("/hazard-units/HU-1", json={"grade": None})).json()["grade"] is None
    assert (await admin.patch("/enterprises/E1", json={"area": "东区"})).json()[
        "name"
    ] == "示范化工"


async def test_every_change_of_the_registry_is_counted_so_that_workers_read_it_again(
    api: World,
) -> None:
    admin = await api.client("admin")

    async def revision() -> int:
        cursor = await api.conn.execute("SELECT revision FROM registry_revision")
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    before = await revision()
    await admin.patch("/devices/E1:GD-1", json={"tags": {"gas": "H2S"}})
    assert await revision() > before


REFUSED = [
    pytest.param(
        "/enterprises", {"code": "E 9", "name": "x"}, 422, "invalid", id="blank in a code"
    ),
    pytest.param("/enterprises", {"code": "E.9", "name": "x"}, 422, "invalid", id="dot in a code"),
    pytest.param("/enterprises", {"code": "E9"}, 422, "invalid", id="no name"),
    pytest.param("/enterprises", {"code": "E9", "name": "x\u0000"}, 422, "invalid", id="NUL"),
    pytest.param("/enterprises", {"code": "E1", "name": "x"}, 409, "exists", id="taken code"),
    pytest.param(
        "/enterprises", {"code": "E9", "name": "x", "nmae": "y"}, 422, "invalid", id="misspelt key"
    ),
    pytest.param(
        "/hazard-units",
        {"enterprise": "E1", "code": "HU-5", "name": "x", "grade": 5},
        422,
        "invalid",
        id="fifth grade",
    ),
    pytest.param(
        "/gateways", {"enterprise": "E7", "code": "GW-5"}, 404, "not_found", id="no such enterprise"
    ),
    pytest.param(
        "/devices",
        {"gateway": "E1:GW-1", "code": "X-1", "kind": "teapot"},
        422,
        "invalid",
        id="unknown kind",
    ),
    pytest.param(
        "/devices",
        {"gateway": "E1:GW-1", "code": "X-1", "kind": "tank", "quantities": ["lel"]},
        422,
        "invalid",
        id="quantity of another kind",
    ),
    pytest.param(
        "/devices",
        {"gateway": "E2:GW-1", "code": "X-1", "kind": "tank", "hazard_unit": "HU-1"},
        422,
        "invalid",
        id="hazard unit of another enterprise",
    ),
    pytest.param(
        "/devices",
        {"gateway": "GW-1", "code": "X-1", "kind": "tank"},
        409,
        "ambiguous",
        id="gateway of two",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "code"), REFUSED)
async def test_a_wrong_registration_is_refused_with_its_reason(
    api: World, path: str, body: dict[str, object], status: int, code: str
) -> None:
    admin = await api.client("admin")
    answer = await admin.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_lists_go_on_from_their_cursor_and_end(api: World) -> None:
    admin = await api.client("admin")
    for number in range(5):
        await admin.post("/enterprises", json={"code": f"P{number}", "name": "x"})
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while cursor or not pages:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await admin.get("/enterprises", params=query)).json()
        seen += [one["code"] for one in page["items"]]
        cursor = page["next_cursor"]
        pages += 1
    assert seen == ["E1", "E2", "P0", "P1", "P2", "P3", "P4"]
    assert pages == 3


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=nonsense", "cursor=W10"]
)
async def test_a_wrong_page_is_refused(api: World, query: str) -> None:
    client = await api.client("operator")
    answer = await client.get(f"/enterprises?{query}")
    assert answer.status_code in (400, 422)


async def test_filters_take_ids_and_codes(api: World) -> None:
    client = await api.client("operator")

    async def codes(path: str, query: str) -> list[str]:
        answer = await client.get(f"{path}?{query}")
        return [one["code"] for one in answer.json()["items"]]

    assert await codes("/devices", "enterprise=E1") == ["GD-1", "TK-1"]
    assert await codes("/devices", "enterprise=2") == ["GD-1", "SD-2"]
    assert await codes("/devices", "kind=tank") == ["TK-1"]
    assert await codes("/devices", "gateway=E2:GW-1&kind=gas_detector") == ["GD-1"]
    assert await codes("/devices", "hazard_unit=HU-1") == ["GD-1"]
    assert await codes("/points", "device=E1:GD-1") == ["GD-1.lel"]
    assert await codes("/points", "point=SD-2.smoke") == ["SD-2.smoke"]
    assert await codes("/points", "quantity=level") == ["TK-1.level"]
    assert await codes("/gateways", "enterprise=E1&online=true") == []
    assert await codes("/hazard-units", "grade=1") == ["HU-1"]
    assert await codes("/device-kinds", "limit=2") == ["ammonia_detector", "anemometer"]
    assert (await client.get("/device-kinds/tank")).json()["code"] == "tank"
    assert (await client.get("/device-kinds/teapot")).status_code == 404


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"><style/><path d="M0 0L5 5"/></svg>'
)


async def test_a_plan_is_drawn_clean_and_devices_are_placed_on_it(api: World) -> None:
    admin, own, other = [await api.client(name) for name in ("admin", "ent1", "ent2")]
    wanted = {"enterprise": "E1", "name": "厂区", "drawing": SVG}
    plan = (await admin.post("/plans", json=wanted)).raise_for_status().json()
    assert (plan["box"], plan["left_out"], plan["placed"]) == ([0, 0, 60, 40], ["style"], 0)
    path = f"/plans/{plan['id']}"
    drawn = await own.get(f"{path}/drawing")
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in drawn.headers["content-security-policy"]
    assert "style" not in drawn.text
    again = await own.get(f"{path}/drawing", headers={"If-None-Match": drawn.headers["etag"]})
    assert again.status_code == 304

    assert (await admin.put(f"{path}/devices/1", json={"x": 12.5, "y": 8})).status_code == 204
    devices = (await own.get(f"{path}/devices")).json()
    assert [(one["code"], one["x"], one["y"]) for one in devices] == [
        ("GD-1", 12.5, 8),
        ("TK-1", None, None),
    ]
    assert (await own.get("/plans")).json()[0]["placed"] == 1
    assert (await own.put(f"{path}/devices/1", json={"x": 1, "y": 1})).status_code == 403
    assert (await other.get("/plans")).json() == []
    for hidden in (f"{path}/drawing", f"{path}/devices"):
        assert (await other.get(hidden)).status_code == 404
    # a device of another enterprise, half a place, a drawing that could act, a name twice
    assert (await admin.put(f"{path}/devices/3", json={"x": 1, "y": 1})).status_code == 404
    assert (await admin.put(f"{path}/devices/1", json={"x": 1, "y": None})).status_code == 422
    poisoned = wanted | {"name": "二", "drawing": SVG.replace("<style/>", "<script/>")}
    refused = await admin.post("/plans", json=poisoned)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert "script" in refused.json()["detail"]
    assert (await admin.post("/plans", json=wanted)).json()["code"] == "exists"

    anew = {"revision": 1, "drawing": SVG.replace("60 40", "90 40")}
    assert (await admin.put(path, json=anew)).json()["box"] == [0, 0, 90, 40]
    assert (await admin.put(path, json=anew)).json()["code"] == "overtaken"
    taken_off = {"x": None, "y": None}
    assert (await admin.put(f"{path}/devices/1", json=taken_off)).status_code == 204
    cursor = await api.conn.execute(
        "SELECT action, actor, enterprise_id FROM ledger WHERE subject = 'plan' ORDER BY entry_id"
    )
    acts = ("drawn", "placed", "redrawn", "taken_off")
    assert await cursor.fetchall() == [(act, "admin", 1) for act in acts]
