"""The balance and the daily statement: what enterprise and centre see, folded or not."""

from datetime import date

import numpy as np
import pytest

from hazardloop.ingest import balance_store
from hazardloop.ingest.arrivals import AGAIN, UNNUMBERED, Arrivals
from hazardloop.service.balance_chores import days_in
from tests.integration.api.world import World

NINE = 1_795_309_200 // 60
"""2026-11-22T01:00Z, 09:00 in Shanghai, in minutes."""
TZ = "Asia/Shanghai"


async def bring(api: World, *runs: tuple[int, int, int, int, int]) -> None:
    """Runs of one batch: gateway_id, minutes before nine, first, messages, kind."""
    columns = list(zip(*((g, NINE - ago, f, m, k) for g, ago, f, m, k in runs), strict=True))
    types = (np.int32, np.int32, np.int64, np.int32, np.int16)
    await balance_store.append(
        api.conn,
        Arrivals(*(np.array(c, t) for c, t in zip(columns, types, strict=True))),  # type: ignore[arg-type]
    )


async def fold(api: World) -> None:
    while await balance_store.fold(api.conn, days_in(TZ), 0):
        pass


async def a_day(api: World) -> None:
    await bring(api, (1, 30, 1, 60, 0), (2, 30, 1, 5, 0), (1, 30, 0, 3, UNNUMBERED))
    await bring(api, (1, 29, 64, 7, 0), (1, 29, 10, 2, AGAIN | 1), (1, 29, 12, 1, 1))
    await bring(api, (1, 5, 62, 1, 0), (1, 5, 71, 1, 2), (2, 600, 6, 4, 0))


@pytest.mark.parametrize("folded", [True, False, None])
async def test_every_minute_adds_up_whether_folded_yet_or_not(
    api: World, folded: bool | None
) -> None:
    if folded is None:
        await bring(api, (1, 30, 1, 60, 0), (2, 30, 1, 5, 0), (1, 30, 0, 3, UNNUMBERED))
        await fold(api)
        await bring(api, (1, 29, 64, 7, 0), (1, 29, 10, 2, AGAIN | 1), (1, 29, 12, 1, 1))
        await bring(api, (1, 5, 62, 1, 0), (1, 5, 71, 1, 2), (2, 600, 6, 4, 0))
    else:
        await a_day(api)
    if folded:
        await fold(api)
    client = await api.client("operator")
    answer = (await client.get("/gateways/E1:GW-1/balance")).json()
    names = ("sent", "stored", "duplicate", "rejected", "missing", "redelivered", "provisional")
    assert [[one["from"][11:16], *(one[name] for name in names)] for one in answer["items"]] == [
        ["00:30", 60, 60, 0, 0, 0, 0, False],
        ["00:31", 9, 7, 1, 0, 1, 2, False],
        ["00:55", 3, 1, 0, 1, 1, 0, False],
    ]
    assert answer["items"][0]["unnumbered"] == {"stored": 3, "duplicate": 0, "rejected": 0}
    assert answer["gaps"] == [
        {"first": 63, "last": 63, "since": "2026-11-22T00:31:00.000Z"},
        {"first": 61, "last": 61, "since": "2026-11-22T00:55:00.000Z"},
    ]
    total = answer["total"]
    assert total["sent"] == total["numbers"] + total["repeated"] == 72
    hour = (await client.get("/gateways/1/balance?bucket=1h")).json()["items"]
    assert [(one["from"], one["sent"]) for one in hour] == [("2026-11-22T00:00:00.000Z", 72)]


async def test_both_sides_see_the_same_statement_and_an_enterprise_its_own_only(
    api: World,
) -> None:
    await a_day(api)
    centre, own = await api.client("authority"), await api.client("ent1")
    path = "/balance/daily?day=2026-11-22"
    everything, mine = (await centre.get(path)).json(), (await own.get(path)).json()
    assert [(one["enterprise"], one["sent"]) for one in everything["items"]] == [
        ("E1", 72),
        ("E2", 5),
    ]
    assert mine["items"] == everything["items"][:1]
    assert (mine["total"]["sent"], everything["total"]["sent"]) == (72, 77)
    assert everything["provisional"]
    # 600 minutes before nine is the day before in Shanghai, and no UTC day.
    before = (await centre.get("/balance/daily")).json()
    assert [(one["day"], one["sent"], one["provisional"]) for one in before["items"]] == [
        ("2026-11-21", 4, False)
    ]
    other = (await own.get("/balance/daily?enterprise=E2")).status_code
    assert other == (await own.get("/gateways/2/balance")).status_code == 404
    days = (await centre.get("/gateways/2/balance/daily")).json()["items"]
    assert [(one["day"], one["sent"]) for one in days] == [("2026-11-21", 4), ("2026-11-22", 5)]
    await fold(api)
    assert (await own.get(path)).json()["items"] == mine["items"]
    assert (await own.get("/gateways/1/balance/daily")).json()["items"] == mine["items"]


async def test_the_statement_is_a_page_that_can_be_printed(api: World) -> None:
    await a_day(api)
    own = await api.client("ent1")
    answer = await own.get("/balance/daily/document?day=2026-11-22")
    assert answer.headers["content-type"].startswith("text/html")
    assert "报文平衡日报" in answer.text
    assert "<td>72<td>68<td>1<td>1<td>2<td>2<td>3" in answer.text
    assert "E2" not in answer.text
    assert "<script" not in answer.text
    empty = (await own.get("/balance/daily/document?day=2026-01-01")).text
    assert "当日没有网关发送报文" in empty


@pytest.mark.parametrize(
    "query",
    ["bucket=90s", "bucket=2d", "from=2026-09-01T00:00:00Z", "from=2026-11-22T02:00:00Z",
     "bucket=1m&from=2026-11-01T00:00:00Z"],
)  # fmt: skip
async def test_a_span_that_cannot_be_told_is_refused(api: World, query: str) -> None:
    client = await api.client("auditor")
    answer = await client.get(f"/gateways/1/balance?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_days_are_those_of_the_clocks_on_the_wall() -> None:
    day_of = days_in(TZ)
    assert day_of(NINE - 9 * 60) == date(2026, 11, 22)
    assert day_of(NINE - 9 * 60 - 1) == date(2026, 11, 21)
