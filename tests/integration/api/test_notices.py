"""Contacts, notices over every kind of channel to local receivers, and links opened on a phone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from hazardloop.alarms import notice_store
from hazardloop.alarms.alarm import Tier, case_id_of
from hazardloop.alarms.notices import Notice
from hazardloop.service.app import create_app
from hazardloop.service.jobs import run_jobs
from hazardloop.service.settings import Settings
from tests.integration.api.conftest import running
from tests.integration.api.world import World, build_world
from tests.receivers import HttpReceiver, SmtpReceiver, http_receiver, smtp_receiver

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


async def eventually(found: Callable[[], Any], within_s: float = 30) -> Any:
    """What `found` gives or resolves to, once that is something."""
    async with asyncio.timeout(within_s):
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
    """The notice once it is sent or undeliverable."""

    async def look() -> dict[str, Any] | None:
        for one in (await client.get("/notifications")).json()["items"]:
            if one["id"] == notice_id and one["state"] in ("sent", "undeliverable"):
                return dict(one)
        return None

    return dict(await eventually(look))


def hook(http: HttpReceiver, path: str = "/hook") -> dict[str, str]:
    return {"kind": "webhook", "url": f"{http.url}{path}", "secret": SECRET}


async def test_a_test_message_goes_out_over_every_kind_of_channel(
    world: World, receivers: tuple[HttpReceiver, SmtpReceiver]
) -> None:
    http, _ = receivers
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
