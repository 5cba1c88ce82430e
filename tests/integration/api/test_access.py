"""Who may ask what: every route against every role."""

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from hazardloop.alarms.alarm import Role
from hazardloop.service import app as app_module
from hazardloop.service.api import health
from hazardloop.service.api.access import Public
from hazardloop.service.app import PREFIX, ROUTERS, declarations
from tests.integration.api.world import ROLES, World

ALL = set(Role)
DISPOSERS = {"enterprise", "operator", "supervisor", "authority"}
REGISTRARS = {"admin", "supervisor"}
BACKTESTERS = {"admin", "supervisor", "authority", "enterprise"}
CENTRE = ALL - {Role.ENTERPRISE, Role.TESTER}

EXPECTED = {
    "POST /auth/login": None,
    "POST /auth/logout": ALL,
    "GET /me": ALL,
    "GET /enterprises": ALL,
    "POST /enterprises": REGISTRARS,
    "GET /enterprises/{enterprise}": ALL,
    "PATCH /enterprises/{enterprise}": REGISTRARS,
    "GET /hazard-units": ALL,
    "POST /hazard-units": REGISTRARS,
    "GET /hazard-units/{hazard_unit}": ALL,
    "PATCH /hazard-units/{hazard_unit}": REGISTRARS,
    "GET /hazard-units/{hazard_unit}/substances": ALL,
    "PUT /hazard-units/{hazard_unit}/substances": REGISTRARS,
    "GET /hazard-units/{hazard_unit}/level": ALL,
    "POST /hazard-units/{hazard_unit}/what-if": ALL,
    "GET /hazard-units/{hazard_unit}/level-history": ALL,
    "GET /risks": ALL,
    "GET /risk-history": ALL,
    "GET /hazard-units/{hazard_unit}/required-devices": ALL,
    "PUT /hazard-units/{hazard_unit}/required-devices": REGISTRARS,
    "GET /gateways": ALL,
    "POST /gateways": REGISTRARS,
    "POST /gateways/{gateway}/rotate-secret": REGISTRARS,
    "GET /gateways/{gateway}": ALL,
    "PATCH /gateways/{gateway}": REGISTRARS,
    "POST /gateways/{gateway}/preview": ALL,
    "GET /devices": ALL,
    "POST /devices": REGISTRARS,
    "GET /devices/{device}": ALL,
    "PATCH /devices/{device}": REGISTRARS,
    "GET /points": ALL,
    "GET /points/{point}": ALL,
    "GET /points/{point}/limits": ALL,
    "GET /rules": ALL,
    "GET /rules/{rule}": ALL,
    "PUT /rules/{rule}": REGISTRARS,
    "POST /rules/{rule}/retire": REGISTRARS,
    "POST /rules/{rule}/drafts/{draft}/approve": REGISTRARS,
    "POST /rules/{rule}/drafts/{draft}/decline": REGISTRARS,
    "POST /rules/{rule}/drafts/{draft}/withdraw": REGISTRARS,
    "GET /device-kinds": ALL,
    "GET /device-kinds/{kind}": ALL,
    "GET /readings/latest": ALL,
    "GET /points/{point}/readings": ALL,
    "GET /points/{point}/why-not": ALL,
    "GET /alarms": ALL,
    "GET /alarms-export": ALL,
    "GET /alarms/open": ALL,
    "GET /alarms/counts": ALL,
    "GET /alarms/{alarm_id}": ALL,
    "POST /alarms/bulk": {"operator", "supervisor"},
    "POST /alarms/{alarm_id}/acknowledge": {"operator", "supervisor"},
    "POST /alarms/{alarm_id}/unacknowledge": {"operator", "supervisor"},
    "POST /alarms/{alarm_id}/reset": {"operator", "supervisor"},
    "POST /alarms/{alarm_id}/shelve": {"enterprise", "operator", "supervisor"},
    "POST /alarms/{alarm_id}/unshelve": {"operator", "supervisor"},
    "GET /shelves": ALL,
    "POST /shelves/{hold_id}/approve": {"operator", "supervisor"},
    "POST /shelves/{hold_id}/release": {"enterprise", "operator", "supervisor"},
    "POST /points/{point}/out-of-service": {"enterprise", "operator", "supervisor"},
    "POST /points/{point}/return-to-service": {"operator", "supervisor"},
    "POST /devices/{device}/out-of-service": {"enterprise", "operator", "supervisor"},
    "POST /devices/{device}/return-to-service": {"operator", "supervisor"},
    "POST /devices/{device}/suppression": {"supervisor"},
    "GET /drills": ALL,
    "POST /drills": {"supervisor"},
    "GET /drills/{drill_id}": ALL,
    "POST /drills/{drill_id}/cancel": {"supervisor"},
    "GET /drills/{drill_id}/certificate": ALL,
    "GET /cases": ALL,
    "GET /cases/{case_id}": ALL,
    "POST /cases/{case_id}/steps": DISPOSERS,
    "GET /cases/{case_id}/escalations": ALL,
    "GET /escalation-waits": ALL,
    "PUT /escalation-waits": REGISTRARS,
    "GET /calendar": ALL,
    "GET /calendar/due": ALL,
    "PUT /calendar/{day}": REGISTRARS,
    "GET /shifts": CENTRE,
    "POST /shifts": REGISTRARS,
    "GET /shifts/current": CENTRE,
    "GET /shifts/{shift_id}": CENTRE,
    "PUT /shifts/{shift_id}": {"operator", "supervisor"},
    "POST /shifts/{shift_id}/submit": {"operator", "supervisor"},
    "POST /shifts/{shift_id}/accept": {"operator", "supervisor"},
    "GET /log": CENTRE,
    "POST /log": {"operator", "supervisor"},
    "POST /cases/{case_id}/evidence": DISPOSERS,
    "GET /cases/{case_id}/related": ALL,
    "POST /cases/{case_id}/merge": DISPOSERS,
    "POST /cases/{case_id}/split": DISPOSERS,
    "GET /cases/{case_id}/readings": ALL,
    "GET /evidence/{evidence_id}": ALL,
    "GET /recipient-rules": ALL - {"enterprise", "tester"},
    "GET /recipient-rules/preview": ALL - {"enterprise", "tester"},
    "POST /recipient-rules": REGISTRARS,
    "POST /recipient-rules/{rule_id}/end": REGISTRARS,
    "GET /case-policy": ALL,
    "PATCH /case-policy": REGISTRARS,
    "GET /plans": ALL,
    "POST /plans": REGISTRARS,
    "PUT /plans/{plan_id}": REGISTRARS,
    "GET /plans/{plan_id}/drawing": ALL,
    "GET /plans/{plan_id}/devices": ALL,
    "PUT /plans/{plan_id}/devices/{device}": REGISTRARS,
    "GET /kpi/alarm-system": ALL,
    "GET /alarm-floods": CENTRE,
    "POST /alarm-floods/{flood_id}/note": {"operator", "supervisor"},
    "GET /hazards": ALL,
    "POST /hazards": DISPOSERS,
    "GET /hazards/{hazard_id}": ALL,
    "POST /hazards/{hazard_id}/deeds": DISPOSERS,
    "GET /hazards-export": ALL,
    "GET /kpi/hazards": ALL,
    "GET /kpi/connectivity": ALL,
    "GET /kpi/handling": ALL,
    "GET /kpi/members": ALL,
    "GET /kpi/response": ALL,
    "GET /ledger": {"auditor", "authority", "supervisor", "enterprise"},
    "GET /reports": ALL,
    "POST /reports": ALL - {"tester"},
    "GET /reports/{report_id}": ALL,
    "GET /reports/{report_id}/members": ALL,
    "GET /reports/{report_id}/file": ALL,
    "POST /rules/backtest": BACKTESTERS,
    "GET /backtests": BACKTESTERS,
    "GET /backtests/{backtest_id}": BACKTESTERS,
    "POST /backtests/{backtest_id}/cancel": BACKTESTERS,
    "GET /ledger/anchors": {"auditor", "authority", "supervisor", "enterprise"},
    "GET /stream": ALL,
    "GET /system/health": {"admin", "supervisor", "tester"},
    "GET /gateways/{gateway}/balance": ALL,
    "GET /gateways/{gateway}/balance/daily": ALL,
    "GET /balance/daily": ALL,
    "GET /balance/daily/document": ALL,
    "GET /dead-letters": ALL - {Role.TESTER},
    "GET /dead-letters/{dead_letter_id}": ALL - {Role.TESTER},
    "POST /dead-letters/{dead_letter_id}/retry": {"admin", "supervisor", "operator"},
    "POST /dead-letters/retry": {"admin", "supervisor", "operator"},
    "GET /contacts": ALL - {Role.TESTER},
    "POST /contacts": REGISTRARS,
    "PATCH /contacts/{contact_id}": REGISTRARS,
    "POST /contacts/{contact_id}/test": REGISTRARS,
    "GET /stand-ins": ALL - {Role.TESTER},
    "POST /stand-ins": {"admin", "supervisor", "enterprise"},
    "POST /stand-ins/{stand_in}/end": {"admin", "supervisor", "enterprise"},
    "POST /me/test-notice": ALL - {Role.TESTER},
    "GET /simulations": {"tester", "admin"},
    "POST /simulations": {"tester"},
    "GET /simulations/{run}": {"tester", "admin"},
    "POST /simulations/{run}/stop": {"tester"},
    "GET /notifications": ALL - {Role.TESTER},
    "POST /notifications/{notice_id}/resend": {"admin", "supervisor", "operator"},
    "GET /cases/{case_id}/notices": ALL - {Role.TESTER},
    "POST /auth/link/{token}/exchange": None,
    "GET /healthz": None,
    "GET /readyz": None,
    "GET /metrics": None,
}
"""Roles that may use each route; None: anyone, logged in or not."""

