"""How the alarms of a period are spread over its hours or days, and what each of them counts as."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np

from hazardloop.alarms.alarm import Tier, Verdict
from hazardloop.alarms.facts import VERDICTS, Facts
from hazardloop.alarms.figures import FIGURES, Groups, counts
from hazardloop.devices.instants import microseconds_of, rfc3339, utc

SHOWN: Final = ("raised", "closed")
MEMBER: Final = ("alarm_id", "raised_at", "enterprise", "area", "kind", "tier", "verdict")
"""What is told of a member; after it, 1 or 0 for each of FIGURES."""
VERDICT_WORDS: Final = {code: word or "" for word, code in VERDICTS.items()}


def course(facts: Facts, edges: Sequence[datetime]) -> dict[str, Any]:
    """Figures of SHOWN in each slice between two of `edges` (ascending), which begins at `at`."""
    bounds = np.array([microseconds_of(edge) for edge in edges], np.int64)
    nth = np.searchsorted(bounds, facts.column("raised_us"), "right") - 1
    keys = tuple(rfc3339(edge) for edge in edges[:-1])
    inside = (nth >= 0) & (nth < len(keys))
    groups = Groups(keys, nth[inside].astype(np.int32))
    told = counts(facts.where(inside), groups, SHOWN)
    return {"at": list(keys)} | {name: [one[name] for one in told] for name in SHOWN}


def members(
    facts: Facts, enterprises: Mapping[int, str], most: int
) -> tuple[list[tuple[Any, ...]], int]:
    """A row of MEMBER and FIGURES for each alarm, oldest first; and how many are left out."""
    places = facts.in_order(np.ones(len(facts), np.bool_))[:most]
    names = ("raised_us", "enterprise", "area", "kind", "tier", "verdict")
    columns = [facts.column(name)[places].tolist() for name in names]
    flags = [FIGURES[name](facts)[places].astype(int).tolist() for name in FIGURES]
    rows = [
        (
            str(alarm_id),
            rfc3339(utc(raised_us)),
            enterprises.get(enterprise, str(enterprise)),
            facts.words[area],
            facts.words[kind],
            Tier(tier).wire,
            VERDICT_WORDS[verdict],
            *marks,
        )
        for alarm_id, raised_us, enterprise, area, kind, tier, verdict, *marks in zip(
            facts.alarm_ids(places), *columns, *flags, strict=True
        )
    ]
    return rows, len(facts) - len(places)


def verdicts_of(figures: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Verdict and how many got it, in the order of Verdict."""
    return [(verdict.value, figures["verdicts"][verdict.value]) for verdict in Verdict]
