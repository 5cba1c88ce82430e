"""Alarms: history, detail, the live list, and the acknowledgement."""

import asyncio
import csv
import io
from uuid import uuid4

import pytest
from openpyxl import load_workbook

from hazardloop.alarms.alarm import Tier
from hazardloop.service.api import alarm_export
from tests.integration.api.world import RULE, World


async def test_an_alarm_shows_what_raised_it_its_limits_its_case_and_its_course(api: World) -> None:
    alarm_id = await api.raise_alarm(tier=Tier.YELLOW, age_s=60)
    await api.rise(alarm_id, Tier.ORANGE)
    client = await api.client("operator")
    alarm = (await client.get(f"/alarms/{alarm_id}")).json()
    assert (alarm["tier"], alarm["tier_now"], alarm["condition"]) == ("orange", "orange", "active")
    assert alarm["rule"]["id"] == RULE
    assert alarm["rule"]["name"]["zh"]
    assert alarm["rule"]["guidance"]["en"]
    assert (alarm["value"], alarm["limit"], alarm["unit"]) == (62.5, 50.0, "%{LEL}")
    assert alarm["limits"] == [
        {"tier": "yellow", "limit": 25.0, "direction": "high"},
        {"tier": "orange", "limit": 50.0, "direction": "high"},
    ]
    assert alarm["point"] == {"id": 1, "code": "GD-1.lel", "quantity": "lel"}
    assert alarm["device"]["location"] == "东侧"
    assert alarm["enterprise"]["code"] == "E1"
    assert alarm["hazard_unit"]["code"] == "HU-1"
    assert alarm["raised_at"] == "2026-11-22T00:59:00.000Z"
    assert alarm["case"]["stage"] == "dispatched"
    assert alarm["case"]["due"]["stage"] == "sign"
    assert [(one["version"], one["change"], one["tier"]) for one in alarm["episodes"]] == [
        (1, "raised", "yellow"),
        (2, "tier", "orange"),
    ]
    assert alarm["allowed_actions"] == ["acknowledge", "shelve"]
    auditor = await api.client("auditor")
    assert (await auditor.get(f"/alarms/{alarm_id}")).json()["allowed_actions"] == []


async def test_acknowledging_is_noted_once_with_who_and_when(api: World) -> None:
    alarm_id = await api.raise_alarm()
    client = await api.client("operator")
    answer = await client.post(f"/alarms/{alarm_id}/acknowledge", json={"note": "已核实"})
    assert answer.status_code == 200
    alarm = answer.json()
    assert (alarm["acknowledged"], alarm["acknowledged_by"]) == (True, "operator")
    assert alarm["acknowledge_note"] == "已核实"
    assert alarm["version"] == 2
    assert alarm["episodes"][-1]["change"] == "acknowledged"
    assert alarm["episodes"][-1]["actor"] == "operator"
    assert alarm["allowed_actions"] == ["unacknowledge", "shelve"]
    again = await client.post(f"/alarms/{alarm_id}/acknowledge", json={})
    assert (again.status_code, again.json()["code"]) == (409, "already_acknowledged")
    assert again.json()["current"]["version"] == 2


