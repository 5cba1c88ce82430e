"""What time alone does to signals: holds that are over, acknowledgements that have run out."""

import logging
from datetime import UTC, datetime

from hazardloop.alarms import hold_store, signal_store
from hazardloop.service.database import Connection

log = logging.getLogger(__name__)


async def tend_signals(connection: Connection) -> None:
    """Writes down what is over by now; any number of clerks may, and what was missed is made up."""
    now = datetime.now(UTC)
    ended = await hold_store.end_due(connection, now)
    sounded = await signal_store.re_alarm(connection, now)
    if ended or sounded:
        log.info("signals tended", extra={"holds_ended": ended, "alarms_sounded_again": sounded})
