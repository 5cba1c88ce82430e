"""Who is charged, what must be done, what can be corrected, and cases handled together."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hazardloop.alarms.alarm import Tier
from hazardloop.service.evidence import missing_or_changed, shelf_of
from hazardloop.service.freezing import freeze_due
from hazardloop.service.settings import Settings
from tests.acceptance.test_case_to_closed import REPORT, LogIn, Town, problem, rate
from tests.cases import RAISED_AT
from tests.files import CSV, pdf, png


async def seen(town: Town, case_id: UUID, who: str = "wang") -> dict[str, Any]:
    told: dict[str, Any] = (await town.clients[who].get(f"/cases/{case_id}")).json()
    return told


def charged(case: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["party"], one["post"], one["assigned_to"]) for one in case["assignments"]]


async def test_recipients_come_from_rules_and_the_most_specific_one_wins(town: Town) -> None:
    wang = town.clients["wang"]

    async def preview(device: str, tier: str) -> list[tuple[str, str, str, int | None]]:
        told = await wang.get("/recipient-rules/preview", params={"device": device, "tier": tier})
        return [tuple(one.values()) for one in told.json()["recipients"]]

    async def rule(organisation: str, **matching: Any) -> int:
        body = {"party": "authority", "charges": [{"organisation": organisation}], **matching}
        made = await wang.post("/recipient-rules", json=body)
        assert made.status_code == 201, made.text
        return int(made.json()["id"])

    first = await town.case_of()
    assert await preview("E1:GD-1", "red") == [
        ("enterprise", "assignee", "示范化工", None),
        ("authority", "assignee", "城东监管所", None),
    ]
    assert (await preview("E2:GD-1", "red"))[1][2] == "属地监管部门"
    whole = await rule("区应急局")
    assert (await preview("E1:GD-1", "blue"))[1][2:] == ("区应急局", whole)
    red = await rule("市应急局", min_tier="red")
    area = await rule("{area}二科", area_prefix="城东")
    kind = await rule("消防大队", device_kind="smoke_detector")
    own = await rule("专班", enterprise="E1", min_tier="orange")
    for device, tier, rule_id in (
        ("E2:GD-1", "orange", whole),
        ("E2:GD-1", "red", red),
        ("E1:GD-1", "yellow", area),
        ("E1:SD-1", "yellow", kind),
        ("E1:SD-1", "orange", own),
        ("E2:SD-1", "red", kind),
    ):
        assert (await preview(device, tier))[1][3] == rule_id, (device, tier)
    second = await town.case_of()
    assert charged(await seen(town, second))[1] == ("authority", "assignee", "专班")
    assert charged(await seen(town, first))[1] == ("authority", "assignee", "城东监管所")
    assert (await wang.post(f"/recipient-rules/{own}/end")).json()["ended_by"] == "wang"
    problem(await wang.post(f"/recipient-rules/{own}/end"), 409, "changed")
    assert (await preview("E1:GD-1", "red"))[1][3] == area
    assert len((await wang.get("/recipient-rules")).json()["items"]) == 4
    assert len((await wang.get("/recipient-rules", params={"ended": True})).json()["items"]) == 5
    problem(await town.clients["zhao"].post("/recipient-rules", json={}), 403, "forbidden")
    problem(await town.clients["zhang"].get("/recipient-rules"), 403, "forbidden")


async def test_an_unknown_recipient_is_refused_with_what_is_known(town: Town) -> None:
    charge = {"organisation": "x"}
    for body, status, code, said in (
        ({"enterprise": "E9"}, 404, "not_found", "E9"),
        ({"device_kind": "teapot"}, 422, "invalid", "smoke_detector"),
        ({"charges": [charge | {"post": "king"}]}, 422, "invalid", "maintenance_unit"),
        ({"charges": [{"organisation": "{mayor}"}]}, 422, "invalid", "{enterprise}"),
        ({"charges": [charge, charge]}, 422, "invalid", "once"),
        ({"charges": [{"organisation": "  "}]}, 422, "invalid", "organisation"),
        ({"charges": []}, 422, "invalid", "charges"),
    ):
        whole = {"party": "authority", "charges": [charge]} | body
        answer = await town.clients["wang"].post("/recipient-rules", json=whole)
        assert said in problem(answer, status, code)["detail"]


async def test_a_lift_charges_user_and_maintenance_unit_and_a_household_its_village(
    town: Town,
) -> None:
    wang = town.clients["wang"]
    await town.owner.execute(
        """UPDATE device SET tags = '{"maintenance_unit": "快修电梯"}' WHERE code = 'GD-1'"""
    )
    changed = await wang.patch("/enterprises/E2", json={"site": "household", "area": "东湖社区"})
    assert changed.json()["site"] == "household"
    lift, home = await town.case_of(), await town.case_of(enterprise="E2", kind="smoke_detector")
    assert charged(await seen(town, lift)) == [
        ("enterprise", "assignee", "示范化工"),
        ("enterprise", "maintenance_unit", "快修电梯"),
        ("authority", "assignee", "城东监管所"),
    ]
    assert charged(await seen(town, home))[0] == ("enterprise", "village", "东湖社区")
    told = problem(await town.take("zhang", lift, "sign", post="village"), 409, "step_refused")
    assert "still to sign: assignee, maintenance_unit" in told["detail"]
    await town.take("zhang", lift, "sign", post="maintenance_unit")
    await town.take("li", lift, "sign")
    assert (await seen(town, lift))["stage"] == "dispatched", "the user has not signed"
    assert (await town.take("zhang", lift, "sign")).json()["stage"] == "signed"


async def test_a_response_plan_is_ticked_before_the_report(town: Town) -> None:
    case_id = await town.case_of(kind="smoke_detector", tier=Tier.YELLOW)
    await town.bring_to(case_id, "handling")
    assert [one["required"] for one in (await seen(town, case_id))["checks"]] == [True, False]
    told = problem(await town.take("zhang", case_id, "submit", **REPORT), 409, "step_refused")
    assert "still to be ticked: evacuate" in told["detail"]
    assert "tick" in told["allowed_actions"]
    told = problem(await town.take("zhang", case_id, "tick", item="dance"), 409, "step_refused")
    assert "there are: evacuate, call" in told["detail"]
    problem(await town.take("li", case_id, "tick", item="evacuate"), 403, "forbidden")
    ticked = (await town.take("zhang", case_id, "tick", item="evacuate")).json()
    assert (ticked["checks"][0]["ticked_by"], ticked["checks"][1]["ticked_at"]) == ("zhang", None)
    await town.take("zhang", case_id, "untick", item="evacuate")
    problem(await town.take("zhang", case_id, "submit", **REPORT), 409, "step_refused")
    await town.take("zhang", case_id, "tick", item="evacuate")
    assert (await town.take("zhang", case_id, "submit", **REPORT)).json()["stage"] == "submitted"


async def test_findings_are_amended_in_time_and_by_nobody_after(town: Town) -> None:
    case_id = await town.case_of(tier=Tier.YELLOW)
    await town.bring_to(case_id, "verified")
    told = problem(await town.take("zhang", case_id, "amend", cause="x"), 409, "step_refused")
    assert "only the verdict" in told["detail"]
    amended = await town.take("zhang", case_id, "amend", verdict="maintenance")
    assert amended.json()["verdict"] == "maintenance"
    await town.take("zhang", case_id, "handle")
    await town.take("zhang", case_id, "submit", cause="x", measures="y")
    amended = await town.take("wang", case_id, "amend", cause="z")
    assert (amended.json()["cause"], amended.json()["handlers"]) == ("z", ["zhang", "wang"])
    problem(await town.take("wang", case_id, "close"), 409, "step_refused")
    problem(await town.take("zhang", case_id, "amend", cause=" "), 409, "step_refused")
    case_id = await town.case_of(tier=Tier.RED)
    await town.bring_to(case_id, "handling")
    town.now += timedelta(hours=5)
    for who in ("zhang", "wang", "li"):
        town.clients[who].auth = LogIn(who)  # the session has ended meanwhile
    told = problem(await town.take("zhang", case_id, "amend", verdict="test"), 409, "step_refused")
    assert "which is past" in told["detail"]
    assert "amend" not in told["allowed_actions"]
    late = (await town.take("li", case_id, "comment", note="迟")).json()
    assert late["steps"][-1]["body"]["late"] is True


async def test_a_signal_must_be_normal_for_a_while_before_its_case_closes(town: Town) -> None:
    wang = town.clients["wang"]
    problem(await town.clients["zhao"].patch("/case-policy", json={}), 403, "forbidden")
    problem(await wang.patch("/case-policy", json={"rest_minutes": -1}), 422, "invalid")
    set_to = await wang.patch("/case-policy", json={"rest_minutes": 5})
    assert set_to.json()["rest_minutes"] == 5
    case_id = await town.case_of(tier=Tier.YELLOW)
    await town.bring_to(case_id, "submitted")
    await town.clear(case_id)
    town.now += timedelta(minutes=4)
    told = problem(await town.take("li", case_id, "close"), 409, "step_refused")
    assert "must stay so until" in told["detail"]
    assert told["allowed_actions"] == ["return", "comment", "attach", "escalate"]
    town.now += timedelta(minutes=1)
    assert (await town.take("li", case_id, "close")).json()["stage"] == "closed"


async def test_cases_are_handled_together_and_each_still_counts(town: Town) -> None:
    lead, yellow, red = [
        await town.case_of(tier=tier) for tier in (Tier.YELLOW, Tier.YELLOW, Tier.RED)
    ]
    late = await town.case_of(tier=Tier.BLUE, raised_at=RAISED_AT + timedelta(minutes=30))
    other = await town.case_of(enterprise="E2")
    before = await rate(town)
    told = (await town.clients["zhao"].get(f"/cases/{lead}/related")).json()
    assert {one["case"]["id"] for one in told["items"]} == {str(yellow), str(red)}
    assert {(one["because"], one["obstacle"]) for one in told["items"]} == {("same_device", None)}

    async def merge(who: str, members: dict[UUID, int], revision: int = 2) -> Any:
        named = [{"id": str(one), "revision": seen} for one, seen in members.items()]
        body = {"revision": revision, "members": named}
        return await town.clients[who].post(f"/cases/{lead}/merge", json=body)

    problem(await merge("zhang", {yellow: 2}), 403, "forbidden")
    problem(await merge("zhao", {yellow: 1}), 409, "overtaken")
    problem(await merge("zhao", {other: 2}), 409, "step_refused")
    problem(await merge("zhao", {lead: 2}), 409, "step_refused")
    problem(await merge("zhao", {UUID(int=1): 2}), 404, "not_found")
    merged = await merge("zhao", {yellow: 2, red: 2, late: 2})
    assert (merged.status_code, len(merged.json()["members"])) == (201, 3)
    assert (await seen(town, red))["lead_case_id"] == str(lead)
    told = problem(await town.take("zhang", red, "sign"), 409, "step_refused")
    assert f"handled under case {lead}" in told["detail"]
    problem(await merge("zhao", {red: 3}, revision=3), 409, "step_refused")
    gone = {"revision": 3, "members": [str(late)]}
    assert (await town.clients["zhao"].post(f"/cases/{lead}/split", json=gone)).status_code == 201
    assert (await seen(town, late))["lead_case_id"] is None

    await town.bring_to(lead, "handling")
    assert (await town.take("zhang", red, "amend", verdict="test")).json()["verdict"] == "test"
    bare = await town.take("zhang", lead, "submit", cause="x", measures="y")
    assert "responsible" in problem(bare, 409, "step_refused")["missing"], "one of them is red"
    await town.attach("zhang", lead)
    await town.take("zhang", lead, "submit", **REPORT)
    for case_id in (lead, yellow):
        await town.clear(case_id)
    told = problem(await town.take("li", lead, "close"), 409, "step_refused")
    assert str(red) in told["detail"]
    assert (await seen(town, yellow))["stage"] == "submitted", "nothing half-done"
    await town.clear(red)
    assert (await town.take("li", lead, "close")).status_code == 201
    assert [(await seen(town, one))["stage"] for one in (lead, yellow, red, late)] == [
        *["closed"] * 3,
        "dispatched",
    ]
    assert (await seen(town, red))["verdict"] == "test"
    assert (await seen(town, red))["steps"][-1]["body"]["under"] == str(lead)
    raised, closed, _ = await rate(town)
    assert (raised, closed) == (before[0], 3), "merged, but each raised and each closed"


async def test_the_readings_of_a_case_are_shown_to_its_own_people(town: Town) -> None:
    case_id = await town.case_of()
    await town.owner.execute("SELECT ensure_reading_partitions(%s, %s)", [RAISED_AT.date()] * 2)
    await town.owner.execute(
        "INSERT INTO reading SELECT point_id, raised_at, raised_at, 60, 0 FROM alarm"
    )
    path = f"/cases/{case_id}/readings"
    (window,) = (await town.clients["zhang"].get(path)).json()["windows"]
    assert (window["around"], window["frozen_at"], window["points"]) == ("raised", None, [])
    await freeze_due(town.owner, RAISED_AT + timedelta(hours=1))
    (window,) = (await town.clients["zhang"].get(path)).json()["windows"]
    assert window["points"][0]["readings"] == [
        {"observed_at": "2026-11-22T01:00:00.000Z", "value": 60.0, "quality": "good", "flags": []}
    ]
    problem(await town.clients["qian"].get(path), 404, "not_found")


async def test_evidence_of_other_kinds_is_taken_and_disguises_are_not(town: Town) -> None:
    case_id = await town.case_of()
    for content, media_type in (
        (png(), "image/png"),
        (pdf(), "application/pdf"),
        (CSV, "text/csv"),
    ):
        kept = (await town.attach("zhang", case_id, content)).json()
        got = await town.clients["zhang"].get(f"/evidence/{kept['id']}")
        assert (got.content, got.headers["content-type"].split(";")[0]) == (content, media_type)
    told = problem(
        await town.attach("zhang", case_id, png(10_000, 10_000)), 415, "unsupported_media_type"
    )
    assert "pixels" in told["detail"]
    shelf = shelf_of(Settings(home=town.home))
    assert await missing_or_changed(town.owner, shelf) == {}
    (town.home / "evidence" / kept["sha256"][:2] / kept["sha256"]).write_bytes(b"other")
    assert list(await missing_or_changed(town.owner, shelf)) == [bytes.fromhex(kept["sha256"])]
    problem(await town.clients["zhang"].get(f"/evidence/{kept['id']}"), 500, "damaged")
