"""Reports over the api: asked for, frozen by a clerk, traced to their members, never changed."""

import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest
from openpyxl import load_workbook
from prometheus_client import REGISTRY
from psycopg_pool import AsyncConnectionPool
from pypdf import PdfReader

from hazardloop.alarms.alarm import Tier
from hazardloop.reports.words import LANGUAGES
from hazardloop.service import report_files, report_store, reporting
from hazardloop.service.database import open_pool
from hazardloop.service.settings import Settings
from tests.integration.api.world import World

ZONE = ZoneInfo("Asia/Shanghai")
DAY = {"kind": "daily", "day": "2026-11-22"}
"""The world's clock stands at nine in the morning of it."""


@pytest.fixture
def settings(database: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database, home=tmp_path / "home")


async def write(api: World, settings: Settings) -> int:
    """How many reports a clerk made, at what the api takes for now."""
    async with open_pool(settings.database_url, "clerk") as pool:
        return await reporting.write_reports(pool, settings, api.now)


async def ask(client: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    answer = await client.post("/reports", json=DAY | wanted)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def read(client: httpx.AsyncClient, report_id: int) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/reports/{report_id}")).json()
    return found


async def handled(api: World, point: str, tier: Tier = Tier.YELLOW, *, age_s: float = 600) -> None:
    alarm = await api.raise_alarm(point, tier, age_s=age_s)
    await api.clear(alarm)
    await api.close_case(alarm)


async def test_a_report_says_what_the_figures_answer_and_keeps_saying_it(
    api: World, settings: Settings
) -> None:
    await handled(api, "E1:GD-1.lel")
    await api.raise_alarm("E2:SD-2.smoke", Tier.RED, age_s=3_600)
    supervisor = await api.client("supervisor")
    one = await ask(supervisor)
    assert (one["state"], one["progress"]["done"], one["version"]) == ("planned", 0, None)
    assert await write(api, settings) == 1

    told = await read(supervisor, one["id"])
    assert (told["state"], told["version"]) == ("ready", 1)
    assert told["progress"]["done"] == told["progress"]["of"] == 1 + len(report_files.FILES)
    contents = told["contents"]
    period = {"from": "2026-11-21T16:00:00Z", "to": api.now.isoformat()}
    for name in ("handling", "response", "alarm_system"):
        path = name.replace("_", "-")
        answered = (await supervisor.get(f"/kpi/{path}", params=period)).json()
        shared = answered.keys() & contents[name].keys() - {"members"}
        assert {key: contents[name][key] for key in shared} == {
            key: answered[key] for key in shared
        }
    assert (contents["handling"]["raised"], contents["handling"]["rate"]) == (2, 0.5)
    assert contents["report"]["provisional"]
    assert not contents["report"]["late"]

    members = f"/reports/{one['id']}/members"
    before = (await supervisor.get(members, params={"figure": "open"})).json()
    assert before["total"] == contents["handling"]["open"] == 1
    await handled(api, "E1:TK-1.level", age_s=300)
    assert (await supervisor.get("/kpi/handling", params=period)).json()["raised"] == 3
    assert await read(supervisor, one["id"]) == told
    assert (await supervisor.get(members, params={"figure": "open"})).json() == before
    red = {"figure": "raised", "group_by": "tier", "key": "red"}
    assert (await supervisor.get(members, params=red)).json()["items"] == before["items"]
    wrong = await supervisor.get(members, params={"figure": "luck"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid")


async def test_a_later_report_of_the_same_is_a_version_that_says_what_differs(
    api: World, settings: Settings
) -> None:
    supervisor = await api.client("supervisor")
    first = await ask(supervisor)
    again = await supervisor.post("/reports", json=DAY)
    assert (again.status_code, again.json()["code"]) == (409, "exists")
    assert str(first["id"]) in again.json()["detail"]
    await write(api, settings)
    await api.raise_alarm("E1:GD-1.lel", age_s=60)
    second = await ask(supervisor)
    await write(api, settings)
    told = await read(supervisor, second["id"])
    before = await read(supervisor, first["id"])
    assert (before["version"], told["version"]) == (1, 2)
    assert told["contents"]["report"]["follows"] == {"version": 1, "sha256": before["sha256"]}
    differs = {one["figure"]: (one["before"], one["after"]) for one in told["contents"]["differs"]}
    assert differs["raised"] == (0, 1)
    assert differs["rate"] == (None, 0.0)
    assert "closed" not in differs
    assert "differs" not in before["contents"]


async def test_the_ledger_holds_who_asked_and_the_hashes(api: World, settings: Settings) -> None:
    one = await ask(await api.client("ent1"))
    await write(api, settings)
    auditor = await api.client("auditor")
    about = {"subject": "report", "subject_id": str(one["id"])}
    lines = (await auditor.get("/ledger", params=about)).json()["items"]
    acts = {line["action"]: line for line in lines}
    assert (acts["ask"]["actor"], acts["ask"]["body"]["kind"]) == ("ent1", "daily")
    told = await read(auditor, one["id"])
    assert acts["freeze"]["body"]["sha256"] == told["sha256"]
    assert acts["write"]["body"]["files"] == {
        f"{file['format']} {file['lang']}": file["sha256"] for file in told["files"]
    }


async def test_an_enterprise_asks_for_its_own_and_sees_no_other(
    api: World, settings: Settings
) -> None:
    await api.raise_alarm("E1:GD-1.lel", age_s=60)
    await api.raise_alarm("E2:SD-2.smoke", age_s=60)
    ent1, ent2 = await api.client("ent1"), await api.client("ent2")
    district = await ask(await api.client("supervisor"))
    own = await ask(ent1)
    assert (own["enterprise"], district["enterprise"]) == ("E1", None)
    assert (await ent1.post("/reports", json=DAY | {"enterprise": "E2"})).status_code == 404
    await write(api, settings)
    told = (await read(ent1, own["id"]))["contents"]
    assert told["handling"]["raised"] == 1
    assert told["enterprises"] == {"E1": "示范化工"}
    assert "notice" not in told
    assert "E2" not in str(told)
    assert [one["id"] for one in (await ent1.get("/reports")).json()["items"]] == [own["id"]]
    assert (await ent2.get("/reports")).json()["items"] == []
    for path in ("", "/file?format=xlsx", "/members?figure=raised"):
        for number in (own["id"], district["id"]):
            assert (await ent2.get(f"/reports/{number}{path}")).status_code == 404
    tester = await api.client("tester")
    assert (await tester.post("/reports", json=DAY)).status_code == 403


async def test_the_workbook_can_be_read_back_in_both_languages(
    api: World, settings: Settings
) -> None:
    await handled(api, "E1:GD-1.lel")
    await api.raise_alarm("E2:SD-2.smoke", Tier.RED, age_s=3_600)
    supervisor = await api.client("supervisor")
    one = await ask(supervisor)
    early = await supervisor.get(f"/reports/{one['id']}/file", params={"format": "xlsx"})
    assert (early.status_code, early.json()["code"]) == (409, "still_under_way")
    await write(api, settings)
    titles = {"zh-CN": ("处置率", "报警明细"), "en": ("Handling rate", "Alarms")}
    for lang in LANGUAGES:
        asked = {"format": "xlsx", "lang": lang}
        answer = await supervisor.get(f"/reports/{one['id']}/file", params=asked)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == report_files.MEDIA_TYPES["xlsx"]
        again = await supervisor.get(f"/reports/{one['id']}/file", params=asked)
        assert again.content == answer.content
        book = load_workbook(io.BytesIO(answer.content))
        rate, sheet = titles[lang]
        summary = {row[0].value: row[1].value for row in book.worksheets[0].iter_rows()}
        assert summary[rate] == 0.5
        rows = list(book[sheet].iter_rows(values_only=True))
        head = next(row for row in rows if "raised" in row)
        listed = rows[rows.index(head) + 1 :]
        assert sum(row[head.index("raised")] for row in listed) == 2
        assert sum(row[head.index("closed")] for row in listed) == 1
        assert sum(len(page._charts) for page in book.worksheets) >= 3


async def test_the_pages_say_what_was_frozen(api: World, settings: Settings) -> None:
    await handled(api, "E1:GD-1.lel")
    ent1 = await api.client("ent1")
    one = await ask(ent1)
    await write(api, settings)
    told = await read(ent1, one["id"])
    for lang in LANGUAGES:
        asked = {"format": "pdf", "lang": lang}
        answer = await ent1.get(f"/reports/{one['id']}/file", params=asked)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
        pages = PdfReader(io.BytesIO(answer.content)).pages
        text = "".join(page.extract_text() for page in pages)
        assert "100.00%" in text
        assert "示范化工" in text
        assert told["sha256"] in text.replace("\n", "")


async def test_nobody_asks_for_the_future_or_for_too_much(api: World) -> None:
    supervisor = await api.client("supervisor")
    future = await supervisor.post("/reports", json=DAY | {"day": "2026-11-23"})
    assert (future.status_code, future.json()["code"]) == (422, "invalid")
    for nth in range(20):
        await ask(supervisor, day=f"2026-10-{nth + 1:02}")
    over = await supervisor.post("/reports", json=DAY)
    assert (over.status_code, over.json()["code"]) == (429, "too_many_requests")


async def test_what_is_frozen_cannot_be_changed_or_removed(
    api: World, settings: Settings, database: str
) -> None:
    one = await ask(await api.client("supervisor"))
    await write(api, settings)
    for attempt in (
        "UPDATE report SET contents = '{}', sha256 = sha256('{}')",
        "UPDATE report SET enterprise_id = 1",
        "DELETE FROM report",
        "UPDATE report_file SET content = '', sha256 = sha256('')",
        "DELETE FROM report_file",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation):
            await api.conn.execute(attempt)
    assert one


async def test_the_calendar_plans_each_period_once_and_a_late_report_says_so(
    api: World, settings: Settings
) -> None:
    async def planned(at: datetime) -> int:
        async with api.conn.transaction():
            return await report_store.plan(api.conn, ZONE, at)

    await api.conn.execute("UPDATE enterprise SET created_at = %s", [api.now - timedelta(days=9)])
    assert await planned(api.now) == 0  # the calendar begins
    midnight = datetime(2026, 11, 23, tzinfo=ZONE)
    assert await planned(midnight) == 0
    due = midnight + timedelta(minutes=15)
    scopes = 3  # the district and two enterprises
    assert await planned(due) == 2 * scopes  # a Sunday ended: its day and its week
    assert await planned(due) == 0
    # The clerk is away until two days later.
    api.now = due + timedelta(days=2)
    assert await planned(api.now) == 2 * scopes
    assert await write(api, settings) == 4 * scopes
    assert await write(api, settings) == 0
    auditor = await api.client("auditor")
    asked = {"of": "district", "kind": "daily"}
    items = (await auditor.get("/reports", params=asked)).json()["items"]
    late = {
        one["first"]: (await read(auditor, one["id"]))["contents"]["report"]["late"]
        for one in items
    }
    assert late == {"2026-11-22": True, "2026-11-23": True, "2026-11-24": False}


async def test_a_clerk_that_dies_in_the_middle_leaves_one_report(
    api: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.raise_alarm("E1:GD-1.lel", age_s=60)
    supervisor = await api.client("supervisor")
    one = await ask(supervisor)
    whole = report_store.keep_file
    kept: list[str] = []

    async def dies_after_the_first(*what: Any) -> None:
        if kept:
            raise psycopg.OperationalError("the clerk was killed")
        kept.append(what[2])
        await whole(*what)

    monkeypatch.setattr(report_store, "keep_file", dies_after_the_first)
    with pytest.raises(psycopg.OperationalError):
        await write(api, settings)
    monkeypatch.undo()
    told = await read(supervisor, one["id"])
    assert (told["state"], told["progress"]["done"]) == ("frozen", 2)
    await api.raise_alarm("E1:TK-1.level", age_s=30)
    assert await write(api, settings) == 1
    after = await read(supervisor, one["id"])
    assert after["state"] == "ready"
    assert (after["contents"], after["sha256"]) == (told["contents"], told["sha256"])
    assert len((await supervisor.get("/reports")).json()["items"]) == 1


async def test_a_report_that_cannot_be_made_is_counted_and_holds_up_no_other(
    api: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = await api.client("supervisor")
    bad, good = await ask(supervisor), await ask(supervisor, day="2026-11-21")
    whole = report_store.keep_file

    async def refuses_the_first(conn: Any, report_id: int, *what: Any) -> None:
        if report_id == bad["id"]:
            raise ValueError("no such font")
        await whole(conn, report_id, *what)

    monkeypatch.setattr(report_store, "keep_file", refuses_the_first)
    before = REGISTRY.get_sample_value("hazardloop_reports_failed_total") or 0.0
    assert await write(api, settings) == 1
    assert REGISTRY.get_sample_value("hazardloop_reports_failed_total") == before + 1
    assert (await read(supervisor, good["id"]))["state"] == "ready"
    assert (await read(supervisor, bad["id"]))["state"] == "frozen"


async def test_one_clerk_at_a_time_makes_reports(api: World, settings: Settings) -> None:
    await ask(await api.client("supervisor"))
    held: AsyncConnectionPool[Any]
    async with open_pool(settings.database_url, "other") as held, held.connection() as other:
        await other.execute(reporting.MINE)
        await other.commit()
        assert await write(api, settings) == 0
        await other.execute(reporting.NOT_MINE)
        await other.commit()
    assert await write(api, settings) == 1
