"""Contacts, notices over every kind of channel to local receivers, and links opened on a phone."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest

from hazardloop.alarms import hold_store, jobs, notice_store
from hazardloop.alarms.alarm import Actor, Role, Tier, case_id_of
from hazardloop.alarms.hold import Ending, Wish
from hazardloop.alarms.hold_store import Permit, Scope
from hazardloop.alarms.notices import Notice
from hazardloop.alarms.signal import Hold
from hazardloop.service.app import create_app
from hazardloop.service.jobs import run_jobs
from hazardloop.service.settings import Settings
from tests.cases import as_request
from tests.integration.api.conftest import running
from tests.integration.api.world import RULE, World, build_world
from tests.receivers import HttpReceiver, SmtpReceiver, http_receiver, smtp_receiver
from tests.worlds import PATIENCE_S

PUBLIC = "http://phone.test"
OK = (200, b'{"errcode": 0, "code": 0, "result": "OK"}')
SECRET = "correct-horse-9"
SERVICES = """
mail: mailto://{smtp}?from=alarm@example.org&mode=insecure
sms:
  url: {http}/sms
  body: "to={{phone}}&content={{text}}&id={{key}}"
  accepted: '"result": "OK"'
robots:
  wecom: {http}/wecom
  dingtalk: {http}/dingtalk
  feishu: {http}/feishu/
  lark: {http}/lark/
"""


@pytest.fixture
def receivers() -> Iterator[tuple[HttpReceiver, SmtpReceiver]]:
    with http_receiver() as http, smtp_receiver() as smtp:
        http.answers |= {
            "/sms": OK,
            "/wecom": OK,
            "/dingtalk": OK,
            "/feishu/feishu-token": OK,
            "/lark/lark-token-1": OK,
        }
        yield http, smtp


@pytest.fixture
async def world(
    database: str, tmp_path: Path, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> AsyncIterator[World]:
    """The api, and a clerk that does the jobs."""
    http, smtp = receivers
    file = tmp_path / "services.yaml"
    file.write_text(SERVICES.format(smtp=f"127.0.0.1:{smtp.port}", http=http.url))
    settings = Settings(
        database_url=database,
        home=tmp_path / "home",
        public_url=PUBLIC,
        notification_file=file,
        notify_private=True,
    )
    now = datetime.fromisoformat("2026-11-22T01:00:00+00:00")
    app = create_app(settings, clock=lambda: world.now, console_dist=tmp_path / "dist")
    async with await build_world(database, app, now) as world, running(app):
        clerk = asyncio.create_task(run_jobs(settings))
        yield world
        clerk.cancel()
        await asyncio.gather(clerk, return_exceptions=True)


async def eventually(found: Callable[[], Any]) -> Any:
    """What `found` gives or resolves to, once that is something."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = found()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.02)


async def add(client: httpx.AsyncClient, **contact: Any) -> dict[str, Any]:
    answer = await client.post("/contacts", json={"name": "王芳", "post": "assignee"} | contact)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def notify(world: World, alarm_id: UUID, tier: Tier, party: str = "enterprise") -> int:
    """A notice of an alarm just dispatched, queued as a request would."""
    notice = Notice(
        "dispatched", case_id_of(alarm_id), alarm_id, party, "assignee", tier,
        world.now + timedelta(minutes=5),
    )  # fmt: skip
    async with world.conn.transaction():
        return (await notice_store.queue(world.conn, [notice]))[0]


async def settled(client: httpx.AsyncClient, notice_id: int) -> dict[str, Any]:
    """The notice once it, and each of its messages, is sent or undeliverable."""
    over = {"sent", "undeliverable"}

    async def look() -> dict[str, Any] | None:
        for one in (await client.get("/notifications")).json()["items"]:
            states = {one["state"], *(message["state"] for message in one["messages"])}
            if one["id"] == notice_id and states <= over:
                return dict(one)
        return None

    return dict(await eventually(look))


def hook(http: HttpReceiver, path: str = "/hook") -> dict[str, str]:
    return hook_at(f"{http.url}{path}")


