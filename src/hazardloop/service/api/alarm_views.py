"""Alarms as they are shown in full: with rule, limits, episodes and case."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import ConfigDict, Field

from hazardloop.alarms.alarm import TIER_BY_NAME, Direction, Tier
from hazardloop.alarms.signal import Event, Hold, Signal, State, next_state, state_of
from hazardloop.service.api.access import Account
from hazardloop.service.api.alarm_queries import BACK_UNSEEN, HELD, due_of, shown_unit
from hazardloop.service.api.device_kinds import Words
from hazardloop.service.api.points import finite
from hazardloop.service.api.schema import Instant, Out, Ref

ID: Final = "6f2c3f43-9a0e-5d0b-8a53-0c7a6d1f7b10"
EXAMPLE: Final[dict[str, Any]] = {
    "id": ID,
    "version": 4,
    "tier": "orange",
    "tier_now": "yellow",
    "condition": "active",
    "acknowledged": True,
    "acknowledged_by": "operator",
    "acknowledged_at": "2026-11-22T01:13:40.002Z",
    "acknowledge_note": "已电话核实",
    "rule": {
        "id": "gas_detector.lel.high",
        "version": 1,
        "name": {"zh": "可燃气体浓度高", "en": "Combustible gas high"},
        "guidance": {"zh": "通知现场，查找泄漏点。", "en": "Call the site, find the leak."},
        "source": "GB/T 50493-2019 5.5.2",
    },
    "value": 62.4,
    "limit": 50.0,
    "direction": "high",
    "unit": "%{LEL}",
    "limits": [
        {"tier": "yellow", "limit": 25.0, "direction": "high"},
        {"tier": "orange", "limit": 50.0, "direction": "high"},
    ],
    "point": {"id": 1042, "code": "GD-101.lel", "quantity": "lel"},
    "device": {
        "id": 101,
        "code": "GD-101",
        "name": "可燃气体探测器",
        "kind": "gas_detector",
        "location": "3号罐区东侧",
    },
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "hazard_unit": {"id": 7, "code": "HU-2", "name": "液氨罐区"},
    "raised_at": "2026-11-22T01:12:07.120Z",
    "recorded_at": "2026-11-22T01:12:07.180Z",
    "cleared_at": None,
    "found_late": False,
    "drill": False,
    "signal": "acknowledged",
    "latched": False,
    "hold": None,
    "case": {
        "id": "d0b7c6f4-4c55-5b1e-9d52-6a1f0a9f2c31",
        "stage": "dispatched",
        "revision": 2,
        "due": {"stage": "sign", "at": "2026-11-22T01:22:07.120Z"},
    },
    "allowed_actions": [],
}
EPISODE_EXAMPLE: Final[dict[str, Any]] = {
    "version": 1,
    "change": "raised",
    "tier": "orange",
    "value": 62.4,
    "limit": 50.0,
    "changed_at": "2026-11-22T01:12:07.120Z",
    "recorded_at": "2026-11-22T01:12:07.180Z",
    "actor": None,
    "note": None,
    "place": None,
    "latitude": None,
    "longitude": None,
}


class RuleOut(Out):
    """The rule in the version that raised the alarm."""

    id: str
    version: int
    name: Words
    guidance: Words
    source: str


class LimitOut(Out):
    """One tier's limit of the rule at this point."""

    tier: str
    limit: float
    direction: str


class PointOut(Out):
    """Where it was measured."""

    id: int
    code: str
    quantity: str


class DeviceOut(Ref):
    """What measured it."""

    kind: str
    location: str


class DueOut(Out):
    """What is owed next, and by when."""

    stage: str = Field(description="`sign`, `verify`, `submit` or `review`.")
    at: Instant


class CaseOut(Out):
    """Where the handling stands."""

    id: UUID
    stage: str
    revision: int
    due: DueOut | None


class Episode(Out):
    """One change of the signal, or the acknowledgement."""

    model_config = ConfigDict(json_schema_extra={"examples": [EPISODE_EXAMPLE]})
    version: int
    change: str = Field(
        description="`raised`, `tier`, `cleared`, `acknowledged`, `unacknowledged`, `re_alarmed`,"
        " `reset`; `shelved`, `suppressed`, `out_of_service`, and `returned` from these."
    )
    tier: str | None = Field(description="After it; null = none.")
    value: float | None
    limit: float | None
    changed_at: Instant = Field(description="When it was so at the site.")
    recorded_at: Instant
    actor: str | None
    note: str | None
    place: str | None = Field(description="Where who acknowledged said to be.")
    latitude: float | None
    longitude: float | None