NOBODY = "00000000-0000-0000-0000-000000000000"


def routes() -> dict[str, APIRoute]:
    """All described routes, by method and path below the prefix."""
    return {
        f"{method} {route.path}": route
        for router in (*ROUTERS, health.router)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }


def test_every_route_is_in_the_table_and_the_table_has_no_other() -> None:
    assert set(routes()) == set(EXPECTED)


@pytest.mark.parametrize("username", [*ROLES, "ent1", None])
async def test_a_role_gets_through_exactly_where_the_table_says(
    api: World, username: str | None
) -> None:
    role = "enterprise" if username == "ent1" else username
    client = await (api.anonymous() if username is None else api.client(username))
    found = {}
    for key, route in routes().items():
        method, path = key.split(" ")
        if path in ("/stream", "/auth/logout"):
            continue  # the one does not end, the other ends the session this test needs
        for name in route.param_convertors:
            path = path.replace(f"{{{name}}}", NOBODY if name.endswith("_id") else "NOBODY")
        base = "http://testserver" if route in health.router.routes else ""
        answer = await client.request(method, base + path, json={} if method != "GET" else None)
        found[key] = {401: "who?", 403: "no"}.get(answer.status_code, "through")
        if key == "POST /auth/login":
            found[key] = "through"
    expected = {
        key: "through" if roles is None or role in roles else ("who?" if username is None else "no")
        for key, roles in EXPECTED.items()
        if key in found
    }
    assert found == expected


