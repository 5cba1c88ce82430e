"""Who reports what: ids to dense rows, and a column for each property of a point."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hazardloop.devices.readings import Bools, Floats, Rows, Times


@dataclass(frozen=True, slots=True)
class PointRecord:
    """One registered point with what is known of its device, enterprise and hazard unit."""

    point_id: int
    quantity: str
    unit: str
    type: str
    """number, boolean or event, from the catalogue."""
    low: float
    """Least value that is physically possible; -inf = open."""
    high: float
    interval_s: float
    """How often it should report."""
    registered_at_us: int
    device_id: int
    device: str
    kind: str
    tags: Mapping[str, Any]
    gateway_id: int
    gateway: str
    enterprise_id: int
    enterprise: str
    grade: int
    """Of its hazard unit by GB 18218, 1 (worst) to 4; 0 = none."""
    internal: bool = False
    """Measured by the service itself; no gateway reports it."""

    @property
    def code(self) -> str:
        """As a payload names it: DEVICE.quantity."""
        return f"{self.device}.{self.quantity}"


@dataclass(frozen=True, slots=True)
class GatewayRecord:
    """One registered gateway."""

    gateway_id: int
    code: str
    enterprise_id: int
    enterprise: str
    dialect: str = "hazardloop"
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway and the rows it may report."""

    gateway_id: int
    code: str
    enterprise_id: int
    enterprise: str
    rows: Mapping[str, int]
    """`DEVICE.quantity` to dense row."""
    events: Mapping[str, Mapping[str, int]]
    """Device code to event name to dense row, of the points that are events."""
    devices: frozenset[str]
    """Codes of its devices."""
    dialect: str = "hazardloop"
    """How its payloads are written: a name in devices/dialects/readers.py, or ours."""
    profile: Mapping[str, Any] = field(default_factory=dict)
    """What the dialect's reader must know of this gateway."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All gateways and points at one revision; columns are (n,) over dense rows."""

    revision: int
    gateways: Mapping[str, Gateway]
    """By `enterprise/gateway`, as in a topic."""
    gateway_homes: Mapping[str, frozenset[str]]
    """Gateway code to the enterprises that have one of that code."""
    device_homes: Mapping[str, frozenset[str]]
    """Device code to the enterprises that have one of that code."""
    points: tuple[PointRecord, ...]
    point_id: Rows
    low: Floats
    high: Floats
    interval_s: Floats
    registered_at: Times
    grade: npt.NDArray[np.int8]
    boolean: Bools
    """Points that take true and false."""
    row_of: Mapping[int, int] = field(default_factory=dict)
    """point_id to dense row."""
    own: Mapping[tuple[int, str], int] = field(default_factory=dict)
    """gateway_id and quantity to dense row, of what the service itself measures."""

    def __len__(self) -> int:
        return len(self.points)


def build_registry(
    revision: int, gateways: Iterable[GatewayRecord], points: Iterable[PointRecord]
) -> Registry:
    """The registry of these records; rows follow the point ids."""
    ordered = tuple(sorted(points, key=lambda point: point.point_id))
    gateway_records = tuple(gateways)
    rows: dict[int, dict[str, int]] = {gateway.gateway_id: {} for gateway in gateway_records}
    events: dict[int, dict[str, dict[str, int]]] = {
        gateway.gateway_id: {} for gateway in gateway_records
    }
    devices: dict[int, set[str]] = {gateway.gateway_id: set() for gateway in gateway_records}
    device_homes: dict[str, set[str]] = {}
    own: dict[tuple[int, str], int] = {}
    for row, point in enumerate(ordered):
        if point.internal:
            own[point.gateway_id, point.quantity] = row
        else:
            rows[point.gateway_id][point.code] = row
        devices[point.gateway_id].add(point.device)
        device_homes.setdefault(point.device, set()).add(point.enterprise)
        if point.type == "event":
            events[point.gateway_id].setdefault(point.device, {})[point.quantity] = row
    gateway_homes: dict[str, set[str]] = {}
    for gateway in gateway_records:
        gateway_homes.setdefault(gateway.code, set()).add(gateway.enterprise)
    return Registry(
        revision=revision,
        gateways={
            f"{gateway.enterprise}/{gateway.code}": Gateway(
                gateway.gateway_id,
                gateway.code,
                gateway.enterprise_id,
                gateway.enterprise,
                rows[gateway.gateway_id],
                events[gateway.gateway_id],
                frozenset(devices[gateway.gateway_id]),
                gateway.dialect,
                gateway.profile,
            )
            for gateway in gateway_records
        },
        gateway_homes={code: frozenset(homes) for code, homes in gateway_homes.items()},
        device_homes={code: frozenset(homes) for code, homes in device_homes.items()},
        points=ordered,
        point_id=np.array([point.point_id for point in ordered], np.int32),
        low=np.array([point.low for point in ordered], np.float64),
        high=np.array([point.high for point in ordered], np.float64),
        interval_s=np.array([point.interval_s for point in ordered], np.float64),
        registered_at=np.array([point.registered_at_us for point in ordered], np.int64),
        grade=np.array([point.grade for point in ordered], np.int8),
        boolean=np.array([point.type != "number" for point in ordered], np.bool_),
        row_of={point.point_id: row for row, point in enumerate(ordered)},
        own=own,
    )
