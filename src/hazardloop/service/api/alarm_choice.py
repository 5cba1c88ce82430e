"""Which alarms are wanted: the filters that the list and its export have in common."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Query
from pydantic import AwareDatetime

from hazardloop.alarms.alarm import TIER_BY_NAME
from hazardloop.service.api import lookup
from hazardloop.service.api.alarm_queries import OPEN_IDS

TierName = Literal["blue", "yellow", "orange", "red"]
State = Literal["active", "cleared", "open"]

MATCHES: Final = f"""{lookup.matches("enterprise", "enterprise")}
       AND {lookup.matches("device", "device")} AND {lookup.matches("point", "point")}
       AND (%(kind)s::text IS NULL OR x.kind = %(kind)s)
       AND (%(rule)s::text IS NULL OR a.rule_id = %(rule)s)
       AND (%(tiers)s::int[] IS NULL OR a.tier = ANY (%(tiers)s))
       AND (%(acknowledged)s::boolean IS NULL
            OR (a.acknowledged_at IS NOT NULL) = %(acknowledged)s)
       AND (%(drill)s::boolean IS NULL OR a.drill = %(drill)s)
       AND (%(from)s::timestamptz IS NULL OR a.raised_at >= %(from)s)
       AND (%(to)s::timestamptz IS NULL OR a.raised_at < %(to)s)"""
"""Of alarm a, point p, device x, enterprise e."""
STATES: Final = {
    None: "",
    "active": "AND a.cleared_at IS NULL",
    "cleared": "AND a.cleared_at IS NOT NULL",
    "open": f"AND a.alarm_id IN ({OPEN_IDS})",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the query asks for: a key of STATES, and the parameters of MATCHES."""

    state: State | None
    arguments: dict[str, Any]


def _chosen(
    state: Annotated[
        State | None, Query(description="`open`: active, or with a case that is not closed.")
    ] = None,
    tier: Annotated[list[TierName] | None, Query(description="May be given several times.")] = None,
    enterprise: str | None = None,
    kind: Annotated[str | None, Query(description="Kind of device.")] = None,
    rule: Annotated[str | None, Query(description="Id of the rule.")] = None,
    device: str | None = None,
    point: str | None = None,
    acknowledged: bool | None = None,
    drill: bool | None = None,
    since: Annotated[
        AwareDatetime | None, Query(alias="from", description="First instant of raising.")
    ] = None,
    until: Annotated[
        AwareDatetime | None, Query(alias="to", description="First instant after.")
    ] = None,
) -> Choice:
    """The alarms that the query asks for."""
    return Choice(
        state,
        {
            "enterprise": enterprise,
            "device": device,
            "point": point,
            "kind": kind,
            "rule": rule,
            "tiers": [int(TIER_BY_NAME[name]) for name in tier] if tier else None,
            "acknowledged": acknowledged,
            "drill": drill,
            "from": since,
            "to": until,
        },
    )


Chosen = Annotated[Choice, Depends(_chosen)]