def hook_at(url: str) -> dict[str, str]:
    return {"kind": "webhook", "url": url, "secret": SECRET}


async def test_a_test_message_goes_out_over_every_kind_of_channel(
    world: World, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> None:
    http, smtp = receivers
    client = await world.client("admin")
    contact = await add(
        client,
        enterprise="E1",
        user="ent1",
        channels=[
            {"kind": "sms", "phone": "13812345678"},
            {"kind": "mail", "address": "wf@example.org"},
            {"kind": "wecom_robot", "token": "wecom-token"},
            {"kind": "dingtalk_robot", "token": "ding-token", "secret": "SEC12345678"},
            {"kind": "feishu_robot", "token": "feishu-token", "secret": "feishu-secret"},
            {"kind": "lark_robot", "token": "lark-token-1"},
            hook(http),
        ],
    )
    answer = await client.post(f"/contacts/{contact['id']}/test")
    assert answer.status_code == 202
    notice = await settled(client, answer.json()["notice"])
    assert notice["state"] == "sent", notice
    (message,) = notice["messages"]
    results = {one["channel"]: (one["result"], one["attempt"]) for one in message["deliveries"]}
    assert results == dict.fromkeys(results, ("delivered", 1))
    assert len(results) == 7
    keys = {one["channel"]: one["key"] for one in message["deliveries"]}
    (sms,) = http.at("/sms")
    form = parse_qs(sms.body.decode())
    assert (form["to"], form["id"]) == (["13812345678"], [keys["sms"]])
    assert "【测试】" in form["content"][0]
    (mail,) = smtp.mails
    assert (mail["To"], mail["X-HazardLoop-Delivery"]) == ("wf@example.org", keys["mail"])
    assert "【测试】" in mail["Subject"]
    assert "无需处置" in mail.get_content()
    (wecom,) = http.at("/wecom")
    assert wecom.path == "/wecom?key=wecom-token"
    assert "【测试】" in json.loads(wecom.body)["text"]["content"]
    (ding,) = http.at("/dingtalk")
    query = parse_qs(urlsplit(ding.path).query)
    assert query["access_token"] == ["ding-token"]
    signed = hmac.digest(b"SEC12345678", f"{query['timestamp'][0]}\nSEC12345678".encode(), "sha256")
    assert base64.b64decode(query["sign"][0]) == signed
    for path, secret in (("/feishu/feishu-token", b"feishu-secret"), ("/lark/lark-token-1", None)):
        (robot,) = http.at(path)
        body = json.loads(robot.body)
        assert "无需处置" in body["content"]["text"]
        if secret:
            digest = hmac.digest(body["timestamp"].encode() + b"\n" + secret, b"", "sha256")
            assert base64.b64decode(body["sign"]) == digest
    (hooked,) = http.at("/hook")
    stamp = hooked.headers["X-HazardLoop-Timestamp"]
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + hooked.body, hashlib.sha256)
    assert hooked.headers["X-HazardLoop-Signature"] == f"v1={expected.hexdigest()}"
    assert hooked.headers["X-HazardLoop-Delivery"] == keys["webhook"]
    shown = json.dumps(contact, ensure_ascii=False) + json.dumps(notice, ensure_ascii=False)
    for hidden in ("13812345678", "wf@", "-token", SECRET, "SEC12345678", "feishu-secret"):
        assert hidden not in shown


