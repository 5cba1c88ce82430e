"""Faults under load, with real processes: nothing is lost, doubled or silent.

A quick selection; `python -m benchmarks.faults` strikes more often and longer.
"""

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from hazardloop.ingest import packets
from tests.brokers import HOST, accepts
from tests.faults import runs, verdict
from tests.faults.conftest import SEED, TEMPLATE
from tests.faults.disk import SmallDisk, may_mount
from tests.faults.load import Load, messages_of
from tests.faults.runs import Reference
from tests.faults.stage import DatabaseServer, staged
from tests.worlds import eventually, process, query


@pytest.mark.parametrize(
    "fault", ["processes die", "processes die, NATS", "links fail", "the database fails"]
)
def test_nothing_is_lost_or_doubled_and_the_alarms_are_those_of_an_undisturbed_run(
    fault: str, own_database: str, server: DatabaseServer, tmp_path: Path, reference: Reference
) -> None:
    found = runs.disturbed(
        fault, own_database, server, tmp_path, reference, seed=SEED, times=1, long_s=1.0
    )
    print(found)
    assert found.sound, found


def test_alarms_are_heard_while_the_database_is_away_and_recorded_once(
    own_database: str, server: DatabaseServer, tmp_path: Path, reference: Reference
) -> None:
    found = runs.disturbed(
        "database away, alarms heard", own_database, server, tmp_path, reference, seed=SEED,
        times=2, long_s=0.5,
    )  # fmt: skip
    print(found)
    assert found.sound, found
    assert found.notes["heard_unrecorded"] > 0


def test_a_spool_whose_disk_is_full_acknowledges_nothing_says_so_and_recovers(
    own_database: str, server: DatabaseServer, tmp_path: Path, reference: Reference, free_port: int
) -> None:
    looked: list[bool] = []

    def told_as_full() -> None:
        if looked:
            return  # once will do: the api waits some seconds for its database
        looked.append(True)
        eventually(lambda: ready(free_port)["spool"].startswith("full, nothing"), "/readyz tells")
        eventually(lambda: "hazardloop_spool_full 1.0" in got(free_port, "metrics"), "and a figure")

    with process("api", tmp_path / "home", database_url=own_database, api_port=free_port):
        eventually(lambda: accepts(free_port), "the api answers")
        found = runs.disturbed(
            "spool's disk full", own_database, server, tmp_path, reference, seed=SEED, times=2,
            long_s=0.5, look=told_as_full,
        )  # fmt: skip
        assert looked
        eventually(lambda: ready(free_port)["spool"] == "ok", "/readyz tells that it is over")
    print(found)
    assert found.sound, found


def ready(port: int) -> dict[str, str]:
    return dict(json.loads(got(port, "readyz"))["parts"])


def got(port: int, path: str) -> str:
    """The body, whatever the status."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/{path}", timeout=60) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_a_database_whose_disk_is_full_stops_no_alarm_and_loses_nothing(
    server: DatabaseServer, tmp_path: Path, reference: Reference
) -> None:
    if not may_mount(tmp_path):
        pytest.skip("a disk that can be filled is a tmpfs of our own, and we may not mount one")
    with SmallDisk(tmp_path / "disk", 96) as disk, server.further_disk(disk.path) as place:
        found = runs.disturbed(
            "database's disk full", server.clone(TEMPLATE, place), server, tmp_path / "run",
            reference, seed=SEED, times=1, long_s=0.5, disk=disk,
        )  # fmt: skip
    print(found)
    assert found.sound, found
    assert found.notes["heard_unrecorded"] > 0


def test_ten_times_what_can_be_stored_waits_with_the_broker(
    own_database: str, server: DatabaseServer, tmp_path: Path, reference: Reference
) -> None:
    found = runs.disturbed(
        "overload", own_database, server, tmp_path, reference, seed=SEED, times=1
    )
    print(found)
    assert found.sound, found
    told = found.notes
    assert told["taken"] * 10 <= told["said"], "no overload"
    assert told["unacknowledged"] <= 2 * 100
    assert told["memory_mb"] - told["memory_mb_before"] < 30, "messages are 45 MB"


def test_a_broker_that_forgets_what_it_acknowledged_is_found_out(
    own_database: str, server: DatabaseServer, tmp_path: Path, reference: Reference
) -> None:
    """The control: a run that must lose, or the others prove nothing."""
    found = runs.disturbed(
        "broker forgets", own_database, server, tmp_path, reference, seed=SEED, times=1,
        long_s=1.5, still_s=4.0,
    )  # fmt: skip
    assert found.acknowledged == found.messages
    assert found.lost + found.excused > 50, found


class TestTheJudge:
    """It sees what it is there to see."""

    def test_an_undisturbed_run_is_sound(self, reference: Reference) -> None:
        assert reference.verdict.sound, reference.verdict
        assert reference.verdict.readings > 3000

    @pytest.mark.parametrize(
        ("harm", "field"),
        [
            pytest.param(
                "DELETE FROM reading WHERE ctid = (SELECT ctid FROM reading r JOIN point"
                " USING (point_id) JOIN device d USING (device_id) WHERE NOT d.internal LIMIT 1)",
                "lost",
                id="a reading is gone",
            ),
            pytest.param(
                "INSERT INTO reading SELECT point_id, observed_at + interval '1 ms', received_at,"
                " value, quality FROM reading WHERE point_id = (SELECT min(point_id) FROM reading)"
                " LIMIT 1",
                "extra",
                id="a reading too many",
            ),
            pytest.param("DELETE FROM dead_letter", "unlisted", id="poison is not listed"),
        ],
    )
    def test_harm_is_named(
        self, harm: str, field: str, reference: Reference, server: DatabaseServer
    ) -> None:
        copy = server.copy_of(reference.database)
        query(copy, harm + " RETURNING 1")
        found = verdict.judged("harm", "none", SEED, copy, reference.messages, reference.history, 1)
        assert getattr(found, field) > 0, found
        assert not found.sound

    def test_another_history_is_another(self, reference: Reference, server: DatabaseServer) -> None:
        copy = server.copy_of(reference.database)
        others = [*reference.history[1:], reference.history[0]]
        found = verdict.judged("harm", "none", SEED, copy, reference.messages, others, 1)
        assert not found.alarms_equal

    def test_an_empty_run_is_none(self, reference: Reference) -> None:
        silent = messages_of(reference.plan, "E1")
        with pytest.raises(AssertionError, match="0 messages acknowledged"):
            verdict.judged("none", "none", SEED, reference.database, silent, reference.history, 100)


def test_a_session_that_somebody_deleted_is_noticed_and_made_anew(
    own_database: str, tmp_path: Path, reference: Reference
) -> None:
    with staged(own_database, tmp_path, reference.plan) as stage:
        client_id = (stage.home / "worker" / "client_id").read_text()
        with socket.create_connection((HOST, stage.broker.port)) as thief:
            thief.sendall(packets.connect(client_id, clean_start=True))
            thief.recv(4)
        lost = "SELECT FROM process_heartbeat WHERE (detail->>'sessions_lost')::int = 1"
        eventually(lambda: query(own_database, lost), "the heartbeat tells")
        stage.await_worker()
        assert "forgotten our session" in stage.log()
        load = Load(reference.plan, stage.broker.port, for_s=1.0)
        load.start()
        assert load.finish(60)
        verdict.await_stored(own_database, load.messages)
        assert verdict.stored(own_database).keys() == verdict.expected(load.messages).keys()
