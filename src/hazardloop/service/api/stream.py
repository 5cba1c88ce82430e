"""The live stream: server-sent events, one response as long as the client stays."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from hazardloop import __version__
from hazardloop.devices.instants import rfc3339
from hazardloop.service.api import broadcast, sessions
from hazardloop.service.api.access import Account, Actor, Here, require, session_token
from hazardloop.service.api.broadcast import BATCH_S, Attached
from hazardloop.service.api.live_feed import encode, event
from hazardloop.service.api.site import Site
from hazardloop.service.database import EVERYTHING, request_scope

router = APIRouter(tags=["live"])

HEARTBEAT_S: Final = 5.0
SESSION_S: Final = 30.0
"""How often a stream looks whether its session still stands. Watching counts as use: the list must
not go dark on an operator who watches it without a click."""
EXAMPLE: Final = """retry: 2000
event: hello
data: {"epoch":"3f0c2b1e","seq":41,"server_time":"2026-11-22T01:12:07.120Z","batch_ms":200,"hb_s":5}

id: 3f0c2b1e:42
event: alarms
data: {"from":42,"seq":42,"ops":[{"op":"del","id":"6f2c3f43","ver":9,"why":"closed"}]}

event: counts
data: {"tiers":{"red":{"open":1,"unacked":0,"overdue":0}},"seq":42}

event: hb
data: {"t":"2026-11-22T01:12:12.120Z","seq":42}

"""
"""With ids shortened."""


class EventStream(Response):
    """Sends what `events` yields until the client leaves; `left` runs in any case."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], left: Callable[[], None]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers; returns when the client left or the events ended."""
        sender = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sender, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._left()
            for task in (sender, leaving):
                task.cancel()
            results = await asyncio.gather(sender, leaving, return_exceptions=True)
        error = results[0]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            raise error

    async def _send(self, send: Send) -> None:
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        async for chunk in self._events:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/stream",
    dependencies=[require("alarms.read")],
    status_code=200,
    response_class=EventStream,
    responses={
        200: {
            "description": "Server-sent events.",
            "content": {
                "text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE},
            },
        }
    },
)
async def stream(
    request: Request,
    account: Actor,
    here: Here,
    since: Annotated[
        str | None, Query(max_length=100, description="`epoch:seq` to go on from.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=100, description="As browsers send it; wins over `since`.")
    ] = None,
) -> Response:
    """Changes of the live list as they are committed, in batches of at most five a second.

    - `hello` {epoch, seq, server_time, batch_ms, hb_s, build}: what follows continues after `seq`.
    - `alarms` {from, seq, ops}: `put` a compact alarm or `del` an id. All changes from..seq are in
      it, only the latest of each alarm. `from` is never more than one above the last `seq`; ops are
      idempotent by `ver`. The event's id is `epoch:seq`.
    - `counts` {tiers, shelved, rate, flood, seq}, as `/alarms/counts`: open, unacknowledged and
      overdue alarms by tier, how fast they come, whether there is a flood; at most one a second.
    - `system` {level, code, i18n, params}: code `flood` when one begins (`warning`) or ends
      (`info`), and at the start while one goes on; `params` as `flood` in `counts`. Not to an
      enterprise.
    - `hb` {t, seq} every five seconds; `behind_s` is in it while the service has lost its database.
    - `reset` {reason, seq}: `gap`, `epoch` or `slow`; take a new snapshot from `/alarms/open`.
    - `session` {state}: the session ended, the stream with it.

    Start: connect, keep the events, take the snapshot, drop events with a `seq` up to the
    snapshot's, apply the rest. An enterprise user is told of its own alarms only.
    """
    client = here.broadcast.attach(account.enterprise_id)
    clock: Callable[[], datetime] = request.app.state.clock
    events = _events(
        here, client, account, session_token(request) or "", last_event_id or since, clock
    )
    return EventStream(events, lambda: here.broadcast.detach(client))


async def _events(
    here: Site,
    client: Attached,
    account: Account,
    token: str,
    since: str | None,
    clock: Callable[[], datetime],
) -> AsyncIterator[bytes]:
    live, feed = here.broadcast, client.feed
    if since is not None:
        epoch, _, seq = since.rpartition(":")
        await live.resume(client, epoch, int(seq) if seq.isascii() and seq.isdigit() else -1)
    yield b"retry: 2000\n" + event("hello", encode(_hello(client, clock())))
    await live.count_for(client)
    heartbeat_at = time.monotonic() + HEARTBEAT_S
    session_at = time.monotonic() + SESSION_S
    while not live.closed:
        due = time.monotonic() >= heartbeat_at
        if told := feed.take(also_empty=due):
            yield told
        if due:
            beat: dict[str, Any] = {"t": rfc3339(clock()), "seq": feed.told}
            if live.behind_s > HEARTBEAT_S:
                beat["behind_s"] = round(live.behind_s)
            yield event("hb", encode(beat))
            heartbeat_at += HEARTBEAT_S
        if time.monotonic() >= session_at:
            session_at += SESSION_S
            if not await _session_stands(here, token, account, clock()):
                yield event("session", encode({"state": "expired"}))
                return
        if not feed.waiting:
            await broadcast.wait(client, heartbeat_at - time.monotonic())


async def _session_stands(here: Site, token: str, account: Account, now: datetime) -> bool:
    with suppress(*broadcast.ABSENT):
        async with request_scope(here.pool, EVERYTHING) as conn:
            return await sessions.account_of(conn, token, now) == account
    return True  # the database is away; that says nothing about the session


def _hello(client: Attached, now: datetime) -> dict[str, Any]:
    return {
        "epoch": client.feed.epoch,
        "seq": client.feed.told,
        "server_time": rfc3339(now),
        "batch_ms": round(BATCH_S * 1000),
        "hb_s": round(HEARTBEAT_S),
        "build": __version__,
    }
