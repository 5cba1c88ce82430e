"""Watches, the sheets that hand them over, their log; escalations and working days over HTTP."""

from datetime import timedelta

import psycopg
import pytest

from hazardloop.alarms import consequences
from hazardloop.alarms.alarm import Tier, case_id_of
from hazardloop.alarms.chasing import chase
from tests.integration.api.world import World

H = timedelta(hours=1)


async def plan_two(api: World) -> tuple[int, int]:
    """The present watch, of operator and supervisor, and the next one, of the supervisor alone."""
    wang = await api.client("supervisor")
    ids = []
    for start, posts in (
        (-4, [("operator", "operator"), ("duty_supervisor", "supervisor")]),
        (4, [("operator", "night")]),
    ):
        body = {
            "name": "班",
            "starts_at": (api.now + start * H).isoformat(),
            "ends_at": (api.now + (start + 8) * H).isoformat(),
            "roster": [{"post": post, "username": username} for post, username in posts],
        }
        answer = await wang.post("/shifts", json=body)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
    return ids[0], ids[1]


@pytest.fixture
async def watch(api: World) -> World:
    """The world with one operator more, who stands the night."""
    await api.conn.execute(
        "INSERT INTO user_account (username, display_name, role, password_hash)"
        " VALUES ('night', '夜班', 'operator', '-')"
    )
    return api


async def test_a_watch_is_handed_over_by_two_people_and_then_stays(watch: World) -> None:
    api = watch
    mine, _ = await plan_two(api)
    operator, night, supervisor = [
        await api.client(name) for name in ("operator", "night", "supervisor")
    ]
    await api.raise_alarm(tier=Tier.RED)
    now = (await operator.get("/shifts/current")).json()
    assert (now["shift"]["id"], now["duty_supervisor"]["username"]) == (mine, "supervisor")
    assert now["next"]["roster"][0]["username"] == "night"

    early = await night.post(f"/shifts/{mine}/accept")
    assert (early.status_code, early.json()["code"]) == (409, "sheet_refused")
    assert early.json()["allowed"] == ["write", "submit"]
    other = await night.put(f"/shifts/{mine}", json={"notes": "x"})
    assert (other.status_code, other.json()["code"]) == (403, "forbidden")
    drafted = (await operator.put(f"/shifts/{mine}", json={"notes": "3 号罐检修中"})).json()
    assert drafted["sheet"]["open_alarms"]["total"] == 1

    submitted = await operator.post(f"/shifts/{mine}/submit")
    assert submitted.status_code == 200, submitted.text
    await api.raise_alarm("E2:GD-1.lel")
    frozen = (await night.get(f"/shifts/{mine}")).json()
    assert frozen["sheet"]["unacknowledged"]["total"] == 1, "as it was when it was signed"
    assert (await operator.post(f"/shifts/{mine}/accept")).status_code == 403
    accepted = await night.post(f"/shifts/{mine}/accept")
    assert accepted.status_code == 200, accepted.text
    assert (accepted.json()["submitted_by"], accepted.json()["accepted_by"]) == (
        "operator",
        "night",
    )
    late = await supervisor.put(f"/shifts/{mine}", json={"notes": "x"})
    assert (late.status_code, late.json()["allowed"]) == (409, [])
    for change in (
        "UPDATE shift SET notes = 'x'",
        "UPDATE shift SET accepted_by = NULL, accepted_at = NULL",
        "DELETE FROM roster",
        "DELETE FROM shift",
    ):
        with pytest.raises(psycopg.Error):
            await api.conn.execute(change)
    lines = await api.conn.execute(
        "SELECT action, actor FROM ledger WHERE subject = 'shift' AND subject_id = %s"
        " ORDER BY entry_id",
        [str(mine)],
    )
    assert await lines.fetchall() == [
        ("plan", "supervisor"),
        ("submit", "operator"),
        ("accept", "night"),
    ]


async def test_watches_never_overlap_and_are_stood_by_who_may(watch: World) -> None:
    api = watch
    await plan_two(api)
    wang = await api.client("supervisor")

    async def refused(start: int, hours: int, post: str, username: str) -> tuple[int, str]:
        body = {
            "name": "班",
            "starts_at": (api.now + start * H).isoformat(),
            "ends_at": (api.now + (start + hours) * H).isoformat(),
            "roster": [{"post": post, "username": username}],
        }
        answer = await wang.post("/shifts", json=body)
        return answer.status_code, answer.json()["code"]

    assert await refused(0, 8, "operator", "operator") == (409, "exists")
    assert await refused(20, 30, "operator", "operator") == (422, "invalid")
    assert await refused(20, 8, "operator", "ent1") == (422, "invalid")
    assert await refused(20, 8, "duty_supervisor", "operator") == (422, "invalid")
    listed = (await wang.get("/shifts")).json()["items"]
    assert len(listed) == 2, "nothing of the refused ones is left"


