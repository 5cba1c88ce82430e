"""The limits that stand at a point, and where each of them comes from."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from hazardloop.alarms.point_limits import PointLimit, limits_at
from hazardloop.alarms.rule import Derived, Grouped, Rule
from hazardloop.alarms.rule_store import Kept
from hazardloop.alarms.rule_watches import PointFacts
from hazardloop.alarms.rules import rules_of_kind
from hazardloop.devices import store as device_store
from hazardloop.devices.catalog import Catalog
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, require
from hazardloop.service.api.device_kinds import Words
from hazardloop.service.api.points import PointPath, finite
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Out
from hazardloop.service.api.site import Site
from hazardloop.service.database import Connection
from hazardloop.service.site import rules_of

router = APIRouter(tags=["rules"])

EXAMPLE: Final[dict[str, Any]] = {
    "id": 1042,
    "code": "TK-201.level",
    "unit": "m",
    "range": [0.0, 100.0],
    "grade": 1,
    "limits": [
        {
            "rule": {
                "id": "tank.level.high",
                "version": 2,
                "origin": "file",
                "kind": "threshold",
                "name": {"zh": "液位高", "en": "Level high"},
                "source": "SH/T 3007",
                "confidence": "likely",
            },
            "tier": "yellow",
            "direction": "high",
            "limit": 8.5,
            "deadband": 0.1,
            "leaves_at": 8.4,
            "unit": "m",
            "on_delay_s": 0.0,
            "off_delay_s": 5.0,
            "latch": False,
            "window": None,
            "scaled": {"tag": "height_m", "value": 10.0, "stands_in": False},
            "group": None,
            "over_s": None,
        }
    ],
    "not_understood": [],
}


class RuleRef(Out):
    """A rule as a limit comes from it."""

    id: str
    version: int
    origin: str = Field(description="`file`: the deployment brought it; `api`: people decided it.")
    kind: str
    name: Words
    source: str = Field(description="The standard or decision that the numbers come from.")
    confidence: str = Field(description="`sure`, `likely`, `check`, or `house`: our own proposal.")


class WindowOut(Out):
    """Part of the local day."""

    opens: str = Field(examples=["22:00"])
    closes: str = Field(examples=["06:00"])
    days: list[int] = Field(description="Monday 0 to Sunday 6; none = every day.")


class ScaledOut(Out):
    """The tag that a limit is a part of."""

    tag: str
    value: float
    stands_in: bool = Field(description="The device has no such tag that can be used.")


class PointLimitOut(Out):
    """One limit as it stands at the point."""

    rule: RuleRef
    tier: Annotated[str, Field(description="As it counts here, worsened where the unit's grade so"
                                           " demands.")]  # fmt: skip
    direction: str = Field(description="`high`, `low`, `state` or `stale`.")
    limit: float
    deadband: float | None = Field(description="Null where a value is either so or not.")
    leaves_at: float | None = Field(description="A value must come back past this to leave it.")
    unit: str
    on_delay_s: float
    off_delay_s: float
    latch: bool
    window: WindowOut | None = Field(description="Outside it the rule does not look.")
    scaled: ScaledOut | None
    group: str | None = Field(
        description="The tags that the members of a group share; `enterprise`: nothing more."
    )
    over_s: float | None = Field(description="How far back is looked, in seconds.")


class PointLimits(Out):
    """All limits at one point."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    code: str
    unit: str
    range: tuple[float | None, float | None]
    grade: int = Field(description="Of its hazard unit by GB 18218, 1..4; 0 = none.")
    limits: list[PointLimitOut]
    not_understood: list[str] = Field(
        description="Tags of the device that a rule cannot use, and what is done instead."
    )


POINT: Final = f"""
    SELECT p.point_id AS id, d.code || '.' || p.quantity AS code, p.quantity, p.unit, d.kind,
           {device_store.TAGS} AS tags, d.expected_interval_s, e.code AS enterprise,
           coalesce(u.grade, 0) AS grade
      FROM point p JOIN device d USING (device_id)
           JOIN enterprise e ON e.enterprise_id = p.enterprise_id
           LEFT JOIN hazard_unit u ON u.hazard_unit_id = d.hazard_unit_id
     WHERE p.point_id = %(id)s"""
