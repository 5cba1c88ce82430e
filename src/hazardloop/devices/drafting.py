"""A registry in the making: from nothing, or from an earlier one and what has changed since."""

from array import array
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from hazardloop.devices.readings import Rows
from hazardloop.devices.registry import (
    CANARY_KIND,
    Device,
    Gateway,
    GatewayRecord,
    Measurand,
    PointRecord,
    Registry,
    RowOf,
)

TYPES: Final[Mapping[str, Any]] = {
    "measurand": np.int32,
    "registered": np.bool_,
    "device_id": np.int32,
    "point_id": np.int32,
    "low": np.float64,
    "high": np.float64,
    "interval_s": np.float64,
    "registered_at": np.int64,
    "grade": np.int8,
    "boolean": np.bool_,
}
"""Columns of a registry."""


class Draft:
    """Takes records one after the other; whoever holds the earlier registry sees nothing of it."""

    def __init__(self, before: Registry | None = None) -> None:
        """Begins with what `before` knew."""
        self._columns: dict[str, array[Any]] = {
            name: array(_typecode(name), b"" if before is None else _bytes(before, name))
            for name in TYPES
        }
        self._devices = [] if before is None else list(before.devices)
        self._gateways = {} if before is None else dict(before.gateway_by_id)
        self._registered = (
            set()
            if before is None
            else {gateway.gateway_id for gateway in before.gateways.values()}
        )
        """Ids of gateways that are not gone."""
        self._device_homes = {} if before is None else dict(before.device_homes)
        self._own_points = {} if before is None else dict(before.own)
        self._measurands = [] if before is None else list(before.measurands)
        self._place = {measurand: at for at, measurand in enumerate(self._measurands)}
        self._owned: set[int] = set()
        """Gateways whose mappings are this draft's own and may be changed."""
        self._fresh: dict[int, Device] = {}
        """Devices met in this draft."""
        self._homes: dict[frozenset[str], frozenset[str]] = {}
        """Equal sets of enterprises, each once."""
        self._vacant: dict[int, int] = {}
        """point_id to its row, of points that were forgotten and have not been taken again."""
        self.touched: set[int] = set()
        """Rows that are new, or that may differ from before."""

    def take_gateways(self, records: Iterable[GatewayRecord]) -> None:
        """Gateways that are new, or as they are now; their points stay."""
        for record in records:
            known = self._gateways.get(record.gateway_id)
            self._gateways[record.gateway_id] = Gateway(
                record.gateway_id,
                record.code,
                record.enterprise_id,
                record.enterprise,
                known.rows if known else {},
                known.events if known else {},
                known.devices if known else set(),
                record.dialect,
                record.profile,
            )
            self._registered.add(record.gateway_id)
            if known is None:
                self._owned.add(record.gateway_id)

    def forget_gateways(self, gateway_ids: Iterable[int]) -> None:
        """Gateways that are no longer registered; their devices are to be forgotten as well."""
        self._registered.difference_update(gateway_ids)

    def forget_devices(self, device_ids: Collection[int]) -> None:
        """Devices that changed or are gone; the points they still have are to be taken again."""
        column = np.frombuffer(self._columns["device_id"], np.int32)
        alive = np.frombuffer(self._columns["registered"], np.bool_)
        wanted = np.fromiter(device_ids, np.int32, len(device_ids))
        rows = np.flatnonzero(np.isin(column, wanted) & alive).tolist()
        del column, alive  # an array that somebody looks at cannot grow
        for row in rows:
            self._vacate(row)

    def _vacate(self, row: int) -> None:
        device = self._devices[row]
        measurand = self._measurands[self._columns["measurand"][row]]
        self._vacant[self._columns["point_id"][row]] = row
        self._columns["registered"][row] = False
        self.touched.add(row)
        if device.internal:
            self._own_points.pop((device.gateway_id, measurand.quantity), None)
        gateway = self._own(device.gateway_id)
        gateway.rows.pop(f"{device.code}.{measurand.quantity}", None)  # type: ignore[attr-defined]
        gateway.events.pop(device.code, None)  # type: ignore[attr-defined]
        gateway.devices.discard(device.code)  # type: ignore[attr-defined]
        self._set_homes(device.code, without=gateway.enterprise)

    def take_point(self, point: PointRecord) -> None:
        """A point as it is now; its gateway was taken before."""
        row = self._vacant.pop(point.point_id, len(self._devices))
        device = self._device(point)
        if row == len(self._devices):
            self._devices.append(device)
            for column in self._columns.values():
                column.append(0)
        self._devices[row] = device
        self._fill(row, point)
        self.touched.add(row)
        if device.internal and point.kind != CANARY_KIND:
            self._own_points[device.gateway_id, point.quantity] = row
            return
        gateway = self._own(device.gateway_id)
        gateway.rows[f"{device.code}.{point.quantity}"] = row  # type: ignore[index]
        if point.type == "event":
            events = gateway.events.setdefault(device.code, {})  # type: ignore[attr-defined]
            events[point.quantity] = row

    def _fill(self, row: int, point: PointRecord) -> None:
        columns = self._columns
        columns["measurand"][row] = self._measurand(point)
        columns["registered"][row] = True
        columns["device_id"][row] = point.device_id
        columns["point_id"][row] = point.point_id
        columns["low"][row] = point.low
        columns["high"][row] = point.high
        columns["interval_s"][row] = point.interval_s
        columns["registered_at"][row] = point.registered_at_us
        columns["grade"][row] = point.grade
        columns["boolean"][row] = point.type != "number"

    def _measurand(self, point: PointRecord) -> int:
        measurand = Measurand(
            point.kind, point.quantity, point.unit, point.type, point.low, point.high
        )
        place = self._place.setdefault(measurand, len(self._measurands))
        if place == len(self._measurands):
            self._measurands.append(measurand)
        return place

    def _device(self, point: PointRecord) -> Device:
        device = self._fresh.get(point.device_id)
        if device is None:
            device = Device(
                point.device_id, point.device, point.tags, point.gateway_id, point.internal
            )
            self._fresh[point.device_id] = device
            gateway = self._own(point.gateway_id)
            gateway.devices.add(point.device)  # type: ignore[attr-defined]
            self._set_homes(point.device, extra=point.enterprise)
        return device

    def _set_homes(self, device: str, *, extra: str = "", without: str = "") -> None:
        homes = (self._device_homes.get(device, frozenset()) | {extra}) - {"", without}
        if homes:
            self._device_homes[device] = self._homes.setdefault(homes, homes)
        else:
            self._device_homes.pop(device, None)

    def _own(self, gateway_id: int) -> Gateway:
        """That gateway, its mappings copied unless they are ours already."""
        gateway = self._gateways[gateway_id]
        if gateway_id not in self._owned:
            gateway = self._gateways[gateway_id] = replace(
                gateway,
                rows=dict(gateway.rows),
                events={device: dict(events) for device, events in gateway.events.items()},
                devices=set(gateway.devices),
            )
            self._owned.add(gateway_id)
        return gateway

    def registry(self, revision: int) -> Registry:
        """What came of it; the draft is not to be used any more."""
        columns = {
            name: np.frombuffer(column, TYPES[name]) for name, column in self._columns.items()
        }
        registered = np.flatnonzero(columns["registered"]).astype(np.int32)
        gateways = [self._gateways[gateway_id] for gateway_id in sorted(self._registered)]
        gateway_homes: dict[str, frozenset[str]] = {}
        for gateway in gateways:
            homes = gateway_homes.get(gateway.code, frozenset()) | {gateway.enterprise}
            gateway_homes[gateway.code] = homes
        return Registry(
            revision=revision,
            gateways={f"{each.enterprise}/{each.code}": each for each in gateways},
            gateway_by_id=self._gateways,
            gateway_homes=gateway_homes,
            device_homes=self._device_homes,
            measurands=self._measurands,
            devices=self._devices,
            own=self._own_points,
            row_of=RowOf(columns["point_id"][registered], registered),
            **columns,
        )

    def touched_rows(self) -> Rows:
        """Rows that are new, or that may differ from before; ascending."""
        return np.fromiter(sorted(self.touched), np.int32, len(self.touched))


def build_registry(
    revision: int, gateways: Iterable[GatewayRecord], points: Iterable[PointRecord]
) -> Registry:
    """The registry of these records; rows follow the point ids."""
    draft = Draft()
    draft.take_gateways(gateways)
    for point in sorted(points, key=lambda each: each.point_id):
        draft.take_point(point)
    return draft.registry(revision)


def _typecode(name: str) -> str:
    kind: str = np.dtype(TYPES[name]).char
    return {"?": "b", "l": "q"}.get(kind, kind)


def _bytes(registry: Registry, name: str) -> bytes:
    column: bytes = getattr(registry, name).tobytes()
    return column
