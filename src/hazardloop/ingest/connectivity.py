"""Whether devices report: counted by the clerk per day from the sums of a minute."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from hazardloop.devices.catalog import Catalog, QuantityType

Connection: TypeAlias = AsyncConnection[Any]

IN_SERVICE: Final = "in_service"
OF_ITSELF: Final = frozenset({IN_SERVICE, "fault", "battery", "tamper"})
"""What devices say of themselves: it shows that they live, not that they can see the hazard."""

COUNT_AFTER: Final = timedelta(minutes=10)
"""A day is counted again once so much more of it is known: every device's minutes are read."""

SILENT_AFTER: Final = 3
"""So many expected intervals make a slot; house, as in the default rules on silence."""

# A device is usable in a slot if a quantity that a rule of its kind looks at had a usable value; of
# a kind without such quantities (events only), if anything was heard of it.
TALLY: Final = """
    INSERT INTO device_day AS kept (day, device_id, enterprise_id, until, slot_s, slots, seen,
                                    usable, in_service)
    SELECT %(day)s, device_id, enterprise_id, counted.until, slot_s, slots,
           least(seen, slots), least(usable, seen, slots), in_service
      FROM (SELECT d.*, (60 * ceil(greatest(coalesce(d.expected_interval_s, k.interval_s)
                                            * %(silent_after)s / 60, 1)))::int AS slot_s,
                   k.watched
              FROM device d JOIN unnest(%(kinds)s::text[], %(intervals)s::float8[],
                                        %(watched)s::text[]) AS k (kind, interval_s, watched)
                                 USING (kind)
             WHERE d.created_at < %(until)s) AS device,
           LATERAL (SELECT make_interval(secs => slot_s) AS width,
                           date_bin(make_interval(secs => slot_s),
                                    greatest(created_at, %(start)s) + make_interval(secs => slot_s)
                                    - interval '1 us', %(start)s) AS since,
                           %(until)s::timestamptz AS until) AS counted,
           LATERAL (SELECT greatest(0, floor(extract(epoch FROM until - since) / slot_s))::int
                           AS slots) AS expected,
           LATERAL (SELECT count(DISTINCT slot) FILTER (WHERE any_said) AS seen,
                           count(DISTINCT slot) FILTER (WHERE any_usable) AS usable,
                           (array_agg(last ORDER BY bucket DESC)
                            FILTER (WHERE quantity = %(in_service_code)s AND last IS NOT NULL))[1]
                           <> 0 AS in_service
                      FROM (SELECT bucket, last, quantity, date_bin(width, bucket, since) AS slot,
                                   count + bad > 0 AS any_said,
                                   count > 0 AND (watched = '' OR quantity = ANY
                                                  (string_to_array(watched, ' '))) AS any_usable
                              FROM point JOIN reading_1min USING (point_id)
                             WHERE point.device_id = device.device_id
                               AND bucket >= since AND bucket < since + slots * width) AS minute)
           AS said
     WHERE slots > 0
        ON CONFLICT (day, device_id) DO UPDATE
       SET until = excluded.until, slot_s = excluded.slot_s, slots = excluded.slots,
           seen = excluded.seen, usable = excluded.usable, in_service = excluded.in_service"""

KNOWN_TO: Final = """
    SELECT least(readings_rolled_to(), date_trunc('minute', now()) - interval '1 minute')"""

LAST: Final = """
    SELECT max(day), max(until) FROM device_day WHERE day = (SELECT max(day) FROM device_day)"""

FORGET: Final = "DELETE FROM device_day WHERE day < %(before)s"

MINE: Final = "SELECT pg_try_advisory_xact_lock(hashtext('hazardloop.connectivity'))"


@dataclass(frozen=True, slots=True)
class Watched:
    """What of each kind of device has to be heard, and how often; equal-length columns."""

    kinds: list[str]
    intervals_s: list[float]
    quantities: list[str]
    """Codes that a rule looks at, parted by a blank; empty: any."""


def watched(catalog: Catalog, quantities: Iterable[tuple[str, str]]) -> Watched:
    """Of every kind that stands in the field; `quantities` are (kind, code) that rules look at."""
    looked_at: dict[str, set[str]] = {}
    for kind, code in quantities:
        quantity = catalog.quantity(kind, code)
        if code not in OF_ITSELF and quantity and quantity.type is not QuantityType.EVENT:
            looked_at.setdefault(kind, set()).add(code)
    field = [kind for kind in catalog.kinds.values() if not kind.internal]
    return Watched(
        [kind.code for kind in field],
        [kind.expected_interval_s for kind in field],
        [" ".join(sorted(looked_at.get(kind.code, ()))) for kind in field],
    )


async def tally(
    connection: Connection, what: Watched, keep_days: int, zone: ZoneInfo
) -> date | None:
    """The day counted last: all since the one that was counted before, today as far as it goes.

    Days are those of `zone`. None: another clerk is at it, or nothing is known yet. Each day is a
    transaction.
    """
    last, counted_to = await _row(connection, LAST)
    (known_to,) = await _row(connection, KNOWN_TO)
    today: date = known_to.astimezone(zone).date()
    if counted_to is not None and known_to - counted_to < COUNT_AFTER:
        return today
    # The day before once more: what came late is in its sums by now.
    for nth in range((today - min(last or today, today)).days + 1, -1, -1):
        async with connection.transaction():
            if not (await _row(connection, MINE))[0]:
                return None
            await _tally(connection, what, today - timedelta(days=nth), known_to, zone)
            await connection.execute(FORGET, {"before": today - timedelta(days=keep_days)})
    return today


async def _tally(
    connection: Connection, what: Watched, day: date, known_to: datetime, zone: ZoneInfo
) -> None:
    """Counts one day, as far as its sums are known."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    await connection.execute(
        TALLY,
        {
            "day": day,
            "start": start,
            "until": min(start + timedelta(days=1), known_to),
            "kinds": what.kinds,
            "intervals": what.intervals_s,
            "watched": what.quantities,
            "silent_after": SILENT_AFTER,
            "in_service_code": IN_SERVICE,
        },
    )


async def _row(connection: Connection, query: str) -> tuple[Any, ...]:
    row = await (await connection.execute(query)).fetchone()
    assert row is not None  # each of them is a SELECT of one value
    return tuple(row)