async def test_contacts_show_no_secret_and_stay_with_their_tenant(world: World) -> None:
    client = await world.client("supervisor")
    own = await add(client, enterprise="E1", channels=[{"kind": "mail", "address": "a@b.cn"}])
    officer = await add(client, area="北区", channels=[])
    assert own["too_few_for_red"]
    changed = await client.patch(
        f"/contacts/{own['id']}",
        json={"channels": [hook_at("https://x.example"), {"id": own["channels"][0]["id"]}]},
    )
    assert changed.status_code == 200, changed.text
    shown = changed.json()
    assert [one["kind"] for one in shown["channels"]] == ["webhook", "mail"]
    assert SECRET not in changed.text
    assert not shown["too_few_for_red"]
    for wrong in (
        {"kind": "webhook", "url": "ftp://x.example", "secret": SECRET},
        {"kind": "webhook", "url": "https://u:p@x.example", "secret": SECRET},
        {"kind": "service", "url": "json://127.0.0.1"},
        {"kind": "service", "url": "twilio://nonsense"},
        {"kind": "sms", "phone": "110; DROP"},
        {"kind": "mail", "address": "a@b.cn&cc=c@d.cn"},
        {"id": officer["id"] + 100},
    ):
        refused = await client.patch(f"/contacts/{own['id']}", json={"channels": [wrong]})
        assert refused.status_code in (404, 422), wrong
    assert (await client.get("/contacts")).json()["items"][0]["channels"] == shown["channels"]
    theirs = await client.post(
        "/contacts", json={"name": "x", "post": "assignee", "enterprise": "E1", "user": "ent2"}
    )
    assert (theirs.status_code, theirs.json()["code"]) == (422, "invalid")

    seen = {
        name: [
            one["id"] for one in (await (await world.client(name)).get("/contacts")).json()["items"]
        ]
        for name in ("ent1", "ent2", "auditor")
    }
    assert seen == {"ent1": [own["id"]], "ent2": [], "auditor": [own["id"], officer["id"]]}
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with as_request(world.conn.info.dsn, "*") as conn:
            await conn.execute("SELECT target FROM contact_channel")
    noted = await world.conn.execute(
        "SELECT action, body::text FROM ledger WHERE subject = 'contact' ORDER BY entry_id"
    )
    lines = await noted.fetchall()
    assert [action for action, _ in lines] == ["add", "add", "change"]
    assert all(SECRET not in body for _, body in lines)


