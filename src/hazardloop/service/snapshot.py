"""Registry, rules and memory of a worker as bytes, and back: enough to start without the database.

Columns and lists are frames of their own, so that whoever makes them never holds the interpreter
for long. What is read is checked against this program: its schema, and its rules, whose versions
only the database could give.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from hazardloop.alarms.drill import Drill
from hazardloop.alarms.hours import LOCAL_TZ
from hazardloop.alarms.memory import CellRow, OpenAlarmRow
from hazardloop.alarms.rings import Lately, empty_rings, lately, lay_all
from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_table import RuleTable
from hazardloop.alarms.rules import catalogue_rules, definition_of, read_rule
from hazardloop.alarms.withholding import StandingHold
from hazardloop.devices.catalog import Catalog
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.registry import GatewayRecord, Measurand, PointRecord, Registry
from hazardloop.ingest.quality import Courses, side_by_side
from hazardloop.service.database import migration_texts
from hazardloop.service.errors import SnapshotUnusable
from hazardloop.service.known import Known, Still, known_of
from hazardloop.service.site import Site, site_of

Some = TypeVar("Some")

FORMAT: Final = 5
AT_ONCE: Final = 2_000
"""Devices, limits or alarms in a frame: some milliseconds of work."""

POINT_COLUMNS: Final[Mapping[str, str]] = {
    "measurand": "<i4",
    "device_id": "<i4",
    "point_id": "<i4",
    "interval_s": "<f8",
    "registered_at": "<i8",
    "grade": "<i1",
}
KNOWN_COLUMNS: Final[Mapping[str, str]] = {
    "seen": "<i8",
    "newest_at": "<i8",
    "newest_value": "<f8",
    "newest_late": "|b1",
    "heard_at": "<i8",
    "clocks": "<f8",
}
LATELY_COLUMNS: Final[Mapping[str, str]] = {
    "ring": "<i4", "count": "<i4", "at": "<i8", "value": "<f8",
}  # fmt: skip
COURSE_COLUMNS: Final = tuple(each.name for each in fields(Courses))


class _Device(msgspec.Struct, array_like=True):
    device_id: int
    code: str
    tags: int
    """Place in the head's."""
    gateway_id: int
    internal: bool


