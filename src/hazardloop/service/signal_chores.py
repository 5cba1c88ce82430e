"""What time alone does to signals: holds and acknowledgements run out, floods."""

import logging
from datetime import UTC, datetime

from hazardloop.alarms import flood_store, hold_store, signal_store
from hazardloop.service.database import Connection

log = logging.getLogger(__name__)


async def tend_signals(connection: Connection) -> None:
    """Writes down what is over by now; any number of clerks may, and what was missed is made up."""
    now = datetime.now(UTC)
    ended = await hold_store.end_due(connection, now)
    sounded = await signal_store.re_alarm(connection, now)
    if ended or sounded:
        log.info("signals tended", extra={"holds_ended": ended, "alarms_sounded_again": sounded})
    if turns := await flood_store.tend(connection, now):
        log.warning("alarm flood began or ended", extra={"turns": turns})
