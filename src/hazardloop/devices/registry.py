"""Who reports what: ids to dense rows, and a column for each property of a point.

A district may have half a million points, so nothing is kept as an object for each: what is alike
is shared, the rest are columns, and a `PointRecord` is made when somebody asks for one. A row
belongs to its point for good: a registry that follows another has new points in new rows.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, overload

import numpy as np
import numpy.typing as npt

from hazardloop.devices.readings import Bools, Floats, Rows, Times

Default = TypeVar("Default")

CANARY_KIND: Final = "platform_canary"
"""Kind of the one device of the service's own that reports over the broker."""


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
    devices: Set[str]
    """Codes of its devices."""
    dialect: str = "hazardloop"
    """How its payloads are written: a name in devices/dialects/readers.py, or ours."""
    profile: Mapping[str, Any] = field(default_factory=dict)
    """What the dialect's reader must know of this gateway."""


@dataclass(frozen=True, slots=True)
class Measurand:
    """A quantity of a kind of device: what all its points have in common."""

    kind: str
    quantity: str
    unit: str
    type: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Device:
    """What its points have in common."""

    device_id: int
    code: str
    tags: Mapping[str, Any]
    gateway_id: int
    internal: bool


class RowOf:
    """point_id to dense row: two columns instead of a dictionary of half a million entries."""

    __slots__ = ("_ids", "_rows")

    def __init__(self, point_id: Rows, rows: Rows) -> None:
        """Of these ids, each at the row of the same place."""
        order = np.argsort(point_id, kind="stable")
        self._ids, self._rows = point_id[order], rows[order]

    @overload
    def get(self, point_id: int) -> int | None: ...
    @overload
    def get(self, point_id: int, default: Default) -> int | Default: ...
    def get(self, point_id: int, default: Default | None = None) -> int | Default | None:
        """The row of that point, or `default`."""
        at = int(self._ids.searchsorted(np.int32(point_id)))  # or the column is converted whole
        if at < len(self._ids) and self._ids[at] == point_id:
            return int(self._rows[at])
        return default

    @property
    def rows(self) -> Rows:
        """(m,) the rows of all its points, by rising point_id."""
        return self._rows

    def many(self, point_id: npt.NDArray[np.integer[Any]]) -> Rows:
        """(m,) the row of each of these points; -1 where there is none."""
        if len(self._ids) == 0:
            return np.full(len(point_id), -1, np.int32)
        at = np.minimum(self._ids.searchsorted(point_id), len(self._ids) - 1)
        return np.where(self._ids[at] == point_id, self._rows[at], np.int32(-1))


@dataclass(frozen=True, slots=True)
class Registry:
    """All gateways and points at one revision; columns are (n,) over dense rows."""

    revision: int
    gateways: Mapping[str, Gateway]
    """By `enterprise/gateway`, as in a topic."""
    gateway_by_id: Mapping[int, Gateway]
    """With those that are gone."""
    gateway_homes: Mapping[str, frozenset[str]]
    """Gateway code to the enterprises that have one of that code."""
    device_homes: Mapping[str, frozenset[str]]
    """Device code to the enterprises that have one of that code."""
    measurands: Sequence[Measurand]
    """What points measure, each once."""
    measurand: Rows
    """Place in `measurands`."""
    registered: Bools
    """False: the point is gone; its row tells what was known of it."""
    devices: Sequence[Device]
    """(n,) of each point; the points of a device share one."""
    device_id: Rows
    point_id: Rows
    low: Floats
    high: Floats
    interval_s: Floats
    registered_at: Times
    grade: npt.NDArray[np.int8]
    boolean: Bools
    """Points that take true and false."""
    row_of: RowOf
    own: Mapping[tuple[int, str], int]
    """gateway_id and quantity to dense row, of what the service itself measures."""

    def __len__(self) -> int:
        return len(self.point_id)

    @property
    def points(self) -> "Points":
        """A record of each point, made when it is asked for."""
        return Points(self)


@dataclass(frozen=True, slots=True)
class Points(Sequence[PointRecord]):
    """The points of a registry by row."""

    registry: Registry

    def __len__(self) -> int:
        return len(self.registry)

    @overload
    def __getitem__(self, row: int) -> PointRecord: ...
    @overload
    def __getitem__(self, row: slice) -> list[PointRecord]: ...
    def __getitem__(self, row: int | slice) -> PointRecord | list[PointRecord]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        known = self.registry
        measurand, device = known.measurands[known.measurand[row]], known.devices[row]
        gateway = known.gateway_by_id[device.gateway_id]
        return PointRecord(
            point_id=int(known.point_id[row]),
            quantity=measurand.quantity,
            unit=measurand.unit,
            type=measurand.type,
            low=measurand.low,
            high=measurand.high,
            interval_s=float(known.interval_s[row]),
            registered_at_us=int(known.registered_at[row]),
            device_id=device.device_id,
            device=device.code,
            kind=measurand.kind,
            tags=device.tags,
            gateway_id=gateway.gateway_id,
            gateway=gateway.code,
            enterprise_id=gateway.enterprise_id,
            enterprise=gateway.enterprise,
            grade=int(known.grade[row]),
            internal=device.internal,
        )

    def __iter__(self) -> Iterator[PointRecord]:
        """Those that are registered."""
        return (self[row] for row in np.flatnonzero(self.registry.registered).tolist())
