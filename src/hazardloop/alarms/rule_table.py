"""Rules laid over a registry: which limits stand at which point, ready for evaluation.

Points that are alike (same kind, grade and tags as far as rules ask) share one tuple of watches, so
that a table of 440,000 points stays small; only what every reading passes is a column per point.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.group import IN_SERVICE, Group
from hazardloop.alarms.hours import LOCAL_TZ
from hazardloop.alarms.kernels import calm_band
from hazardloop.alarms.measure import Measure
from hazardloop.alarms.rings import room_for
from hazardloop.alarms.rule import Grouped, Rule, Silence
from hazardloop.alarms.rule_watches import (
    US_PER_S,
    PointFacts,
    limits_in,
    selects,
    watch_of,
    watches_of,
)
from hazardloop.alarms.watch import Watch
from hazardloop.devices.readings import Floats, Rows, Tiers, Times
from hazardloop.devices.registry import Registry, RowOf

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One measure at a point, and what watches what it says."""

    measure: Measure
    watches: tuple[Watch, ...]
    calm: tuple[float, float]
    """At rest nothing changes while it is above the first and below the second."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What watches the points of one likeness."""

    watches: tuple[Watch, ...]
    """Of the values themselves."""
    silences: tuple[tuple[int, Tier], ...]
    """Rules that watch for silence, each with the tier of its alarm."""
    calm: tuple[float, float]
    """A point at rest stays so while its value is above the first and below the second."""
    gauges: tuple[Gauge, ...] = ()
    groups: tuple[tuple[int, str, float], ...] = ()
    """Rules that gather its points, with the enterprise and tag that a group shares, and a sign."""

    @property
    def reach_s(self) -> float:
        """How far back its gauges look, in seconds."""
        return max((gauge.measure.reach_s for gauge in self.gauges), default=0.0)


@dataclass(frozen=True, slots=True)
class Gathering:
    """One rule over one group of points."""

    group: Group
    watch: Watch
    members: tuple[int, ...]
    """Their rows; the alarm belongs to the first, that of the point that was registered first."""
    signs: tuple[float, ...]
    """How each counts: 1, or -1."""
    service: tuple[int, ...]
    """Row of the point with which each one's device says whether it is in service; -1 = none."""

    @property
    def carrier(self) -> int:
        """Row of the point that its alarm belongs to."""
        return self.members[0]

    @property
    def rows(self) -> tuple[int, ...]:
        """Of all points whose last words count."""
        return (*self.members, *(row for row in self.service if row >= 0))


NOTHING: Final = Profile((), (), (-math.inf, math.inf))


@dataclass(frozen=True, slots=True)
class Profiles:
    """Profiles that were made, so that points which are alike share one."""

    asked: Mapping[tuple[str, str], tuple[tuple[int, ...], tuple[str, ...]]]
    """Device kind and quantity to the rules for them, and the tags that these ask for."""
    made: list[Profile]
    by_likeness: dict[tuple[Any, ...], int]
    """Likeness to place in `made`."""
    place_of: dict[Profile, int]
    """Profile to its place: points that differ may still be watched alike."""


