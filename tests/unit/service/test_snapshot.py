"""A snapshot and the works spooled behind it are what the worker knew, to the last limit."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.alarms import evaluation
from hazardloop.alarms.memory import Memory, new_memory, told
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import Catalog, load_catalog, read_catalog, shipped_catalog
from hazardloop.devices.drafting import Draft, build_registry
from hazardloop.devices.readings import Quality, Readings, Rows, Times
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry
from hazardloop.ingest.clocks import Stamps
from hazardloop.ingest.repeats import nothing_seen, novelty, see
from hazardloop.service import snapshot, snapshot_file
from hazardloop.service.doubts import Doubts, expected_of
from hazardloop.service.errors import SnapshotUnusable
from hazardloop.service.known import Known, Still, as_recorded, known_of, recalled, still
from hazardloop.service.site import Site, site_of
from hazardloop.service.snapshot import Snapshot, frames_of, snapshot_of
from hazardloop.service.spooled import pack_work, unpack_work
from hazardloop.service.work import Work

CLIMB = """
  - id: gas_detector.lel.climb
    kind: rate_of_change
    quantity: lel
    name: {zh: 上升, en: Climbs}
    over_s: 300
    high: {yellow: 5}
    min_readings: 4
    source: test
    confidence: house
    guidance: {zh: 查, en: Look}
