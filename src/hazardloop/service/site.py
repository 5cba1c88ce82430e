"""All that a worker must know of its district: registry, routes, rules and their versions."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hazardloop.alarms import rule_store
from hazardloop.alarms.hours import LOCAL_TZ
from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_store import Kept
from hazardloop.alarms.rule_table import RuleTable, compile_rules, lay_over, under_rules
from hazardloop.alarms.rules import catalogue_rules, definition_of, read_rule
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import Catalog, read_catalog, shipped_catalog
from hazardloop.devices.marked_yaml import FileRefused
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
    followed: Mapping[str, int]
    """The versions in force as they are stored; those that cannot be used are not in `versions`."""


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
    """The district as it stands; rules of files that are new or changed get their version here."""
    catalog = known_kinds(settings)
    files = catalogue_rules(catalog)
    of_files = await rule_store.keep_rule_versions(connection, files, whole=True)
    kept = await rule_store.in_force(connection)
    rules, versions = rules_of(
        kept, catalog, {rule.rule_id: (rule, of_files[rule.rule_id]) for rule in files}
    )
    registry = await registry_store.load_registry(connection, catalog)
    site = site_of(catalog, rules, versions, registry, settings.tz)
    return replace(site, followed=_numbers(kept))


def rules_of(
    kept: Iterable[Kept], catalog: Catalog, known: Mapping[str, tuple[Rule, int]]
) -> tuple[tuple[Rule, ...], dict[str, int]]:
    """The rules in force with their versions.

    Args:
        kept: of each rule the version in force.
        catalog: what they speak of.
        known: rules by id with their versions. One that is kept as it is known need not be read;
            it stands in for one that cannot be used: no rule ends because a change of it is wrong.
    """
    rules: list[Rule] = []
    versions: dict[str, int] = {}
    for each in kept:
        if each.retired:
            continue
        rule, version = _rule_of(each, catalog, *known.get(each.rule_id, (None, 0)))
        if rule is not None:
            rules.append(rule)
            versions[rule.rule_id] = version
    return tuple(rules), versions


async def rules_in_force(connection: Connection, catalog: Catalog) -> tuple[Rule, ...]:
    """The rules in force now, with those of files that no worker has taken up yet."""
    files = {rule.rule_id: rule for rule in catalogue_rules(catalog)}
    kept = await rule_store.in_force(connection)
    rules, _ = rules_of(kept, catalog, {name: (rule, 0) for name, rule in files.items()})
    new = files.keys() - {each.rule_id for each in kept}
    return rules + tuple(rule for name, rule in files.items() if name in new)


def _rule_of(
    kept: Kept, catalog: Catalog, known: Rule | None, version: int
) -> tuple[Rule | None, int]:
    if known is not None and definition_of(known) == kept.definition:
        return known, kept.version
    try:
        return read_rule(kept.body or {}, catalog), kept.version
    except FileRefused as refused:
        told = {"rule": kept.rule_id, "version": kept.version, "reason": str(refused)}
        log.error("this version of a rule cannot be used", extra=told)
    return known, version


def _numbers(kept: Iterable[Kept]) -> dict[str, int]:
    return {each.rule_id: each.version for each in kept if not each.retired}


def under(site: Site, kept: Sequence[Kept]) -> tuple[Site, Rows]:
    """`site` under the rules in force now, and the rows that are watched otherwise.

    Slow where many points are concerned, and safe in a thread, while nobody else changes the site.
    """
    known = {rule.rule_id: (rule, site.versions[rule.rule_id]) for rule in site.rules}
    rules, versions = rules_of(kept, site.catalog, known)
    table, rows = under_rules(site.table, rules, versions, site.registry)
    _warn(table)
    changed = replace(site, rules=rules, versions=versions, table=table, followed=_numbers(kept))
    return changed, rows


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
    routes, senders = routes_of(registry), Senders(registry.gateways)
    return Site(catalog, rules, versions, registry, routes, table, senders, versions)


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
