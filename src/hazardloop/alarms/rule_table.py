"""Rules laid over a registry: which limits stand at which point, ready for evaluation.

Points that are alike (same kind, grade and tags as far as rules ask) share one tuple of watches, so
that a table of 440,000 points stays small; only what every reading passes is a column per point. A
rule that changes is laid anew over those points alone that it watches.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hazardloop.alarms.group import IN_SERVICE, Group
from hazardloop.alarms.hours import LOCAL_TZ
from hazardloop.alarms.profiles import Gauge, Likeness, Profile, Profiles, asked_by, no_profiles
from hazardloop.alarms.rings import room_for
from hazardloop.alarms.rule import Grouped, Rule, Silence
from hazardloop.alarms.rule_watches import US_PER_S, PointFacts, watch_of
from hazardloop.alarms.watch import Watch
from hazardloop.devices.readings import Floats, Rows, Tiers, Times
from hazardloop.devices.registry import Registry, RowOf

Number = TypeVar("Number", bound=np.generic)


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
    likeness: Rows
    """Place of each point's likeness."""
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

    @property
    def live(self) -> dict[int, Rule]:
        """The rules that are in force, by their place: of one that is gone only the place stays."""
        return {place: self.rules[place] for place in sorted(self.index.values())}

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
        profiles=no_profiles(dict(enumerate(rules))),
        likeness=nobody,
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
    likeness = _likenesses_at(table.profiles, registry, rows)
    profiles = table.profiles
    fresh = range(len(profiles.profile), len(profiles.likenesses))
    problems = profiles.work_out(table.rules, fresh, table.tz)
    laid = _laid(table.likeness, len(registry), rows, likeness)
    return _relaid(replace(table, likeness=laid, problems=tuple(problems)), registry, rows)


def under_rules(
    table: RuleTable, rules: Sequence[Rule], versions: Mapping[str, int], registry: Registry
) -> tuple[RuleTable, Rows]:
    """The table of these points under other rules, and the rows that are watched otherwise.

    A rule that stays keeps its place, so what is remembered of it stays its own. Only what is
    watched by a rule that changed is looked at.

    Args:
        table: is not changed, but for profiles and likenesses that are added.
        rules: as they are now, with ids that differ.
        versions: rule id to its version.
        registry: of the table.
    """
    after = _with_places(table, rules, versions)
    changed = {
        place
        for place in table.live.keys() | after.live.keys()
        if table.live.get(place) != after.live.get(place)
    }
    concerned = {
        (rule.device_kind, rule.quantity)
        for place in changed
        for rule in (table.live.get(place), after.live.get(place))
        if rule is not None
    }
    after = _alike_anew(table, after, registry, concerned)
    rows = _watched_otherwise(table, after, _rows_of(registry, concerned), changed)
    return _relaid(after, registry, rows), rows


def _with_places(table: RuleTable, rules: Sequence[Rule], versions: Mapping[str, int]) -> RuleTable:
    """`table` with these rules, each in its place, laid over nothing yet."""
    slots, index = [*table.rules], dict[str, int]()
    for rule in rules:
        place = index[rule.rule_id] = table.index.get(rule.rule_id, len(slots))
        slots[place : place + 1] = [rule]
    asked = asked_by({place: slots[place] for place in sorted(index.values())})
    profiles = replace(table.profiles, asked=asked, profile=[*table.profiles.profile])
    numbers = tuple(versions.get(rule.rule_id, 1) for rule in slots)
    return replace(table, rules=tuple(slots), versions=numbers, index=index, profiles=profiles)


def _alike_anew(
    before: RuleTable, after: RuleTable, registry: Registry, concerned: Set[tuple[str, str]]
) -> RuleTable:
    """`after` with likenesses and profiles of the points of these kinds and quantities."""
    profiles, likeness = after.profiles, after.likeness.copy()
    asked_otherwise = {
        key for key in concerned if profiles.tags_asked(key) != before.profiles.tags_asked(key)
    }
    rows = _rows_of(registry, asked_otherwise)
    likeness[rows] = _likenesses_at(profiles, registry, rows)
    places = [
        place
        for place, each in enumerate(profiles.likenesses)
        if (each.facts.kind, each.facts.quantity) in concerned
    ]
    problems = profiles.work_out(after.rules, places, after.tz)
    return replace(after, likeness=likeness, problems=tuple(problems))


def _watched_otherwise(before: RuleTable, after: RuleTable, rows: Rows, changed: Set[int]) -> Rows:
    """Which of these rows have another profile, or in it a rule that changed."""
    places = np.array(after.profiles.profile, np.int32)[after.likeness[rows]]
    with_changed = [
        place
        for place, each in enumerate(after.profiles.made)
        if changed & {*(rule for rule, _ in each.silences), *(rule for rule, *_ in each.groups)}
    ]
    otherwise = places != before.profile[rows]
    otherwise |= np.isin(places, np.array(with_changed, np.int32))
    found: Rows = rows[otherwise]
    return found


def _rows_of(registry: Registry, asked: Set[tuple[str, str]]) -> Rows:
    """Rows of the registered points that measure one of these, by kind and quantity."""
    places = [
        place
        for place, each in enumerate(registry.measurands)
        if (each.kind, each.quantity) in asked
    ]
    found = np.isin(registry.measurand, np.array(places, np.int32)) & registry.registered
    return np.flatnonzero(found).astype(np.int32)


def _likenesses_at(profiles: Profiles, registry: Registry, rows: Rows) -> Rows:
    """Place of the likeness of each of these rows."""
    places = np.zeros(len(rows), np.int32)
    asked = [profiles.tags_asked((each.kind, each.quantity)) for each in registry.measurands]
    columns = (registry.measurand, registry.grade, registry.registered)
    told = zip(rows.tolist(), *(column[rows].tolist() for column in columns), strict=True)
    for at, (row, measurand, grade, registered) in enumerate(told):
        if not registered or (tags := asked[measurand]) is None:
            continue
        device = registry.devices[row]
        enterprise = registry.gateway_by_id[device.gateway_id].enterprise
        said = tuple([str(device.tags.get(tag, "")) for tag in tags])
        likely = (measurand, grade, enterprise, tags, said)
        place = profiles.like.get(likely)
        if place is None:
            what = registry.measurands[measurand]
            facts = PointFacts(what.kind, what.quantity, grade, device.tags, enterprise)
            place = profiles.add(likely, Likeness(facts, device.code))
        places[at] = place
    return places


def _relaid(table: RuleTable, registry: Registry, rows: Rows) -> RuleTable:
    """The table with everything at these rows made anew from their likenesses."""
    places = np.array(table.profiles.profile, np.int32)[table.likeness[rows]]
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
