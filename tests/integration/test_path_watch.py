"""The canary through real brokers, databases and processes: found everywhere, and nowhere else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import worlds
from tests.brokers import Broker, mosquitto, nats
from tests.integration.test_pipeline import gateway_at
from tests.worlds import eventually, query

QUICK = {"canary_every_s": 0.5, "canary_within_s": 3_600}
WENT_ALL_THE_WAY = "SELECT count(*) FROM canary_alarm WHERE shown_at IS NOT NULL"
AMONG_PEOPLES = """
    SELECT (SELECT count(*) FROM alarm), (SELECT count(*) FROM alarm_change),
           (SELECT count(*) FROM disposal_case), (SELECT count(*) FROM notice),
           (SELECT count(*) FROM dead_letter), (SELECT count(*) FROM limit_memory)"""
ARRIVED = "SELECT arrived_at, extract(epoch FROM arrived_at)::float8 FROM path_watch"


@pytest.fixture(params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with {"mosquitto": mosquitto, "nats": nats}[request.param](folder) as running:
        yield running


@contextmanager
def service(
    database: str, broker: Broker, home: Path, port: int, *roles: str, **settings: object
) -> Iterator[dict[str, object]]:
    """The processes of these roles by name, on one home, with what is set."""
    given = {"database_url": database, "mqtt_url": broker.url, "api_port": port} | settings
    with ExitStack() as stack:
        yield {role: stack.enter_context(worlds.process(role, home, **given)) for role in roles}


def heartbeat(port: int) -> float:
    """Of `hazardloop_heartbeat_timestamp_seconds`; 0 = not there."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    samples = families["hazardloop_heartbeat_timestamp_seconds"].samples
    return max((one.value for one in samples), default=0.0)


def test_canaries_travel_the_whole_path_and_are_nobodys_alarm(
    database: str, broker: Broker, home: Path, free_port: int
) -> None:
    worlds.register(database)
    with service(database, broker, home, free_port, "worker", "clerk", "api", **QUICK):
        eventually(lambda: query(database, WENT_ALL_THE_WAY)[0][0] >= 3, "three were shown")
        ((arrived_at, first),) = eventually(
            lambda: query(database, ARRIVED + " WHERE arrived_at IS NOT NULL"), "one arrived"
        )
        assert query(database, "SELECT FROM canary_alarm WHERE raised_at = %s", [arrived_at])
        assert heartbeat(free_port) >= first
        eventually(lambda: heartbeat(free_port) > first, "the heartbeat goes on")
        assert query(database, AMONG_PEOPLES) == [(0,) * 6]
        seen = "SELECT DISTINCT alarm_id FROM live_change"
        shown = "SELECT alarm_id FROM canary_alarm"
        assert not query(database, f"{seen} EXCEPT {shown}")
    assert "Traceback" not in "".join(file.read_text() for file in home.glob("*.log"))


def test_of_several_clerks_one_watches_and_another_takes_over(
    database: str, broker: Broker, home: Path, free_port: int
) -> None:
    holder = "SELECT holder FROM path_watch WHERE held_until > clock_timestamp()"
    with ExitStack() as stack:
        stack.enter_context(service(database, broker, home, free_port, "worker", "api", **QUICK))
        clerks = {
            f":{child.pid}": child
            for child in (
                stack.enter_context(
                    worlds.process(
                        "clerk", home, home / f"clerk-{nth}.log", database_url=database,
                        mqtt_url=broker.url, **QUICK,
                    )
                )
                for nth in range(2)
            )
        }  # fmt: skip
        ((first,),) = eventually(lambda: query(database, holder), "one holds the watch")
        eventually(lambda: query(database, WENT_ALL_THE_WAY)[0][0] >= 1, "one was shown")
        clerks.pop(f":{first.rpartition(':')[2]}").kill()
        (other,) = clerks
        eventually(
            lambda: query(database, f"{holder} AND holder LIKE %s", [f"%{other}"]), "taken over"
        )
        before = query(database, ARRIVED)[0][1] or 0.0
        eventually(lambda: (query(database, ARRIVED)[0][1] or 0.0) > before, "canaries go on")
        sent = query(database, "SELECT count(*), count(DISTINCT raised_at) FROM canary_alarm")
        assert sent[0][0] == sent[0][1]


def test_a_canary_is_announced_like_any_alarm_to_whoever_may_read_it(
    database: str, broker: Broker, home: Path, free_port: int
) -> None:
    with gateway_at(broker, "listener") as listener:
        listener.listen("hl/v1/PLATFORM/alarm")
        with service(database, broker, home, free_port, "worker", "clerk", **QUICK):
            eventually(lambda: len(listener.heard) >= 4, "two came and went")
        told = [(body["change"], body["version"]) for _, body in listener.heard[:4]]
        assert told == [("raised", 1), ("cleared", 2)] * 2
        assert {body["device"] for _, body in listener.heard} == {"CANARY"}
        assert listener.heard[0][1]["recorded"] is True
