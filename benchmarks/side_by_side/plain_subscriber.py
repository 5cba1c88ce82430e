"""A plain subscriber: aiomqtt in, psycopg `executemany` out, by 1,000 rows or a tenth of a second.

As one writes it from the documentation of both, and with what its careful user adds: a session that
outlives the connection, QoS 1, one connection and transaction a batch, ON CONFLICT DO NOTHING.
aiomqtt acknowledges a message when it hands it over, before anything is stored.
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import psycopg

CLIENT_ID = "plain-subscriber"
ROWS = 1_000
AGE_S = 0.1
POINTS = """
    SELECT e.code, d.code || '.' || p.quantity, p.point_id
      FROM point p
      JOIN device d USING (device_id)
      JOIN enterprise e ON e.enterprise_id = d.enterprise_id"""
INSERT = """
    INSERT INTO reading (point_id, observed_at, received_at, value, quality)
    VALUES (%s, %s, %s, %s, 0) ON CONFLICT DO NOTHING"""  # fmt: skip


async def main(asked: dict[str, Any]) -> None:
    """Subscribes and stores until killed."""
    async with await psycopg.AsyncConnection.connect(asked["conninfo"]) as connection:
        found = await (await connection.execute(POINTS)).fetchall()
        await connection.commit()
        point_of = {(enterprise, code): point_id for enterprise, code, point_id in found}
        async with aiomqtt.Client(
            "127.0.0.1",
            asked["port"],
            username=asked["username"],
            password=asked["password"],
            identifier=CLIENT_ID,
            clean_session=False,
            max_queued_incoming_messages=0,
            timeout=60,  # after a kill, what was not acknowledged comes before the answers
        ) as client:
            await client.subscribe("hl/v1/+/+/telemetry", qos=1)
            print("ready", flush=True)
            rows: list[tuple[Any, ...]] = []
            waiting = asyncio.Lock()

            async def flush() -> None:
                async with waiting:
                    batch = rows[:]
                    rows.clear()
                    if batch:
                        async with connection.transaction(), connection.cursor() as cursor:
                            await cursor.executemany(INSERT, batch)

            async def flush_by_age() -> None:
                while True:
                    await asyncio.sleep(AGE_S)
                    await flush()

            aging = asyncio.create_task(flush_by_age())
            async for message in client.messages:
                enterprise = message.topic.value.split("/")[2]
                said = json.loads(message.payload)  # type: ignore[arg-type]
                observed_at = datetime.fromtimestamp(said["ts"] / 1000, UTC)
                received_at = datetime.fromtimestamp(time.time(), UTC)
                for code, value in said["values"].items():
                    point_id = point_of.get((enterprise, code))
                    if point_id is not None:
                        rows.append((point_id, observed_at, received_at, value))
                if len(rows) >= ROWS:
                    await flush()
            aging.cancel()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
