"""What one client of the live stream is told, without a network."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.service.api.alarm_queries import Counts, Facts, FloodNow, due_of, workflow
from hazardloop.service.api.live_feed import Feed, Op, op_of

EPOCH = UUID("3f0c2b1e-6a57-4f0e-9a55-0f6a3f1c2d4e")
AT = datetime(2026, 11, 22, tzinfo=UTC)
IDS = [uuid4() for _ in range(5)]


def feed(enterprise_id: int | None = None, at: int = 10) -> Feed:
    """A client that knows everything up to `at`."""
    return Feed(enterprise_id, EPOCH, told=at, reached=at)


def op(which: int, version: int, enterprise_id: int = 1, *, size: int = 0) -> Op:
    """An op on one of a few alarms."""
    text = json.dumps({"op": "put", "a": {"id": str(IDS[which]), "ver": version, "x": "x" * size}})
    return Op(IDS[which], enterprise_id, version, text.encode())


def events(sent: bytes) -> list[tuple[str, Any, str | None]]:
    """Name, data and id of each event."""
    found = []
    for block in sent.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def test_only_the_latest_of_an_alarm_is_told() -> None:
    client = feed()
    client.offer([op(0, 1), op(1, 1)], 12)
    client.offer([op(0, 2)], 13)
    ((name, data, identity),) = events(client.take())
    assert (name, data["from"], data["seq"], identity) == ("alarms", 11, 13, f"{EPOCH}:13")
    assert [one["a"]["ver"] for one in data["ops"]] == [2, 1]
    assert not client.waiting
    assert client.take() == b""


def test_an_older_state_never_replaces_a_newer_one() -> None:
    client = feed()
    client.offer([op(0, 5)], 12)
    client.offer([op(0, 4)], 11)
    ((_, data, _),) = events(client.take())
    assert [one["a"]["ver"] for one in data["ops"]] == [5]
    assert data["seq"] == 12


def test_what_belongs_to_another_enterprise_moves_the_position_only_when_asked() -> None:
    client = feed(enterprise_id=2)
    client.offer([op(0, 1, enterprise_id=1)], 12)
    assert not client.waiting
    assert client.take() == b""
    ((_, data, _),) = events(client.take(also_empty=True))
    assert data == {"from": 11, "seq": 12, "ops": []}
    client.offer([op(1, 1, enterprise_id=2)], 13)
    ((_, data, _),) = events(client.take())
    assert (data["from"], len(data["ops"])) == (13, 1)


def test_a_client_too_far_behind_starts_over_and_goes_on_from_there() -> None:
    client = feed()
    for number in range(5):
        client.offer([op(number, 1, size=500_000)], 11 + number)
    client.offer([op(0, 2)], 16)
    reset, alarms = events(client.take())
    assert (reset[0], reset[1]) == ("reset", {"reason": "slow", "seq": 14})
    assert (alarms[1]["from"], alarms[1]["seq"]) == (15, 16)
    assert len(alarms[1]["ops"]) == 2


def test_counts_are_told_when_they_changed() -> None:
    client = feed()
    client.offer_counts(Counts())
    assert [name for name, _, _ in events(client.take())] == ["counts"]
    client.offer_counts(Counts())
    assert not client.waiting
    changed = Counts()
    changed.tiers["red"]["open"] = 1
    client.offer_counts(changed)
    ((_, data, _),) = events(client.take())
    assert data["tiers"]["red"]["open"] == 1


def test_the_turn_of_a_flood_is_a_banner_once_also_for_who_comes_meanwhile() -> None:
    client, enterprise = feed(), feed(enterprise_id=1)
    floods = [
        FloodNow(),
        FloodNow(True, 3, AT, 10, 10),
        FloodNow(True, 3, AT, 11, 11),
        FloodNow(),
    ]
    told = []
    for flood in floods:
        client.offer_counts(Counts(flood=flood))
        told += [data for name, data, _ in events(client.take()) if name == "system"]
    assert [(one["level"], one["code"], one["params"]["n"]) for one in told] == [
        ("warning", "flood", 10),
        ("info", "flood", 0),
    ]
    later = feed()
    later.offer_counts(Counts(flood=floods[2]))
    assert [name for name, _, _ in events(later.take())] == ["counts", "system"]
    enterprise.offer_counts(Counts())
    assert [name for name, _, _ in events(enterprise.take())] == ["counts"]


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 4), st.integers(1, 2)), max_size=4),
            st.integers(1, 3),
            st.sampled_from(["take", "wait", "beat"]),
        ),
        max_size=40,
    ),
    st.sampled_from([None, 1, 2]),
)
def test_however_it_is_read_the_client_ends_with_every_alarm_s_last_state(
    batches: list[tuple[list[tuple[int, int]], int, str]], scope: int | None
) -> None:
    client, seen, truth = feed(scope), {}, {}
    seq = known = 10
    versions = dict.fromkeys(range(5), 0)
    for changed, step, reading in [*batches, ([], 1, "beat")]:
        ops = []
        for which, enterprise in changed:
            versions[which] += 1
            owner = 1 + which % 2 if enterprise else 1
            ops.append(op(which, versions[which], owner))
            if scope in (None, owner):
                truth[str(IDS[which])] = versions[which]
        seq += step
        client.offer(ops, seq)
        if reading == "wait":
            continue
        for name, data, _ in events(client.take(also_empty=reading == "beat")):
            assert name == "alarms"
            assert data["from"] == known + 1
            known = data["seq"]
            for one in data["ops"]:
                seen[one["a"]["id"]] = one["a"]["ver"]
    assert seen == truth
    assert known == seq


def facts(**changes: Any) -> Facts:
    """An alarm that nobody has touched."""
    plain: dict[str, Any] = {
        "alarm_id": IDS[0],
        "version": 3,
        "tier": 4,
        "tier_now": 4,
        "rule_id": "smoke_detector.smoke",
        "cleared_at": None,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "enterprise_id": 1,
        "enterprise": "E1",
        "enterprise_name": "化工",
        "device": "SD-1",
        "device_name": "",
        "location": "",
        "quantity": "smoke",
        "unit": "1",
        "value": 1.0,
        "limit_value": 1.0,
        "direction": "state",
        "raised_at": AT,
        "found_late": False,
        "drill": False,
        "case_id": IDS[1],
        "stage": "dispatched",
        "revision": 2,
        "stage_at": AT,
        "stage_due_at": AT,
        "changed_at": AT,
    }
    return Facts(**plain | changes)


def told(**changes: Any) -> dict[str, Any]:
    """The op that shows such an alarm."""
    one: dict[str, Any] = json.loads(op_of(facts(**changes)).text)
    return one


def test_chinese_stands_as_it_is_and_what_is_empty_is_left_out() -> None:
    assert "化工" in op_of(facts()).text.decode()
    alarm = told()["a"]
    assert not {"unit", "loc", "ack", "rtn", "late", "sim"} & set(alarm)
    assert alarm["due"] == ["sign", "2026-11-22T00:00:00Z"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, "put", id="active"),
        pytest.param({"cleared_at": AT, "tier_now": 0}, "put", id="cleared with an open case"),
        pytest.param({"stage": "closed"}, "put", id="closed but active again"),
        pytest.param({"cleared_at": AT, "stage": "closed"}, "closed", id="cleared and closed"),
        pytest.param(
            {"cleared_at": AT, "stage": "closed", "latched": True}, "put", id="closed, latched"
        ),
        pytest.param(
            {"cleared_at": AT, "case_id": None, "stage": None}, "cleared", id="cleared, no case"
        ),
    ],
)
def test_an_alarm_leaves_the_list_when_neither_signal_nor_case_is_open(
    changes: dict[str, Any], expected: str
) -> None:
    one = told(**changes)
    assert one.get("why", one["op"]) == expected


@pytest.mark.parametrize(
    ("stage", "acknowledged", "word"),
    [
        (None, False, "new"),
        (None, True, "acked"),
        ("dispatched", False, "new"),
        ("dispatched", True, "dispatched"),
        ("signed", False, "signed"),
        ("closed", True, "closed"),
    ],
)
def test_the_workflow_word(stage: str | None, acknowledged: bool, word: str) -> None:
    assert workflow(stage, acknowledged) == word


def test_a_closed_case_owes_nothing() -> None:
    assert due_of("closed", AT) is None
    assert due_of(None, AT) is None
    assert due_of("handling", AT) == ("submit", AT)


@pytest.mark.parametrize(
    ("direction", "unit"), [("high", "m"), ("low", "m"), ("state", None), ("stale", "s")]
)
def test_the_unit_is_that_of_the_limit(direction: str, unit: str | None) -> None:
    assert told(direction=direction, unit="m")["a"].get("unit") == unit


def test_a_value_that_is_no_number_is_left_out() -> None:
    assert "val" not in told(value=float("nan"))["a"]
