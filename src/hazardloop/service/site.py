"""All that a worker must know of its district: registry, routes, rules and their versions."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_table import RuleTable, compile_rules
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import Catalog, read_catalog, shipped_catalog
from hazardloop.devices.dialects.dialect import Reader
from hazardloop.devices.registry import Registry
from hazardloop.ingest.arrivals import Senders
from hazardloop.ingest.decoding import Routes, routes_of
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
    return await _at_revision(connection, catalog, rules, versions)


async def reload(connection: Connection, site: Site) -> Site:
    """`site` with the registry as it stands now."""
    return await _at_revision(
        connection, site.catalog, site.rules, site.versions, site.routes.foreign
    )


async def _at_revision(
    connection: Connection,
    catalog: Catalog,
    rules: tuple[Rule, ...],
    versions: dict[str, int],
    readers: Mapping[bytes, Reader] = MappingProxyType({}),
) -> Site:
    registry = await registry_store.load_registry(connection, catalog)
    table = compile_rules(rules, registry, versions)
    for problem in table.problems:
        log.warning("device tag not understood", extra={"problem": problem})
    routes, senders = routes_of(registry, readers), Senders(registry.gateways)
    return Site(catalog, rules, versions, registry, routes, table, senders)