def test_a_route_that_declares_nothing_stops_the_app_from_being_built() -> None:
    router = APIRouter()
    router.add_api_route("/open-door", lambda: None)
    with pytest.raises(LookupError, match="/open-door must declare"):
        declarations([router])


def test_only_login_health_and_the_pages_are_public() -> None:
    public = {
        key for key, route in routes().items() if isinstance(app_module.declared(route), Public)
    }
    assert public == {key for key, roles in EXPECTED.items() if roles is None}
    assert PREFIX == "/api/v1"


async def test_an_enterprise_user_finds_nothing_of_another_enterprise(api: World) -> None:
    alarm = await api.raise_alarm("E2:GD-1.lel")
    own, other = await api.client("ent1"), await api.client("ent2")
    lists = ("enterprises", "gateways", "devices", "points", "alarms", "cases", "hazard-units")
    seen = {name: len((await own.get(f"/{name}")).json()["items"]) for name in lists}
    assert seen == {
        "enterprises": 1,
        "gateways": 1,
        "devices": 2,
        "points": 2,
        "alarms": 0,
        "cases": 0,
        "hazard-units": 1,
    }
    for path in ("/enterprises/E2", "/enterprises/2", "/gateways/2", "/devices/3", "/points/4"):
        assert (await own.get(path)).status_code == 404
        assert (await other.get(path)).status_code == 200
    for path in (f"/alarms/{alarm}", "/points/E2:GD-1.lel/readings"):
        assert (await own.get(path)).status_code == 404
        assert (await other.get(path)).status_code == 200
    assert (await own.get("/alarms/open")).json()["items"] == []
    assert (await own.get("/alarms/counts")).json()["tiers"]["orange"]["open"] == 0
    assert (await other.get("/alarms/counts")).json()["tiers"]["orange"]["open"] == 1


async def test_interleaved_requests_of_two_enterprises_never_see_each_other(api: World) -> None:
    clients = [await api.client("ent1"), await api.client("ent2")]
    for turn in range(40):
        answer = await clients[turn % 2].get("/enterprises")
        assert [one["code"] for one in answer.json()["items"]] == [f"E{turn % 2 + 1}"]
