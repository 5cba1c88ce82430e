"""Faults under load, with real processes: nothing is lost, doubled or silent.

A quick selection; `python -m benchmarks.faults` strikes more often and longer.
"""

import socket
from pathlib import Path

import pytest

from hazardloop.ingest import packets
from tests.brokers import HOST
from tests.faults import runs, verdict
from tests.faults.conftest import SEED
from tests.faults.load import Load, messages_of
from tests.faults.runs import Reference
from tests.faults.stage import DatabaseServer, staged
from tests.worlds import eventually, query


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
        eventually(lambda: query(own_database, lost), "the heartbeat tells", 30)
        stage.await_worker()
        assert "forgotten our session" in stage.log()
        load = Load(reference.plan, stage.broker.port, for_s=1.0)
        load.start()
        assert load.finish(60)
        verdict.await_stored(own_database, load.messages)
        assert verdict.stored(own_database).keys() == verdict.expected(load.messages).keys()
