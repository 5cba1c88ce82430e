"""One message out over the channels whose turn it is, and what follows from how that went.

Before an attempt it is written down that it begins, after it what came of it. A clerk that dies in
between leaves an attempt of which nobody knows: after a while it is repeated under the same key.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from hazardloop.alarms import jobs
from hazardloop.alarms.notice_attempts import NextTries, Verdict, next_tries
from hazardloop.alarms.notice_store import DELIVER
from hazardloop.service.database import Connection, SteadyConnection
from hazardloop.service.errors import SettingsWrong
from hazardloop.service.notification import delivery_store
from hazardloop.service.notification.carrying import Carrier
from hazardloop.service.notification.delivery_store import Parcel
from hazardloop.service.notification.envelope import Envelope, Outcome
from hazardloop.service.notification.services import read_services
from hazardloop.service.notification.wording import Speaker, envelope_of
from hazardloop.service.settings import Settings

if TYPE_CHECKING:
    from hazardloop.service.jobs import Office

log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=25)
"""After which an attempt without a result was of a clerk that died; longer than any may take."""
NO_CHANNEL: Final = "no_channel"
GIVEN_UP: Final = "given_up"


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is sent now: over which channels, under which numbers."""

    parcel: Parcel
    numbers: Mapping[int, int]
    """Of the attempts, by channel."""
    channels: Mapping[int, tuple[str, Mapping[str, Any]]]
    envelopes: Mapping[int, Envelope]
    guard: int
    """The job that looks after the message if this clerk dies now."""


async def deliver_message(office: "Office", arguments: Mapping[str, Any]) -> None:
    """The task: tries `message_id` where it is its turn, and defers what is to follow."""
    message_id = int(arguments["message_id"])
    async with office.pool.connection() as conn, conn.transaction():
        attempts = await _begin(conn, message_id, office.settings, datetime.now(UTC))
    if attempts is None:
        return
    outcomes = await _sent(attempts, office.settings)
    # What went out is out: its result waits for a database that is away, longer than a job does.
    steady = SteadyConnection(office.settings.database_url, "clerk-notices")
    try:
        await steady(lambda conn: _end(conn, attempts, outcomes, datetime.now(UTC)))
    finally:
        await steady.close()


async def _begin(
    conn: Connection, message_id: int, settings: Settings, now: datetime
) -> Attempts | None:
    """The attempts that begin now, written down; None where there is nothing to send now."""
    parcel = await delivery_store.take(conn, message_id)
    if parcel is None:
        return None
    if now < parcel.send_at:
        await jobs.defer(conn, DELIVER, {"message_id": message_id}, parcel.send_at)
        return None
    if (since := await delivery_store.under_way(conn, message_id, now, LEASE)) is not None:
        await jobs.defer(conn, DELIVER, {"message_id": message_id}, since + LEASE)
        return None
    courses, channels = await delivery_store.courses(conn, parcel)
    tries = next_tries(parcel.tier, courses, parcel.planned_at, now, every=parcel.every_channel)
    if not tries.channels:
        await _follow(conn, parcel, tries, now, there_are=len(courses))
        return None
    numbers = await delivery_store.begin(
        conn, message_id, tries.channels, now, too_few=tries.too_few
    )
    guard = await jobs.defer(conn, DELIVER, {"message_id": message_id}, now + LEASE)
    envelopes = await _envelopes(conn, parcel, tries, settings, now)
    return Attempts(parcel, numbers, channels, envelopes, guard)


async def _envelopes(
    conn: Connection, parcel: Parcel, tries: NextTries, settings: Settings, now: datetime
) -> dict[int, Envelope]:
    """The message for each channel, each with a link of its own where it is about one case."""
    notices = await delivery_store.facts(conn, parcel.message_id)
    speaker = Speaker(parcel.language, ZoneInfo(settings.tz))
    made = {}
    for channel_id in tries.channels:
        link = None
        if settings.public_url and len(notices) == 1 and notices[0].case_id is not None:
            token = await delivery_store.add_link(conn, parcel, notices[0].case_id, now)
            link = f"{settings.public_url}/l/{token}"
        key = delivery_key(parcel.message_id, channel_id)
        made[channel_id] = envelope_of(notices, speaker, key, link)
    return made


def delivery_key(message_id: int, channel_id: int) -> str:
    """What a message is known by on one channel, however often it is tried."""
    return f"HL-{message_id}-{channel_id}"


async def _sent(attempts: Attempts, settings: Settings) -> dict[int, Outcome]:
    """How each of the attempts went; they are made side by side."""
    channel_ids = list(attempts.numbers)
    try:
        services = read_services(settings.notification_file)
    except SettingsWrong as error:
        log.error("notices cannot be sent", extra={"reason": str(error)})
        return {one: Outcome(False, str(error)).without() for one in channel_ids}
    carrier = Carrier(services, settings.notify_private)
    outcomes = await asyncio.gather(
        *(carrier.carry(*attempts.channels[one], attempts.envelopes[one]) for one in channel_ids)
    )
    for channel_id, outcome in zip(channel_ids, outcomes, strict=True):
        log.info(
            "notice sent" if outcome.taken else "notice not taken",
            extra={
                "message_id": attempts.parcel.message_id,
                "channel": attempts.channels[channel_id][0],
                "attempt": attempts.numbers[channel_id],
            },
        )
    return dict(zip(channel_ids, outcomes, strict=True))


async def _end(
    conn: Connection, attempts: Attempts, outcomes: Mapping[int, Outcome], now: datetime
) -> None:
    """Writes down the outcomes and plans what follows, once however often it is asked."""
    async with conn.transaction():
        parcel = await delivery_store.take(conn, attempts.parcel.message_id)
        await delivery_store.end(conn, attempts.parcel.message_id, attempts.numbers, outcomes, now)
        if parcel is None:
            return  # another clerk took this one for dead and brought it to its end
        courses, _ = await delivery_store.courses(conn, parcel)
        tries = next_tries(parcel.tier, courses, parcel.planned_at, now, every=parcel.every_channel)
        await jobs.cancel(conn, [attempts.guard])
        await _follow(conn, parcel, tries, now, there_are=len(courses))


async def _follow(
    conn: Connection, parcel: Parcel, tries: NextTries, now: datetime, *, there_are: int
) -> None:
    """Closes the message, or has it looked at again."""
    if tries.verdict is not None:
        await delivery_store.close(
            conn,
            parcel.message_id,
            tries.verdict.value,
            now,
            too_few=tries.too_few,
            reason=GIVEN_UP if there_are else NO_CHANNEL,
        )
        if tries.verdict is Verdict.UNDELIVERABLE:
            log.error("notice undeliverable", extra={"message_id": parcel.message_id})
    elif tries.channels:
        await jobs.defer(conn, DELIVER, {"message_id": parcel.message_id})
    else:
        assert tries.again_at is not None  # neither ended, nor to be tried: it waits
        await jobs.defer(conn, DELIVER, {"message_id": parcel.message_id}, tries.again_at)