@dataclass(frozen=True, slots=True)
class RuleTable:
    """Rules and what they watch; columns are (n,) over dense rows of the registry."""

    rules: tuple[Rule, ...]
    versions: tuple[int, ...]
    index: Mapping[str, int]
    """Rule id to its place in `rules`."""
    tz: str
    """Whose local time the hours of rules are in."""
    profiles: Profiles
    profile: Rows
    """Place of each point's profile in those made."""
    calm_low: Floats
    """A point at rest stays so while its value is above this (in its unit) ..."""
    calm_high: Floats
    """... and below this."""
    point_id: Rows
    registered_at: Times
    row_of: RowOf
    ringed_row: Rows
    """(r,) points whose rules look back, ascending."""
    ringed_room: Rows
    """(r,) readings that are kept of each."""
    carried: Mapping[int, tuple[Gathering, ...]]
    """By row of the point that their alarms belong to."""
    gathered: Mapping[int, tuple[Gathering, ...]]
    """By row of every member; of points that tell of service there are none to gather."""
    member_row: Rows
    """Those rows, ascending."""
    silent_row: Rows
    """(m,) points watched for silence, one element per rule and point, by row, then rule."""
    silent_rule: Rows
    """(m,) index of the rule."""
    silent_tier: Tiers
    """(m,) of the alarm."""
    silent_limit_us: Times
    """(m,) how long the point may be silent."""
    problems: tuple[str, ...]
    """What devices carry that rules cannot use, each with what was done instead."""

    def watches(self, row: int) -> tuple[Watch, ...]:
        """The rules that compare values at this point."""
        return self.profiles.made[int(self.profile[row])].watches

    def gauges(self, row: int) -> tuple[Gauge, ...]:
        """What is worked out of the readings of this point, with the rules that compare it."""
        return self.profiles.made[int(self.profile[row])].gauges

    def gathering(self, row: int, rule: int) -> Gathering | None:
        """The group of that rule whose alarms belong to this point."""
        return next((one for one in self.carried.get(row, ()) if one.watch.rule == rule), None)

    def reach_s(self, rows: Rows) -> Floats:
        """(m,) seconds that the rules of these points look back."""
        return np.array([each.reach_s for each in self.profiles.made])[self.profile[rows]]


def compile_rules(
    rules: Sequence[Rule],
    registry: Registry,
    versions: Mapping[str, int] = MappingProxyType({}),
    tz: str = LOCAL_TZ,
) -> RuleTable:
    """The table of these rules over these points.

    Args:
        rules: with ids that differ.
        registry: whose dense rows the table follows.
        versions: rule id to its version; 1 where it is not in there.
        tz: time zone of the house, by its name in the IANA database.
    """
    nobody = np.empty(0, np.int32)
    bare = RuleTable(
        rules=tuple(rules),
        versions=tuple(versions.get(rule.rule_id, 1) for rule in rules),
        index={rule.rule_id: index for index, rule in enumerate(rules)},
        tz=tz,
        profiles=Profiles(_asked(rules), [NOTHING], {}, {NOTHING: 0}),
        profile=nobody,
        calm_low=np.empty(0),
        calm_high=np.empty(0),
        point_id=nobody,
        registered_at=np.empty(0, np.int64),
        row_of=RowOf(nobody, nobody),
        ringed_row=nobody,
        ringed_room=nobody,
        carried={},
        gathered={},
        member_row=nobody,
        silent_row=nobody,
        silent_rule=nobody,
        silent_tier=np.empty(0, np.uint8),
        silent_limit_us=np.empty(0, np.int64),
        problems=(),
    )
    return lay_over(bare, registry, np.arange(len(registry), dtype=np.int32))


def lay_over(table: RuleTable, registry: Registry, rows: Rows) -> RuleTable:
    """The same rules over a registry that followed the one of `table`.

    Args:
        table: is not changed, but for profiles that are added.
        registry: its rows are those of the table and some behind them.
        rows: ascending; all that are new or may differ.
    """
    places, problems = _profiles_at(table, registry, rows)
    bands = np.array([each.calm for each in table.profiles.made])
    silent = _silences(table, registry, rows, places)
    profile = _laid(table.profile, len(registry), rows, places)
    ringed = _ringed(table.profiles.made, profile, registry)
    carried, gathered = _gatherings(table, profile, registry)
    return replace(
        table,
        profile=profile,
        ringed_row=ringed[0],
        ringed_room=ringed[1],
        carried=carried,
        gathered=gathered,
        member_row=np.array(sorted(gathered), np.int32),
        calm_low=_laid(table.calm_low, len(registry), rows, bands[places, 0]),
        calm_high=_laid(table.calm_high, len(registry), rows, bands[places, 1]),
        point_id=registry.point_id,
        registered_at=registry.registered_at,
        row_of=registry.row_of,
        silent_row=silent[0],
        silent_rule=silent[1],
        silent_tier=silent[2],
        silent_limit_us=silent[3],
        problems=tuple(problems),
    )


