"""What was acknowledged against what is stored, and alarms against those of an undisturbed run."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tests.faults.load import Message
from tests.worlds import query

STORED: Final = """
    SELECT d.code || '.' || p.quantity, round(extract(epoch FROM r.observed_at) * 1000)::bigint,
           r.value
      FROM reading r JOIN point p USING (point_id) JOIN device d ON d.device_id = p.device_id
     WHERE NOT d.internal"""

# A latch is handed on when the next alarm is recorded, by the clock: no change of the signal.
HISTORY: Final = """
    SELECT d.code || '.' || p.quantity, a.rule_id, a.raised_at, a.cleared_at, a.tier, a.tier_now,
           a.found_late, array_agg(c.change || ' ' || c.tier || ' ' || c.value || ' ' ||
                                   c.changed_at ORDER BY c.version)
      FROM alarm a JOIN alarm_change c USING (alarm_id)
      JOIN point p ON p.point_id = a.point_id JOIN device d ON d.device_id = p.device_id
     WHERE NOT d.internal AND c.change <> 'reset'
     GROUP BY a.alarm_id, d.code, p.quantity ORDER BY 1, 2, 3"""

ONCE: Final = """
    SELECT (SELECT count(*) FROM reading) - (SELECT count(DISTINCT (point_id, observed_at))
              FROM reading)
         + (SELECT count(*) FROM (SELECT 1 FROM alarm LEFT JOIN disposal_case USING (alarm_id)
              GROUP BY alarm_id HAVING count(case_id) <> 1) s)
         + (SELECT count(*) FROM (SELECT 1 FROM alarm_change GROUP BY alarm_id, version
              HAVING count(*) > 1) s)
         + (SELECT count(*) FROM alarm a JOIN alarm b USING (point_id, rule_id)
             WHERE a.alarm_id < b.alarm_id AND tstzrange(a.raised_at, a.cleared_at)
                   && tstzrange(b.raised_at, b.cleared_at))"""

PROGRESS: Final = """
    SELECT (SELECT count(*) FROM reading JOIN point USING (point_id) JOIN device USING (device_id)
             WHERE NOT internal),
           (SELECT count(*) FROM dead_letter)"""

ANNOUNCED: Final = """
    SELECT alarm_id::text, c.version FROM alarm_change c JOIN alarm USING (alarm_id)
      JOIN device USING (device_id) WHERE NOT internal AND c.change <> 'reset'"""

LETTERS: Final = "SELECT reason, payload FROM dead_letter"

FORGETS_S: Final = 2.0
"""Seconds before its death of which Mosquitto may have written nothing."""

History = list[tuple[Any, ...]]


@dataclass(slots=True)
class Verdict:
    """How a run ended."""

    fault: str
    broker: str
    seed: int
    messages: int
    acknowledged: int
    readings: int
    """That were acknowledged and are to be stored."""
    lost: int
    """Of them, not stored; but for those that the broker may lose, see `excused`."""
    extra: int
    """Stored, though nobody sent them."""
    changed: int
    """Stored with another value."""
    doubled: int
    """Readings, cases or changes that are there twice; alarms that overlap."""
    unlisted: int
    """Poison that is in no dead letter with a right reason."""
    alarms: int
    changes: int
    alarms_equal: bool
    excused: int = 0
    """Not stored, and acknowledged within `FORGETS_S` before a kill of a broker that writes to
    disk after it has acknowledged (Mosquitto): never handed to us."""
    unheard: int = 0
    """Recorded changes that were announced to nobody, where somebody listened."""
    lives: int = 0
    faults: int = 0
    sent_again: int = 0
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Nothing was lost, doubled or silent."""
        wrong = self.lost + self.extra + self.changed + self.doubled + self.unlisted + self.unheard
        return wrong == 0 and self.alarms_equal and self.acknowledged == self.messages

    def __str__(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self) | {"sound": self.sound}, default=str)


def history(database: str) -> History:
    """Every alarm with its changes, without ids."""
    return query(database, HISTORY)


def stored(database: str) -> dict[tuple[str, int], float]:
    """Value by point and data time."""
    return {(code, ts): value for code, ts, value in query(database, STORED)}


def expected(messages: Sequence[Message]) -> dict[tuple[str, int], float]:
    """What the acknowledged messages say."""
    return {
        place: value
        for message in messages
        if message.acknowledged_at
        for place, value in message.readings.items()
    }


def await_stored(database: str, messages: Sequence[Message], still_s: float = 20.0) -> None:
    """Returns when all is there, or when nothing has moved for so long."""
    wanted = len(expected(messages))
    poisoned = sum(message.poison is not None for message in messages)
    moved_at, before = time.monotonic(), (-1, -1)
    while time.monotonic() - moved_at < still_s:
        now = query(database, PROGRESS)[0]
        if now[0] >= wanted and now[1] >= poisoned:
            return
        if now != before:
            moved_at, before = time.monotonic(), now
        time.sleep(0.05)


def unheard(
    database: str, heard: Callable[[], Sequence[tuple[str, int]]], within_s: float = 20.0
) -> int:
    """How many recorded changes are not heard of as recorded, within that time."""
    told = set(query(database, ANNOUNCED))
    until = time.monotonic() + within_s
    while (missing := len(told - set(heard()))) and time.monotonic() < until:
        time.sleep(0.05)
    return missing


def judged(
    fault: str,
    broker: str,
    seed: int,
    database: str,
    messages: Sequence[Message],
    undisturbed: History,
    least_acknowledged: int,
    forgiven: Sequence[float] = (),
) -> Verdict:
    """The verdict on a run that has come to rest. AssertionError: it was empty.

    `forgiven`: when a broker was killed that acknowledges before it has written.
    """
    acknowledged = [message for message in messages if message.acknowledged_at]
    if len(acknowledged) < least_acknowledged:
        raise AssertionError(
            f"{fault}: {len(acknowledged)} messages acknowledged, {least_acknowledged} make a run"
        )
    wanted, found, alarms = expected(messages), stored(database), history(database)
    both, missing = wanted.keys() & found.keys(), wanted.keys() - found.keys()
    excused = {
        place
        for message in acknowledged
        if any(0 <= at - message.acknowledged_at < FORGETS_S for at in forgiven)
        for place in message.readings.keys() & missing
    }
    return Verdict(
        fault=fault,
        broker=broker,
        seed=seed,
        messages=len(messages),
        acknowledged=len(acknowledged),
        readings=len(wanted),
        lost=len(missing - excused),
        excused=len(excused),
        extra=len(found.keys() - wanted.keys()),
        changed=sum(not _same(wanted[place], found[place]) for place in both),
        doubled=query(database, ONCE)[0][0],
        unlisted=_unlisted(database, acknowledged),
        alarms=len(alarms),
        changes=sum(len(alarm[-1]) for alarm in alarms),
        # Without a reading that the broker lost, the alarms may well be others.
        alarms_equal=alarms == undisturbed or bool(excused),
    )


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _unlisted(database: str, acknowledged: Sequence[Message]) -> int:
    """Poisoned messages beyond those that dead letters of their payload and reason account for."""
    letters = Counter((bytes(payload), reason) for reason, payload in query(database, LETTERS))
    missing = 0
    for message in acknowledged:
        if message.poison is not None:
            kept = message.payload[:4096]
            for reason in message.poison.reasons:
                if letters[kept, reason] > 0:
                    letters[kept, reason] -= 1
                    break
            else:
                missing += 1
    return missing
