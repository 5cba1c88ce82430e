"""All that a worker must know of its district: registry, routes, rules and their versions."""

import logging
from dataclasses import dataclass, replace

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.hours import LOCAL_TZ
from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_table import RuleTable, compile_rules, lay_over
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import Catalog, read_catalog, shipped_catalog
from hazardloop.devices.readings import Rows
from hazardloop.devices.registry import Registry
from hazardloop.devices.store import Changes
from hazardloop.ingest.arrivals import Senders
from hazardloop.ingest.routing import Routes, moved_to, renewed, routes_of
from hazardloop.service.database import Connection
from hazardloop.service.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """A district at one revision of its registry."""

    catalog: Catalog
    rules: tuple[Rule, ...]
    versions: dict[str, int]
    registry: Registry
    routes: Routes
    table: RuleTable
    senders: Senders


def known_kinds(settings: Settings) -> Catalog:
    """The built-in device kinds and those of `kinds_dir`; one of the same code replaces ours.

    Raises FileRefused with every problem and its line.
    """
    shipped = shipped_catalog()
    if settings.kinds_dir is None:
        return shipped
    own = read_catalog(sorted(settings.kinds_dir.glob("*.yaml")))
    return Catalog({**shipped.kinds, **own.kinds})


async def load_site(connection: Connection, settings: Settings) -> Site:
    """The district as it stands; rules that are new or changed get their version here."""
    catalog = known_kinds(settings)
    rules = catalogue_rules(catalog)
    versions = await alarm_store.keep_rule_versions(connection, rules)
    registry = await registry_store.load_registry(connection, catalog)
    return site_of(catalog, rules, versions, registry, settings.tz)


def site_of(
    catalog: Catalog,
    rules: tuple[Rule, ...],
    versions: dict[str, int],
    registry: Registry,
    tz: str = LOCAL_TZ,
) -> Site:
    """The district of these parts."""
    table = compile_rules(rules, registry, versions, tz)
    _warn(table)
    return Site(
        catalog, rules, versions, registry, routes_of(registry), table, Senders(registry.gateways)
    )


async def bring_up_to_date(
    connection: Connection, site: Site, changes: Changes
) -> tuple[Site, Rows]:
    """`site` with these gateways and devices as they are now, and the rows that may differ."""
    registry, rows = await registry_store.apply_changes(
        connection, site.catalog, site.registry, changes
    )
    table = lay_over(site.table, registry, rows)
    _warn(table)
    routes = moved_to(registry, site.routes)
    senders = Senders(registry.gateways)
    return replace(site, registry=registry, routes=routes, table=table, senders=senders), rows


def with_renewed_routes(site: Site) -> Site:
    """`site` with tables that know all its gateways as they are; slow, and safe in a thread."""
    return replace(site, routes=renewed(site.routes))


def _warn(table: RuleTable) -> None:
    for problem in table.problems:
        log.warning("device tag not understood", extra={"problem": problem})
