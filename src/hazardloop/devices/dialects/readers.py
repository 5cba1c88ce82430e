"""The dialects by name: what a profile must be in each, and the reader of each gateway's topics."""

from collections.abc import Callable, Container, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from hazardloop.devices import wire
from hazardloop.devices.dialects import mapping, senml, sparkplug, thingsboard
from hazardloop.devices.dialects.dialect import OURS, Heard, Reader
from hazardloop.devices.dialects.naming import Naming, UnitOf
from hazardloop.devices.dialects.profile import NamingIn, ProfileRefused
from hazardloop.devices.dialects.sparkplug_session import Session
from hazardloop.devices.registry import Gateway, Registry
from hazardloop.devices.wire import PayloadRefused, Reason

SPARKPLUG: Final = "sparkplug"


class _NothingIn(BaseModel):
    """Our own dialect needs no profile."""

    model_config = ConfigDict(extra="forbid")


Maker: TypeAlias = Callable[[Gateway, Any, UnitOf, Reader | None], Reader]
"""A gateway, its checked profile, the units of its points and its reader so far, to its reader."""


def _thingsboard(_: Gateway, given: NamingIn, unit_of: UnitOf, __: Reader | None) -> Reader:
    return thingsboard.ThingsBoardReader(Naming(given, thingsboard.SEPARATOR), unit_of)


def _senml(_: Gateway, given: NamingIn, unit_of: UnitOf, __: Reader | None) -> Reader:
    return senml.SenmlReader(Naming(given, senml.SEPARATOR, senml.without_urn), unit_of)


def _mapping(_: Gateway, given: mapping.MappingIn, unit_of: UnitOf, __: Reader | None) -> Reader:
    return mapping.MappingReader(given, unit_of)


def _sparkplug(gateway: Gateway, given: NamingIn, unit_of: UnitOf, before: Reader | None) -> Reader:
    session = before.session if isinstance(before, sparkplug.SparkplugReader) else Session()
    naming = Naming(given, sparkplug.SEPARATOR, passed_over=sparkplug.NOT_READINGS)
    return sparkplug.SparkplugReader(gateway.enterprise, gateway.code, naming, unit_of, session)


DIALECTS: Final[Mapping[str, tuple[type[BaseModel], Maker | None]]] = {
    OURS: (_NothingIn, None),
    "thingsboard": (NamingIn, _thingsboard),
    SPARKPLUG: (NamingIn, _sparkplug),
    "senml": (NamingIn, _senml),
    "mapping": (mapping.MappingIn, _mapping),
}
"""Name in the registry to the form of its profile and the maker of its readers."""


def checked_profile(
    dialect: str, profile: Mapping[str, Any], units: Container[str] = ()
) -> BaseModel:
    """`profile` as its dialect reads it; ProfileRefused with the path of each problem.

    Args:
        dialect: a key of DIALECTS.
        profile: as the registry keeps it.
        units: of the catalogue, which may be named beside those of devices/units.py.
    """
    try:
        return DIALECTS[dialect][0].model_validate(dict(profile), context={"units": units})
    except ValidationError as error:
        raise ProfileRefused([(one["loc"], one["msg"]) for one in error.errors()]) from error


def topics_of(
    gateway: Gateway, registry: Registry, before: Mapping[bytes, Reader]
) -> dict[bytes, Reader]:
    """Topic to reader of a gateway; empty for one that speaks our own dialect.

    Args:
        gateway: whose topics.
        registry: that the gateway is in; gives the units of its points.
        before: topic to reader of all gateways at the revision before, so that what a reader
            remembers outlives a change of the registry.

    A Sparkplug gateway's devices cannot be listed beforehand: whatever it sends is read by the
    reader of its NDATA topic, `wire.sparkplug_topic`.
    """
    if gateway.dialect == OURS:
        return {}
    common = wire.sparkplug_topic(gateway.enterprise, gateway.code)
    own = own_topics(gateway.enterprise, gateway.code)
    speaks_sparkplug = gateway.dialect == SPARKPLUG
    try:
        reader = _made(gateway, registry, before.get(common if speaks_sparkplug else own[0]))
    except (ProfileRefused, KeyError) as refused:
        reader = Refusing(f"dialect {gateway.dialect}: {refused!s:.300}")
    if not speaks_sparkplug:
        return dict.fromkeys(own, reader)
    elsewhere = f"the gateway is registered to speak Sparkplug B, on {wire.SPARKPLUG}/…"
    return {common: reader, **dict.fromkeys(own, Refusing(elsewhere))}


def own_topics(enterprise: str, gateway: str) -> tuple[bytes, bytes]:
    """Where a gateway sends its readings, live and kept, unless it speaks Sparkplug."""
    home = f"{wire.ROOT}/{enterprise}/{gateway}"
    return f"{home}/telemetry".encode(), f"{home}/backfill".encode()


def rereading(readers: Mapping[bytes, Reader]) -> dict[bytes, Reader]:
    """Readers for messages of the past, which know what these know and teach them nothing."""
    copies = {id(reader): _Copy(reader) for reader in readers.values()}
    return {topic: copies[id(reader)] for topic, reader in readers.items()}


class _Copy:
    """Reads as a copy of another reader, made when it is needed."""

    def __init__(self, original: Reader) -> None:
        self._reader, self._own = original, False

    def read(self, topic: bytes, payload: bytes, received_us: int) -> Heard:
        """What the message says. Raises PayloadRefused."""
        if not self._own and isinstance(self._reader, sparkplug.SparkplugReader):
            session = deepcopy(self._reader.session)
            self._reader, self._own = replace(self._reader, session=session), True
        return self._reader.read(topic, payload, received_us)


class Refusing:
    """Reads nothing, and says why."""

    def __init__(self, detail: str) -> None:
        """The same for each message."""
        self._detail = detail

    def read(self, topic: bytes, payload: bytes, received_us: int) -> Heard:
        """Raises PayloadRefused."""
        raise PayloadRefused(Reason.BAD_SHAPE, self._detail)


class _Anything(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


def _made(gateway: Gateway, registry: Registry, before: Reader | None) -> Reader:
    profile = checked_profile(gateway.dialect, gateway.profile, _Anything())
    maker = DIALECTS[gateway.dialect][1]
    assert maker is not None  # ours was sorted out

    units: dict[str, str] = {}  # of points that were asked for: making one costs microseconds

    def unit_of(code: str) -> str | None:
        if code not in units:
            row = gateway.rows.get(code)
            if row is None:
                return None
            units[code] = registry.points[row].unit
        return units[code]

    return maker(gateway, profile, unit_of, before)
