"""Flags, clocks and kept data from a gateway to the table, with a real broker and a worker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hazardloop.devices.readings import quality_names
from tests import worlds
from tests.brokers import Broker, mosquitto
from tests.integration.test_pipeline import at_work, gateway_at, now_ms
from tests.worlds import eventually, query

CLOCK_ALARMS = """
    SELECT d.code, a.rule_id, a.tier, a.cleared_at IS NULL
      FROM alarm a JOIN device d USING (device_id) WHERE d.internal ORDER BY a.recorded_at"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


def stored(database: str, device: str = "GD-1") -> list[tuple[float, list[str]]]:
    """Value and flags of the readings of a device, by time."""
    rows = query(
        database,
        "SELECT value, quality FROM reading JOIN point USING (point_id)"
        "  JOIN device USING (device_id) WHERE code = %s ORDER BY observed_at",
        [device],
    )
    return [(value, quality_names(quality)) for value, quality in rows]


def alarms_of(database: str, device: str = "GD-1") -> list[tuple[Any, ...]]:
    return query(
        database,
        "SELECT a.tier, a.found_late, a.cleared_at IS NULL, extract(epoch FROM raised_at) * 1000"
        "  FROM alarm a JOIN device d USING (device_id) WHERE d.code = %s ORDER BY raised_at",
        [device],
    )


def test_a_doubtful_value_is_flagged_and_raises_its_alarm_all_the_same_even_after_a_restart(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database, {"GD-1": "gas_detector"})
    start = now_ms() - 60_000
    with gateway_at(broker) as gateway:
        with at_work(database, broker, home):
            for nth, value in enumerate([1.0, 1.1, 1.0]):
                gateway.read({"GD-1.lel": value}, start + nth * 1000)
            eventually(lambda: len(stored(database)) == 3, "stored")
        with at_work(database, broker, home):
            gateway.read({"GD-1.lel": 90.0}, start + 3000)
            gateway.read({"GD-1.lel": 1.2}, start + 60_000)
            eventually(lambda: len(stored(database)) == 5, "stored")
    assert [flags for _, flags in stored(database)] == [[], [], [], ["spike", "rate"], []]
    assert [tier for tier, *_ in alarms_of(database)] == [3]


@pytest.mark.parametrize(
    ("ts", "rule", "reason", "kept"),
    [
        pytest.param(
            lambda: now_ms() + 3_600_000, "gateway.clock_offset.ahead", "future_ts", [],
            id="an hour ahead is quarantined",
        ),
        pytest.param(
            lambda: 86_400_000, "gateway.clock_offset.behind", "too_old",
            [(40.0, ["clock_unset"])], id="1970 is taken at the time of receipt",
        ),
    ],
)  # fmt: skip
def test_a_clock_that_cannot_be_right_raises_its_own_alarm_and_mutes_nothing(
    database: str, broker: Broker, home: Path, ts: Any, rule: str, reason: str, kept: list[Any]
) -> None:
    worlds.register(database)
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.read({"GD-1.lel": 40.0}, ts())
        (alarm,) = eventually(lambda: query(database, CLOCK_ALARMS), "the clock alarm")
        assert alarm == ("GW-G1", rule, 2, True)
        gateway.read({"GD-1.lel": 60.0})
        eventually(lambda: alarms_of(database)[-1:] and alarms_of(database)[-1][0] == 3, "orange")
    assert query(database, "SELECT reason FROM dead_letter") == [(reason,)]
    assert stored(database)[: len(kept)] == kept
    assert stored(database)[-1][0] == 60.0
    ((offset, quality),) = query(
        database,
        "SELECT value, quality FROM reading JOIN point USING (point_id)"
        " WHERE quantity = 'clock_offset' ORDER BY observed_at LIMIT 1",
    )
    assert abs(offset) > 3000
    assert quality == 0


def test_readings_bear_the_offset_of_their_gateways_clock_which_outlives_a_worker(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    with at_work(database, broker, home):
        pass  # makes the gateway's own device
    query(
        database,
        "INSERT INTO reading SELECT point_id, now(), now(), 100, 0 FROM point"
        " WHERE quantity = 'clock_offset' RETURNING 1",
    )
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        ahead = now_ms() + 100_000
        gateway.read({"GD-1.lel": 5.0, "TK-1.level": 3.0}, ahead)
        gateway.say("E1/G1/telemetry", {"values": {"GD-1.lel": 6.0}})
        gateway.say("E1/G1/backfill", {"ts": ahead - 500_000, "values": {"GD-1.lel": 4.0}})
        eventually(lambda: len(stored(database)) == 3, "stored")
    flags = dict(stored(database))
    assert flags[5.0] == ["clock_offset"]
    assert "clock_offset" not in flags[6.0] + flags[4.0]
    assert flags[4.0][-1:] == ["backfill"]
    when = query(
        database,
        "SELECT (extract(epoch FROM observed_at) * 1000)::bigint FROM reading"
        " JOIN point USING (point_id) WHERE quantity = 'level'",
    )
    assert when == [(ahead,)], "the time stands as it was said"


def test_no_gateway_can_speak_for_the_service(database: str, broker: Broker, home: Path) -> None:
    worlds.register(database)
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.read({"GW-G1.clock_offset": 500.0, "GW-G1.dead_letter_share": 90.0, "GD-1.lel": 1})
        gateway.read({"WORKER.spool_fill": 99.0})
        gateway.say("PLATFORM/PLATFORM/telemetry", {"values": {"WORKER.spool_fill": 99.0}})
        letters = "SELECT reason, detail FROM dead_letter ORDER BY received_at"
        eventually(lambda: len(query(database, letters)) == 3, "all refused")
    reasons = query(database, letters)
    assert "GW-G1.clock_offset: only the service itself measures this" in reasons[0][1]
    assert [reason for reason, _ in reasons] == [
        "unknown_point",
        "wrong_enterprise",
        "unknown_point",
    ]
    assert query(database, "SELECT value FROM reading WHERE value > 2") == []


def test_kept_data_is_stored_and_judged_in_its_own_time_and_startles_nobody(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    then = now_ms() - 3_600_000
    kept = [(then, 10.0), (then + 60_000, 55.0), (then + 120_000, 3.0), (then + 180_000, 2.0)]
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.listen("hl/v1/E1/alarm")
        gateway.read({"GD-1.lel": 1.0})
        eventually(lambda: stored(database), "the live one")
        said = [{"ts": at, "values": {"GD-1.lel": value}} for at, value in kept]
        gateway.say("E1/G1/backfill", said)
        heard = eventually(lambda: len(gateway.heard) == 2 and gateway.heard, "raised and cleared")
        time_of_it = [(body["change"], body["found_late"]) for _, body in heard]
        assert time_of_it == [("raised", True), ("cleared", True)]
        gateway.say("E1/G1/backfill", said)  # once more, as after a lost acknowledgement
        gateway.read({"GD-1.lel": 1.5})
        eventually(lambda: stored(database)[-1][0] == 1.5, "live again")
    values = stored(database)
    assert [value for value, _ in values] == [10.0, 55.0, 3.0, 2.0, 1.0, 1.5]
    assert all("backfill" in flags and "late" in flags for _, flags in values[:4])
    assert alarms_of(database) == [(3, True, False, then + 60_000)]
    ((stage,),) = query(database, "SELECT stage FROM disposal_case")
    assert stage == "dispatched", "found late, handled all the same"