"""
"""A rule that looks back."""


def with_climb(text: str) -> str:
    return text.rstrip() + "\n" + CLIMB


GAS = (resources.files("hazardloop") / "catalogue" / "gas_detector.yaml").read_text("utf-8")
CATALOG = Catalog(
    {**shipped_catalog().kinds, **load_catalog({"gas_detector.yaml": with_climb(GAS)}).kinds}
)
START_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
LEVELS = (5.0, 24.9, 25.0, 30.0, 49.0, 50.0, 60.0, 23.5, 10.0, float("nan"))
NOBODY = np.zeros(0, np.int32)


def point(point_id: int, kind: str, quantity: str) -> PointRecord:
    known = CATALOG.kinds[kind].quantities[quantity]
    return PointRecord(
        point_id, quantity, known.unit, str(known.type), known.low, known.high, 10.0, START_US,
        point_id, f"D-{point_id}", kind, {"area": f"north {point_id % 2}"}, 1, "G1", 1, "E1", 0,
    )  # fmt: skip


def grown_registry() -> Registry:
    """With a point that is gone, and one whose id is lower than those of the rows before it."""
    gateways = [GatewayRecord(1, "G1", 1, "E1", "mapping", {"path": ["a", 1]})]
    kinds = {11: ("gas_detector", "lel"), 12: ("smoke_detector", "smoke"), 14: ("tank", "level")}
    first = build_registry(3, gateways, [point(each, *kinds[each]) for each in kinds])
    draft = Draft(first)
    draft.forget_devices([14])
    draft.take_point(point(2, "gas_detector", "lel"))
    return draft.registry(4)


def site_with(registry: Registry, catalog: Catalog = CATALOG) -> Site:
    rules = catalogue_rules(catalog)
    return site_of(catalog, rules, {rule.rule_id: 1 + n for n, rule in enumerate(rules)}, registry)


SITE = site_with(grown_registry())
HERE = SITE.registry.row_of.many(np.array([2, 11, 12]))


class Life:
    """What a worker does with readings and time, and the works that come of it."""

    def __init__(self, site: Site, memory: Memory, seen: Times, doubts: Doubts) -> None:
        self.site, self.memory, self.seen, self.doubts = site, memory, seen, doubts

    def hear(self, rows: Rows, said: list[tuple[int, int, float]], quality: int = 0) -> Work:
        """One batch: nth point, second and value; what is stored already is left out."""
        at = np.array([START_US + second * SECOND_US for _, second, _ in said], np.int64)
        value = np.array([value for _, _, value in said])
        absent = np.where(np.isnan(value), int(Quality.NOT_A_NUMBER), 0).astype(np.int16)
        row = rows[[nth for nth, _, _ in said]].astype(np.int32)
        readings = Readings(row, at, at + 5, value, absent, np.zeros(len(said), np.int32))
        readings.quality[:] |= quality
        how = novelty(readings, self.seen)
        readings.quality[how.late] |= Quality.LATE
        fresh = readings.take(~how.repeated & (readings.observed_at != self.seen[readings.row]))
        see(fresh, self.seen)
        self.doubts.cast(fresh, Stamps(NOBODY, NOBODY, NOBODY.astype(np.int64)), at[:1])
        outcome = evaluation.evaluate(self.site.table, self.memory, fresh)
        return Work(self.site.registry, outcome, readings=fresh)

    def wait(self, second: int) -> Work:
        """Time passes."""
        outcome = evaluation.tick(self.site.table, self.memory, START_US + second * SECOND_US)
        return Work(self.site.registry, outcome)

    def still(self) -> Still:
        """As it is at this instant."""
        return still(self.memory, self.seen, self.doubts)

    def known(self) -> Known:
        """As a snapshot keeps it."""
        rows = self.site.registry.row_of.rows
        return known_of(self.site, self.still(), rows)


def born(site: Site) -> Life:
    points = len(site.registry)
    doubts = Doubts(site.registry, site.catalog)
    return Life(site, new_memory(site.table), nothing_seen(points), doubts)


def kept(life: Life, file: Path) -> Snapshot:
    snapshot_file.write(file, frames_of(life.site, life.still(), 77), 0)
    return snapshot_of(snapshot_file.read(file), CATALOG)


def same(one: Life, other: Life) -> None:
    """What both know is equal, whatever rows it stands in."""
    a, b = one.known(), other.known()
    for name in ("seen", "newest_at", "newest_value", "newest_late", "heard_at"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)
    for name in ("at_us", "value", "second", "third", "since_us"):
        np.testing.assert_array_equal(getattr(a.courses, name), getattr(b.courses, name), name)
    assert len(a.rings) == 2
    for ring in range(2):
        for one_column, other_column in zip(a.rings.told(ring), b.rings.told(ring), strict=True):
            np.testing.assert_array_equal(one_column, other_column)
    stirred = [{c for c in x.cells.values() if not c.at_rest} for x in (a, b)]
    assert stirred[0] == stirred[1]
    assert a.alarms == b.alarms
    finds = [sorted((f.rule_id, f.point_id, f.raised_us, f.cleared_us or 0, f.tier)
                    for f in x.finds) for x in (a, b)]  # fmt: skip
    assert finds[0] == finds[1]
    assert as_recorded(other.site, other.memory, *_rows(one)) is None


def _rows(life: Life) -> tuple[list, list]:  # type: ignore[type-arg]
    cells, alarms, _ = told(life.site.table, life.memory)
    return [cell for cell in cells if not cell.at_rest], alarms


said = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 600), st.sampled_from(LEVELS)),
    min_size=1,
    max_size=12,
)
batches = st.tuples(said, st.sampled_from([0, int(Quality.BACKFILL)]))
Batch = tuple[list[tuple[int, int, float]], int]


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(batches, max_size=5),
    behind=st.lists(batches, max_size=5),
    after=batches,
    waits=st.lists(st.integers(0, 5_000), min_size=11, max_size=11),
)
def test_a_worker_goes_on_as_if_it_had_never_died(
    before: list[Batch],
    behind: list[Batch],
    after: Batch,
    waits: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    undying, now = born(SITE), iter(sorted(waits))
    for said in before:
        undying.hear(HERE, *said)
        undying.wait(next(now))
    found = kept(undying, tmp_path_factory.getbasetemp() / "any.snapshot")
    spooled = [pack_work(undying.wait(0))]
    for said in behind:
        spooled += [pack_work(undying.hear(HERE, *said)), pack_work(undying.wait(next(now)))]
    expected = expected_of(found.site.registry, found.site.catalog)
    for body in spooled:
        found.known.add(unpack_work(body, found.site.registry), expected)
    risen = Life(found.site, *recalled(found.site, found.known))
    same(undying, risen)
    there = risen.site.registry.row_of.many(np.array([2, 11, 12]))
    one, other = undying.hear(HERE, *after), risen.hear(there, *after)
    assert changes(one) == changes(other)
    np.testing.assert_array_equal(one.readings.quality, other.readings.quality)
    last = max(waits)
    assert changes(undying.wait(last)) == changes(risen.wait(last))
    same(undying, risen)


def test_a_live_alarm_that_a_backfilled_reading_clears_hides_no_later_find() -> None:
    undying, known = born(SITE), born(SITE).known()
    expected = expected_of(SITE.registry, SITE.catalog)
    risen = site_with(
        build_registry(4, [GatewayRecord(1, "G1", 1, "E1")], sorted(SITE.registry.points,
                       key=lambda each: each.point_id)))  # fmt: skip
    spoken: list[tuple[int, int, float]] = [(1, 100, 5.0), (1, 200, 60.0)]
    works = [undying.hear(HERE, [each]) for each in spoken]
    works += [undying.hear(HERE, [(1, 300, 5.0)], int(Quality.BACKFILL))]
    works += [undying.hear(HERE, [(1, 500, 5.0)], int(Quality.BACKFILL))]
    late = [c.found_late for work in works for c in work.outcome.changes if c.kind == "cleared"]
    assert late == [True]
    for work in works:
        known.add(unpack_work(pack_work(work), risen.registry), expected)
    assert not known.finds


def changes(work: Work) -> list[object]:
    """Those of one instant come in the order of rows, which differ."""
    return sorted(
        (
            c.changed_at_us,
            c.point_id,
            str(c.kind),
            c.alarm_id,
            c.tier,
            c.tier_before,
            c.limit,
            c.rule_id,
        )
        for c in work.outcome.changes
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    life = born(SITE)
    life.hear(HERE, [(0, 1, 60.0), (1, 1, 30.0), (2, 1, 1.0)])
    kept(life, tmp_path / "known.snapshot")
    return tmp_path / "known.snapshot"


def test_the_registry_comes_back_as_it_was(file: Path) -> None:
    found = snapshot_of(snapshot_file.read(file), CATALOG)
    points = sorted(SITE.registry.points, key=lambda each: each.point_id)
    assert list(found.site.registry.points) == points
    assert found.site.registry.revision == 4
    assert found.site.registry.gateways["E1/G1"].profile == {"path": ["a", 1]}
    assert found.site.versions == SITE.versions
    assert found.saved_us == 77
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_what_is_damaged_anywhere_is_not_believed(file: Path) -> None:
    whole = file.read_bytes()
    for at in range(0, len(whole), 97):
        for harm in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]):
            file.write_bytes(harm)
            with pytest.raises(SnapshotUnusable, match=r"damaged|ends too early|not understood"):
                snapshot_of(snapshot_file.read(file), CATALOG)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(SnapshotUnusable, match=r"none\.snapshot cannot be read: No such file"):
        list(snapshot_file.read(tmp_path / "none.snapshot"))


def test_an_older_schema_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "migration_texts", lambda: [("0099_more.sql", "SELECT 1")])
    with pytest.raises(SnapshotUnusable, match=r"schema 00\S+ \S+, this one needs 0099_more"):
        snapshot_of(snapshot_file.read(file), CATALOG)


def test_rules_that_were_changed_since_need_the_database(file: Path, tmp_path: Path) -> None:
    changed = tmp_path / "gas_detector.yaml"
    changed.write_text(with_climb(GAS).replace("deadband: 2", "deadband: 3"))
    theirs = Catalog({**CATALOG.kinds, **read_catalog([changed]).kinds})
    with pytest.raises(SnapshotUnusable, match=r"rule \S*lel.high was changed since"):
        snapshot_of(snapshot_file.read(file), theirs)


def test_a_disk_that_is_to_keep_its_room_gets_nothing(tmp_path: Path) -> None:
    def frames() -> Iterator[bytes]:
        yield b"some"

    with pytest.raises(OSError, match="bytes are free"):
        snapshot_file.write(tmp_path / "known.snapshot", frames(), 1 << 60)
    assert list(tmp_path.iterdir()) == []
