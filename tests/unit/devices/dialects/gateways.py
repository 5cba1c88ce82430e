"""A registry with one gateway of a dialect, and what its reader makes of a message."""

from typing import Any

from hazardloop.devices.dialects.dialect import Heard, Reader
from hazardloop.devices.dialects.readers import topics_of
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry
from hazardloop.devices.wire import Sample

NOW_US = 1_795_300_000_000_000
NOW_MS = NOW_US // 1000
TELEMETRY = b"hl/v1/E1/G1/telemetry"
POINTS = {
    "GD-1": {"lel": "%{LEL}", "ppm": "[ppm]", "fault": "1", "in_service": "1"},
    "TK-1": {"level": "m", "pressure": "kPa", "temperature": "Cel", "in_service": "1"},
}


def registry(dialect: str, profile: dict[str, Any] | None = None) -> Registry:
    """Gateway G1 of enterprise E1 with a gas detector GD-1 and a tank TK-1."""
    points, number = [], 0
    for device_id, (device, units) in enumerate(POINTS.items(), 1):
        for quantity, unit in units.items():
            number += 1
            points.append(
                PointRecord(
                    point_id=number, quantity=quantity, unit=unit,
                    type="boolean" if unit == "1" else "number", low=-1e9, high=1e9,
                    interval_s=60.0, registered_at_us=0, device_id=device_id, device=device,
                    kind="k", tags={}, gateway_id=1, gateway="G1", enterprise_id=1,
                    enterprise="E1", grade=0,
                )
            )  # fmt: skip
    gateway = GatewayRecord(1, "G1", 1, "E1", dialect, profile or {})
    return build_registry(1, [gateway], points)


def reader_of(
    dialect: str, profile: dict[str, Any] | None = None, before: dict[bytes, Reader] | None = None
) -> Reader:
    """The reader of that gateway's first topic."""
    known = registry(dialect, profile)
    return next(iter(topics_of(known.gateways["E1/G1"], known, before or {}).values()))


def said(heard: Heard) -> list[tuple[Any, dict[str, Any]]]:
    """Time and values of each object; a sample as (value, quality)."""
    return [(one.ts, _plain(one.values)) for one in heard.telemetry]


def kept(heard: Heard) -> list[tuple[Any, dict[str, Any]]]:
    """The same of what was kept while offline."""
    return [(one.ts, _plain(one.values)) for one in heard.backfill]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        code: (value.v, value.q) if isinstance(value, Sample) else value
        for code, value in values.items()
    }


def complaints(heard: Heard) -> list[str]:
    """Their details."""
    return [one.detail for one in heard.complaints]