def _laid(
    column: npt.NDArray[Number], length: int, rows: Rows, values: npt.NDArray[Number]
) -> npt.NDArray[Number]:
    """A copy of `column` that reaches to `length`, with these values at `rows`."""
    longer = np.empty(length, column.dtype)
    longer[: len(column)] = column
    longer[rows] = values
    return longer


def _ringed(made: Sequence[Profile], profile: Rows, registry: Registry) -> tuple[Rows, Rows]:
    """The points whose rules look back, and how many readings are kept of each."""
    reach_s = np.array([each.reach_s if each.gauges else -1.0 for each in made])
    if reach_s.max() < 0:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    here_s = reach_s[profile]
    rows = np.flatnonzero(here_s >= 0).astype(np.int32)
    return rows, room_for(here_s[rows], registry.interval_s[rows])


def _gatherings(
    table: RuleTable, profile: Rows, registry: Registry
) -> tuple[dict[int, tuple[Gathering, ...]], dict[int, tuple[Gathering, ...]]]:
    """All groups, by the row that carries their alarms, and by each member's row."""
    members: dict[tuple[int, str], list[tuple[int, float]]] = {}
    made = table.profiles.made
    grouping = [place for place, each in enumerate(made) if each.groups]
    if not grouping:
        return {}, {}
    rows = np.flatnonzero(np.isin(profile, np.array(grouping, np.int32)))
    for row in rows[np.argsort(registry.point_id[rows], kind="stable")].tolist():
        for index, key, sign in made[int(profile[row])].groups:
            members.setdefault((index, key), []).append((row, sign))
    serving = _service_rows(registry)
    carried: dict[int, tuple[Gathering, ...]] = {}
    gathered: dict[int, tuple[Gathering, ...]] = {}
    for (index, _), found in sorted(members.items()):
        member_rows, signs = zip(*found, strict=True)
        condition = table.rules[index].condition
        assert isinstance(condition, Grouped)
        watch = watch_of(
            table.rules[index], index, int(registry.grade[member_rows[0]]), 1.0, table.tz
        )
        service = tuple(serving.get(int(registry.device_id[row]), -1) for row in member_rows)
        one = Gathering(condition.group, watch, member_rows, signs, service)
        carried[one.carrier] = (*carried.get(one.carrier, ()), one)
        for row in member_rows:
            gathered[row] = (*gathered.get(row, ()), one)
        gathered |= {row: gathered.get(row, ()) for row in service if row >= 0}
    return carried, gathered


def _service_rows(registry: Registry) -> dict[int, int]:
    """By device, the row of the point with which it says whether it is in service."""
    telling = [n for n, each in enumerate(registry.measurands) if each.quantity == IN_SERVICE]
    rows = np.flatnonzero(np.isin(registry.measurand, telling) & registry.registered)
    return dict(zip(registry.device_id[rows].tolist(), rows.tolist(), strict=True))


def _asked(
    rules: Sequence[Rule],
) -> dict[tuple[str, str], tuple[tuple[int, ...], tuple[str, ...]]]:
    found: dict[tuple[str, str], list[int]] = {}
    for index, rule in enumerate(rules):
        found.setdefault((rule.device_kind, rule.quantity), []).append(index)
    return {
        key: (tuple(indices), _tags_asked(rules[index] for index in indices))
        for key, indices in found.items()
    }


def _profiles_at(table: RuleTable, registry: Registry, rows: Rows) -> tuple[Rows, list[str]]:
    """Place of the profile of each of these rows, and what tags could not be used."""
    profiles, problems = table.profiles, list[str]()
    places = np.zeros(len(rows), np.int32)
    asked = [profiles.asked.get((each.kind, each.quantity)) for each in registry.measurands]
    columns = (registry.measurand, registry.grade, registry.registered)
    told = zip(rows.tolist(), *(column[rows].tolist() for column in columns), strict=True)
    for at, (row, measurand, grade, registered) in enumerate(told):
        if not registered or (wanted := asked[measurand]) is None:
            continue
        device = registry.devices[row]
        enterprise = registry.gateway_by_id[device.gateway_id].enterprise
        tags = tuple(str(device.tags.get(tag, "")) for tag in wanted[1])
        likeness = (wanted[0], grade, enterprise, tags)
        place = profiles.by_likeness.get(likeness)
        if place is None:
            what = registry.measurands[measurand]
            facts = PointFacts(what.kind, what.quantity, grade, device.tags, enterprise)
            profile, odd = _profile(table, wanted[0], facts)
            problems += [f"device {device.code}: {each}" for each in odd]
            place = profiles.place_of.setdefault(profile, len(profiles.made))
            if place == len(profiles.made):
                profiles.made.append(profile)
            profiles.by_likeness[likeness] = place
        places[at] = place
    return places, problems