class _Head(msgspec.Struct):
    format: int
    schema: str
    saved_us: int
    revision: int
    rules: dict[str, tuple[int, dict[str, Any]]]
    """Version in force, and what was written, by rule."""
    files: dict[str, str]
    """Of each rule in the files of the program that wrote it: what it said."""
    measurands: list[Measurand]
    gateways: list[GatewayRecord]
    tags: list[dict[str, Any]]
    devices: int
    cells: int
    alarms: int
    finds: int
    drills: tuple[Drill, ...]
    holds: tuple[StandingHold, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a worker needs, at one instant."""

    site: Site
    known: Known
    saved_us: int
    """us since the Unix epoch."""


def frames_of(site: Site, then: Still, saved_us: int) -> Iterator[bytes]:
    """The snapshot of a site and of what a worker went by `then`."""
    registry, rows = site.registry, site.registry.row_of.rows
    known = known_of(site, then, rows)
    first = rows[np.unique(registry.device_id[rows], return_index=True)[1]].tolist()
    shared = {id(each.tags): each.tags for each in (registry.devices[row] for row in first)}
    place = {key: nth for nth, key in enumerate(shared)}
    head = _Head(
        FORMAT,
        schema(),
        saved_us,
        registry.revision,
        {rule.rule_id: (site.versions[rule.rule_id], dict(rule.body)) for rule in site.rules},
        {rule.rule_id: _digest(rule) for rule in catalogue_rules(site.catalog)},
        list(registry.measurands),
        [
            GatewayRecord(g.gateway_id, g.code, g.enterprise_id, g.enterprise, g.dialect, g.profile)
            for g in registry.gateways.values()
        ],
        [dict(tags) for tags in shared.values()],
        len(first),
        len(known.cells),
        len(known.alarms),
        len(known.finds),
        known.drills,
        known.holds,
    )
    encode = msgspec.msgpack.Encoder().encode
    yield encode(head)
    for part in _parts(first):
        yield encode([_device(registry, row, place) for row in part])
    for name, kind in POINT_COLUMNS.items():
        yield _bytes(getattr(registry, name)[rows], kind)
    for name, kind in KNOWN_COLUMNS.items():
        yield _bytes(getattr(known, name), kind)
    for name in COURSE_COLUMNS:
        yield _bytes(getattr(known.courses, name), "<f8")
    kept = lately(known.rings, np.arange(len(known.rings), dtype=np.int32))
    for name, kind in LATELY_COLUMNS.items():
        yield _bytes(getattr(kept, name), kind)
    for found in (list(known.cells.values()), list(known.alarms.values()), known.finds):
        for each in _parts(found):
            yield encode(each)


def snapshot_of(frames: Iterator[bytes], catalog: Catalog, tz: str = LOCAL_TZ) -> Snapshot:
    """What the frames say. SnapshotUnusable: they are not for this program, or not whole."""
    try:
        head = msgspec.msgpack.decode(_next(frames), type=_Head)
        _require_ours(head, catalogue_rules(catalog))
        rules = tuple(read_rule(body, catalog) for _, body in head.rules.values())
        registry = _registry(head, frames)
        versions = {rule_id: version for rule_id, (version, _) in head.rules.items()}
        site = site_of(catalog, rules, versions, registry, tz)
        return Snapshot(site, _known(head, frames, site.table), head.saved_us)
    except (msgspec.MsgspecError, ValueError) as error:
        raise SnapshotUnusable(f"the snapshot is not understood: {error}") from error


def schema() -> str:
    """The schema that this program needs, by its newest migration."""
    texts = migration_texts()
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return f"{texts[-1][0].removesuffix('.sql')} {digest[:16]}"


def _require_ours(head: _Head, rules: Sequence[Rule]) -> None:
    if head.format != FORMAT or head.schema != schema():
        raise SnapshotUnusable(
            f"the snapshot was written by a program of schema {head.schema},"
            f" this one needs {schema()}"
        )
    ours = {rule.rule_id: _digest(rule) for rule in rules}
    if changed := sorted(
        rule for rule in ours | head.files if ours.get(rule) != head.files.get(rule)
    ):
        raise SnapshotUnusable(
            f"rule {changed[0]} was changed since the snapshot was written,"
            " and only the database can give it its version"
        )


def _registry(head: _Head, frames: Iterator[bytes]) -> Registry:
    devices = {each.device_id: each for each in _list(frames, head.devices, list[_Device])}
    columns = [_column(frames, kind).tolist() for kind in POINT_COLUMNS.values()]
    gateways = {each.gateway_id: each for each in head.gateways}
    points = (
        _point(head.measurands[place], devices[device_id], gateways, head.tags, rest)
        for place, device_id, *rest in zip(*columns, strict=True)
    )
    return build_registry(head.revision, head.gateways, points)


def _point(
    measurand: Measurand,
    device: _Device,
    gateways: Mapping[int, GatewayRecord],
    tags: Sequence[Mapping[str, Any]],
    rest: Sequence[Any],
) -> PointRecord:
    point_id, interval_s, registered_at_us, grade = rest
    gateway = gateways[device.gateway_id]
    return PointRecord(
        point_id,
        measurand.quantity,
        measurand.unit,
        measurand.type,
        measurand.low,
        measurand.high,
        interval_s,
        registered_at_us,
        device.device_id,
        device.code,
        measurand.kind,
        tags[device.tags],
        device.gateway_id,
        gateway.code,
        gateway.enterprise_id,
        gateway.enterprise,
        grade,
        device.internal,
    )


def _known(head: _Head, frames: Iterator[bytes], table: RuleTable) -> Known:
    columns = {name: _column(frames, kind) for name, kind in KNOWN_COLUMNS.items()}
    courses = side_by_side([_column(frames, "<f8") for _ in COURSE_COLUMNS])
    rings = empty_rings(table.ringed_row, table.ringed_room, len(table.point_id))
    lay_all(rings, Lately(*(_column(frames, kind) for kind in LATELY_COLUMNS.values())))
    cells = _list(frames, head.cells, list[CellRow])
    alarms = _list(frames, head.alarms, list[OpenAlarmRow])
    return Known(
        **columns,
        courses=courses,
        rings=rings,
        cells={(cell.rule_id, cell.point_id, cell.tier): cell for cell in cells},
        alarms={alarm.alarm_id: alarm for alarm in alarms},
        finds=_list(frames, head.finds, list[OpenAlarmRow]),
        drills=head.drills,
        holds=head.holds,
    )


def _device(registry: Registry, row: int, place: Mapping[int, int]) -> _Device:
    device = registry.devices[row]
    return _Device(
        device.device_id, device.code, place[id(device.tags)], device.gateway_id, device.internal
    )


def _digest(rule: Rule) -> str:
    text = json.dumps(definition_of(rule), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parts(whole: Sequence[Some]) -> Iterator[Sequence[Some]]:
    return (whole[at : at + AT_ONCE] for at in range(0, len(whole), AT_ONCE))


def _list(frames: Iterator[bytes], count: int, kind: type[list[Some]]) -> list[Some]:
    decode: Callable[[bytes], list[Some]] = msgspec.msgpack.Decoder(kind).decode
    found: list[Some] = []
    while len(found) < count:
        found += decode(_next(frames))
    return found


def _bytes(column: npt.NDArray[Any], kind: str) -> bytes:
    return column.astype(kind, copy=False).tobytes()


def _column(frames: Iterator[bytes], kind: str) -> npt.NDArray[Any]:
    dtype = np.dtype(kind)
    return np.frombuffer(_next(frames), dtype).astype(dtype.newbyteorder("="))


def _next(frames: Iterator[bytes]) -> bytes:
    frame = next(frames, None)
    if frame is None:
        raise SnapshotUnusable("the snapshot ends too early")
    return frame
