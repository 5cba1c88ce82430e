"""Kinds of device: data in files, shown as they were read when the api started."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field

from hazardloop.devices.catalog import kind_json
from hazardloop.service.api.access import Here, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.schema import Out

router = APIRouter(tags=["registry"])

EXAMPLE: Final[dict[str, Any]] = {
    "code": "gas_detector",
    "name": {"zh": "气体探测器", "en": "Gas detector"},
    "expected_interval_s": 10.0,
    "quantities": [
        {
            "code": "lel",
            "name": {"zh": "可燃气体浓度", "en": "Combustible gas"},
            "unit": "%{LEL}",
            "type": "number",
            "range": [0.0, 100.0],
            "resolution": 0.1,
            "plausible": {
                "gap_s": 120.0,
                "per_s": 25.0,
                "step": 30.0,
                "still_s": 86400.0,
                "at_rest": 0.0,
            },
        }
    ],
    "rules": [],
}


class Words(Out):
    """The same in both languages."""

    zh: str
    en: str


class PlausibleOut(Out):
    """What a number can be expected to do; a reading that does otherwise is flagged."""

    gap_s: float = Field(description="After a longer silence nothing is concluded from before it.")
    per_s: float | None = Field(description="Fastest change per second; beyond it, `rate`.")
    step: float | None = Field(
        description="Farthest from the median of the three readings before; beyond it, `spike`."
    )
    still_s: float | None = Field(description="Longest without any change; beyond it, `stuck`.")
    at_rest: float | None = Field(description="Where it may stand still for ever.")


class QuantityOut(Out):
    """One thing that devices of a kind measure or report."""

    code: str
    name: Words
    unit: str = Field(description="UCUM; `1` of booleans and events.")
    type: str = Field(description="`number`, `boolean` or `event`.")
    range: tuple[float | None, float | None] = Field(
        description="Least and most that is physically possible; null = open."
    )
    resolution: float | None
    plausible: PlausibleOut | None = Field(description="Null: any course of it is believed.")


class DeviceKindOut(Out):
    """One kind of device with its default rules as written."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    code: str
    name: Words
    expected_interval_s: float
    quantities: list[QuantityOut]
    rules: list[dict[str, Any]]


@router.get("/device-kinds", dependencies=[require("registry.read")])
async def list_device_kinds(here: Here, page: Paging) -> Listing[DeviceKindOut]:
    """All kinds in the order of their codes. To add one, add its file and restart."""
    after = page.after[0] if page.after else ""
    codes = [code for code in sorted(here.kinds) if code > after][: page.limit + 1]
    kinds = [DeviceKindOut(**kind_json(here.kinds[code])) for code in codes]
    return listing(kinds, page, key=lambda one: (one.code,))


@router.get(
    "/device-kinds/{kind}",
    dependencies=[require("registry.read")],
    responses=problems("not_found"),
)
async def get_device_kind(
    kind: Annotated[str, Path(description="Its code.", examples=["gas_detector"])], here: Here
) -> DeviceKindOut:
    """One kind."""
    if kind not in here.kinds:
        raise Problem("not_found", f"no kind of device is called {kind}")
    return DeviceKindOut(**kind_json(here.kinds[kind]))
