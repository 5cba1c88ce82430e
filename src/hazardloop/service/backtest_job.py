"""One backtest that was asked for over the api, in a process of its own: `python -m ... ID`.

It ends with its row: told, failed with the reason, or cancelled. Killed, it leaves the row as one
that has begun, and whoever does the job again begins anew: the answer is the same.
"""

import asyncio
import json
import os
import sys
from datetime import datetime
from typing import Any, Final

from hazardloop.devices.marked_yaml import FileRefused
from hazardloop.replay.errors import ReplayError, Stopped
from hazardloop.service import backtest_store
from hazardloop.service.backtest_store import Wanted
from hazardloop.service.backtesting import Asked, Progress, backtest, plan_of
from hazardloop.service.database import Connection, connect
from hazardloop.service.settings import Settings, read_settings
from hazardloop.service.site import known_kinds, rules_in_force

HANDS: Final = max(1, len(os.sched_getaffinity(0)) // 2)
"""Half the processors: alarms come first."""


def asked_of(question: dict[str, Any], enterprise_id: int | None) -> Asked:
    """What a row asks."""
    return Asked(
        json.dumps({"rules": question["rules"]}, ensure_ascii=False),
        datetime.fromisoformat(question["from"]),
        datetime.fromisoformat(question["to"]),
        "rules",
        tuple(question["instead_of"]),
        question["sweep"],
        question["seats"],
        enterprise_id,
    )


async def run(settings: Settings, backtest_id: int) -> None:
    """Does it, unless it is done."""
    async with await connect(settings.database_url, "backtest-job") as conn:
        wanted = await backtest_store.begin(conn, backtest_id)
        if wanted is None:
            return
        try:
            told = await _told(settings, conn, backtest_id, wanted)
        except Stopped:
            await backtest_store.end(conn, backtest_id, None)
        except (ReplayError, FileRefused) as wrong:
            await backtest_store.end(conn, backtest_id, None, str(wrong))
        else:
            await backtest_store.end(conn, backtest_id, told)


async def _told(
    settings: Settings, conn: Connection, backtest_id: int, wanted: Wanted
) -> dict[str, Any]:
    asked = asked_of(wanted.question, wanted.enterprise_id)
    catalog, parent = known_kinds(settings), os.getppid()
    plan = plan_of(asked, await rules_in_force(conn, catalog), catalog)

    async def tell(progress: Progress) -> None:
        if not await backtest_store.note(conn, backtest_id, progress):
            raise Stopped("it was cancelled")
        if os.getppid() != parent:
            raise SystemExit("the clerk is gone: another does it again")

    return await backtest(settings, asked, plan, catalog, tell, HANDS)


if __name__ == "__main__":
    asyncio.run(run(read_settings(), int(sys.argv[1])))
