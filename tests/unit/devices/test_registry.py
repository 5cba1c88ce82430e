"""A registry that follows its changes is the one that would be built anew, and rows stay."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.drafting import Draft, build_registry
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry

GATEWAYS = (
    GatewayRecord(1, "G1", 1, "E1"),
    GatewayRecord(2, "G2", 1, "E1"),
    GatewayRecord(3, "G1", 2, "E2"),
)
QUANTITIES = {"lel": "number", "fault": "boolean", "trip": "event"}


def point(
    point_id: int, device_id: int, quantity: str, gateway: GatewayRecord, grade: int
) -> PointRecord:
    return PointRecord(
        point_id=point_id,
        quantity=quantity,
        unit="1",
        type=QUANTITIES[quantity],
        low=0.0,
        high=100.0,
        interval_s=30.0,
        registered_at_us=point_id,
        device_id=device_id,
        device=f"D-{device_id % 4}" if gateway.enterprise == "E2" else f"D-{device_id}",
        kind="k",
        tags={"n": device_id},
        gateway_id=gateway.gateway_id,
        gateway=gateway.code,
        enterprise_id=gateway.enterprise_id,
        enterprise=gateway.enterprise,
        grade=grade,
        internal=device_id == 7,
    )


@st.composite
def devices(draw: st.DrawFn) -> dict[int, list[PointRecord]]:
    """Points by device; a device keeps the ids of its points from one draw to the next."""
    found: dict[int, list[PointRecord]] = {}
    for device_id in draw(st.sets(st.integers(0, 7))):
        gateway = GATEWAYS[draw(st.integers(0, 1)) if device_id < 4 else 2]
        grade = draw(st.integers(0, 4))
        found[device_id] = [
            point(10 * device_id + nth, device_id, quantity, gateway, grade)
            for nth, quantity in enumerate(QUANTITIES)
            if draw(st.booleans())
        ]
    return found


def registry_of(found: dict[int, list[PointRecord]]) -> Registry:
    return build_registry(1, GATEWAYS, [each for points in found.values() for each in points])


def followed(before: Registry, old: dict[int, list[PointRecord]],
             new: dict[int, list[PointRecord]]) -> tuple[Registry, set[int]]:  # fmt: skip
    changed = {each for each in old.keys() | new.keys() if old.get(each, []) != new.get(each, [])}
    draft = Draft(before)
    draft.forget_devices(changed)
    draft.take_gateways(GATEWAYS[:1])
    for device_id in sorted(changed & new.keys()):
        for each in new[device_id]:
            draft.take_point(each)
    return draft.registry(2), set(draft.touched_rows().tolist())


def facts(registry: Registry) -> object:
    """All that a registry says, without rows."""

    def codes(rows: dict[str, int]) -> dict[str, int]:
        return {code: int(registry.point_id[row]) for code, row in rows.items()}

    return (
        sorted(registry.points, key=lambda each: each.point_id),
        {home: (codes(dict(each.rows)), {d: codes(dict(e)) for d, e in each.events.items()},
                set(each.devices), each.dialect) for home, each in registry.gateways.items()},
        registry.gateway_homes,
        registry.device_homes,
        {key: int(registry.point_id[row]) for key, row in registry.own.items()},
    )  # fmt: skip


@given(stages=st.lists(devices(), min_size=2, max_size=4))
def test_following_changes_gives_what_reading_anew_gives(
    stages: list[dict[int, list[PointRecord]]],
) -> None:
    registry = registry_of(stages[0])
    for old, new in pairwise(stages):
        before, was = registry, facts(registry)
        registry, touched = followed(before, old, new)
        assert facts(registry) == facts(registry_of(new))
        assert facts(before) == was, "whoever holds the earlier registry sees nothing of it"
        assert registry.point_id[: len(before)].tolist() == before.point_id.tolist()
        differs = {
            row for row in range(len(before))
            if registry.points[row] != before.points[row]
            or registry.registered[row] != before.registered[row]
        }  # fmt: skip
        assert differs | set(range(len(before), len(registry))) <= touched


@given(found=devices())
def test_a_row_is_found_by_the_id_of_its_point(found: dict[int, list[PointRecord]]) -> None:
    registry = registry_of(found)
    for row, each in enumerate(registry.points):
        assert registry.row_of.get(each.point_id) == row
    assert registry.row_of.get(999) is None
    assert registry.row_of.get(999, -1) == -1
    assert registry.row_of.many(registry.point_id).tolist() == list(range(len(registry)))


def test_a_gateway_takes_another_dialect_and_another_is_gone() -> None:
    each = point(1, 1, "lel", GATEWAYS[0], 0)
    before = build_registry(1, GATEWAYS, [each])
    draft = Draft(before)
    draft.take_gateways([replace(GATEWAYS[0], dialect="senml")])
    draft.forget_gateways([3])
    after = draft.registry(2)
    assert after.gateways["E1/G1"].dialect == "senml"
    assert after.gateways["E1/G1"].rows == {"D-1.lel": 0}
    assert set(after.gateways) == {"E1/G1", "E1/G2"}
    assert after.gateway_homes["G1"] == {"E1"}
    assert before.gateways["E1/G1"].dialect == "hazardloop"


def test_a_point_that_is_gone_can_still_be_named() -> None:
    each = point(1, 1, "lel", GATEWAYS[0], 0)
    draft = Draft(build_registry(1, GATEWAYS, [each]))
    draft.forget_devices([1])
    after = draft.registry(2)
    assert after.points[0].code == "D-1.lel"
    assert list(after.points) == []
    assert after.row_of.get(1) is None
    assert after.gateways["E1/G1"].rows == {}
