"""Signals over HTTP: acknowledged, taken back, reset; shelved, suppressed, out of service."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from hazardloop.alarms import hold_store
from hazardloop.alarms.alarm import Tier
from tests.integration.api.world import World

REASON = "探头受潮抖动，维保到场"
WORK = {
    "permit": "JX-2026-118",
    "responsible": "张三",
    "replacement": "便携式检测仪",
    "reason": "探头标定",
}


async def post(client: httpx.AsyncClient, path: str, status: int, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def latched(api: World) -> UUID:
    """A red alarm that latches, and has cleared."""
    alarm_id = await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED)
    await api.conn.execute("ALTER TABLE alarm DISABLE TRIGGER latch_stays")
    await api.conn.execute("UPDATE alarm SET latched = true WHERE alarm_id = %s", [alarm_id])
    await api.conn.execute("ALTER TABLE alarm ENABLE TRIGGER latch_stays")
    await api.clear(alarm_id)
    return alarm_id


async def test_an_acknowledgement_tells_where_and_is_taken_back_by_who_gave_it(api: World) -> None:
    alarm_id = await api.raise_alarm()
    operator, supervisor = await api.client("operator"), await api.client("supervisor")
    place = {"text": "中控室", "latitude": 36.06, "longitude": 120.38}
    alarm = await post(operator, f"/alarms/{alarm_id}/acknowledge", 200, place=place)
    assert alarm["signal"] == "acknowledged"
    last = alarm["episodes"][-1]
    assert (last["place"], last["latitude"], last["longitude"]) == ("中控室", 36.06, 120.38)
    for wrong in ({}, {"latitude": 36.06}, {"latitude": 91, "longitude": 0}, {"text": "x" * 201}):
        other = await api.raise_alarm("E2:GD-1.lel", age_s=len(str(wrong)))
        await post(operator, f"/alarms/{other}/acknowledge", 422, place=wrong)
        await api.clear(other)
    undo = f"/alarms/{alarm_id}/unacknowledge"
    refused = await post(supervisor, undo, 409)
    assert (refused["code"], refused["state"]) == ("signal_refused", "acknowledged")
    alarm = await post(operator, undo, 200, note="误点")
    assert (alarm["signal"], alarm["acknowledged_by"]) == ("unacknowledged", None)
    assert [one["change"] for one in alarm["episodes"]] == [
        "raised", "acknowledged", "unacknowledged"
    ]  # fmt: skip
    await post(operator, f"/alarms/{alarm_id}/acknowledge", 200)
    api.now += timedelta(seconds=61)
    assert "60 s" in (await post(operator, undo, 409))["detail"]


async def test_a_latched_alarm_stays_on_the_list_until_it_is_reset(api: World) -> None:
    alarm_id = await latched(api)
    await api.conn.execute("UPDATE disposal_case SET stage = 'dispatched' WHERE false")
    operator = await api.client("operator")
    (line,) = (await operator.get("/alarms/open")).json()["items"]
    assert (line["cond"], line["flags"]) == ("cleared", ["latched"])
    path = f"/alarms/{alarm_id}/reset"
    refused = await post(operator, path, 409)
    assert refused["state"] == "latched_unacknowledged"
    assert refused["allowed"] == ["acknowledge", "reset", "shelve"]
    alarm = await post(operator, path, 200, acknowledge=True, note="现场已复位")
    assert (alarm["signal"], alarm["latched"], alarm["acknowledged_by"]) == (
        "normal", False, "operator"
    )  # fmt: skip
    assert [one["change"] for one in alarm["episodes"]][-2:] == ["acknowledged", "reset"]
    active = await api.raise_alarm()
    assert (await post(operator, f"/alarms/{active}/reset", 409))["state"] == "unacknowledged"


async def test_a_shelf_is_seen_everywhere_and_ends_by_itself(api: World) -> None:
    alarm_id = await api.raise_alarm(tier=Tier.YELLOW)
    operator = await api.client("operator")
    hold = await post(operator, f"/alarms/{alarm_id}/shelve", 201, minutes=20, reason=REASON)
    assert (hold["state"], hold["point"], hold["alarms"]) == ("in_force", "GD-1.lel", 1)
    (line,) = (await operator.get("/alarms/open")).json()["items"]
    assert line["flags"] == ["shelved"]
    assert line["shelf"] == {
        "kind": "shelved", "by": "operator", "why": REASON, "until": "2026-11-22T01:20:00Z"
    }  # fmt: skip
    counts = (await operator.get("/alarms/counts")).json()
    assert (counts["shelved"], counts["tiers"]["yellow"]) == (
        1, {"open": 1, "unacked": 0, "overdue": 0}
    )  # fmt: skip
    alarm = (await operator.get(f"/alarms/{alarm_id}")).json()
    assert (alarm["signal"], alarm["hold"]["by"]) == ("shelved", "operator")
    assert alarm["allowed_actions"] == ["unshelve"]
    refused = await post(operator, f"/alarms/{alarm_id}/acknowledge", 409)
    assert (refused["code"], refused["allowed"]) == ("signal_refused", ["unshelve"])
    refused = await post(operator, f"/alarms/{alarm_id}/shelve", 409, minutes=5, reason=REASON)
    assert refused["code"] == "signal_refused"

    api.now += timedelta(minutes=20)
    assert (await operator.get(f"/alarms/{alarm_id}")).json()["signal"] == "unacknowledged"
    assert (await operator.get("/alarms/counts")).json()["tiers"]["yellow"]["unacked"] == 1
    assert (await operator.get("/shelves")).json()["items"] == []
    assert await hold_store.end_due(api.conn, api.now) == 1
    (over,) = (await operator.get("/shelves?state=ended")).json()["items"]
    assert (over["ended_why"], over["ended_by"]) == ("timed_out", "system")


async def test_unshelved_by_hand_it_sounds_at_once(api: World) -> None:
    alarm_id = await api.raise_alarm(tier=Tier.YELLOW)
    operator = await api.client("operator")
    await post(operator, f"/alarms/{alarm_id}/acknowledge", 200)
    await post(operator, f"/alarms/{alarm_id}/shelve", 201, minutes=60, reason=REASON)
    before = await api.seq()
    alarm = await post(operator, f"/alarms/{alarm_id}/unshelve", 200, note="已更换")
    assert (alarm["signal"], alarm["acknowledged_by"]) == ("unacknowledged", None)
    assert [one["change"] for one in alarm["episodes"]] == [
        "raised", "acknowledged", "shelved", "returned"
    ]  # fmt: skip
    assert await api.seq() == before + 1
    assert (await post(operator, f"/alarms/{alarm_id}/unshelve", 409))["code"] == "hold_refused"


@pytest.mark.parametrize(
    ("tier", "body", "status", "code"),
    [
        pytest.param(Tier.YELLOW, {"minutes": 481}, 409, "hold_refused", id="over a shift"),
        pytest.param(Tier.ORANGE, {"minutes": 61}, 409, "hold_refused", id="orange over an hour"),
        pytest.param(Tier.RED, {"minutes": 31, "approver": "supervisor"}, 409, "hold_refused",
                     id="red over its setting"),
        pytest.param(Tier.RED, {"minutes": 5}, 422, "invalid", id="red by one"),
        pytest.param(Tier.RED, {"minutes": 5, "approver": "operator"}, 422, "invalid",
                     id="red with who is no supervisor"),
        pytest.param(Tier.BLUE, {}, 422, "invalid", id="for ever"),
        pytest.param(Tier.BLUE, {"until": "2026-11-22T00:59:00Z"}, 409, "hold_refused",
                     id="until before now"),
        pytest.param(Tier.BLUE, {"minutes": 5, "reason": "  "}, 422, "invalid", id="no reason"),
        pytest.param(Tier.BLUE, {"minutes": 5, "version": 1, "stranger": 1}, 422, "invalid",
                     id="a key that is not known"),
    ],
)  # fmt: skip
async def test_what_may_not_be_shelved_says_why(
    api: World, tier: Tier, body: dict[str, Any], status: int, code: str
) -> None:
    alarm_id = await api.raise_alarm(tier=tier)
    operator = await api.client("operator")
    said = {"reason": REASON} | body
    refused = await post(operator, f"/alarms/{alarm_id}/shelve", status, **said)
    assert refused["code"] == code
    assert (await operator.get("/shelves")).json()["items"] == []


async def test_red_waits_for_a_supervisor_other_than_who_asks(api: World) -> None:
    alarm_id = await api.raise_alarm(tier=Tier.RED)
    operator, supervisor = await api.client("operator"), await api.client("supervisor")
    asked = {"minutes": 20, "reason": REASON}
    await post(supervisor, f"/alarms/{alarm_id}/shelve", 422, approver="supervisor", **asked)
    hold = await post(operator, f"/alarms/{alarm_id}/shelve", 201, approver="supervisor", **asked)
    assert (hold["state"], hold["approver"]) == ("asked", "supervisor")
    assert hold["allowed_actions"] == ["withdraw"]
    assert (await operator.get(f"/alarms/{alarm_id}")).json()["signal"] == "unacknowledged"
    path = f"/shelves/{hold['id']}/approve"
    assert (await post(operator, path, 403))["code"] == "forbidden"
    granted = await post(supervisor, path, 200)
    assert (granted["state"], granted["granted_by"]) == ("in_force", "supervisor")
    assert (await operator.get(f"/alarms/{alarm_id}")).json()["signal"] == "shelved"
    await api.rise(await api.raise_alarm("E2:GD-1.lel"), Tier.RED)
    assert (await post(supervisor, path, 409))["code"] == "hold_refused"


async def test_an_enterprise_asks_withdraws_and_never_grants(api: World, database: str) -> None:
    alarm_id = await api.raise_alarm(tier=Tier.BLUE)
    enterprise, other = await api.client("ent1"), await api.client("ent2")
    path = f"/alarms/{alarm_id}/shelve"
    await post(other, path, 404, minutes=60, reason=REASON)
    hold = await post(enterprise, path, 201, minutes=60, reason=REASON)
    assert hold["state"] == "asked"
    assert (await other.get("/shelves")).json()["items"] == []
    await post(other, f"/shelves/{hold['id']}/release", 404)
    await post(enterprise, f"/shelves/{hold['id']}/approve", 403)
    gone = await post(enterprise, f"/shelves/{hold['id']}/release", 200, note="不需要了")
    assert gone["ended_why"] == "withdrawn"

    hold = await post(enterprise, path, 201, minutes=60, reason=REASON)
    operator = await api.client("operator")
    await post(operator, f"/shelves/{hold['id']}/approve", 200)
    assert (await enterprise.get(f"/alarms/{alarm_id}")).json()["signal"] == "shelved"
    await post(enterprise, f"/shelves/{hold['id']}/release", 403)
    with psycopg.connect(database) as conn:
        conn.execute("SET LOCAL ROLE hazardloop_api")
        conn.execute("SELECT set_config('hazardloop.scope', '1', true)")
        forged = conn.execute("UPDATE alarm_hold SET ended_at = now(), ended_by = 'x',"
                              " ended_why = 'released' WHERE ended_at IS NULL")  # fmt: skip
        assert forged.rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("INSERT INTO alarm_hold (kind, enterprise_id, device_id, point_id,"
                         " rule_id, tier, reason, asked_at, asked_by, asked_role, granted_at,"
                         " granted_by, granted_role, until) VALUES ('shelved', 1, 1, 1, 'x', 1,"
                         " 'quiet', now(), 'ent1', 'enterprise', now(), 'operator', 'operator',"
                         " now() + interval '1 hour')")  # fmt: skip


async def test_out_of_service_needs_a_permit_and_leaves_red_audible(api: World) -> None:
    orange = await api.raise_alarm(tier=Tier.ORANGE)
    operator, supervisor = await api.client("operator"), await api.client("supervisor")
    path = "/devices/E1:GD-1/out-of-service"
    await post(operator, path, 422, minutes=60, **(WORK | {"replacement": " "}))
    hold = await post(operator, path, 201, minutes=24 * 60, **WORK)
    assert (hold["kind"], hold["point"], hold["permit"]) == (
        "out_of_service", None, "JX-2026-118"
    )  # fmt: skip
    assert (await operator.get(f"/alarms/{orange}")).json()["signal"] == "out_of_service"
    assert (await post(operator, path, 409, minutes=60, **WORK))["code"] == "hold_refused"

    red = await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED)
    asked = await post(
        supervisor, "/points/E2:SD-2.smoke/out-of-service", 201, minutes=60, red=True, **WORK
    )
    assert asked["state"] == "asked"
    assert (await operator.get(f"/alarms/{red}")).json()["signal"] == "unacknowledged"
    await post(supervisor, f"/shelves/{asked['id']}/approve", 403)
    await post(supervisor, "/points/E2:SD-2.smoke/return-to-service", 200)

    back = await post(operator, "/devices/E1:GD-1/return-to-service", 200, note="标定合格")
    assert (back["ended_why"], back["end_note"], back["alarms"]) == ("released", "标定合格", 1)
    assert (await operator.get(f"/alarms/{orange}")).json()["signal"] == "unacknowledged"
    await post(operator, "/devices/E1:GD-1/return-to-service", 409)


async def test_a_design_is_declared_by_a_supervisor_for_a_rule_of_that_kind(api: World) -> None:
    supervisor = await api.client("supervisor")
    body = {"permit": "TC-31", "reason": "装置停车", "minutes": 60 * 24 * 30}
    path = "/devices/E1:GD-1/suppression"
    await post(supervisor, path, 422, while_rule="tank.level.high", **body)
    hold = await post(supervisor, path, 201, while_rule="gas_detector.in_service", **body)
    assert (hold["state"], hold["applies"], hold["tier"]) == ("in_force", False, "orange")
    alarm_id = await api.raise_alarm()
    assert (await supervisor.get(f"/alarms/{alarm_id}")).json()["signal"] == "unacknowledged"


async def test_the_list_of_holds_pages_and_filters(api: World) -> None:
    operator = await api.client("operator")
    for point in ("E1:GD-1.lel", "E1:TK-1.level", "E2:GD-1.lel"):
        alarm_id = await api.raise_alarm(point, tier=Tier.YELLOW)
        await post(operator, f"/alarms/{alarm_id}/shelve", 201, minutes=60, reason=REASON)
    page = (await operator.get("/shelves?limit=2")).json()
    rest = (await operator.get(f"/shelves?cursor={page['next_cursor']}")).json()
    assert [one["point"] for one in page["items"] + rest["items"]] == [
        "GD-1.lel", "TK-1.level", "GD-1.lel"
    ]  # fmt: skip
    own = (await operator.get("/shelves?enterprise=E2&kind=shelved")).json()["items"]
    assert [one["enterprise"]["code"] for one in own] == ["E2"]
    assert (await operator.get("/shelves?kind=suppressed")).json()["items"] == []