IN_FORCE: Final = """
    SELECT rule_id, version, definition, body, origin, retired FROM rules_in_force(now())
     WHERE definition ->> 'device_kind' = %(kind)s AND definition ->> 'quantity' = %(quantity)s"""


@router.get(
    "/points/{point}/limits",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def get_point_limits(point: PointPath, conn: Conn, here: Here) -> PointLimits:
    """Each limit that stands at a point, with the rule, its version and all that shapes it."""
    row = await fetch_one(conn, POINT, {"id": await lookup.point_id(conn, point)})
    assert row is not None  # the lookup saw it in this transaction
    kind = here.kinds.get(row["kind"])
    kept = await _in_force(conn, row)
    rules = _rules(kept, here, row["kind"])
    interval_s = row["expected_interval_s"] or (kind.expected_interval_s if kind else 0.0)
    facts = PointFacts(row["kind"], row["quantity"], row["grade"], row["tags"], row["enterprise"])
    limits, odd = limits_at(rules, facts, float(interval_s), here.settings.tz)
    quantity = kind.quantities.get(row["quantity"]) if kind else None
    return PointLimits(
        id=row["id"],
        code=row["code"],
        unit=row["unit"],
        range=(finite(quantity.low), finite(quantity.high)) if quantity else (None, None),
        grade=row["grade"],
        limits=[_limit(each, kept[each.rule.rule_id], row["unit"]) for each in limits],
        not_understood=odd,
    )


async def _in_force(conn: Connection, row: Mapping[str, Any]) -> dict[str, Kept]:
    """The versions in force of rules for the quantity of the point, by rule id."""
    rows = await fetch(conn, IN_FORCE, {"kind": row["kind"], "quantity": row["quantity"]})
    return {one["rule_id"]: Kept(**one) for one in rows}


def _rules(kept: Mapping[str, Kept], here: Site, kind: str) -> tuple[Rule, ...]:
    """The rules in force, as workers read them."""
    known = here.kinds.get(kind)
    files = rules_of_kind(known)[0] if known else []
    return rules_of(
        kept.values(), Catalog(here.kinds), {each.rule_id: (each, 0) for each in files}
    )[0]


def _limit(one: PointLimit, kept: Kept, unit: str) -> PointLimitOut:
    rule, condition = one.rule, one.rule.condition
    deadband = None if one.leaves_at is None else float(f"{abs(one.limit - one.leaves_at):.9g}")
    return PointLimitOut(
        rule=_ref(rule, kept),
        tier=one.tier.wire,
        direction=one.direction.value,
        limit=one.limit,
        deadband=deadband,
        leaves_at=one.leaves_at,
        unit=unit if one.unit is None else one.unit,
        on_delay_s=rule.on_delay_s,
        off_delay_s=rule.off_delay_s,
        latch=rule.latch,
        window=_window(rule),
        scaled=ScaledOut.model_validate(one.scaled) if one.scaled else None,
        group=condition.group.shared if isinstance(condition, Grouped) else None,
        over_s=condition.measure.over_s if isinstance(condition, Derived) else None,
    )


def _ref(rule: Rule, kept: Kept) -> RuleRef:
    return RuleRef(
        id=rule.rule_id,
        version=kept.version,
        origin=kept.origin,
        kind=rule.kind.value,
        name=Words.model_validate(rule.name),
        source=rule.source,
        confidence=rule.confidence,
    )


def _window(rule: Rule) -> WindowOut | None:
    if rule.hours is None:
        return None
    opens, closes = (
        f"{minute // 60:02}:{minute % 60:02}"
        for minute in (rule.hours.opens_min, rule.hours.closes_min)
    )
    return WindowOut(opens=opens, closes=closes, days=list(rule.hours.days))