async def test_who_saw_a_lower_tier_does_not_acknowledge_the_higher_one(api: World) -> None:
    alarm_id = await api.raise_alarm(tier=Tier.YELLOW)
    await api.rise(alarm_id, Tier.ORANGE)
    client = await api.client("operator")
    path = f"/alarms/{alarm_id}/acknowledge"
    refused = await client.post(path, json={"version": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "changed")
    assert refused.json()["current"]["tier"] == "orange"
    assert (await client.post(path, json={"version": 2})).status_code == 200


async def test_a_tier_that_fell_or_a_case_that_went_on_does_not_stop_an_acknowledgement(
    api: World,
) -> None:
    alarm_id = await api.raise_alarm(tier=Tier.ORANGE)
    await api.clear(alarm_id)
    client = await api.client("supervisor")
    answer = await client.post(f"/alarms/{alarm_id}/acknowledge", json={"version": 1})
    assert answer.status_code == 200


async def test_of_two_who_acknowledge_at_once_one_is_told_of_the_other(api: World) -> None:
    alarm_id = await api.raise_alarm()
    clients = [await api.client("operator"), await api.client("supervisor")]
    path = f"/alarms/{alarm_id}/acknowledge"
    answers = await asyncio.gather(*(client.post(path, json={}) for client in clients))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_several_are_acknowledged_at_once_and_red_never_is(api: World) -> None:
    plain = await api.raise_alarm(tier=Tier.YELLOW, age_s=90)
    risen = await api.raise_alarm("E2:GD-1.lel", tier=Tier.YELLOW, age_s=80)
    await api.rise(risen, Tier.ORANGE)
    red = await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED, age_s=70)
    first = await api.client("supervisor")
    client = await api.client("operator")
    asked = [{"id": str(one), "version": 1} for one in (plain, risen, red, uuid4())]
    answer = await client.post(
        "/alarms/bulk",
        json={"action": "acknowledge", "items": asked, "place": {"text": "2 号席"}},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["done"] == 1
    assert [(one["ok"], one["code"]) for one in answer.json()["results"]] == [
        (True, None),
        (False, "changed"),
        (False, "one_by_one"),
        (False, "not_found"),
    ]
    alarm = (await client.get(f"/alarms/{plain}")).json()
    assert (alarm["acknowledged_by"], alarm["version"]) == ("operator", 2)
    assert (alarm["episodes"][-1]["change"], alarm["episodes"][-1]["place"]) == (
        "acknowledged",
        "2 号席",
    )
    for left in (risen, red):
        assert not (await client.get(f"/alarms/{left}")).json()["acknowledged"]
    late = await first.post("/alarms/bulk", json={"action": "acknowledge", "items": asked[:1]})
    (told,) = late.json()["results"]
    assert (told["code"], told["by"], told["version"]) == ("already_acknowledged", "operator", 2)
    back = {"action": "unacknowledge", "items": asked[:1]}
    (not_theirs,) = (await first.post("/alarms/bulk", json=back)).json()["results"]
    assert not_theirs["code"] == "signal_refused"
    assert (await client.post("/alarms/bulk", json=back)).json()["done"] == 1
    changes = (await client.get(f"/alarms/{plain}")).json()["episodes"]
    assert [one["change"] for one in changes[-2:]] == ["acknowledged", "unacknowledged"]


async def test_more_than_two_hundred_at_once_are_refused_whole(api: World) -> None:
    client = await api.client("operator")
    items = [{"id": str(uuid4()), "version": 1} for _ in range(201)]
    answer = await client.post("/alarms/bulk", json={"action": "acknowledge", "items": items})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "200" in answer.json()["detail"]
    twice = await client.post(
        "/alarms/bulk", json={"action": "acknowledge", "items": items[:1] * 2}
    )
    assert twice.status_code == 422
    auditor = await api.client("auditor")
    refused = await auditor.post("/alarms/bulk", json={"action": "acknowledge", "items": items[:1]})
    assert refused.status_code == 403


async def test_the_list_filters_and_pages_newest_first(api: World) -> None:
    first = await api.raise_alarm(tier=Tier.YELLOW, age_s=300)
    await api.clear(first)
    await api.close_case(first)
    second = await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED, age_s=200)
    third = await api.raise_alarm("E2:GD-1.lel", tier=Tier.ORANGE, age_s=100)
    await api.clear(third)
    client = await api.client("operator")

    async def found(query: str) -> list[str]:
        answer = await client.get(f"/alarms?{query}")
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    one, two, three = str(first), str(second), str(third)
    assert await found("") == [three, two, one]
    assert await found("state=active") == [two]
    assert await found("state=cleared") == [three, one]
    assert await found("state=open") == [three, two]
    assert await found("tier=red&tier=yellow") == [two, one]
    assert await found("enterprise=E2&kind=gas_detector") == [three]
    assert await found("device=SD-2") == [two]
    assert await found("point=E1:GD-1.lel") == [one]
    assert await found("from=2026-11-22T00:56:00Z&to=2026-11-22T00:58:00Z") == [two]
    page = (await client.get("/alarms?limit=2")).json()
    rest = await client.get(f"/alarms?cursor={page['next_cursor']}")
    assert [item["id"] for item in rest.json()["items"]] == [one]
    assert "episodes" not in page["items"][0]