async def test_red_goes_over_two_channels_at_once_and_past_one_that_fails(
    world: World, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> None:
    http, smtp = receivers
    client = await world.client("operator")
    admin = await world.client("admin")
    http.answers["/wecom"] = (200, b'{"errcode": 93000, "errmsg": "invalid webhook url"}')
    mail = {"kind": "mail", "address": "wf@example.org"}
    three = await add(
        admin,
        enterprise="E1",
        channels=[hook(http), {"kind": "wecom_robot", "token": "wecom-token"}, mail],
    )
    alone = await add(admin, enterprise="E1", language="en", channels=[hook(http, "/alone")])
    nobody = await add(admin, enterprise="E1", channels=[])
    alarm_id = await world.raise_alarm(tier=Tier.RED)
    notice = await settled(client, await notify(world, alarm_id, Tier.RED))
    by_contact = {one["contact"]: one for one in notice["messages"]}
    tried = [(one["channel"], one["result"]) for one in by_contact[three["id"]]["deliveries"]]
    assert sorted(tried[:2]) == [("webhook", "delivered"), ("wecom_robot", "failed")]
    assert tried[2:] == [("wecom_robot", "failed")] * 2 + [("mail", "delivered")]
    assert "93000" in by_contact[three["id"]]["deliveries"][1]["answer"] or (
        "93000" in by_contact[three["id"]]["deliveries"][0]["answer"]
    )
    assert not by_contact[three["id"]]["too_few"]
    assert by_contact[alone["id"]]["too_few"]
    assert by_contact[nobody["id"]]["state"] == "undeliverable"
    text = json.loads(http.at("/alone")[0].body)["text"]
    assert "62.5 %LEL, limit 50 %LEL" in text
    assert "2026-11-22 09:05:00" in text, "on the clocks of Shanghai"
    (sent,) = smtp.mails
    assert "可燃气体浓度高" in sent.get_content()
    assert "62.5 %LEL，限值 50 %LEL" in sent.get_content()

    none = await settled(client, await notify(world, alarm_id, Tier.RED, "authority"))
    assert (none["state"], none["reason"]) == ("undeliverable", "no_contact")
    await add(admin, area="北区", channels=[hook(http, "/officer")])
    await add(admin, channels=[hook(http, "/anywhere")])
    again = await client.post(f"/notifications/{none['id']}/resend")
    assert again.status_code == 202, again.text
    resent = await settled(client, none["id"])
    assert (resent["state"], resent["reason"]) == ("sent", "too_few_channels")
    assert http.at("/anywhere") == [], "somebody stands for the area itself"
    theirs = (await (await world.client("ent1")).get("/notifications")).json()["items"]
    assert {one["id"]: len(one["messages"]) for one in theirs} == {notice["id"]: 3, none["id"]: 0}
    assert (await (await world.client("ent2")).get("/notifications")).json()["items"] == []


LINK = re.compile(rf"{PUBLIC}(/l/[A-Za-z0-9_-]{{43}})")


@asynccontextmanager
async def phone(world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC) as client:
        yield client


async def test_a_link_opens_one_case_once_and_only_a_button_does_anything(
    world: World, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> None:
    http, smtp = receivers
    admin = await world.client("admin")
    mail = {"kind": "mail", "address": "wf@example.org"}
    await add(admin, enterprise="E1", user="ent1", channels=[hook(http), mail])
    alarm_id = await world.raise_alarm(tier=Tier.RED)
    other = await world.raise_alarm("E1:TK-1.level", Tier.RED)
    case_id = case_id_of(alarm_id)
    notice = await settled(admin, await notify(world, alarm_id, Tier.RED))
    first, second = (
        LINK.findall(text)[0]
        for text in (json.loads(http.at("/hook")[0].body)["text"], smtp.mails[0].get_content())
    )
    assert first != second
    async with phone(world) as client:
        for _ in range(3):
            landing = await client.get(first)
        assert landing.status_code == 200
        assert "<button name=step value=sign>签收</button>" in landing.text
        assert "62.5 %LEL" in landing.text
        assert "script" not in landing.text
        assert landing.headers["Referrer-Policy"] == "same-origin"
        assert "default-src 'none'" in landing.headers["Content-Security-Policy"]
        assert (await client.get("/l/case/" + str(case_id))).status_code == 401
        for header in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (
                await client.post(first, data={"step": "sign"}, headers=header)
            ).status_code == 403
        assert (await admin.get(f"/cases/{case_id}")).json()["revision"] == 2

        signed = await client.post(first, data={"step": "sign"})
        assert (signed.status_code, signed.headers["Location"]) == (303, f"/l/case/{case_id}")
        cookie = signed.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        again = await client.post(first, data={"step": "sign"})
        assert again.status_code == 410
        assert "链接已失效，登录后处理" in again.text
        case = (await admin.get(f"/cases/{case_id}")).json()
        assert [
            one["signed_by"] for one in case["assignments"] if one["party"] == "enterprise"
        ] == ["ent1"]
        shown = await client.get(f"/l/case/{case_id}")
        assert shown.status_code == 200
        early = await client.post(
            f"/l/case/{case_id}", data={"action": "verify", "revision": 3, "verdict": "real"}
        )
        assert (early.status_code, "未能办理" in early.text) == (409, True)
        said = await client.post(
            f"/l/case/{case_id}", data={"action": "comment", "revision": 3, "note": "<b>在途</b>"}
        )
        assert said.status_code == 303
        assert (await client.get(f"/l/case/{case_id_of(other)}")).status_code == 401

        exchanged = await client.post("/api/v1/auth/link" + second[2:] + "/exchange")
        assert exchanged.status_code == 200
        token = exchanged.json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        reached = {
            path: (await client.get("/api/v1" + path)).status_code
            for path in (
                f"/cases/{case_id}", f"/cases/{case_id_of(other)}", "/cases", "/alarms/open",
                "/contacts", "/me", "/notifications", f"/cases/{case_id}/related",
            )
        }  # fmt: skip
        assert [path for path, status in reached.items() if status == 200] == [
            f"/cases/{case_id}",
            "/me",
        ]
        assert set(reached.values()) == {200, 403}
        joining = {"revision": 4, "members": [{"id": str(case_id_of(other)), "revision": 2}]}
        merged = await client.post(f"/api/v1/cases/{case_id}/merge", json=joining)
        assert merged.json()["detail"] == f"this session is for case {case_id} alone"
        assert (
            await client.post("/api/v1/auth/link" + second[2:] + "/exchange")
        ).status_code == 410
        assert (await client.post("/api/v1/auth/link/nonsense/exchange")).status_code == 404
        assert (await client.get("/l/nonsense")).status_code == 404
    listed = (await admin.get(f"/cases/{case_id}/notices")).json()["items"]
    (read,) = [one for one in listed if one["id"] == notice["id"]]
    assert read["messages"][0]["read_by"] == "link"
    cursor = await world.conn.execute(
        "SELECT actor, action, body ->> 'address' FROM ledger"
        " WHERE subject = 'link' AND subject_id = %s ORDER BY entry_id",
        [str(case_id)],
    )
    assert await cursor.fetchall() == [("ent1", "login", "127.0.0.1")] * 2
    kept = await world.conn.execute("SELECT count(*) FROM case_link WHERE token_sha256 = %s", [
        hashlib.sha256(first[3:].encode()).digest()
    ])  # fmt: skip
    assert await kept.fetchone() == (1,)


async def test_a_link_dies_with_time_and_with_its_contact(
    world: World, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> None:
    http, _ = receivers
    admin = await world.client("admin")
    gone = await add(admin, enterprise="E1", user="ent1", channels=[hook(http)])
    village = await add(admin, enterprise="E1", language="en", channels=[hook(http, "/village")])
    case_id = case_id_of(alarm_id := await world.raise_alarm(tier=Tier.RED))
    notice = await settled(admin, await notify(world, alarm_id, Tier.RED))
    link, unknown = (
        LINK.findall(json.loads(http.at(path)[0].body)["text"])[0] for path in ("/hook", "/village")
    )
    async with phone(world) as client:
        assert "You have no account" in (await client.get(unknown)).text
        noted = await client.post(unknown, data={"step": "open"})
        assert (noted.status_code, "It is noted" in noted.text) == (200, True)
        assert "Set-Cookie" not in noted.headers
        await admin.patch(f"/contacts/{gone['id']}", json={"active": False})
        assert (await client.post(link, data={"step": "open"})).status_code == 410
        await admin.patch(f"/contacts/{gone['id']}", json={"active": True})
        world.now = datetime.now(UTC) + timedelta(days=3)  # a link is made by the clock on the wall
        assert (await client.get(link)).status_code == 410
        assert (await client.post(link, data={"step": "open"})).status_code == 410
    listed = (await (await world.client("auditor")).get(f"/cases/{case_id}/notices")).json()
    (seen,) = [one for one in listed["items"] if one["id"] == notice["id"]]
    read = {one["contact"]: one["read_by"] for one in seen["messages"]}
    assert read == {gone["id"]: None, village["id"]: "link"}


async def test_what_is_not_urgent_is_grouped_and_a_silenced_alarm_tells_nobody_until_it_sounds(
    world: World, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> None:
    http, _ = receivers
    client = await world.client("admin")
    await add(client, enterprise="E1", channels=[hook(http), hook(http, "/second")])
    loud = await world.raise_alarm("E1:GD-1.lel", Tier.YELLOW)
    silent = await world.raise_alarm("E1:TK-1.level", Tier.ORANGE)
    now = datetime.now(UTC)
    wish = Wish(Hold.SHELVED, Tier.ORANGE, now + timedelta(hours=1), "探头故障")
    operator = Actor("operator", "operator", Role.OPERATOR)
    async with world.conn.transaction():
        hold = await hold_store.ask(world.conn, wish, Scope(1, 2, 2, RULE), Permit(), operator, now)
        await hold_store.settle(world.conn, [2], now)
    notices = [
        await notify(world, loud, Tier.YELLOW),
        await notify(world, loud, Tier.BLUE),
        await notify(world, silent, Tier.ORANGE),
        await notify(world, silent, Tier.RED),
    ]

    async def states() -> dict[int, str]:
        found = (await client.get("/notifications")).json()["items"]
        return {one["id"]: one["state"] for one in found}

    async def planned() -> bool:
        now = await states()
        return [now[one] for one in notices] == ["sending", "sending", "held", "sent"]

    await eventually(planned)
    cursor = await world.conn.execute(
        "SELECT array_agg(notice_id ORDER BY notice_id),"
        "       extract(epoch FROM send_at - planned_at)::int"
        "  FROM notice_message JOIN notice_in_message USING (message_id)"
        " WHERE gathers GROUP BY message_id"
    )
    assert await cursor.fetchall() == [(notices[:2], 120)]
    later = datetime.now(UTC)
    async with world.conn.transaction():
        await hold_store.end(world.conn, hold.hold_id, Ending.RELEASED, operator, later)
        await hold_store.settle(world.conn, [2], later)
        await jobs.defer(world.conn, notice_store.SEND, {"alarm_ids": [str(silent)]})
    assert (await settled(client, notices[2]))["state"] == "sent"


async def test_a_deputy_is_told_instead_for_as_long_as_they_stand_in(
    world: World, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> None:
    http, _ = receivers
    world.now = datetime.now(UTC)  # who is told is decided by the database's clock
    admin = await world.client("admin")
    away = await add(admin, enterprise="E1", user="ent1", channels=[hook(http, "/away")])
    deputy = await add(admin, enterprise="E1", post="superior", channels=[hook(http, "/deputy")])
    mute = await add(admin, enterprise="E1")
    foreign = await add(admin, enterprise="E2", channels=[hook(http)])
    site, other = await world.client("ent1"), await world.client("ent2")
    until = {"ends_at": (world.now + timedelta(days=1)).isoformat()}

    for wrong, status in (
        ({"deputy": mute["id"]}, 422),
        ({"deputy": away["id"]}, 422),
        ({"deputy": foreign["id"]}, 404),
        ({"deputy": deputy["id"], "ends_at": "2020-01-01T00:00:00Z"}, 422),
    ):
        sent = {"contact": away["id"]} | until | wrong
        assert (await site.post("/stand-ins", json=sent)).status_code == status, wrong
    made = await site.post(
        "/stand-ins", json={"contact": away["id"], "deputy": deputy["id"], "reason": "培训"} | until
    )
    assert made.status_code == 201, made.text
    assert made.json()["deputy_name"] == "王芳"
    crossing = {"contact": deputy["id"], "deputy": away["id"]} | until
    assert (await site.post("/stand-ins", json=crossing)).status_code == 409
    assert (await other.get("/stand-ins")).json()["items"] == []
    stand_in = made.json()["id"]
    assert (await other.post(f"/stand-ins/{stand_in}/end")).status_code == 404

    orange = await world.raise_alarm(tier=Tier.ORANGE)
    await settled(admin, await notify(world, orange, Tier.RED))
    assert [len(http.at(path)) for path in ("/away", "/deputy")] == [0, 1]
    world.now = datetime.now(UTC)
    assert (await site.post(f"/stand-ins/{stand_in}/end")).status_code == 200
    assert (await site.get("/stand-ins")).json()["items"] == []
    await settled(admin, await notify(world, orange, Tier.RED))
    assert [len(http.at(path)) for path in ("/away", "/deputy")] == [1, 1]

    tested = await site.post("/me/test-notice")
    assert tested.status_code == 202
    await settled(admin, tested.json()["notice"])
    assert [len(http.at(path)) for path in ("/away", "/deputy")] == [2, 1]
    again = await site.post("/me/test-notice")
    assert (again.status_code, again.headers["Retry-After"]) == (429, "60")
    assert (await other.post("/me/test-notice")).status_code == 404
    lines = await world.conn.execute(
        "SELECT action FROM ledger WHERE subject = 'contact' AND actor = 'ent1' ORDER BY entry_id"
    )
    assert await lines.fetchall() == [("stand_in",), ("end_stand_in",), ("test",)]
