"""docs/catalogue.md, written from the catalogue files: `python -m tests.catalogue_page`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hazardloop.devices.catalog import Catalog, DeviceKind, Quantity, shipped_catalog
from hazardloop.devices.species import Species, shipped_species, toxic_levels

PAGE = Path(__file__).parents[1] / "docs/catalogue.md"
TIERS = ("blue", "yellow", "orange", "red")
MARK = "<!-- From here on written by: python -m tests.catalogue_page -->\n"
"""What stands above it in the page is written by hand and kept."""
GASES = """\
## 气体 · Gases

| 标签 species | 名称 | CAS | M g/mol | LEL % | MAC | PC-TWA | PC-STEL | IDLH | 可信度 |
|---|---|---|---|---|---|---|---|---|---|
"""


def page(catalog: Catalog, gases: Mapping[str, Species]) -> str:
    """The whole page: what is written by hand in it, then all kinds and gases."""
    by_hand, mark, _ = PAGE.read_text("utf-8").partition(MARK)
    assert mark, f"{PAGE}: the line {MARK!r} is missing"
    kinds = [kind for kind in catalog.kinds.values() if not kind.internal]
    by_code = sorted(kinds, key=lambda kind: kind.code)
    parts = [*map(_kind, by_code), GASES + "".join(map(_gas, gases.values()))]
    return by_hand + MARK + "\n" + "\n".join(parts)


def _kind(kind: DeviceKind) -> str:
    lines = [f"## {kind.name.zh} · {kind.name.en}", ""]
    lines += [f"`{kind.code}`，每 {kind.expected_interval_s:g} s 上报一次 · reports every"
              f" {kind.expected_interval_s:g} s.", ""]  # fmt: skip
    lines += ["| 量 | 名称 | 单位 | 量程 | 分辨率 |", "|---|---|---|---|---|"]
    lines += [_quantity(each) for each in kind.quantities.values()]
    lines += ["", "| 规则 | 名称 | 条件 | 蓝 | 黄 | 橙 | 红 | 出处 | 可信度 |"]
    lines += ["|---|---|---|---|---|---|---|---|---|", *map(_rule, kind.rules), ""]
    return "\n".join(lines)


def _quantity(each: Quantity) -> str:
    span = f"{each.low:g} … {each.high:g}" if each.type.value == "number" else each.type.value
    step = f"{each.resolution:g}" if each.resolution else ""
    return f"| `{each.code}` | {each.name.zh} · {each.name.en} | `{each.unit}` | {span} | {step} |"


def _rule(body: Mapping[str, Any]) -> str:
    by_tier = dict(_limits(body))
    tiers = " | ".join(by_tier.get(tier, "") for tier in TIERS)
    worse = " ↑" if body.get("worse_in_grades") else ""
    name = f"{body['name']['zh']} · {body['name']['en']}"
    return (
        f"| `{body['id']}` | {name} | {_condition(body)}{worse} | {tiers}"
        f" | {body['source']} | {body['confidence']} |"
    )


def _limits(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for side, sign in (("high", "≥"), ("low", "≤")):
        for tier, limit in (body.get(side) or {}).items():
            yield tier, f"{sign} {limit:g}"
    if "tier" in body:
        yield body["tier"], "●"


def _condition(body: Mapping[str, Any]) -> str:
    said = [f"`{body['quantity']}`"]
    if "equals" in body:
        said.append(f"= {str(body['equals']).lower()}")
    if "of" in body:
        default = f"（缺省 {body['default_of']:g}）" if "default_of" in body else ""
        said.append(f"× `{body['of']}`{default}")
    if body["kind"] == "aggregate":
        took = {"mean": "均值", "dose": "剂量（值×分钟）"}[body["take"]]
        said.append(f"{body['over_s'] / 60:g} min {took}")
    if body["kind"] == "rate_of_change":
        said.append(f"{body['over_s'] / 60:g} min 变化率，每 {body['per']}")
    if body["kind"] == "voting":
        said.append(f"同一 `{body['group']['by']}` 中 {_voters(body)} 的个数")
    if body["kind"] == "stale":
        times = body.get("after_intervals")
        said.append(f"中断 {times:g} 个周期" if times else f"中断 {body['after_s']:g} s")
    for key, word in (("tags", ""), ("except_tags", "除 ")):
        for tag, test in ((body.get("select") or {}).get(key) or {}).items():
            values = " ".join(map(str, test if isinstance(test, list) else [test]))
            said.append(f"{word}{tag}: {values}")
    if delay := body.get("on_delay_s"):
        said.append(f"持续 {delay:g} s")
    return "，".join(said)


def _voters(body: Mapping[str, Any]) -> str:
    ((side, value),) = body["vote"].items()
    word = {"high": "≥ ", "low": "≤ ", "equals": "= "}[side]
    return word + str(value).lower()


def _gas(gas: Species) -> str:
    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:g}"

    numbers = " | ".join(
        shown(each)
        for each in (gas.molar_mass_g, gas.lel_vol, gas.mac, gas.twa, gas.stel, gas.idlh)
    )
    trust = gas.limits_confidence if toxic_levels(gas) else f"LEL {gas.lel_confidence}".strip()
    return f"| `{gas.code}` | {gas.name.zh} · {gas.name.en} | {gas.cas} | {numbers} | {trust} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(shipped_catalog(), shipped_species()), "utf-8")
