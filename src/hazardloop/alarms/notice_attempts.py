"""Over which channels a message is tried next, and when it is given up: back-off, then the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hazardloop.alarms.alarm import Tier

ROUND: Final = 3
"""Attempts on one channel before its turn is over and the next channel comes."""
PAUSES: Final = (timedelta(seconds=5), timedelta(seconds=15))
"""After the first and second failure of a round. With 10 s an attempt, the next channel's turn
comes within a minute."""
REST: Final = timedelta(minutes=1)
"""How long a channel rests after its first round; twice that after each further one."""
LONGEST_REST: Final = timedelta(minutes=15)
GIVE_UP: Final = timedelta(hours=24)
"""After which a message that no channel took is undeliverable; a resend begins anew."""
RED_CHANNELS: Final = 2
"""Over which a red message goes out at once; fire alarms are to reach people within 15 s over at
least two of message, call and app."""


class Verdict(StrEnum):
    """What became of a message as a whole."""

    SENT = "sent"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, slots=True)
class Course:
    """One channel of the contact, in the order of preference, and how it went with this message."""

    channel_id: int
    attempts: int = 0
    """That failed, or of which it is not known."""
    last_ended_at: datetime | None = None
    delivered: bool = False

    @property
    def rounds(self) -> int:
        """How often its turn came and went without success."""
        return self.attempts // ROUND

    @property
    def ready_at(self) -> datetime | None:
        """When it may be tried again; None: at once."""
        if self.last_ended_at is None:
            return None
        return self.last_ended_at + pause_after(self.attempts)


def pause_after(attempts: int) -> timedelta:
    """How long a channel is left alone after its `attempts`-th failure, from 1 on."""
    within = attempts % ROUND
    if within:
        return PAUSES[within - 1]
    doubled: int = 2 ** min(attempts // ROUND - 1, 10)
    return min(LONGEST_REST, REST * doubled)


@dataclass(frozen=True, slots=True)
class NextTries:
    """What to do with a message now."""

    channels: tuple[int, ...] = ()
    """To be tried at once."""
    again_at: datetime | None = None
    """When to look at it again; None: not by itself."""
    verdict: Verdict | None = None
    too_few: bool = False
    """Red, and fewer than two channels took it or are there to take it."""


def wanted_channels(tier: Tier, *, every: bool, there_are: int) -> int:
    """On how many channels a message is to arrive."""
    if every:
        return there_are
    return min(RED_CHANNELS if tier is Tier.RED else 1, there_are)


def next_tries(
    tier: Tier, courses: Sequence[Course], planned_at: datetime, now: datetime, *, every: bool
) -> NextTries:
    """What is tried now, when to look again, or how it ended.

    The channels whose turn it is are those tried through the fewest rounds, then by preference: one
    that fails a round falls behind the others, and comes again after them.

    Args:
        tier: of the message.
        courses: the contact's channels by preference.
        planned_at: since when the message is owed.
        now: the present.
        every: whether it is to go out on all channels.
    """
    wanted = wanted_channels(tier, every=every, there_are=len(courses))
    delivered = sum(one.delivered for one in courses)
    too_few = tier is Tier.RED and max(delivered, wanted) < RED_CHANNELS
    if courses and delivered >= wanted:
        return NextTries(verdict=Verdict.SENT, too_few=too_few)
    if not courses or now >= planned_at + GIVE_UP:
        short = tier is Tier.RED and delivered < RED_CHANNELS
        verdict = Verdict.SENT if delivered else Verdict.UNDELIVERABLE
        return NextTries(verdict=verdict, too_few=short)
    open_ones = sorted((one for one in courses if not one.delivered), key=lambda one: one.rounds)
    turn = open_ones[: wanted - delivered]
    ready = tuple(one.channel_id for one in turn if one.ready_at is None or one.ready_at <= now)
    waits = [one.ready_at for one in turn if one.ready_at is not None and one.ready_at > now]
    return NextTries(ready, min(waits, default=None), None, too_few)
