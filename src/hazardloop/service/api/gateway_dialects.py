"""How a gateway's payloads are read: what may be said of it, and a look at what comes of one."""

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field

from hazardloop.devices import store as registry_store
from hazardloop.devices import wire
from hazardloop.devices.catalog import Catalog, DeviceKind
from hazardloop.devices.dialects.profile import ProfileRefused
from hazardloop.devices.dialects.readers import SPARKPLUG, checked_profile
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.devices.readings import quality_names, quality_word
from hazardloop.devices.registry import Gateway, Registry
from hazardloop.ingest.decoding import Intake, decode
from hazardloop.ingest.judging import CLOCK_SET_UNTIL_US, Reject
from hazardloop.ingest.opening import StatusSaid
from hazardloop.ingest.routing import routes_of
from hazardloop.ingest.texts import Texts
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, Now, require
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.schema import Body, Instant, Out

router = APIRouter(tags=["registry"])

Dialect: TypeAlias = Literal["hazardloop", "thingsboard", "sparkplug", "senml", "mapping"]
DIALECT: Final = "How its payloads are written; docs/gateways.md tells how each is connected."
PROFILE: Final = (
    "What its dialect must know: `device`, `names`, `devices`, `quantities`, `ignore`; of a"
    " `mapping` also `each`, `ts`, `readings`, `device_path`, `name_path`, `value_path`."
)
MOST_PAYLOAD: Final = wire.LARGEST_PAYLOAD


def require_profile(
    dialect: str, profile: Mapping[str, Any], kinds: Mapping[str, DeviceKind]
) -> None:
    """Nothing. Problem invalid: with the place of each thing that the dialect cannot use."""
    units = {each.unit for kind in kinds.values() for each in kind.quantities.values()}
    try:
        checked_profile(dialect, profile, units)
    except ProfileRefused as refused:
        errors: list[dict[str, Any]] = [
            {"loc": ["body", "profile", *path], "msg": message, "type": "profile"}
            for path, message in refused.problems
        ]
        place = ".".join(str(part) for part in errors[0]["loc"][1:])
        raise Problem("invalid", f"{place}: {errors[0]['msg']}", errors=errors) from refused


class PreviewIn(Body):
    """One message as the gateway would send it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"payload": {"Tank 5": [{"ts": 1795300000123, "values": {"level": 7.42}}]}},
                {
                    "topic": "spBv1.0/E003/NDATA/GW-12",
                    "payload_base64": "CPuC4IGgNBIXCgpHRC0xMDEvbGVsIAppAAAAAAAAKUAYBQ==",
                },
            ]
        }
    )
    topic: str | None = Field(
        None, max_length=1000, description="Its telemetry topic where this is left out."
    )
    payload: Any = Field(None, description="JSON; a text is taken as it is, JSON or not.")
    payload_base64: str | None = Field(
        None, max_length=MOST_PAYLOAD * 3 // 2, description="Bytes, such as those of Sparkplug B."
    )


class PreviewReading(Out):
    """A reading that would be stored."""

    point: str
    value: float | None = Field(description="In `unit`; null where there is none.")
    unit: str
    observed_at: Instant
    quality: str
    flags: list[str]


class PreviewReject(Out):
    """Something that would be refused or set aside."""

    reason: str
    detail: str
    readings: int


class PreviewStatus(Out):
    """What the message would say of the gateway itself."""

    online: bool
    at: Instant | None
    firmware: str | None


class Preview(Out):
    """What the worker would make of a message; nothing of it is stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dialect": "thingsboard",
                    "topic": "hl/v1/E003/GW-12/telemetry",
                    "readings": [
                        {
                            "point": "TK-5.level",
                            "value": 7.42,
                            "unit": "m",
                            "observed_at": "2026-11-21T23:46:40.123Z",
                            "quality": "good",
                            "flags": [],
                        }
                    ],
                    "rejects": [
                        {
                            "reason": "unknown_point",
                            "detail": "TK-5.lvl: device TK-5 has no such point",
                            "readings": 1,
                        }
                    ],
                    "status": None,
                    "asked_of_gateway": [],
                }
            ]
        }
    )
    dialect: Dialect
    topic: str
    readings: list[PreviewReading]
    rejects: list[PreviewReject]
    status: PreviewStatus | None
    asked_of_gateway: list[str] = Field(
        description="Topics on which the worker would answer, such as a Sparkplug rebirth request."
    )


@router.post(
    "/gateways/{gateway}/preview",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def preview(
    gateway: Annotated[str, Path(description="Id, code or ENTERPRISE:code.", examples=["GW-12"])],
    body: PreviewIn,
    conn: Conn,
    here: Here,
    now: Now,
) -> Preview:
    """See what would become of a message of the gateway, as its dialect stands now.

    A message that needs earlier ones, such as Sparkplug data by alias, is looked at without them.
    """
    identity = await lookup.gateway_id(conn, gateway)
    registry = await registry_store.load_gateway(conn, identity, Catalog(here.kinds))
    (known,) = registry.gateways.values()
    topic = body.topic or _usual_topic(known)
    received_at = np.array([microseconds_of(now)], np.int64)
    encoded = topic.encode("utf-8", "surrogatepass")
    message = Texts.of([encoded]), Texts.of([_payload(body)])
    intake = decode(*message, received_at, routes_of(registry))
    return _shown(known, encoded.decode("utf-8", "replace"), intake, registry)


def _usual_topic(gateway: Gateway) -> str:
    if gateway.dialect == SPARKPLUG:
        return wire.sparkplug_topic(gateway.enterprise, gateway.code).decode()
    return f"{wire.ROOT}/{gateway.enterprise}/{gateway.code}/{wire.Channel.TELEMETRY}"


def _payload(body: PreviewIn) -> bytes:
    """The message's bytes. Problem invalid: neither or both forms were given, or no base64."""
    given = body.model_fields_set & {"payload", "payload_base64"}
    if len(given) != 1:
        raise Problem("invalid", "give either payload or payload_base64")
    if body.payload_base64 is None:
        said = body.payload
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body.payload_base64, validate=True)
    except binascii.Error as error:
        raise Problem("invalid", f"payload_base64: {error}") from error


def _shown(gateway: Gateway, topic: str, intake: Intake, registry: Registry) -> Preview:
    return Preview(
        dialect=gateway.dialect,  # type: ignore[arg-type]  # the database allows no other
        topic=topic,
        readings=_readings(intake, registry),
        rejects=_rejects(intake.rejects),
        status=_status(intake.statuses[-1]) if intake.statuses else None,
        asked_of_gateway=[wish.topic for wish in intake.wishes],
    )


def _status(said: StatusSaid) -> PreviewStatus:
    at = None if not 0 <= said.at_us < CLOCK_SET_UNTIL_US else utc(said.at_us)
    return PreviewStatus(online=said.online, at=at, firmware=said.firmware)


def _readings(intake: Intake, registry: Registry) -> list[PreviewReading]:
    readings = intake.readings
    columns = (readings.row, readings.value, readings.observed_at, readings.quality)
    return [
        PreviewReading(
            point=registry.points[row].code,
            value=value if math.isfinite(value) else None,
            unit=registry.points[row].unit,
            observed_at=utc(at_us),
            quality=quality_word(flags),
            flags=quality_names(flags),
        )
        for row, value, at_us, flags in zip(*(each.tolist() for each in columns), strict=True)
    ]


def _rejects(rejects: Sequence[Reject]) -> list[PreviewReject]:
    return [
        PreviewReject(reason=str(one.reason), detail=one.detail, readings=one.readings)
        for one in rejects
    ]
