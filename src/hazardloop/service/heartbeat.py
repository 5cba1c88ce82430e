"""Signs of life: each process writes one a second, the api judges the service by them."""

from collections.abc import Mapping
from typing import Any, Final

from psycopg.types.json import Jsonb

from hazardloop.service.database import Connection

BEAT: Final = """
    INSERT INTO process_heartbeat (role, instance, beat_at, detail)
    VALUES (%(role)s, %(instance)s, clock_timestamp(), %(detail)s)
    ON CONFLICT (role, instance)
    DO UPDATE SET beat_at = EXCLUDED.beat_at, detail = EXCLUDED.detail"""


async def beat(conn: Connection, role: str, instance: str, detail: Mapping[str, Any]) -> None:
    """Notes that this process lives, by the database's clock.

    Args:
        conn: in whatever transaction.
        role: worker or clerk.
        instance: what tells it from others of its role, such as host and process id.
        detail: what else it knows of itself; a worker says `broker`: "connected", or what is wrong.
    """
    await conn.execute(BEAT, {"role": role, "instance": instance, "detail": Jsonb(dict(detail))})
