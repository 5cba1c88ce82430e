"""What watches points that are alike: found out once for each likeness, not for each point."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.kernels import calm_band
from hazardloop.alarms.measure import Measure
from hazardloop.alarms.rule import Grouped, Rule, Silence
from hazardloop.alarms.rule_watches import PointFacts, limits_in, selects, watches_of
from hazardloop.alarms.watch import Watch


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


NOTHING: Final = Profile((), (), (-math.inf, math.inf))


@dataclass(frozen=True, slots=True)
class Likeness:
    """All that rules ask of a point; points of one likeness are watched alike."""

    facts: PointFacts
    device: str
    """Code of the first device that was so, for what is told of it."""


NOBODY: Final = Likeness(PointFacts("", "", 0, {}, ""), "")
"""Of points that no rule is for."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """What was found out so far. All but `asked` and `profile` is only added to, and shared."""

    asked: Mapping[tuple[str, str], tuple[tuple[int, ...], tuple[str, ...]]]
    """Device kind and quantity to the rules for them, and the tags that these ask for."""
    made: list[Profile]
    place_of: dict[Profile, int]
    """Profile to its place in `made`: points that differ may still be watched alike."""
    likenesses: list[Likeness]
    like: dict[tuple[Any, ...], int]
    """What makes a likeness to its place."""
    profile: list[int]
    """By likeness: the place of its profile under these rules."""

    def add(self, likely: tuple[Any, ...], likeness: Likeness) -> int:
        """Place of a likeness that nobody had before; `likely` is what makes it."""
        self.like[likely] = len(self.likenesses)
        self.likenesses.append(likeness)
        return self.like[likely]

    def tags_asked(self, key: tuple[str, str]) -> tuple[str, ...] | None:
        """The tags that rules for such points ask for; None: there are no rules for them."""
        return self.asked[key][1] if key in self.asked else None

    def work_out(self, rules: Sequence[Rule], places: Iterable[int], tz: str) -> list[str]:
        """Finds the profile of each of these likenesses; what of tags could not be used."""
        problems: list[str] = []
        self.profile.extend([0] * (len(self.likenesses) - len(self.profile)))
        for place in places:
            likeness = self.likenesses[place]
            facts = likeness.facts
            indices = self.asked.get((facts.kind, facts.quantity), ((), ()))[0]
            profile, odd = _profile(rules, indices, facts, tz)
            problems += [f"device {likeness.device}: {each}" for each in odd]
            self.profile[place] = self.place_of.setdefault(profile, len(self.made))
            if self.profile[place] == len(self.made):
                self.made.append(profile)
        return problems


def no_profiles(rules: Mapping[int, Rule]) -> Profiles:
    """What is known before a point was looked at, of rules at these places."""
    return Profiles(asked_by(rules), [NOTHING], {NOTHING: 0}, [NOBODY], {}, [0])


def asked_by(
    rules: Mapping[int, Rule],
) -> dict[tuple[str, str], tuple[tuple[int, ...], tuple[str, ...]]]:
    """Device kind and quantity to the places of the rules for them, and the tags they ask for."""
    found: dict[tuple[str, str], list[int]] = {}
    for index, rule in rules.items():
        found.setdefault((rule.device_kind, rule.quantity), []).append(index)
    return {
        key: (tuple(indices), _tags_asked(rules[index] for index in indices))
        for key, indices in found.items()
    }


def _profile(
    rules: Sequence[Rule], indices: Sequence[int], facts: PointFacts, tz: str
) -> tuple[Profile, list[str]]:
    found, problems = watches_of(rules, indices, facts, tz)
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


def _tags_asked(rules: Any) -> tuple[str, ...]:
    asked: set[str] = set()
    for rule in rules:
        asked |= {*rule.select.tags, *rule.select.except_tags}
        if (limits := limits_in(rule.condition)) is not None and limits.of is not None:
            asked.add(limits.of)
        if isinstance(rule.condition, Grouped):
            asked |= {*rule.condition.group.by, rule.condition.group.role} - {""}
    return tuple(sorted(asked))
