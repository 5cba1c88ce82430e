"""Which points a replay needs, and how they are shared out among processes."""

from dataclasses import dataclass

import numpy as np

from hazardloop.alarms.rule_table import RuleTable
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.readings import Rows
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry


@dataclass(frozen=True, slots=True)
class Shard:
    """Some points of a registry, in a form that another process can be given."""

    gateways: tuple[GatewayRecord, ...]
    points: tuple[PointRecord, ...]

    def registry(self) -> Registry:
        """A registry of these points alone."""
        return build_registry(0, self.gateways, self.points)


def watched_rows(table: RuleTable) -> Rows:
    """Rows of the points that any rule of the table watches, ascending."""
    return np.flatnonzero(table.profile != 0).astype(np.int32)


def shared_out(table: RuleTable, rows: Rows, hands: int) -> list[Rows]:
    """These rows in so many parts of about one size, none of them empty; members of groups stay
    together, as what is found of one hangs on the others.
    """
    members = rows[np.isin(rows, table.member_row)]
    others = np.setdiff1d(rows, members)
    fill = max(0, -(-len(rows) // hands) - len(members)) if hands > 1 else len(others)
    first = np.concatenate([members, others[:fill]])
    parts = [first, *np.array_split(others[fill:], max(1, hands - 1))]
    return [np.sort(part).astype(np.int32) for part in parts if len(part)]


def shard_of(registry: Registry, rows: Rows) -> Shard:
    """These points of a registry, with their gateways."""
    points = tuple(registry.points[row] for row in rows.tolist())
    homes = {point.gateway_id: (point.gateway, point.enterprise_id, point.enterprise)
             for point in points}  # fmt: skip
    gateways = tuple(GatewayRecord(gateway, *of) for gateway, of in homes.items())
    return Shard(gateways, points)


def longest_interval_s(registry: Registry, rows: Rows) -> float:
    """Longest time in which any of these points is expected to report, where that is known."""
    known = registry.interval_s[rows]
    return float(known[np.isfinite(known)].max(initial=0.0))


def rows_of_enterprise(registry: Registry, rows: Rows, enterprise_id: int | None) -> Rows:
    """Those of one enterprise; None = of all, without what the service measures of itself."""
    wanted = [
        row
        for row in rows.tolist()
        if not registry.devices[row].internal
        and (
            enterprise_id is None
            or registry.gateway_by_id[registry.devices[row].gateway_id].enterprise_id
            == enterprise_id
        )
    ]
    return np.array(wanted, np.int32)
