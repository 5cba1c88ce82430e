"""The examples of docs/rules.md: a rule, readings, and the alarm that they give."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any, Final

import yaml

from hazardloop.devices.catalog import Catalog, load_catalog, shipped_catalog
from tests.worlds import REPOSITORY

FOUND: Final = re.compile(r"```yaml\n(.*?)\n```\n```json\n(.*?)\n```", re.DOTALL)
START: Final = datetime.fromisoformat("2026-11-20T12:00:00+08:00")


METER: Final = """
kind: flow_meter
name: {zh: 流量计, en: Flow meter}
expected_interval_s: 30
quantities:
  flow: {name: {zh: 流量, en: Flow}, unit: m3/h, range: [0, 500], resolution: 0.01}
"""
"""A kind that groups are made of on the page."""


@dataclass(frozen=True)
class Example:
    """One of them."""

    text: str
    """The file, as it stands on the page."""
    device: str
    quantity: str
    kind: str
    """Of device."""
    rule: dict[str, Any]
    said: tuple[tuple[int, float], ...]
    """Milliseconds and value."""
    alarm: dict[str, Any]

    def at(self, start_ms: int) -> list[tuple[int, float]]:
        """The readings with the last of them then."""
        return [(start_ms + at - self.said[-1][0], value) for at, value in self.said]


def examples() -> dict[str, Example]:
    """Those of one point, by rule."""
    found = (_example(text, told) for text, told in _found() if "points" not in json.loads(told))
    return {each.rule["id"]: each for each in found}


def group_examples() -> dict[str, tuple[str, dict[str, Any]]]:
    """Those of a group, by rule: the file, and what is said and comes of it."""
    found = [(text, json.loads(told)) for text, told in _found() if "points" in json.loads(told)]
    return {yaml.safe_load(text)["rules"][0]["id"]: (text, given) for text, given in found}


def _found() -> list[tuple[str, str]]:
    return FOUND.findall((REPOSITORY / "docs" / "rules.md").read_text(encoding="utf-8"))


def _example(text: str, told: str) -> Example:
    file, given = yaml.safe_load(text), json.loads(told)
    (rule,) = file["rules"]
    device, quantity = given["point"].split(".")
    start = datetime.fromisoformat(given["from"]) if "from" in given else START
    said = tuple(
        (round(start.timestamp() * 1000) + nth * 1000 * given["every_s"], float(value))
        for nth, value in enumerate(given["values"])
    )
    kind = file["kind"] if "kind" in file else rule["select"]["kind"]
    return Example(text, device, quantity, kind, rule, said, given["alarm"])


def kind_files() -> dict[str, str]:
    """The kinds of device of the examples with the rules of the page for their only rules."""
    files: dict[str, dict[str, Any]] = {}
    for each in examples().values():
        if each.kind not in files:
            shipped = resources.files("hazardloop") / "catalogue" / f"{each.kind}.yaml"
            text = shipped.read_text("utf-8") if shipped.is_file() else each.text
            files[each.kind] = yaml.safe_load(text) | {"rules": []}
        files[each.kind]["rules"].append(each.rule)
    return {
        f"{kind}.yaml": yaml.safe_dump(file, allow_unicode=True, sort_keys=False)
        for kind, file in files.items()
    }


def catalog() -> Catalog:
    """The shipped kinds with those of the page."""
    known = shipped_catalog().kinds | load_catalog(kind_files() | {"flow_meter.yaml": METER}).kinds
    return Catalog(known)