async def test_the_log_is_written_once_and_found_again(watch: World) -> None:
    api = watch
    mine, _ = await plan_two(api)
    operator = await api.client("operator")
    alarm_id = await api.raise_alarm()
    for text in ("已电话通知企业", "巡检正常"):
        line = await operator.post(
            "/log", json={"category": "call", "text": text, "alarm_id": str(alarm_id)}
        )
        assert (line.status_code, line.json()["shift_id"]) == (201, mine)
    found = (await operator.get("/log", params={"q": "电话", "shift": mine})).json()["items"]
    assert [line["text"] for line in found] == ["已电话通知企业"]
    page = (await operator.get("/log", params={"limit": 1})).json()
    rest = (await operator.get("/log", params={"cursor": page["next_cursor"]})).json()
    assert [line["text"] for line in page["items"] + rest["items"]] == [
        "巡检正常",
        "已电话通知企业",
    ]
    with pytest.raises(psycopg.Error, match="append-only"):
        await api.conn.execute("UPDATE duty_log SET body = 'x'")


async def test_a_case_shows_whom_its_duties_climbed_to(watch: World) -> None:
    api = watch
    await plan_two(api)
    await api.conn.execute(
        "INSERT INTO contact (name, user_id, post) SELECT '王五', user_id, 'district_leader'"
        " FROM user_account WHERE username = 'supervisor'"
    )
    wang = await api.client("supervisor")
    waits = {"minutes": {"sign": {"red": 1}}}
    assert (await wang.put("/escalation-waits", json=waits)).json()["minutes"]["sign"] == {
        "red": 1,
        "orange": 5,
        "yellow": 15,
        "blue": 30,
    }
    bad = await wang.put("/escalation-waits", json={"minutes": {"sign": {"red": 0}}})
    assert bad.status_code == 422
    alarm_id = await api.raise_alarm(tier=Tier.RED)
    await consequences.of_opening(api.conn, [alarm_id], api.now)
    await chase(api.conn, api.now + timedelta(minutes=7, seconds=30))
    ent1, ent2 = await api.client("ent1"), await api.client("ent2")
    case = f"/cases/{case_id_of(alarm_id)}/escalations"
    items = (await ent1.get(case)).json()["items"]
    assert [(one["level"], one["late_by_s"]) for one in items if one["party"] == "enterprise"] == [
        (1, 150.0),
        (2, 90.0),
        (3, 30.0),
        (4, None),
    ]
    told = await api.conn.execute(
        "SELECT DISTINCT contact_id FROM notice WHERE post = 'duty_supervisor'"
    )
    assert await told.fetchall() == [(1,)], "whoever stands watch is told"
    assert (await ent2.get(case)).status_code == 404


async def test_working_days_are_those_published_unless_somebody_says_otherwise(api: World) -> None:
    wang = await api.client("supervisor")

    async def due(start: str, days: int) -> tuple[str, str | None]:
        answer = (await wang.get("/calendar/due", params={"from": start, "days": days})).json()
        return answer["last_day"], answer["warning"]

    assert await due("2026-09-30T02:00:00Z", 5) == ("2026-10-13", None)
    year = (await wang.get("/calendar", params={"year": 2026})).json()
    assert year["known"]
    assert {one["day"] for one in year["days"] if one["kind"] == "workday"} >= {"2026-10-10"}
    last_day, warning = await due("2030-12-30T02:00:00Z", 7)
    assert last_day == "2031-01-08"
    assert warning
    assert "2030, 2031" in warning
    assert not (await wang.get("/calendar", params={"year": 2031})).json()["known"]
    put = await wang.put("/calendar/2031-01-01", json={"kind": "holiday", "name": "元旦"})
    assert put.json()["set_by"] == "supervisor"
    assert await due("2030-12-30T02:00:00Z", 7) == (
        "2031-01-09",
        "the holidays of 2030 are not known yet: Monday to Friday are counted; put them in",
    )