class HoldBrief(Out):
    """What withholds sound, flash and notices of an alarm."""

    id: int
    kind: str = Field(description="`shelved`, `suppressed` or `out_of_service`.")
    by: str
    reason: str
    until: Instant


class AlarmLine(Out):
    """One alarm without its episodes."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: UUID
    version: int
    tier: str = Field(description="The worst it reached.")
    tier_now: str | None = Field(description="Null once the signal cleared.")
    condition: str = Field(description="`active` or `cleared`.")
    acknowledged: bool
    acknowledged_by: str | None
    acknowledged_at: Instant | None
    acknowledge_note: str | None
    rule: RuleOut
    value: float | None = Field(description="That raised it, or raised its tier.")
    limit: float
    direction: str = Field(description="`high`, `low`, `state` or `stale`.")
    unit: str = Field(description="Of value and limits, UCUM.")
    limits: list[LimitOut]
    point: PointOut
    device: DeviceOut
    enterprise: Ref
    hazard_unit: Ref | None
    raised_at: Instant
    recorded_at: Instant
    cleared_at: Instant | None
    found_late: bool
    drill: bool
    signal: State = Field(description="Where the signal stands (ISA-18.2, IEC 62682).")
    latched: bool = Field(description="Stays on the list until it is reset.")
    hold: HoldBrief | None = Field(description="Null: it is annunciated.")
    case: CaseOut | None
    allowed_actions: list[str]


class Alarm(AlarmLine):
    """One alarm with all that happened to its signal."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [EXAMPLE | {"episodes": [EPISODE_EXAMPLE]}]}
    )
    arithmetic: dict[str, Any] | None = Field(
        description="How the value was worked out of readings; null: it is one reading's."
    )
    episodes: list[Episode]


SELECT: Final = f"""
    SELECT a.*, {BACK_UNSEEN} AS back_unseen, hold.kind AS hold_kind,
           hold.granted_by AS hold_by, hold.reason AS hold_reason, hold.until AS hold_until,
           e.code AS enterprise, e.name AS enterprise_name, x.code AS device,
           x.name AS device_name, x.kind, x.location, p.quantity,
           coalesce(a.value_unit, p.unit) AS unit,
           h.hazard_unit_id, h.code AS hazard_unit, h.name AS hazard_unit_name,
           c.case_id, c.stage, c.revision, c.stage_due_at, r.definition
      FROM alarm a JOIN point p USING (point_id) JOIN device x ON x.device_id = a.device_id
           JOIN enterprise e ON e.enterprise_id = a.enterprise_id
           JOIN rule_version r ON (r.rule_id, r.version) = (a.rule_id, a.rule_version)
           LEFT JOIN hazard_unit h ON h.hazard_unit_id = x.hazard_unit_id
           LEFT JOIN disposal_case c ON c.alarm_id = a.alarm_id{HELD}"""

UNDO_WITHIN: Final = timedelta(minutes=1)
"""So long may who acknowledged take it back."""

ACTS: Final = (
    ("acknowledge", "alarms.acknowledge", (Event.ACKNOWLEDGE,)),
    ("unacknowledge", "alarms.acknowledge", (Event.UNACKNOWLEDGE,)),
    ("reset", "alarms.reset", (Event.RESET, Event.RESET_UNSEEN)),
    ("shelve", "alarms.shelve", (Event.SHELVE,)),
    ("unshelve", "alarms.grant", (Event.UNSHELVE,)),
)
"""What people may do to a signal, the permission for it, and what then happens to the signal."""


def signal_of(row: dict[str, Any]) -> Signal:
    """The columns of a row of SELECT that a signal's state follows from."""
    return Signal(
        active=row["cleared_at"] is None,
        acknowledged=row["acknowledged_at"] is not None and not row["back_unseen"],
        latched=row["latched"],
        hold=None if row["hold_kind"] is None else Hold(row["hold_kind"]),
    )


def allowed_acts(row: dict[str, Any], account: Account, now: datetime) -> list[str]:
    """What `account` may do to the signal now."""
    signal = signal_of(row)
    return [
        name
        for name, permission, events in ACTS
        if account.may(permission)
        and any(next_state(signal, event) is not None for event in events)
        and (name != "unacknowledge" or may_undo(row, account, now))
    ]


