"""Notices while clerk and database are killed: each arrives, and a repeat is known by its key."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection

from hazardloop.alarms import notice_store
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.notices import Notice, Post
from tests.faults.stage import DatabaseServer
from tests.receivers import HttpReceiver, http_receiver
from tests.worlds import eventually, process, query

NOTICES = 15
KILLS = 3

CONTACT = """
    WITH made AS (
        INSERT INTO contact (name, post, language) VALUES ('值班', 'assignee', 'zh-CN')
        RETURNING contact_id
    )
    INSERT INTO contact_channel (contact_id, kind, position, shown, target)
    SELECT contact_id, 'webhook', n, 'here',
           jsonb_build_object('url', %(url)s || '/' || n, 'secret', 'correct-horse')
      FROM made, generate_series(1, 2) AS n"""
OPEN = "SELECT count(*) FROM notice WHERE state <> 'sent'"
INTERRUPTED = """
    SELECT DISTINCT 'HL-' || message_id || '-' || channel_id FROM notice_delivery
     WHERE result = 'interrupted'"""


async def queue_red(conninfo: str) -> None:
    """Red ones, which go out one by one, over two channels each."""
    red = Notice("self_watch", None, None, "authority", Post.ASSIGNEE, Tier.RED, None)
    async with await AsyncConnection.connect(conninfo) as conn:
        await notice_store.queue(conn, [red] * NOTICES)


def keys(receiver: HttpReceiver) -> Counter[str]:
    return Counter(one.headers["X-HazardLoop-Delivery"] for one in receiver.posts)


def test_no_notice_is_lost_and_a_repeat_bears_the_key_of_the_first(
    server: DatabaseServer, own_database: str, tmp_path: Path
) -> None:
    def clerk(number: int) -> Any:
        log = tmp_path / f"clerk-{number}.log"
        return process(
            "clerk", tmp_path / "home", log, database_url=own_database, notify_private="true"
        )

    with http_receiver() as receiver:
        with psycopg.connect(own_database) as connection:
            connection.execute(CONTACT, {"url": receiver.url})
        asyncio.run(queue_red(own_database))
        receiver.hold.clear()
        for number in range(2):
            came = len(receiver.posts)
            with clerk(number) as child:
                eventually(lambda came=came: len(receiver.posts) > came, "something is on its way")
                child.kill()
            receiver.hold.set()
        with clerk(2):
            eventually(lambda: len(keys(receiver)) > NOTICES, "the next clerk goes on")
            server.kill()
            server.start()
            eventually(lambda: query(own_database, OPEN) == [(0,)], "all notices are sent")
        repeated = {key for key, times in keys(receiver).items() if times > 1}
        assert len(keys(receiver)) == NOTICES * 2, "each over both channels"
        assert max(keys(receiver).values()) <= 1 + KILLS
        known = {key for (key,) in query(own_database, INTERRUPTED)}
        assert repeated, "the first clerk died with what nobody had answered yet"
        assert repeated <= known, "a repeat is of an attempt that was known to be unsure"
        told = {json.loads(one.body)["key"] for one in receiver.posts}
        assert told == set(keys(receiver))