async def test_the_export_says_what_it_holds_and_has_an_alarm_a_row(api: World) -> None:
    first = await api.raise_alarm(tier=Tier.YELLOW, age_s=300)
    await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED, age_s=200)
    client = await api.client("operator")
    answer = await client.get("/alarms-export?tier=yellow&from=2026-11-22T00:00:00Z")
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"\xef\xbb\xbf")
    sentence, heads, row = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert sentence == [
        "报警 2026-11-22 08:00:00+08:00 – 2026-11-22 09:00:00+08:00（Asia/Shanghai）；"
        "级别 黄；1 条；2026-11-22 09:00:00+08:00 导出"
    ]
    assert row[heads.index("报警时间")] == "2026-11-22 08:55:00+08:00"
    assert row[heads.index("报警")] == "可燃气体浓度高"
    assert (row[heads.index("级别")], row[heads.index("流程")]) == ("黄", "已派发")
    assert row[-1] == str(first)
    own = await api.client("ent1")
    book = await own.get("/alarms-export?format=xlsx&lang=en")
    sheet = load_workbook(io.BytesIO(book.content))["Alarms"]
    lines = list(sheet.iter_rows(values_only=True))
    assert lines[1][:3] == ("Raised", "Tier", "Alarm")
    assert [line[-1] for line in lines[2:]] == [str(first)]  # of its own alone
    assert isinstance(lines[2][lines[1].index("Value")], float)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_an_export_of_too_many_is_refused_whole(
    api: World, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setitem(alarm_export.MOST, form, 1)  # type: ignore[arg-type]
    await api.raise_alarm(tier=Tier.YELLOW)
    await api.raise_alarm("E2:GD-1.lel")
    client = await api.client("operator")
    answer = await client.get(f"/alarms-export?format={form}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "shorter period" in answer.json()["detail"]


async def test_the_snapshot_holds_what_is_active_or_not_closed_and_nothing_else(api: World) -> None:
    gone = await api.raise_alarm(tier=Tier.YELLOW, age_s=300)
    await api.clear(gone)
    await api.close_case(gone)
    cleared = await api.raise_alarm("E2:GD-1.lel", tier=Tier.YELLOW, age_s=200)
    await api.clear(cleared)
    active = await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED, age_s=100)
    client = await api.client("operator")
    snapshot = (await client.get("/alarms/open")).json()
    assert (snapshot["total"], snapshot["truncated"]) == (2, False)
    assert snapshot["seq"] == await api.seq()
    red, yellow = snapshot["items"]
    assert (red["id"], yellow["id"]) == (str(active), str(cleared))
    assert red == {
        "id": str(active),
        "ver": 1,
        "tier": "red",
        "tier_now": "red",
        "kind": RULE,
        "cond": "active",
        "wf": "new",
        "stage": "dispatched",
        "ent": ["E2", "另一家"],
        "dev": ["SD-2", ""],
        "pt": "SD-2.smoke",
        "val": 62.5,
        "unit": "1",
        "lim": 50.0,
        "dir": "high",
        "raised": "2026-11-22T00:58:20Z",
        "upd": red["upd"],
        "case": red["case"],
        "rev": 2,
        "due": ["sign", "2026-11-22T01:03:20Z"],
    }
    assert (yellow["cond"], yellow["rtn"]) == ("cleared", "2026-11-22T01:00:00Z")
    assert "tier_now" not in yellow


async def test_counts_tell_open_unacknowledged_and_overdue_by_tier(api: World) -> None:
    await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED, age_s=301)  # to be signed within 300 s
    seen = await api.raise_alarm(tier=Tier.ORANGE)
    client = await api.client("operator")
    await client.post(f"/alarms/{seen}/acknowledge", json={})
    answer = (await client.get("/alarms/counts")).json()
    assert answer["tiers"] == {
        "red": {"open": 1, "unacked": 1, "overdue": 1},
        "orange": {"open": 1, "unacked": 0, "overdue": 0},
        "yellow": {"open": 0, "unacked": 0, "overdue": 0},
        "blue": {"open": 0, "unacked": 0, "overdue": 0},
    }
    assert answer["seq"] == 3


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/acknowledge")])
async def test_an_alarm_that_is_not_there_is_404(api: World, method: str, path: str) -> None:
    client = await api.client("operator")
    body = {} if method == "POST" else None
    answer = await client.request(method, f"/alarms/{uuid4()}{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
