"""What must reach whom, and in which messages: storm control that groups without hiding red."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from hazardloop.alarms.alarm import Tier


class NoticeKind(StrEnum):
    """Why somebody is told."""

    DISPATCHED = "dispatched"
    RISEN = "risen"
    RETURNED = "returned"
    OVERDUE = "overdue"
    DRILL = "drill"
    SELF_WATCH = "self_watch"
    """Alarms do not get through any more."""
    SELF_WATCH_OVER = "self_watch_over"
    """They do again."""
    TEST = "test"


EVERYWHERE: Final = frozenset((NoticeKind.TEST, NoticeKind.SELF_WATCH, NoticeKind.SELF_WATCH_OVER))
"""Kinds that go out alone, at once, over every channel."""


class Post(StrEnum):
    """Where somebody stands; a notice is for a post, who fills it is looked up when it is sent."""

    ASSIGNEE = "assignee"
    SUPERIOR = "superior"
    DUTY_SUPERVISOR = "duty_supervisor"
    DISTRICT_LEADER = "district_leader"
    VILLAGE = "village"
    USE_UNIT = "use_unit"
    MAINTENANCE_UNIT = "maintenance_unit"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that whoever fills a post has to know."""

    kind: str
    case_id: UUID | None
    alarm_id: UUID | None
    party: str | None
    """Which side's post; None: of the district, whose area the enterprise lies in."""
    post: str
    tier: Tier
    due_at: datetime | None
    """By when something has to be done about it."""
    body: Mapping[str, Any] = field(default_factory=dict)
    contact_id: int | None = None
    """This one, whoever fills the post."""


@dataclass(frozen=True, slots=True)
class Storm:
    """The limits of storm control; project decisions, as the standards only ask for restraint."""

    gather: timedelta = timedelta(minutes=2)
    """How long what is not urgent waits for others of its site; blue and yellow sign in 30 min."""
    window: timedelta = timedelta(minutes=10)
    """Over which messages to one contact are counted."""
    most: int = 20
    """Messages to one contact in a window, those of red apart."""
    orange_alone: int = 10
    """Orange ones in a window that go out alone; more are a flood and gather as well
    (ISA-18.2: more than 10 alarms in 10 minutes to one person)."""


STORM: Final = Storm()


@dataclass(frozen=True, slots=True)
class Addressed:
    """A notice and one contact that it is for."""

    notice_id: int
    contact_id: int
    site: int | None
    """Enterprise whose matter it is."""
    tier: Tier
    alone: bool = False
    """Whatever its tier, and on every channel."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one contact gets at one time."""

    contact_id: int
    site: int | None
    """None: of several sites, or of none."""
    tier: Tier
    """The worst of its notices."""
    send_at: datetime
    gathers: bool
    """Others may join it until it is sent."""
    notice_ids: tuple[int, ...] = ()
    """That are new in it."""
    message_id: int | None = None
    """Of one planned before; None: it is new."""


def plan_messages(
    addressed: Sequence[Addressed],
    standing: Iterable[Message],
    now: datetime,
    storm: Storm = STORM,
) -> list[Message]:
    """Messages that carry `addressed`, each notice to each contact in exactly one.

    Red always goes alone and now. Of the others a contact gets at most `storm.most` messages in any
    window; what is over joins one message that goes out as soon as it may, so nothing is dropped.

    Args:
        addressed: each pair of notice and contact once.
        standing: messages planned before, sent at most a window ago or still to be sent.
        now: at which it is planned.
        storm: the limits.
    """
    by_contact: dict[int, list[Message]] = {}
    for message in standing:
        by_contact.setdefault(message.contact_id, []).append(replace(message, notice_ids=()))
    for one in sorted(addressed, key=lambda one: (-one.tier, one.notice_id)):
        _place(one, by_contact.setdefault(one.contact_id, []), now, storm)
    return [message for known in by_contact.values() for message in known if message.notice_ids]


def _place(one: Addressed, known: list[Message], now: datetime, storm: Storm) -> None:
    """Adds `one` to a message of `known`, or a message for it."""
    if one.alone or one.tier is Tier.RED:
        known.append(_message(one, one.site, now, gathers=False))
        return
    counted = [message for message in known if _counts(message)]
    full = _free_at(counted, now, storm) > now
    if one.tier is Tier.ORANGE and not full and _oranges(counted, now, storm) < storm.orange_alone:
        known.append(_message(one, one.site, now, gathers=False))
        return
    for place, message in enumerate(known):
        if message.gathers and message.send_at > now and message.site in (one.site, None):
            known[place] = replace(
                message,
                tier=max(message.tier, one.tier),
                notice_ids=(*message.notice_ids, one.notice_id),
            )
            return
    ready_at = now + storm.gather
    free_at = _free_at(counted, ready_at, storm)
    site = one.site if free_at == ready_at else None
    known.append(_message(one, site, free_at, gathers=True))


def _message(one: Addressed, site: int | None, at: datetime, *, gathers: bool) -> Message:
    return Message(one.contact_id, site, one.tier, at, gathers, (one.notice_id,))


def _counts(message: Message) -> bool:
    return message.tier is not Tier.RED


def _oranges(counted: Sequence[Message], now: datetime, storm: Storm) -> int:
    """How many orange ones went out alone within the window."""
    return sum(
        message.tier is Tier.ORANGE and not message.gathers and message.send_at > now - storm.window
        for message in counted
    )


def _free_at(counted: Sequence[Message], at: datetime, storm: Storm) -> datetime:
    """The first instant from `at` on at which one more message keeps to `storm.most`.

    What is planned for later counts too: then no window that holds the new one holds too many.
    """
    latest = sorted((message.send_at for message in counted), reverse=True)
    if len(latest) < storm.most:
        return at
    return max(at, latest[storm.most - 1] + storm.window)