def _profile(
    table: RuleTable, indices: Sequence[int], facts: PointFacts
) -> tuple[Profile, list[str]]:
    rules = table.rules
    found, problems = watches_of(rules, indices, facts, table.tz)
    watches = tuple(watch for watch in found if watch.measure is None)
    silences = tuple(
        (index, rules[index].tier_in(facts.grade, condition.tier))
        for index in indices
        if isinstance(condition := rules[index].condition, Silence) and selects(rules[index], facts)
    )
    calm = calm_band([(watch, None) for watch in watches])
    groups = tuple(
        (index, condition.group.key(facts.enterprise, facts.tags), sign)
        for index in indices
        if isinstance(condition := rules[index].condition, Grouped)
        and (sign := condition.group.sign(facts.tags))
        and selects(rules[index], facts)
    )
    return Profile(watches, silences, calm, _gauges(found), groups), problems


def _gauges(watches: Sequence[Watch]) -> tuple[Gauge, ...]:
    by_measure: dict[Measure, list[Watch]] = {}
    for watch in watches:
        if watch.measure is not None:
            by_measure.setdefault(watch.measure, []).append(watch)
    return tuple(
        Gauge(measure, tuple(found), calm_band([(watch, None) for watch in found]))
        for measure, found in by_measure.items()
    )


def _silences(
    table: RuleTable, registry: Registry, rows: Rows, places: Rows
) -> tuple[Rows, Rows, Tiers, Times]:
    """The four columns of silences, with those at `rows` made anew."""
    counts = np.array([len(profile.silences) for profile in table.profiles.made])
    anew = np.zeros(len(registry), np.bool_)
    anew[rows] = True
    kept = ~anew[table.silent_row]
    nobody = np.empty(0, np.int32)
    found = [(nobody, nobody, np.empty(0, np.uint8), np.empty(0, np.int64))]
    for place in np.flatnonzero(np.bincount(places, minlength=len(counts)) * counts).tolist():
        here = rows[places == place]
        interval_s = registry.interval_s[here]
        for index, tier in table.profiles.made[place].silences:
            condition = table.rules[index].condition
            assert isinstance(condition, Silence)
            limit_us = np.rint(condition.limit_s(interval_s) * US_PER_S).astype(np.int64)
            rule, tiers = np.full(len(here), index, np.int32), np.full(len(here), tier, np.uint8)
            found.append((here, rule, tiers, limit_us))
    row, rule, tiers, limit_us = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((rule, row))
    # Those kept stand in this order already, and none of them is of a row of the others.
    at = table.silent_row[kept].searchsorted(row[order])
    return (
        np.insert(table.silent_row[kept], at, row[order]),
        np.insert(table.silent_rule[kept], at, rule[order]),
        np.insert(table.silent_tier[kept], at, tiers[order]),
        np.insert(table.silent_limit_us[kept], at, limit_us[order]),
    )


def _tags_asked(rules: Any) -> tuple[str, ...]:
    asked: set[str] = set()
    for rule in rules:
        asked |= {*rule.select.tags, *rule.select.except_tags}
        if (limits := limits_in(rule.condition)) is not None and limits.of is not None:
            asked.add(limits.of)
        if isinstance(rule.condition, Grouped):
            asked |= {*rule.condition.group.by, rule.condition.group.role} - {""}
    return tuple(sorted(asked))
