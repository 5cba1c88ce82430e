"""When the broker is asked whether it lives, and how soon it is called again."""

import pytest

from hazardloop.ingest.options import Endpoint, SubscriptionOptions, endpoint
from hazardloop.ingest.pacing import KeepAlive, Vitals, delay_s


def course(keep_alive: KeepAlive, until: float, heard: float = 0.0) -> list[tuple[float, Vitals]]:
    """What is to be done at each check, WAIT left out; everything is heard until `heard`."""
    done = []
    at = 0.0
    while at < until:
        at += keep_alive.check_every_s
        if at <= heard:
            keep_alive.heard(at)
        found = keep_alive.check(at, listening=True)
        if found is not Vitals.WAIT:
            done.append((at, found))
    return done


def test_a_broker_that_answers_is_pinged_well_within_each_interval() -> None:
    assert course(KeepAlive(8.0, 0.0), 18.0, heard=18.0) == [
        (6.0, Vitals.PING),
        (12.0, Vitals.PING),
        (18.0, Vitals.PING),
    ]


def test_a_silent_broker_is_dead_after_one_and_a_half_intervals() -> None:
    assert course(KeepAlive(8.0, 0.0), 12.0) == [(6.0, Vitals.PING), (12.0, Vitals.DEAD)]


def test_silence_counts_from_what_was_heard_last() -> None:
    assert (17.0, Vitals.DEAD) in course(KeepAlive(8.0, 0.0), 17.0, heard=5.0)


def test_nobody_is_dead_while_we_do_not_listen() -> None:
    keep_alive = KeepAlive(8.0, 0.0)
    found = [keep_alive.check(float(at), listening=False) for at in range(1, 100)]
    assert Vitals.DEAD not in found
    assert found.count(Vitals.PING) == 99 // 6
    assert keep_alive.check(99.5, listening=True) is Vitals.WAIT


def test_nobody_is_dead_because_we_stood_still() -> None:
    keep_alive = KeepAlive(8.0, 0.0)
    keep_alive.check(1.0, listening=True)
    assert keep_alive.check(1000.0, listening=True) is Vitals.PING
    later = [keep_alive.check(1000.0 + at, listening=True) for at in range(1, 13)]
    assert later.index(Vitals.DEAD) == 11


@pytest.mark.parametrize(
    ("failures", "ceiling"), [(1, 0.2), (2, 0.4), (3, 0.8), (6, 6.4), (7, 10.0), (5000, 10.0)]
)
def test_delays_double_up_to_ten_seconds_and_are_spread_over_all_of_it(
    failures: int, ceiling: float
) -> None:
    assert delay_s(failures, 1.0) == pytest.approx(ceiling)
    assert delay_s(failures, 0.25) == pytest.approx(ceiling / 4)
    assert delay_s(failures, 0.0) == 0.0


def test_addresses_of_brokers() -> None:
    assert endpoint("mqtt://broker") == Endpoint("broker", 1883, False, None, None)
    assert endpoint("mqtts://broker") == Endpoint("broker", 8883, True, None, None)
    assert endpoint("mqtt://u:p%40ss@[::1]:77") == Endpoint("::1", 77, False, "u", "p@ss")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://broker"},
        {"url": "mqtt://"},
        {"url": "broker:1883"},
        {"filters": ()},
        {"protocol": 3},
        {"qos": 3},
        {"window": 0},
        {"keep_alive_s": 0},
        {"keep_alive_s": 70_000},
        {"packet_limit": 100},
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    given = {"url": "mqtt://broker", "client_id": "worker", "filters": ("#",)} | wrong
    with pytest.raises(ValueError, match=r"outside|neither|no topic filter"):
        SubscriptionOptions(**given)  # type: ignore[arg-type]


def test_a_password_in_an_address_is_not_told_when_the_address_is_refused() -> None:
    with pytest.raises(ValueError, match="neither") as refused:
        endpoint("http://user:hunter2@broker")
    assert "hunter2" not in str(refused.value)