def may_undo(row: dict[str, Any], account: Account, now: datetime) -> bool:
    """Whether it was `account` who acknowledged, just now."""
    at = row["acknowledged_at"]
    mine = row["acknowledged_by"] == account.username
    return at is not None and mine and now - at <= UNDO_WITHIN


def alarm_line(row: dict[str, Any], account: Account, now: datetime) -> AlarmLine:
    """A row of SELECT as `account` is shown it."""
    signal = signal_of(row)
    seen = row if signal.acknowledged else {}
    due = due_of(row["stage"], row["stage_due_at"])
    return AlarmLine(
        id=row["alarm_id"],
        version=row["version"],
        tier=Tier(row["tier"]).wire,
        tier_now=Tier(row["tier_now"]).wire if row["tier_now"] else None,
        condition="active" if row["cleared_at"] is None else "cleared",
        acknowledged=signal.acknowledged,
        acknowledged_by=seen.get("acknowledged_by"),
        acknowledged_at=seen.get("acknowledged_at"),
        acknowledge_note=seen.get("acknowledge_note"),
        rule=RuleOut(
            id=row["rule_id"],
            version=row["rule_version"],
            **{key: row["definition"][key] for key in ("name", "guidance", "source")},
        ),
        value=finite(row["value"]),
        limit=row["limit_value"],
        direction=row["direction"],
        unit=shown_unit(row["direction"], row["unit"]),
        limits=limits_of(
            row["definition"], Tier(row["tier"]), row["limit_value"], row["direction"]
        ),
        point=PointOut(
            id=row["point_id"], code=f"{row['device']}.{row['quantity']}", quantity=row["quantity"]
        ),
        device=DeviceOut(
            id=row["device_id"],
            code=row["device"],
            name=row["device_name"],
            kind=row["kind"],
            location=row["location"],
        ),
        enterprise=Ref(
            id=row["enterprise_id"], code=row["enterprise"], name=row["enterprise_name"]
        ),
        hazard_unit=None
        if row["hazard_unit_id"] is None
        else Ref(id=row["hazard_unit_id"], code=row["hazard_unit"], name=row["hazard_unit_name"]),
        raised_at=row["raised_at"],
        recorded_at=row["recorded_at"],
        cleared_at=row["cleared_at"],
        found_late=row["found_late"],
        drill=row["drill"],
        signal=state_of(signal),
        latched=row["latched"],
        hold=None
        if row["hold_kind"] is None
        else HoldBrief(
            id=row["hold_id"],
            kind=row["hold_kind"],
            by=row["hold_by"],
            reason=row["hold_reason"],
            until=row["hold_until"],
        ),
        case=None
        if row["case_id"] is None
        else CaseOut(
            id=row["case_id"],
            stage=row["stage"],
            revision=row["revision"],
            due=None if due is None else DueOut(stage=due[0], at=due[1]),
        ),
        allowed_actions=allowed_acts(row, account, now),
    )


def limits_of(
    definition: dict[str, Any], tier: Tier, limit: float, direction: str
) -> list[LimitOut]:
    """All limits of the rule version that raised an alarm, as they stood at its point then.

    Limits that are parts of a device's property are scaled by the one that was crossed: the
    property may have been changed since.
    """
    condition = definition["condition"]
    parts: dict[str, float] = condition.get("limits", {})
    crossed = parts.get(tier.wire)
    if direction not in (Direction.HIGH, Direction.LOW) or crossed is None:
        return [LimitOut(tier=tier.wire, limit=limit, direction=direction)]
    scale = limit / crossed if condition.get("of") is not None and crossed else 1.0
    return [
        LimitOut(tier=name, limit=float(f"{parts[name] * scale:.9g}"), direction=direction)
        for name in sorted(parts, key=lambda name: TIER_BY_NAME[name])
    ]


def episode(row: dict[str, Any]) -> Episode:
    """A row of alarm_change."""
    value, limit = row["value"], row["limit_value"]
    changed_at: datetime = row["changed_at"]
    return Episode(
        version=row["version"],
        change=row["change"],
        tier=Tier(row["tier"]).wire if row["tier"] else None,
        value=None if value is None else finite(value),
        limit=None if limit is None else finite(limit),
        changed_at=changed_at,
        recorded_at=row["recorded_at"],
        actor=row["actor"],
        note=row["note"],
        place=row["place"],
        latitude=row["latitude"],
        longitude=row["longitude"],
    )
