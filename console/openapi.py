"""Prints what the console's types are made from: the api's description without its prose.

    python console/openapi.py > console/openapi.json && (cd console && npm run types)

Prose is left out so that a better wording of the api does not change the console's types.
"""

import json
import re
from typing import Any

from hazardloop.service.app import create_app
from hazardloop.service.settings import Settings

USED = (
    "Alarm",
    "AlarmLine",
    "AlarmSystemOut",
    "Anchor",
    "BacktestWithResult",
    "Bucket",
    "BulkOut",
    "CaseBrief",
    "CheckOut",
    "ConnectivityOut",
    "Contact",
    "CountsOut",
    "CurrentOut",
    "DeadLetter",
    "DeadlineOut",
    "Device",
    "DeviceKindOut",
    "DraftOut",
    "DrillOut",
    "Enterprise",
    "EvidenceOut",
    "Gateway",
    "GatewayWithSecret",
    "HandlingOut",
    "HazardBrief",
    "HazardOut",
    "HazardUnit",
    "HoldOut",
    "LatestReading",
    "LedgerLine",
    "LineOut",
    "Me",
    "MembersOut",
    "NotedOut",
    "NoticeOut",
    "PlacedDevice",
    "Plan",
    "PointLimits",
    "Reading",
    "Ready",
    "ReportOut",
    "ReportWithContents",
    "ResponseOut",
    "RiskChange",
    "RiskOut",
    "RuleLife",
    "RuleLine",
    "SheetOut",
    "SimulationList",
    "SimulationReport",
    "SnapshotOut",
    "StandIn",
    "StatementOut",
    "StepOut",
    "SystemHealth",
    "UnitLevelOut",
    "VersionOut",
    "WhatIfOut",
)
"""What src/api/model.ts builds on; the rest of the API may change without the console."""
PROSE = frozenset({"description", "summary", "example", "examples", "title"})


def bare(node: Any, *, names: bool = False) -> Any:
    """`node` without prose; the keys of a mapping of `names` are no prose, whatever they say."""
    if isinstance(node, list):
        return [bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: bare(value, names=not names and key in {"properties", "schemas"})
        for key, value in node.items()
        if names or key not in PROSE
    }


def description() -> dict[str, Any]:
    """The shapes of what the API takes and answers."""
    app = create_app(Settings(database_url="postgresql://nowhere/nothing"))
    document = bare(app.openapi())
    return {
        "openapi": "3.1.0",
        "info": {"title": "HazardLoop", "version": "1"},
        "paths": {},  # the console's client names its few addresses itself
        "components": {"schemas": needed(document["components"]["schemas"])},
    }


def needed(schemas: dict[str, Any]) -> dict[str, Any]:
    """Those in USED with all that they refer to."""
    found: dict[str, Any] = {}
    wanted = [*USED]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = schemas[name]
            wanted += re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas[name]))
    return found


if __name__ == "__main__":
    print(json.dumps(description(), indent=1, sort_keys=True))
