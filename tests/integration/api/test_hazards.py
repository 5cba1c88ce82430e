"""Hazards over the api: one list for enterprise and authority, from the finding to the recheck."""

import csv
import io
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from hazardloop.service.api import hazards
from tests.integration.api.world import World

FIVE = {
    "responsible": "张三",
    "measures": "更换",
    "funds": "2000 元",
    "deadline": "2026-11-20",
    "plan": "停车检修",
}


async def act(client: httpx.AsyncClient, hazard: dict[str, Any], name: str, **said: Any) -> Any:
    body = {"act": name, "revision": hazard["revision"], "note": "说明"} | said
    answer = await client.post(f"/hazards/{hazard['id']}/deeds", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_an_alarm_becomes_a_hazard_and_is_cleared_to_zero(api: World) -> None:
    alarm = await api.raise_alarm("E1:GD-1.lel")
    ent1, ent2 = await api.client("ent1"), await api.client("ent2")
    authority, operator = await api.client("authority"), await api.client("operator")
    found = {"alarm": str(alarm), "grade": "major", "title": "=1+1 泄漏", "sector": "fire"}
    one = (await operator.post("/hazards", json=found)).json()
    assert (one["enterprise"], one["hazard_unit"], one["station"]) == ("E1", "HU-1", "found")
    assert list(one["regimes"]) == ["dispatch", "ledger", "close_out", "clear_to_zero"]
    again = await operator.post("/hazards", json=found)
    assert (again.status_code, again.json()["type"].rpartition(":")[2]) == (409, "exists")
    assert (await ent2.get(f"/hazards/{one['id']}")).status_code == 404
    stray = {"enterprise": "E2", "hazard_unit": "HU-1", "origin": "report"}
    elsewhere = await operator.post("/hazards", json=stray | {"grade": "general", "title": "堵塞"})
    assert (elsewhere.status_code, "another enterprise's" in elsewhere.text) == (404, True)

    one = await act(authority, one, "register")
    refused = await ent1.post(
        f"/hazards/{one['id']}/deeds", json={"act": "rectify", "revision": one["revision"]}
    )
    assert refused.status_code == 409
    assert "responsible" in refused.json()["detail"]
    assert refused.json()["allowed_acts"] == ["rectify"]
    stale = await ent1.post(f"/hazards/{one['id']}/deeds", json={"act": "rectify", "revision": 1})
    assert (stale.status_code, stale.json()["revision"]) == (409, one["revision"])
    one = await act(ent1, one, "rectify", **FIVE)
    one = await act(authority, one, "supervise", level="city", batch="2")
    assert one["overdue"]
    one = await act(ent1, one, "report")
    mine = await ent1.post(
        f"/hazards/{one['id']}/deeds", json={"act": "close", "revision": one["revision"]}
    )
    assert mine.status_code == 403
    one = await act(authority, one, "close", recheck_due="2026-11-22")
    assert one["regimes"]["close_out"]
    assert not one["regimes"]["clear_to_zero"]
    one = await act(authority, one, "release")
    assert all(one["regimes"].values())
    due = (await authority.get("/hazards", params={"recheck_due": True})).json()["items"]
    assert [each["id"] for each in due] == [one["id"]]
    one = await act(authority, one, "recheck", recurred=True)
    assert (one["station"], one["recurred"]) == ("registered", 1)
    acts = [deed["act"] for deed in one["deeds"]]
    assert acts[:5] == ["find", "register", "rectify", "supervise", "report"]
    assert acts[5:] == ["close", "release", "recheck"]
    figures = (await ent1.get("/kpi/hazards")).json()
    assert (figures["found"], figures["major_rate"], figures["recurred"]) == (1, 0.0, 1)
    assert (await ent2.get("/kpi/hazards")).json()["found"] == 0

    sheet = await ent1.get("/hazards-export", params={"list": "problems"})
    (line,) = csv.DictReader(io.StringIO(sheet.text.removeprefix("\ufeff")))
    assert (line["title"], line["station"]) == ("'=1+1 泄漏", "registered")
    noted = await api.conn.execute(
        "SELECT action FROM ledger WHERE subject = 'hazard' ORDER BY entry_id"
    )
    assert [row[0] for row in await noted.fetchall()] == acts


async def test_the_database_refuses_what_the_code_would_not_do(api: World) -> None:
    authority = await api.client("authority")
    found = {"enterprise": "E1", "grade": "general", "origin": "report", "title": "护栏缺失"}
    one = (await authority.post("/hazards", json=found)).json()
    for wrong in (
        "station = 'closed', revision = 2, closed_by = 'x', closed_at = now()",
        "station = 'rectifying', revision = 2",
        "station = 'registered', revision = 3",
        "grade = 'major', revision = 2",
        "revision = 2",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await api.conn.execute(f"UPDATE hazard SET {wrong} WHERE hazard_id = {one['id']}")
    with pytest.raises(psycopg.errors.RestrictViolation):
        await api.conn.execute("DELETE FROM hazard")
    for body in (found | {"origin": "alarm"}, found | {"enterprise": None}):
        assert (await authority.post("/hazards", json=body)).status_code == 422


async def test_a_list_that_is_too_long_is_refused_and_never_cut_off(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = await api.client("authority")
    found = {"enterprise": "E1", "grade": "general", "origin": "report"}
    for nth in range(3):
        answer = await authority.post("/hazards", json=found | {"title": f"护栏缺失 {nth}"})
        assert answer.status_code == 201, answer.text
        api.now += timedelta(minutes=1)
    monkeypatch.setattr(hazards, "EXPORTED_MOST", 2)

    async def export(**period: str) -> httpx.Response:
        return await authority.get("/hazards-export", params={"list": "problems", **period})

    answer = await export()
    assert answer.status_code == 422
    assert "more than 2 hazards" in answer.json()["detail"]
    until = {"to": (api.now - timedelta(minutes=1)).isoformat()}
    sheet = await export(**until)
    titles = [line["title"] for line in csv.DictReader(io.StringIO(sheet.text[1:]))]
    assert titles == ["护栏缺失 0", "护栏缺失 1"]
    rest = await export(**{"from": until["to"]})
    assert [line["title"] for line in csv.DictReader(io.StringIO(rest.text[1:]))] == ["护栏缺失 2"]
