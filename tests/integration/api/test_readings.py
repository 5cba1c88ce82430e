"""The course of a point, and what was set aside."""

import math
from datetime import timedelta

import pytest

from hazardloop.devices.readings import Quality
from tests.integration.api.world import World

BAD = int(Quality.NOT_A_NUMBER)


async def test_readings_come_in_the_order_of_time_and_bad_ones_have_no_value(api: World) -> None:
    await api.store(
        "E1:GD-1.lel",
        (30, 10.0, 0),
        (20, math.nan, BAD),
        (10, 12.5, int(Quality.NO_TIMESTAMP)),
        (7200, 99.0, 0),
    )
    client = await api.client("tester")
    answer = await client.get("/points/E1:GD-1.lel/readings")
    assert "NaN" not in answer.text
    assert answer.json()["items"] == [
        {"observed_at": "2026-11-22T00:59:30.000Z", "value": 10.0, "quality": "good", "flags": []},
        {
            "observed_at": "2026-11-22T00:59:40.000Z",
            "value": None,
            "quality": "bad",
            "flags": ["not_a_number"],
        },
        {
            "observed_at": "2026-11-22T00:59:50.000Z",
            "value": 12.5,
            "quality": "uncertain",
            "flags": ["no_timestamp"],
        },
    ]


async def test_buckets_sum_up_what_is_usable(api: World) -> None:
    await api.store(
        "E1:GD-1.lel",
        (170, 1.0, 0),
        (130, 3.0, 0),
        (125, math.nan, BAD),
        (121, 500.0, int(Quality.OUT_OF_RANGE)),
        (5, math.nan, BAD),
    )
    client = await api.client("operator")
    path = "/points/1/readings?bucket=1m&from=2026-11-22T00:50:00Z&to=2026-11-22T01:00:00Z"
    assert (await client.get(path)).json()["items"] == [
        {
            "from": "2026-11-22T00:57:00.000Z",
            "min": 1.0,
            "max": 3.0,
            "mean": 2.0,
            "last": 3.0,
            "count": 2,
            "bad_share": 0.5,
        },
        {
            "from": "2026-11-22T00:59:00.000Z",
            "min": None,
            "max": None,
            "mean": None,
            "last": None,
            "count": 0,
            "bad_share": 1.0,
        },
    ]


@pytest.mark.parametrize("bucket", ["", "&bucket=10s"])
async def test_a_long_course_comes_in_pages_without_a_gap_or_a_repeat(
    api: World, bucket: str
) -> None:
    await api.store("E1:GD-1.lel", *((age_s, float(age_s), 0) for age_s in range(5, 95, 10)))
    client = await api.client("operator")
    seen: list[str] = []
    cursor, first = "", True
    while cursor or first:
        page = (await client.get(f"/points/1/readings?limit=4{bucket}{cursor}")).json()
        seen += [one["from"] if bucket else one["observed_at"] for one in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        first = False
    assert len(seen) == 9
    assert seen == sorted(set(seen))


async def test_latest_is_one_line_for_each_point_that_has_spoken(api: World) -> None:
    await api.store("E1:GD-1.lel", (20, 10.0, 0), (10, math.nan, BAD))
    await api.store("E2:SD-2.smoke", (3, 1.0, 0))
    client = await api.client("operator")
    items = (await client.get("/readings/latest")).json()["items"]
    assert [(one["point"]["code"], one["value"], one["quality"]) for one in items] == [
        ("GD-1.lel", None, "bad"),
        ("SD-2.smoke", 1.0, "good"),
    ]
    items = (await client.get("/readings/latest?kind=smoke_detector")).json()["items"]
    assert [one["enterprise"] for one in items] == ["E2"]
    own = await api.client("ent1")
    assert len((await own.get("/readings/latest")).json()["items"]) == 1
    assert (await client.get("/points/1")).json()["latest"]["quality"] == "bad"


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("bucket=0s", id="bucket of nothing"),
        pytest.param("bucket=5", id="bucket without a unit"),
        pytest.param("bucket=40d", id="bucket of 40 days"),
        pytest.param("bucket=1s&from=2020-01-01T00:00:00Z", id="200 million buckets"),
        pytest.param("from=2026-11-22T00:00:00", id="time without a zone"),
        pytest.param("from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z", id="from after to"),
        pytest.param("from=yesterday", id="no time at all"),
    ],
)
async def test_a_wrong_span_is_refused(api: World, query: str) -> None:
    client = await api.client("operator")
    answer = await client.get(f"/points/1/readings?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_dead_letters_show_their_reason_and_only_to_whom_they_belong(api: World) -> None:
    letters = [
        (0, "not_json", "", "hl/v1/E1/GW-1/telemetry", 1, 1, b"\xff\xfe{"),
        (1, "unknown_point", "GD-9.lel", "hl/v1/E2/GW-1/telemetry", 2, 2, b"{}"),
        (2, "unknown_gateway", "", "hl/v1/E1/GW-X/telemetry", None, None, b"{}"),
    ]
    for age_s, reason, detail, topic, enterprise_id, gateway_id, payload in letters:
        await api.conn.execute(
            """INSERT INTO dead_letter (received_at, reason, detail, topic, enterprise_id,
                                        gateway_id, payload, payload_bytes, readings)
               VALUES (%s, %s, %s, %s, %s, %s, %s, 3, 1)""",
            [
                api.now - timedelta(seconds=age_s),
                reason,
                detail,
                topic,
                enterprise_id,
                gateway_id,
                payload,
            ],
        )
    client = await api.client("operator")
    items = (await client.get("/dead-letters")).json()["items"]
    assert [one["reason"] for one in items] == ["not_json", "unknown_point", "unknown_gateway"]
    assert items[0]["payload"] == "\ufffd\ufffd{"
    assert items[0]["gateway"] == "GW-1"
    own = await api.client("ent2")
    assert [one["id"] for one in (await own.get("/dead-letters")).json()["items"]] == [2]
    found = (await client.get("/dead-letters?reason=not_json&gateway=E1:GW-1")).json()["items"]
    assert [one["id"] for one in found] == [1]
    page = (await client.get("/dead-letters?limit=2")).json()
    rest = await client.get(f"/dead-letters?cursor={page['next_cursor']}")
    assert [one["id"] for one in rest.json()["items"]] == [3]
